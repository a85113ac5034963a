package huggingface

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"
)

// nearLimit bounds the search for names that may have been meant: it is a courtesy.
const nearLimit = 3 * time.Second

// near finds up to 3 repositories with GGUF files whose names are like repo's, the likest first.
func (v *Vendor) near(ctx context.Context, repo string, token secret) []string {
	ctx, cancel := context.WithTimeout(ctx, nearLimit)
	defer cancel()
	org, name, _ := strings.Cut(repo, "/")
	first := name
	if i := strings.IndexAny(name, "-_."); i > 0 {
		first = name[:i]
	}
	var found []string
	for _, q := range []url.Values{
		{"search": {first}, "author": {org}, "limit": {"100"}},
		{"author": {org}, "sort": {"downloads"}, "limit": {"100"}},
		{"search": {name}, "limit": {"20"}},
		{"search": {first}, "sort": {"downloads"}, "limit": {"100"}},
	} {
		found = append(found, v.search(ctx, q, token)...)
	}
	score := func(id string) int {
		o, n, _ := strings.Cut(id, "/")
		return 2*likeness(name, n) + min(distance(org, o), 5)
	}
	found = slices.DeleteFunc(found, func(id string) bool {
		_, n, _ := strings.Cut(id, "/")
		return likeness(name, n) > max(2, len(name)/3)
	})
	slices.SortFunc(found, func(a, b string) int {
		if d := score(a) - score(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	found = slices.Compact(found)
	return found[:min(len(found), 3)]
}

// likeness is how far a repository's name is from what was written; -GGUF behind it, or more around it, is near.
func likeness(written, name string) int {
	w, n := strings.ToLower(written), strings.ToLower(name)
	d := distance(w, n)
	if bare := strings.TrimSuffix(n, "-gguf"); bare != n {
		d = min(d, distance(w, bare)+1)
	}
	if w = strings.TrimSuffix(w, "-gguf"); len(w) >= 4 && strings.Contains(n, w) {
		d = min(d, 2)
	}
	return d
}

// nearest is the one of names that is likest to s. There is at least one.
func nearest(s string, names []string) string {
	best, least := names[0], 1<<30
	for _, n := range names {
		if d := distance(s, n); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is Levenshtein's, without regard to upper and lower case, of at most the first 200 bytes of each.
func distance(a, b string) int {
	a, b = strings.ToLower(a[:min(len(a), 200)]), strings.ToLower(b[:min(len(b), 200)])
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
