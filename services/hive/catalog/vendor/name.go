package vendor

import (
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	extension = ".gguf"
	maxName   = 250 // bytes; a file's name has 255 at most
)

// PublicName is what a model is called whose file is at path: the file's name without ".gguf", at most 250
// bytes. A colon would look like another vendor's reference; blanks are trouble in commands, and letters
// that cannot be seen anywhere: each becomes "-".
func PublicName(path string) string {
	name := filepath.Base(path)
	for ext := filepath.Ext(name); strings.EqualFold(ext, extension) && len(ext) < len(name); ext = filepath.Ext(name) {
		name = strings.TrimSuffix(name, ext)
	}
	name = strings.Map(func(r rune) rune {
		if r == ':' || r == '/' || r == '\\' || r == unicode.ReplacementChar || unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return '-'
		}
		return r
	}, name)
	if len(name) > maxName {
		cut := maxName
		for !utf8.RuneStart(name[cut]) {
			cut--
		}
		name = name[:cut]
	}
	if strings.Trim(name, ".") == "" { // would mean a folder
		return "-"
	}
	return name
}
