package ollama

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const (
	maxManifest = 1 << 20 // bytes, of each of these
	maxConfig   = 1 << 20
	maxLicense  = 128 << 10
	maxTags     = 256 << 10
	shownTags   = 12
)

// parseRegistry reads the address of a registry: https, or http on this machine. Without a scheme it is the
// one that fits.
func parseRegistry(address string) (*url.URL, error) {
	full := address
	if !strings.Contains(address, "://") {
		host, _, _ := strings.Cut(address, "/")
		full = schemeOf(host) + "://" + address
	}
	u, err := url.Parse(full)
	problem := ""
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		problem = "is no address"
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		problem = "has a user, a query or a fragment"
	case u.Scheme != "https" && u.Scheme != "http":
		problem = "is neither https nor http"
	case !safe(u):
		problem = "is plain http to another machine"
	}
	if problem == "" {
		return u, nil
	}
	shown := "the address"
	if err == nil && u.User == nil {
		shown = fmt.Sprintf("%.100q", address)
	}
	return nil, messages.Errorf(messages.CodeBadRequest, op, "%s in %s %s", shown, RegistryVariable, problem).
		WithHint("set it to an address such as %s or http://127.0.0.1:5000, or unset it", DefaultRegistry)
}

// safe says whether u may be spoken to: https, or http on this machine.
func safe(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && loopback(u.Host)
}

// onlySafe refuses redirects that leave what is safe.
func onlySafe(next func(*http.Request, []*http.Request) error) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		if !safe(req.URL) || loopback(req.URL.Host) && !loopback(via[0].URL.Host) {
			return messages.Errorf(messages.CodeDenied, op, "%s redirects to %.100q, where models are not fetched from", via[0].URL.Host, req.URL.Scheme+"://"+req.URL.Host).
				WithHint("a registry may lead to https only, and none elsewhere to this machine")
		}
		if err := next(req, via); err != nil { // another try would be led the same way
			return messages.Errorf(messages.CodeBadRequest, op, "%s is not followed: %w", via[0].URL.Host, err).
				WithHint("tell whoever runs the registry, and check %s if it is set", RegistryVariable)
		}
		return nil
	}
}

// base is the address of r's registry.
func (v *Vendor) base(r reference) (*url.URL, error) {
	if r.host != "" {
		return &url.URL{Scheme: schemeOf(r.host), Host: r.host}, nil
	}
	return v.registry, v.wrong
}

// ask has send do a GET of a path below r's repository. If the registry wants a token, it gets one and
// send is called a second time.
func (v *Vendor) ask(ctx context.Context, r reference, path, accept string, send func(*http.Request) error) error {
	base, err := v.base(r)
	if err != nil {
		return err
	}
	key := tokenKey{registry: base.String(), repository: r.repository()}
	token := v.tokens.get(key)
	for try := 1; ; try++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath("v2", r.repository(), path).String(), nil)
		if err != nil {
			return err
		}
		if accept != "" {
			req.Header.Set("Accept", accept)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		err = send(req)
		// A host that was redirected to has no say in tokens.
		e, ok := errors.AsType[*vendor.StatusError](err)
		if !ok || e.Status != http.StatusUnauthorized || !strings.EqualFold(e.Host, base.Host) || try > 1 {
			return err
		}
		if token, err = v.newToken(ctx, base, key, e); err != nil {
			return err
		}
	}
}

var errTooLarge = errors.New("it is too large")

// small is the answer to a GET below r's repository; one of more than limit bytes is errTooLarge.
func (v *Vendor) small(ctx context.Context, r reference, path, accept string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, v.limit)
	defer cancel()
	var data []byte
	err := v.ask(ctx, r, path, accept, func(req *http.Request) (err error) {
		data, err = v.read(req, limit)
		return err
	})
	return data, err
}

// read is the whole answer to req.
func (v *Vendor) read(req *http.Request, limit int64) ([]byte, error) {
	resp, err := vendor.Do(v.client, req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = errTooLarge
	}
	return data, err
}

// manifest is r's manifest, of the right digest if r has one.
func (v *Vendor) manifest(ctx context.Context, r reference) ([]byte, error) {
	what := "the manifest of " + r.public()
	if r.digest == "" {
		data, err := v.small(ctx, r, "manifests/"+r.tag, typeManifest, maxManifest)
		if status(err) == http.StatusNotFound {
			return nil, v.unknown(ctx, r, err)
		}
		return data, v.failed(ctx, r, what, err)
	}
	data, err := v.small(ctx, r, "manifests/"+r.digest, typeManifest, maxManifest)
	if status(err) == http.StatusNotFound { // Ollama's own client asks for it as a blob
		data, err = v.small(ctx, r, "blobs/"+r.digest, "", maxManifest)
	}
	if status(err) == http.StatusNotFound {
		return nil, v.unknown(ctx, r, err)
	}
	if err == nil && digestOf(data) != r.digest {
		return nil, v.bad(r, fmt.Errorf("its manifest came with the digest %s", digestOf(data)))
	}
	return data, v.failed(ctx, r, what, err)
}

// blob is the content of a layer, checked.
func (v *Vendor) blob(ctx context.Context, r reference, l layer, limit int64) ([]byte, error) {
	if l.Size > limit {
		return nil, v.bad(r, fmt.Errorf("its layer %.100q has %d bytes, at most %d are taken", l.MediaType, l.Size, limit))
	}
	data, err := v.small(ctx, r, "blobs/"+l.Digest, "", l.Size)
	if err != nil && !errors.Is(err, errTooLarge) {
		return nil, v.failed(ctx, r, "the file "+l.Digest, err)
	}
	if err != nil || int64(len(data)) != l.Size || digestOf(data) != l.Digest {
		return nil, v.bad(r, fmt.Errorf("its layer %.100q came with another size or digest than the manifest says", l.MediaType))
	}
	return data, nil
}

// tags are the first tags of r's model; none if the registry does not list them, as Ollama's own.
func (v *Vendor) tags(ctx context.Context, r reference) []string {
	data, err := v.small(ctx, r, "tags/list", "", maxTags)
	if err != nil {
		return nil
	}
	var list struct {
		Tags []string `json:"tags"`
	}
	if json.Unmarshal(data, &list) != nil {
		return nil
	}
	var tags []string
	for _, tag := range list.Tags {
		if partRule.MatchString(tag) && len(tags) < shownTags {
			tags = append(tags, tag)
		}
	}
	return tags
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
