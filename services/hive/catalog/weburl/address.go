package weburl

import (
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const (
	op         = "model.url"
	maxAddress = 8 << 10
	maxShown   = 200
	digestMark = "sha256="
	extension  = ".gguf"
)

// address is where one file lies.
type address struct {
	url    *url.URL // with the fragment "sha256=<hex>" if there is a digest
	digest string   // "sha256:<hex>" or ""
	shown  string   // for people: no query, no password; quoted
}

func (a *address) String() string { return a.url.String() }

// cutScheme gives what is behind http:// or https://.
func cutScheme(ref string) (scheme, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(ref[:min(len(ref), maxAddress)], "://")
	scheme = strings.ToLower(scheme)
	return scheme, rest, ok && (scheme == "http" || scheme == "https")
}

// looksRight says of a reference, well-formed or not, whether it is of this vendor.
func looksRight(ref string) bool {
	_, rest, ok := cutScheme(ref)
	if !ok {
		return false
	}
	rest, fragment, _ := strings.Cut(rest, "#")
	rest, _, _ = strings.Cut(rest, "?")
	return strings.HasPrefix(fragment, digestMark) || hasExtension(rest)
}

func hasExtension(s string) bool {
	return len(s) >= len(extension) && strings.EqualFold(s[len(s)-len(extension):], extension)
}

// show is what of an address anybody may see: neither query nor user. Of a malformed one, where nobody knows
// what is a password, it is the file's name.
func show(ref string) string {
	scheme, rest, ok := cutScheme(ref)
	if !ok {
		return "given"
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	if parses(ref) {
		host, path, found := strings.Cut(rest, "/")
		rest = host[strings.LastIndexByte(host, '@')+1:]
		if found {
			rest += "/" + path
		}
	} else if rest = rest[strings.LastIndexAny(rest, "/@")+1:]; hasExtension(rest) {
		rest = ".../" + rest
	} else {
		rest = "..."
	}
	s := scheme + "://" + rest
	if len(s) > maxShown {
		s = s[:maxShown] + "..."
	}
	return strconv.Quote(s)
}

func parses(ref string) bool {
	_, err := url.Parse(ref)
	return err == nil
}

func malformed(shown, format string, args ...any) *messages.Error {
	return messages.Errorf(messages.CodeBadRequest, op, "the address %s cannot be used: %s", shown, fmt.Sprintf(format, args...)).
		WithHint("write https://host/path/model.gguf, with #sha256=<64 hex digits> behind it if you know the digest")
}

// parse reads a reference, or a File.Source, which has the same form.
func parse(ref string) (*address, error) {
	if !looksRight(ref) {
		return nil, malformed(show(ref), "it is no web address of a .gguf file")
	}
	if len(ref) > maxAddress {
		return nil, malformed(show(ref), "it has more than %d bytes", maxAddress)
	}
	u, err := url.Parse(ref)
	if err != nil { // the cause may show a password
		return nil, malformed(show(ref), "it is no well-formed web address")
	}
	a := &address{url: u, shown: show(ref)}
	if u.User != nil {
		return nil, messages.Errorf(messages.CodeBadRequest, op, "there is a user or password in the address %s", a.shown).
			WithHint("others on the machine could read it; fetch the file by other means and give its path")
	}
	if !utf8.ValidString(u.Host) || !validHost(u) {
		return nil, malformed(a.shown, "its host or port is malformed")
	}
	u.Host = strings.ToLower(u.Host)
	if fragment := u.Fragment; fragment != "" || strings.HasSuffix(ref, "#") {
		if a.digest, err = readDigest(fragment); err != nil {
			return nil, malformed(a.shown, "%v", err)
		}
		u.Fragment, u.RawFragment = digestMark+strings.TrimPrefix(a.digest, "sha256:"), ""
	}
	if a.digest == "" && !hasExtension(u.EscapedPath()) {
		return nil, malformed(a.shown, "its path does not end in %s, and it has no digest", extension)
	}
	if u.Scheme == "http" && a.digest == "" && !loopback(u) {
		return nil, messages.Errorf(messages.CodeBadRequest, op, "%s is sent without encryption: anybody on the way could change it", a.shown).
			WithHint("use https, or put #sha256=<64 hex digits> behind the address")
	}
	return a, nil
}

var hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)

func readDigest(fragment string) (string, error) {
	s, ok := strings.CutPrefix(fragment, digestMark)
	if !ok {
		return "", fmt.Errorf("behind # there may only be %s and a digest", digestMark)
	}
	if s = strings.ToLower(s); !hexDigest.MatchString(s) {
		return "", fmt.Errorf("a SHA-256 digest has 64 hexadecimal digits, this one has %d characters or others among them", len(s))
	}
	return "sha256:" + s, nil
}

func validHost(u *url.URL) bool {
	if u.Hostname() == "" || u.Opaque != "" || strings.HasSuffix(u.Host, ":") {
		return false
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		return err == nil && n > 0
	}
	return true
}

// loopback says whether an address is of this machine: 127.0.0.0/8, ::1 or localhost.
func loopback(u *url.URL) bool {
	host := u.Hostname()
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// fileName is the last part of the path, the host's name if there is none.
func (a *address) fileName() string {
	name := path.Base(a.url.Path)
	if name == "/" || name == "." {
		return a.url.Hostname()
	}
	if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return path.Base(a.url.EscapedPath())
	}
	return name
}

func (a *address) publicName() string {
	name := a.fileName()
	if stem, _, _, ok := vendor.Split(name); ok {
		name = stem + extension
	}
	return vendor.PublicName(name)
}

// parts are the addresses of all parts of a split model, one for another model.
func (a *address) parts() ([]*address, error) {
	dir, name := path.Split(a.url.EscapedPath())
	stem, _, of, ok := vendor.Split(name)
	switch {
	case !ok || of == 1:
		return []*address{a}, nil
	case a.digest != "":
		return nil, malformed(a.shown, "it is one of %d parts, a digest cannot be of all", of)
	case of > maxParts:
		return nil, malformed(a.shown, "it has %d parts, at most %d are taken", of, maxParts)
	}
	var out []*address
	for i := range of {
		u := *a.url
		u.RawPath = dir + vendor.PartName(stem, i+1, of)[:len(name)-len(extension)] + name[len(name)-len(extension):]
		decoded, err := url.PathUnescape(u.RawPath)
		if err != nil {
			return nil, malformed(a.shown, "it is no well-formed web address")
		}
		u.Path = decoded
		out = append(out, &address{url: &u, shown: show(u.String())})
	}
	return out, nil
}
