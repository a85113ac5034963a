package catalog

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// checkName refuses public names that would be trouble in commands and logs.
func checkName(name string) error {
	bad := strings.IndexFunc(name, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == '\\' })
	if name == "" || len(name) > messages.MaxModelName || !utf8.ValidString(name) || bad >= 0 || strings.HasPrefix(name, "-") || strings.HasPrefix(name, "/") {
		return messages.Errorf(messages.CodeBadRequest, opResolve, "%.80q cannot be a model's name", name).
			WithHint("at most %d printable characters without blanks; give one with --name", messages.MaxModelName)
	}
	return nil
}

// offered says whether a name is kept for what a vendor offers, now or later.
func (c *Catalog) offered(name string) bool {
	v, _ := c.pick(name)
	_, ok := v.(vendor.Offerer)
	return ok
}

// likePath says that a name would be taken for a path where models are named.
func likePath(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	return first == "." || first == ".." || strings.HasPrefix(name, "~") || local{}.Supports(name)
}
