package fakehub

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// resolve answers for a file: where its bytes are.
func (h *Hub) resolve(w http.ResponseWriter, r *http.Request, token, name string, segs []string) {
	rp, commit, s := h.file(w, r, token, name, segs)
	if rp == nil {
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	w.Header().Set("Accept-Ranges", "bytes")
	w.Header().Set("Vary", "Origin")
	if !s.LFS {
		target := "/api/resolve-cache/models/" + rp.Name + "/" + commit + "/" + escape(s.Path) + "?etag=" + url.QueryEscape(`"`+s.oid+`"`)
		w.Header().Set("ETag", `"`+s.oid+`"`)
		w.Header().Set("X-Linked-Size", strconv.FormatInt(s.size, 10))
		redirect(w, http.StatusTemporaryRedirect, target)
		return
	}
	w.Header().Set("ETag", `"`+s.sha256+`"`)
	w.Header().Set("X-Linked-Etag", `"`+s.sha256+`"`)
	w.Header().Set("X-Linked-Size", strconv.FormatInt(s.size, 10))
	redirect(w, http.StatusFound, h.sign(s, r.Header.Get("Range")))
}

// resolveCache gives the bytes of a file that is not in LFS.
func (h *Hub) resolveCache(w http.ResponseWriter, r *http.Request, token, name string, segs []string) {
	rp, commit, s := h.file(w, r, token, name, segs)
	if rp == nil {
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	w.Header().Set("ETag", `"`+s.oid+`"`)
	h.send(w, r, s)
}

// file finds a file that the token may read; if there is none it has answered and gives nil.
func (h *Hub) file(w http.ResponseWriter, r *http.Request, token, name string, segs []string) (*repo, string, *stored) {
	rp := h.find(w, r, token, name)
	if rp == nil {
		return nil, "", nil
	}
	commit, tree, rest := h.revision(w, rp, segs)
	if tree == nil {
		return nil, "", nil
	}
	h.mu.Lock()
	access := h.tokens[token][rp.Name]
	h.mu.Unlock()
	s := tree[strings.Join(rest, "/")]
	switch {
	case rp.Disabled:
		fail(w, http.StatusForbidden, "", "Access to this resource is disabled.")
	case rp.Gated && token == "":
		fail(w, http.StatusUnauthorized, "GatedRepo", "Access to model "+rp.Name+" is restricted. You must have access to it and be authenticated to access it. Please log in.")
	case rp.Gated && !access:
		fail(w, http.StatusForbidden, "GatedRepo", "Access to model "+rp.Name+" is restricted and you are not in the authorized list. Visit https://huggingface.co/"+rp.Name+" to ask for access.")
	case s == nil:
		fail(w, http.StatusNotFound, "EntryNotFound", "Entry not found")
	default:
		return rp, commit, s
	}
	return nil, "", nil
}

func redirect(w http.ResponseWriter, status int, target string) {
	w.Header().Set("Location", target)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, "%s. Redirecting to %s", http.StatusText(status), target)
}

func escape(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// sign makes an address of the CDN. A range asked for with it is part of what is signed.
func (h *Hub) sign(s *stored, rng string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	expires := strconv.FormatInt(time.Now().Add(h.life).Unix(), 10)
	policy := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s", h.epoch, rng))
	q := url.Values{
		"response-content-disposition": {"inline; filename*=UTF-8''" + url.PathEscape(s.Path)},
		"Expires":                      {expires},
		"Policy":                       {policy},
		"Signature":                    {h.signature(s.id, expires, policy)},
		"Key-Pair-Id":                  {"K2FPYV99P2N66Q"},
	}
	return h.cdn.url + "/xet-bridge/" + s.id + "/" + s.sha256 + "?" + q.Encode()
}

func (h *Hub) signature(id, expires, policy string) string {
	mac := hmac.New(sha256.New, h.secret)
	fmt.Fprintf(mac, "%s %s %s", id, expires, policy)
	return hex.EncodeToString(mac.Sum(nil))
}

// signed gives the file that a request to the CDN may have.
func (h *Hub) signed(r *http.Request) (*stored, bool) {
	segs := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(segs) != 3 || segs[0] != "xet-bridge" {
		return nil, false
	}
	q := r.URL.Query()
	expires, err := strconv.ParseInt(q.Get("Expires"), 10, 64)
	policy, perr := base64.RawURLEncoding.DecodeString(q.Get("Policy"))
	if err != nil || perr != nil || time.Now().Unix() >= expires {
		return nil, false
	}
	epoch, rng, _ := strings.Cut(string(policy), " ")
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.links[segs[1]]
	if s == nil || s.sha256 != segs[2] || epoch != strconv.Itoa(h.epoch) || rng != "" && rng != r.Header.Get("Range") {
		return nil, false
	}
	return s, hmac.Equal([]byte(q.Get("Signature")), []byte(h.signature(s.id, q.Get("Expires"), q.Get("Policy"))))
}
