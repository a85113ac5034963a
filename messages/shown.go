package messages

import "regexp"

var (
	query = regexp.MustCompile(`(://[^\s?#"]*)\?[^\s#"]*`)
	user  = regexp.MustCompile(`(://)[^\s/?#"]*@`)
)

// Shown is a text without what may be a secret in the addresses in it: a query, which may be a signature, and a user with
// a password.
func Shown(text string) string {
	return query.ReplaceAllString(user.ReplaceAllString(text, "$1"), "$1")
}
