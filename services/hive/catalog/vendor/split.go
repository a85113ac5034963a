package vendor

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
)

const maxParts = 10_000

var (
	splitName = regexp.MustCompile(`(?i)^(.*[^/])-(\d{5})-of-(\d{5})(\.gguf)$`)
	// What llama.cpp and those who publish models call quantizations; UD is Unsloth's.
	quantName = regexp.MustCompile(`(?i)(?:UD[-_])?(?:I?Q[1-9](?:_(?:K|[0-9]|NL|XXS|XS|S|M)(?:_(?:XXL|XL|XS|L|M|S|[0-9])){0,2})?|TQ[12]_0|MXFP4(?:_MOE)?|NVFP4|BF16|FP?(?:16|32))`)
)

// Split reads a file name as llama.cpp's gguf-split writes it, "stem-00002-of-00005.gguf": part counts
// from 1. ok is false for a file that is no part.
func Split(name string) (stem string, part, of int, ok bool) {
	m := splitName.FindStringSubmatch(name)
	if m == nil {
		return "", 0, 0, false
	}
	part, _ = strconv.Atoi(m[2])
	of, _ = strconv.Atoi(m[3])
	if part < 1 || part > of || of > maxParts {
		return "", 0, 0, false
	}
	return m[1], part, of, true
}

// Part is [Split] for any model's file, of which it takes the extension: a whole file is part 1 of 1.
func Part(name string) (stem string, part, of int) {
	if stem, part, of, ok := Split(name); ok {
		return stem, part, of
	}
	return strings.TrimSuffix(name, path.Ext(name)), 1, 1
}

// PartName is the name of one part as [Split] reads it.
func PartName(stem string, part, of int) string {
	return fmt.Sprintf("%s-%05d-of-%05d.gguf", stem, part, of)
}

// Quantization is what a name says of it, in upper case: "Q4_K_M" of "Qwen3-8B-Q4_K_M.gguf", also of a part;
// "" if it says nothing. The last word that looks like one and stands alone counts.
func Quantization(name string) string {
	found := ""
	for at := 0; at < len(name); {
		m := quantName.FindStringIndex(name[at:])
		if m == nil {
			break
		}
		from, to := at+m[0], at+m[1]
		at = from + 1
		if (from == 0 || !alnum(name[from-1])) && (to == len(name) || !alnum(name[to])) {
			found, at = name[from:to], to
		}
	}
	return strings.Replace(strings.ToUpper(found), "UD_", "UD-", 1)
}

func alnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
