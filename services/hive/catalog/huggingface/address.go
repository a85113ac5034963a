package huggingface

import (
	"net/url"
	"strings"
)

// hosts are the hub's own names.
var hosts = []string{"huggingface.co", "hf.co", "www.huggingface.co"}

// cutHost takes the hub's host off an address, with or without a scheme, and gives what follows its slash.
func (v *Vendor) cutHost(ref string) (string, bool) {
	s, hasScheme := ref, false
	for _, scheme := range []string{"https://", "http://"} {
		if rest, ok := cutPrefixFold(ref, scheme); ok {
			s, hasScheme = rest, true
		}
	}
	host, rest, _ := strings.Cut(s, "/")
	for _, h := range hosts {
		if strings.EqualFold(host, h) {
			return rest, true
		}
	}
	if v.env.endpoint != nil && hasScheme && strings.EqualFold(host, v.env.endpoint.Host) {
		base := strings.Trim(v.env.endpoint.Path, "/")
		if base == "" {
			return rest, true
		}
		return strings.CutPrefix(rest, base+"/")
	}
	return "", false
}

// parseAddress reads what follows the host: org/repo as a browser shows it, or as in a plain reference.
func parseAddress(ref, s string) (reference, error) {
	s, _, _ = strings.Cut(s, "#")
	s, query, _ := strings.Cut(s, "?")
	s = strings.TrimSuffix(s, "/")
	segs := strings.Split(s, "/")
	switch segs[0] {
	case "datasets", "spaces", "collections", "papers":
		return reference{}, malformed(ref, "is one of %s, not a model", segs[0])
	case "models", "docs", "api", "settings", "join", "login", "blog", "organizations", "":
		return reference{}, malformed(ref, "is no address of a model")
	}
	if len(segs) < 4 || segs[2] != "tree" && segs[2] != "blob" && segs[2] != "resolve" && segs[2] != "raw" {
		if len(segs) == 3 && (segs[2] == "tree" || segs[2] == "discussions") {
			s = strings.Join(segs[:2], "/")
		}
		r, err := parsePlain(ref, s)
		return r.shown(query), err
	}
	for i, seg := range segs {
		dec, err := url.PathUnescape(seg)
		if err != nil || strings.ContainsRune(dec, '/') && i != 3 {
			return reference{}, malformed(ref, "has a bad %%-code in %.100q", seg)
		}
		segs[i] = dec
	}
	r := reference{Repo: segs[0] + "/" + segs[1], Revision: segs[3]}
	rest := segs[4:]
	if segs[3] == "refs" && len(rest) >= 2 {
		r.Revision, rest = strings.Join(segs[3:6], "/"), rest[2:]
	}
	r.Path = strings.Join(rest, "/")
	if segs[2] != "tree" && r.Path == "" {
		return reference{}, malformed(ref, "has no file behind the revision")
	}
	return r.shown(query), nil
}

// shown has the GGUF file that the page is open at, where the address names no other.
func (r reference) shown(query string) reference {
	q, err := url.ParseQuery(query)
	if file := q.Get("show_file_info"); err == nil && r.Path == "" && r.Quant == "" && isGGUF(file) {
		r.Path = file
	}
	return r
}
