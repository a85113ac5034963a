package fakehub

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
)

const created = "2026-01-02T03:04:05.000Z"

// serveHub is everything on the hub's own host.
func (h *Hub) serveHub(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("RateLimit", `"api";r=499;t=300`)
	var segs []string
	for s := range strings.SplitSeq(strings.Trim(r.URL.EscapedPath(), "/"), "/") {
		dec, err := url.PathUnescape(s)
		if err != nil {
			fail(w, http.StatusBadRequest, "", "Bad path")
			return
		}
		segs = append(segs, dec)
	}
	token, known := h.token(r)
	switch {
	case token != "" && !known:
		fail(w, http.StatusUnauthorized, "", "Invalid credentials in Authorization header")
	case r.URL.Path == "/api/whoami-v2":
		h.whoami(w, token)
	case r.URL.Path == "/api/models":
		h.search(w, r, token)
	case len(segs) >= 4 && segs[0] == "api" && segs[1] == "models":
		h.model(w, r, token, segs[2]+"/"+segs[3], segs[4:])
	case len(segs) >= 6 && segs[0] == "api" && segs[1] == "resolve-cache" && segs[2] == "models":
		h.resolveCache(w, r, token, segs[3]+"/"+segs[4], segs[5:])
	case len(segs) >= 5 && segs[2] == "resolve":
		h.resolve(w, r, token, segs[0]+"/"+segs[1], segs[3:])
	default:
		fail(w, http.StatusNotFound, "", "Sorry, we can't find the page you are looking for.")
	}
}

// token is the one of the request, and whether the hub knows it.
func (h *Hub) token(r *http.Request) (string, bool) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return r.Header.Get("Authorization"), false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	_, known := h.tokens[token]
	return token, known
}

// fail tells an error as the hub does.
func fail(w http.ResponseWriter, status int, code, text string) {
	if code != "" {
		w.Header().Set("X-Error-Code", code)
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="Authentication required", charset="UTF-8"`)
	}
	w.Header().Set("X-Error-Message", text)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text})
}

func (h *Hub) answer(w http.ResponseWriter, r *http.Request, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	h.mu.Lock()
	mangle := h.faults.mangle
	h.mu.Unlock()
	if mangle != nil {
		body = mangle(r.URL.Path, body)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

// find gives a repository that the token may see. If there is none it has answered: with a redirect, or an error.
func (h *Hub) find(w http.ResponseWriter, r *http.Request, token, name string) *repo {
	h.mu.Lock()
	found, to := h.repos[name], h.moved[name]
	if found == nil && to == "" {
		for other := range h.repos {
			if strings.EqualFold(other, name) {
				to = other
			}
		}
	}
	access := h.tokens[token][name]
	h.mu.Unlock()
	switch {
	case found != nil && (!found.Private || access):
		return found
	case found == nil && to != "":
		target := strings.Replace(r.URL.EscapedPath(), "/"+name, "/"+to, 1)
		if r.URL.RawQuery != "" {
			target += "?" + r.URL.RawQuery
		}
		w.Header().Set("Location", target)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusTemporaryRedirect)
		fmt.Fprintf(w, "Temporary Redirect. Redirecting to %s", target)
	case token == "":
		fail(w, http.StatusUnauthorized, "", "Invalid username or password.")
	default:
		fail(w, http.StatusNotFound, "RepoNotFound", "Repository not found")
	}
	return nil
}

// revision takes a revision off the segments and gives its commit and files; if there is none it has answered.
func (h *Hub) revision(w http.ResponseWriter, rp *repo, segs []string) (commit string, tree map[string]*stored, rest []string) {
	rev, rest := "main", segs
	switch {
	case len(segs) >= 3 && segs[0] == "refs":
		rev, rest = strings.Join(segs[:3], "/"), segs[3:]
	case len(segs) >= 1:
		rev, rest = segs[0], segs[1:]
	}
	h.mu.Lock()
	commit = rev
	if rev == "HEAD" {
		rev = "main"
	}
	if c, ok := rp.refs[rev]; ok {
		commit = c
	}
	tree = rp.commits[commit]
	h.mu.Unlock()
	if tree == nil {
		fail(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+rev)
		return "", nil, nil
	}
	return commit, tree, rest
}

func (h *Hub) model(w http.ResponseWriter, r *http.Request, token, name string, segs []string) {
	rp := h.find(w, r, token, name)
	if rp == nil {
		return
	}
	what := ""
	if len(segs) > 0 {
		what, segs = segs[0], segs[1:]
	}
	commit, tree, rest := h.revision(w, rp, segs)
	switch {
	case tree == nil:
	case what == "" || what == "revision":
		h.answer(w, r, info(rp, commit, tree))
	case what == "tree":
		h.tree(w, r, tree, strings.Join(rest, "/"))
	case what == "paths-info" && r.Method == http.MethodPost:
		h.pathsInfo(w, r, tree)
	default:
		fail(w, http.StatusNotFound, "", "Sorry, we can't find the page you are looking for.")
	}
}

func info(rp *repo, commit string, tree map[string]*stored) map[string]any {
	tags := slices.Clone(rp.Tags)
	siblings := []map[string]string{}
	for _, path := range sorted(tree) {
		siblings = append(siblings, map[string]string{"rfilename": path})
		if strings.HasSuffix(path, ".gguf") && !slices.Contains(tags, "gguf") {
			tags = append(tags, "gguf")
		}
	}
	v := map[string]any{
		"_id": rp.id, "id": rp.Name, "modelId": rp.Name, "author": strings.Split(rp.Name, "/")[0], "sha": commit,
		"private": rp.Private, "gated": false, "disabled": rp.Disabled, "downloads": 7, "likes": 1,
		"lastModified": created, "createdAt": created, "pipeline_tag": "text-generation", "siblings": siblings,
	}
	if rp.Gated {
		v["gated"] = "manual"
	}
	if rp.License != "" {
		tags = append(tags, "license:"+rp.License)
		v["cardData"] = map[string]any{"license": rp.License}
	}
	if rp.Architecture != "" {
		v["gguf"] = map[string]any{"architecture": rp.Architecture, "context_length": rp.ContextLength, "total": 1}
	}
	v["tags"] = tags
	return v
}

func sorted(tree map[string]*stored) []string {
	paths := make([]string, 0, len(tree))
	for path := range tree {
		paths = append(paths, path)
	}
	sort.Strings(paths)
	return paths
}

func entry(path string, s *stored, expand bool) map[string]any {
	v := map[string]any{"type": "file", "oid": s.oid, "size": s.size, "path": path}
	if s.LFS {
		v["lfs"] = map[string]any{"oid": s.sha256, "size": s.size, "pointerSize": 135}
		v["xetHash"] = sha1Of("xet", s.sha256) + sha1Of("xet2", s.sha256)[:24]
	}
	if expand {
		v["lastCommit"] = map[string]any{"id": sha1Of("last", s.oid), "title": "Upload", "date": created}
	}
	return v
}

// tree lists what lies below dir: a page of it.
func (h *Hub) tree(w http.ResponseWriter, r *http.Request, tree map[string]*stored, dir string) {
	q := r.URL.Query()
	recursive, expand := q.Get("recursive") == "true" || q.Get("recursive") == "1", q.Get("expand") == "true"
	prefix := ""
	if dir != "" {
		prefix = dir + "/"
	}
	entries, seen := []map[string]any{}, map[string]bool{}
	for _, path := range sorted(tree) {
		rest, ok := strings.CutPrefix(path, prefix)
		if !ok {
			continue
		}
		parts := strings.Split(rest, "/")
		for i := 1; i < len(parts); i++ {
			sub := prefix + strings.Join(parts[:i], "/")
			if !seen[sub] && (recursive || i == 1) {
				entries = append(entries, map[string]any{"type": "directory", "oid": sha1Of("tree", sub), "size": 0, "path": sub})
			}
			seen[sub] = true
		}
		if recursive || len(parts) == 1 {
			entries = append(entries, entry(path, tree[path], expand))
		}
	}
	if len(entries) == 0 && dir != "" {
		fail(w, http.StatusNotFound, "EntryNotFound", dir+" does not exist")
		return
	}
	h.mu.Lock()
	size := h.page
	h.mu.Unlock()
	cursor, _ := base64.RawURLEncoding.DecodeString(q.Get("cursor"))
	from, _ := strconv.Atoi(string(cursor))
	from = min(max(from, 0), len(entries))
	to := min(from+size, len(entries))
	if to < len(entries) {
		q.Set("cursor", base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(to))))
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next"`, h.URL(), r.URL.EscapedPath(), q.Encode()))
	}
	h.answer(w, r, entries[from:to])
}

func (h *Hub) pathsInfo(w http.ResponseWriter, r *http.Request, tree map[string]*stored) {
	var ask struct {
		Paths  []string `json:"paths"`
		Expand bool     `json:"expand"`
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err == nil && strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		err = json.Unmarshal(body, &ask)
	} else if err == nil {
		form, _ := url.ParseQuery(string(body))
		ask.Paths, ask.Expand = form["paths"], strings.EqualFold(form.Get("expand"), "true")
	}
	if err != nil {
		fail(w, http.StatusBadRequest, "", "Bad body")
		return
	}
	entries := []map[string]any{}
	for _, path := range ask.Paths {
		if s := tree[path]; s != nil {
			entries = append(entries, entry(path, s, ask.Expand))
		}
	}
	h.answer(w, r, entries)
}

func (h *Hub) whoami(w http.ResponseWriter, token string) {
	if token == "" {
		fail(w, http.StatusUnauthorized, "", "Invalid username or password.")
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": "user", "id": sha1Of("user")[:24], "name": "bee", "fullname": "A Bee", "email": "bee@example.org", "emailVerified": true,
		"isPro": false, "canPay": false, "periodEnd": nil, "avatarUrl": "/avatars/bee.svg", "orgs": []any{},
		"auth": map[string]any{"type": "access_token", "accessToken": map[string]any{"displayName": "test", "role": "read", "createdAt": created}},
	})
}

// search finds models by a part of their name.
func (h *Hub) search(w http.ResponseWriter, r *http.Request, token string) {
	q := r.URL.Query()
	h.mu.Lock()
	found := []map[string]any{}
	for name, rp := range h.repos {
		v := info(rp, rp.refs["main"], rp.commits[rp.refs["main"]])
		tags, _ := v["tags"].([]string)
		ok := !rp.Private || h.tokens[token][name]
		ok = ok && strings.Contains(strings.ToLower(name), strings.ToLower(q.Get("search")))
		ok = ok && (q.Get("author") == "" || strings.EqualFold(q.Get("author"), strings.Split(name, "/")[0]))
		for _, tag := range q["filter"] {
			ok = ok && slices.Contains(tags, tag)
		}
		if ok {
			delete(v, "siblings")
			found = append(found, v)
		}
	}
	h.mu.Unlock()
	sort.Slice(found, func(i, j int) bool { return found[i]["id"].(string) < found[j]["id"].(string) })
	if n, err := strconv.Atoi(q.Get("limit")); err == nil && n >= 0 && n < len(found) {
		found = found[:n]
	}
	h.answer(w, r, found)
}
