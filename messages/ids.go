package messages

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"
	"strings"
)

// WorkerID names a worker on the bus; HiveID a machine; JobID one operation. Each matches
// [A-Za-z0-9_-]{1,64}, so that it is one token of a subject and one key of a bucket.
type (
	WorkerID string
	HiveID   string
	JobID    string
)

// Caller is who asks or executes: the role and the name of a connection's credentials, joined by
// a dash ("client-alice"). The server holds every connection to its own.
type Caller string

// Role is the part before the dash.
func (c Caller) Role() string { role, _, _ := strings.Cut(string(c), "-"); return role }

// Name is the part behind the dash.
func (c Caller) Name() string { _, name, _ := strings.Cut(string(c), "-"); return name }

var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// ValidID says whether s may be an id, a name or a caller.
func ValidID(s string) bool { return idPattern.MatchString(s) }

// CheckID is nil for a valid id, else a [CodeBadRequest] that says what kind of id is wrong.
func CheckID(kind, s string) error {
	if ValidID(s) {
		return nil
	}
	return Errorf(CodeBadRequest, "check", "%q is not a %s", s, kind).
		WithHint("1 to 64 of A-Z, a-z, 0-9, - and _")
}

var notID = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

// IDFrom makes an id of any text: other characters become a dash, the rest is cut at 64. An empty
// text gives fallback.
func IDFrom(text, fallback string) string {
	s := strings.Trim(notID.ReplaceAllString(text, "-"), "-")
	if len(s) > 64 {
		s = strings.Trim(s[:64], "-")
	}
	if s == "" {
		return fallback
	}
	return s
}

// NewID is prefix and 12 random hex digits: an id that nobody else has.
func NewID(prefix string) string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return prefix + hex.EncodeToString(b[:])
}
