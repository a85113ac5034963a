package stores

import (
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const (
	extension = ".gguf"
	maxShown  = 300 // runes of a foreign name that are shown
)

// clean is foreign text as it can be shown on one line: without what moves the cursor, hides, or turns
// the direction of writing.
func clean(s string) string {
	var b strings.Builder
	n := 0
	for i, r := range s {
		if n++; n > maxShown {
			b.WriteString("…")
			break
		}
		_, width := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && width == 1 || !unicode.IsGraphic(r) || unicode.Is(unicode.Zs, r) && r != ' ' || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) {
			r = unicode.ReplacementChar
		}
		b.WriteRune(r)
	}
	return b.String()
}

// plain says whether a name in a repository can be written in a reference.
func plain(name string) bool {
	return name != "" && clean(name) == name && !strings.ContainsAny(name, `@:\?#%`) && path.Clean(name) == name &&
		!path.IsAbs(name) && name != ".." && !strings.HasPrefix(name, "../")
}

// repoPart is an owner or a repository at HuggingFace.
var repoPart = regexp.MustCompile(`^[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?$`)

// repository is "owner/name" if both are what HuggingFace allows, else "".
func repository(owner, name string) string {
	for _, part := range []string{owner, name} {
		if !repoPart.MatchString(part) || strings.Contains(part, "--") || strings.Contains(part, "..") {
			return ""
		}
	}
	if strings.HasSuffix(name, ".git") {
		return ""
	}
	return owner + "/" + name
}

func isGGUF(name string) bool { return strings.EqualFold(path.Ext(name), extension) }

// isProjector says by a file's name whether it is for pictures or sound.
func isProjector(name string) bool {
	return strings.Contains(strings.ToLower(path.Base(name)), "mmproj")
}

// isMatrix says by a file's name whether it was made to quantize with.
func isMatrix(name string) bool { return strings.Contains(strings.ToLower(path.Base(name)), "imatrix") }

var asideWords = regexp.MustCompile(`(?:^|[^A-Za-z0-9])(?:loras?|adapter|drafter|draft|speculative|eagle[23]?|mtp|vocab)(?:[^A-Za-z0-9]|$)|control[-_]vector`)

// isAside says by a file's name whether it goes with a model and is none of its own.
func isAside(name string) bool { return asideWords.MatchString(strings.ToLower(path.Base(name))) }

// quantization is that of a model by its name, else by that of the folder it is in, in upper case; "" if
// neither tells. model is as of [vendor.Part]. It gives what the vendor huggingface gives: a test compares them.
func quantization(model string) string {
	dir, base := path.Split(model)
	if q := vendor.Quantization(base); q != "" || dir == "" {
		return q
	}
	return vendor.Quantization(path.Base(dir))
}
