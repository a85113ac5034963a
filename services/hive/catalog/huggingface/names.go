package huggingface

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxName = 96   // characters of an organization's or a repository's name, as the hub has it
	maxPath = 1024 // bytes of a file's path
	maxRev  = 250  // bytes of a revision
)

var (
	nameShape   = regexp.MustCompile(`^[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?$`)
	revShape    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+/-]*$`)
	commitShape = regexp.MustCompile(`^[0-9a-f]{40}$`)
	sha256Shape = regexp.MustCompile(`^[0-9a-f]{64}$`)
	encoded     = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)
)

// validName says whether s may be the name of an organization or a repository: the rules are those of
// validate_repo_id in the hub's client for Python.
func validName(s string) bool {
	return len(s) <= maxName && nameShape.MatchString(s) && !strings.Contains(s, "..") && !strings.Contains(s, "--")
}

func validRepo(s string) bool {
	org, name, ok := strings.Cut(s, "/")
	return ok && validName(org) && validName(name) && !strings.HasSuffix(name, ".git")
}

// validRevision follows git-check-ref-format, and what is harmless in an address.
func validRevision(s string) bool {
	if len(s) > maxRev || !revShape.MatchString(s) {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".") || strings.HasSuffix(part, ".lock") || strings.Contains(part, "..") {
			return false
		}
	}
	return true
}

// validPath says whether s may be a file's path in a repository: relative, without . and .., and all of it can be
// seen. A file's name never becomes one on this machine; this is so that it is not taken for another.
func validPath(s string) bool {
	if s == "" || len(s) > maxPath || !utf8.ValidString(s) || strings.ContainsRune(s, '\\') || encoded.MatchString(s) {
		return false
	}
	for _, r := range s {
		if r != ' ' && !unicode.IsGraphic(r) || unicode.IsSpace(r) && r != ' ' || unicode.Is(unicode.Cf, r) {
			return false
		}
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part == "." || part == ".." || strings.TrimSpace(part) != part {
			return false
		}
	}
	return true
}

func isGGUF(path string) bool { return hasSuffixFold(path, ".gguf") }

func hasSuffixFold(s, suffix string) bool {
	return len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}
