package huggingface

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const (
	maxInfo    = 8 << 20  // bytes of a repository's information
	maxPages   = 20       // of a tree
	maxEntries = 20_000   // of all pages together
	maxTree    = 32 << 20 // bytes, the same
)

// address is one on the hub: its parts are encoded here.
func (v *Vendor) address(parts ...string) string {
	u := v.env.endpoint.Scheme + "://" + v.env.endpoint.Host + strings.TrimRight(v.env.endpoint.EscapedPath(), "/")
	for _, p := range parts {
		u += "/" + url.PathEscape(p)
	}
	return u
}

// ask makes a request. The token is for the hub's own scheme, host and port alone.
func (v *Vendor) ask(ctx context.Context, addr *url.URL, token secret) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, addr.String(), nil)
	if err != nil {
		return nil, errors.New("an address cannot be used") // without its query
	}
	req.Header.Set("User-Agent", "rbee")
	if token.value != "" && vendor.SameHost(addr, v.env.endpoint) {
		req.Header.Set("Authorization", "Bearer "+token.value)
	}
	return req, nil
}

// get reads an answer of the API of at most limit bytes.
func (v *Vendor) get(ctx context.Context, addr string, token secret, limit int) ([]byte, http.Header, error) {
	u, err := url.Parse(addr)
	if err != nil {
		return nil, nil, err
	}
	req, err := v.ask(ctx, u, token)
	if err != nil {
		return nil, nil, err
	}
	resp, err := vendor.Do(v.client, req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(limit)+1))
	if err != nil {
		return nil, nil, err
	}
	if len(body) > limit {
		return nil, nil, v.tooMuch(fmt.Sprintf("an answer of more than %d bytes", limit))
	}
	return body, resp.Header, nil
}

// info asks for a repository at a revision. A renamed one is a 307 to where it is now.
func (v *Vendor) info(ctx context.Context, r reference, token secret) (info, error) {
	org, name, _ := strings.Cut(r.Repo, "/")
	body, _, err := v.get(ctx, v.address("api", "models", org, name, "revision", r.revision()), token, maxInfo)
	if err != nil {
		return info{}, err
	}
	i, err := parseInfo(body)
	if err != nil {
		return info{}, v.nonsense(err)
	}
	return i, nil
}

// tree lists the files of a commit.
func (v *Vendor) tree(ctx context.Context, repo, commit string, token secret) ([]entry, error) {
	org, name, _ := strings.Cut(repo, "/")
	base := v.address("api", "models", org, name, "tree", commit)
	var all []entry
	entries, bytes := 0, 0
	query := "recursive=true"
	for page := 0; query != ""; page++ {
		if page == maxPages {
			return nil, v.tooMuch("a repository of too many files")
		}
		body, header, err := v.get(ctx, base+"?"+query, token, maxTree-bytes)
		if err != nil {
			return nil, err
		}
		bytes += len(body)
		files, n, err := parseTree(body)
		if err != nil {
			return nil, v.nonsense(err)
		}
		all, entries = append(all, files...), entries+n
		if entries > maxEntries {
			return nil, v.tooMuch("a repository of too many files")
		}
		query = nextQuery(header.Get("Link"))
	}
	return all, nil
}

var nextLink = regexp.MustCompile(`<([^<>\s]+)>\s*;\s*rel="?next"?`)

// nextQuery is the query of the next page. Only that is taken from the address: a mirror's links may lead to the hub
// itself, and the token stays here.
func nextQuery(link string) string {
	m := nextLink.FindStringSubmatch(link)
	if m == nil || len(m[1]) > 8<<10 {
		return ""
	}
	u, err := url.Parse(m[1])
	if err != nil {
		return ""
	}
	return u.Query().Encode()
}

// search finds repositories with GGUF files; q is the query besides that. At most 100 names.
func (v *Vendor) search(ctx context.Context, q url.Values, token secret) []string {
	q.Set("filter", "gguf")
	body, _, err := v.get(ctx, v.address("api", "models")+"?"+q.Encode(), token, maxInfo)
	if err != nil {
		return nil
	}
	var found []struct {
		ID json.RawMessage `json:"id"`
	}
	if json.Unmarshal(body, &found) != nil {
		return nil
	}
	var names []string
	for _, f := range found[:min(len(found), 100)] {
		if id := text(f.ID); validRepo(id) {
			names = append(names, id)
		}
	}
	return names
}

func (v *Vendor) tooMuch(what string) error {
	return messages.Errorf(messages.CodeBadRequest, op, "%s has %s, which rbee does not read", v.env.endpoint.Host, what).
		WithHint("check HF_ENDPOINT and the name of the repository")
}

func (v *Vendor) nonsense(err error) error {
	return messages.Errorf(messages.CodeUnavailable, op, "%s is no HuggingFace hub, or is broken: %w", v.env.endpoint.Host, err).
		WithHint("check HF_ENDPOINT, or try later")
}
