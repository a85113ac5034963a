package toolcall

import (
	"crypto/rand"
	"slices"
)

// MaxName is the length in bytes of the longest function name, which is OpenAI's limit too.
const MaxName = 64

// mistralIDLen is what Mistral's chat templates demand of the id of every call that they are given back.
const mistralIDLen = 9

// validName is OpenAI's rule for function names, and dots.
func validName[T string | []byte](s T) bool {
	if len(s) == 0 || len(s) > MaxName {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !alphanumeric(c) && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// idFor is the model's id if it is one and is new, else a made one.
func (p *Parser) idFor(given string) string {
	if !p.validID(given) || slices.Contains(p.ids, given) {
		given = p.newID()
	}
	p.ids = append(p.ids, given)
	return given
}

func (p *Parser) validID(id string) bool {
	if p.format != Mistral {
		return validName(id)
	}
	for i := range len(id) {
		if !alphanumeric(id[i]) {
			return false
		}
	}
	return len(id) == mistralIDLen
}

func (p *Parser) newID() string {
	switch {
	case p.makeID != nil:
		return p.makeID()
	case p.format == Mistral:
		return rand.Text()[:mistralIDLen]
	default:
		return "call_" + rand.Text()
	}
}
