package huggingface

import (
	"strings"

	"github.com/rbee-project/rbee/messages"
)

const prefix = "hf:"

// reference is what a reference says. Quant and Path are not both set.
type reference struct {
	Repo     string // "org/repo"
	Quant    string // as it was written: a quantization or a file's name
	Path     string // of a GGUF file or a folder
	Revision string // "" is main
}

// String is the reference in its full form; parse understands it.
func (r reference) String() string {
	s := prefix + r.Repo
	if r.Quant != "" {
		s += ":" + r.Quant
	}
	if r.Path != "" {
		s += "/" + r.Path
	}
	switch {
	case r.Revision != "":
		s += "@" + r.Revision
	case strings.Contains(r.Path, "@"): // what is behind the last @ is a revision
		s += "@main"
	}
	return s
}

func (r reference) revision() string {
	if r.Revision == "" {
		return "main"
	}
	return r.Revision
}

func malformed(ref, format string, args ...any) error {
	return messages.Errorf(messages.CodeBadRequest, op, "the reference %.200q %s", ref, messages.Errorf("", "", format, args...).Message).
		WithHint("write hf:org/repo, hf:org/repo:Q4_K_M or hf:org/repo/file.gguf, with @revision behind it if you like")
}

// parse reads any form of reference.
func (v *Vendor) parse(ref string) (reference, error) {
	var r reference
	var err error
	if rest, ok := cutPrefixFold(ref, prefix); ok {
		r, err = parsePlain(ref, strings.TrimPrefix(rest, "//"))
	} else if rest, ok := v.cutHost(ref); ok {
		r, err = parseAddress(ref, rest)
	} else {
		r, err = parsePlain(ref, ref)
	}
	if err == nil {
		err = r.check(ref)
	}
	if err != nil {
		return reference{}, err
	}
	if r.Revision == "main" {
		r.Revision = ""
	}
	return r, nil
}

// parsePlain reads org/repo[:quant|/path][@revision].
func parsePlain(ref, s string) (reference, error) {
	var r reference
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		s, r.Revision = s[:at], s[at+1:]
		if r.Revision == "" {
			return r, malformed(ref, "ends in @ without a revision")
		}
	}
	org, rest, ok := strings.Cut(s, "/")
	if !ok {
		return r, malformed(ref, "has no org/repo")
	}
	repo, path, inRepo := strings.Cut(rest, "/")
	repo, quant, hasQuant := strings.Cut(repo, ":")
	r.Repo, r.Quant, r.Path = org+"/"+repo, quant, path
	switch {
	case hasQuant && inRepo:
		return r, malformed(ref, "has both a quantization and a file")
	case hasQuant && quant == "":
		return r, malformed(ref, "ends in a colon without a quantization")
	case inRepo && path == "":
		return r, malformed(ref, "ends in a slash")
	}
	if strings.EqualFold(quant, "latest") { // as Ollama writes it
		r.Quant = ""
	}
	return r, nil
}

// check says what is wrong with r, which was written as ref.
func (r reference) check(ref string) error {
	org, name, _ := strings.Cut(r.Repo, "/")
	switch {
	case !validName(org):
		return malformed(ref, "names no organization that could be: %.100q", org)
	case !validRepo(r.Repo):
		return malformed(ref, "names no repository that could be: %.100q", name)
	case r.Quant != "" && (!validPath(r.Quant) || strings.ContainsAny(r.Quant, "/@")):
		return malformed(ref, "names no quantization that could be: %.100q", r.Quant)
	case r.Path != "" && !validPath(r.Path):
		return malformed(ref, "names no file that could be: %.100q", r.Path)
	case r.Revision != "" && !validRevision(r.Revision):
		return malformed(ref, "names no revision that could be: %.100q", r.Revision)
	}
	return nil
}

// bare says whether ref is org/repo, org/repo:quant or org/repo/path.gguf, with or without @revision, and
// not a path on this machine.
func bare(ref string) bool {
	r, err := parsePlain(ref, ref)
	if err != nil || r.check(ref) != nil {
		return false
	}
	if r.Path == "" {
		return !isGGUF(r.Repo) // dir/file.gguf
	}
	return isGGUF(r.Path)
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}
