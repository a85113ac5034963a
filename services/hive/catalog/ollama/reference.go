package ollama

import (
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rbee-project/rbee/messages"
)

const (
	prefix           = "ollama:"
	defaultNamespace = "library"
	defaultTag       = "latest"
	maxReference     = 512 // bytes, of any form
	maxName          = 255 // bytes, of a public name
)

// What Ollama allows (types/model/name.go): a part starts with a letter, a digit or an underscore, so none
// is "..", and has at most 80 bytes. A host's port is a number here, unlike there.
var (
	partRule      = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}$`)
	namespaceRule = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,79}$`)
	hostRule      = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*(?::([0-9]{1,5}))?$`)
	digestRule    = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// ownHosts are names of Ollama's own registry and of its website.
var ownHosts = []string{"ollama.com", "www.ollama.com", "registry.ollama.ai"}

// reference is a parsed reference.
type reference struct {
	host      string // "" is the registry that is asked by default
	namespace string
	name      string
	tag       string // "" only beside a digest
	digest    string // of a manifest, or in a File's Source of a blob; "" if there is none
}

// repository is the path of r at its registry.
func (r reference) repository() string { return r.namespace + "/" + r.name }

// public is the short name: it has the host and the namespace only where they are not the usual ones.
func (r reference) public() string {
	s := r.source()
	if r.tag != "" {
		return s + ":" + r.tag
	}
	return s + "@" + r.digest
}

// pinned is public with a digest.
func (r reference) pinned(digest string) string {
	if r.tag == "" {
		return r.source() + "@" + digest
	}
	return r.public() + "@" + digest
}

// source is the repository as a reference without tag and digest.
func (r reference) source() string {
	switch {
	case r.host != "":
		return prefix + r.host + "/" + r.repository()
	case r.namespace != defaultNamespace:
		return prefix + r.repository()
	}
	return prefix + r.name
}

// forms are told to people.
func forms() []string {
	return []string{
		"ollama:name[:tag]",
		"ollama:namespace/name[:tag]",
		"ollama:host/namespace/name[:tag]",
		"https://ollama.com/library/name[:tag]",
	}
}

// page cuts the host of an address that was copied from a browser.
func page(ref string) (path string, ok bool) {
	head := strings.ToLower(ref[:min(len(ref), 40)])
	n := 0
	if scheme, _, found := strings.Cut(head, "://"); found {
		if scheme != "http" && scheme != "https" {
			return "", false
		}
		n = len(scheme) + len("://")
	}
	host, _, ok := strings.Cut(head[n:], "/")
	if !ok || !slices.Contains(ownHosts, host) {
		return "", false
	}
	return ref[n+len(host)+1:], true
}

func supports(ref string) bool {
	if strings.HasPrefix(ref, prefix) {
		return true
	}
	_, ok := page(ref)
	return ok
}

// parse reads a reference. Its error is [messages.CodeBadRequest], with a hint.
func parse(ref string) (reference, error) {
	if len(ref) > maxReference {
		return reference{}, malformed(ref, "is longer than "+strconv.Itoa(maxReference)+" bytes")
	}
	s, given := strings.CutPrefix(ref, prefix)
	if path, ok := page(s); ok {
		s, _, _ = strings.Cut(path, "#")
		s, _, _ = strings.Cut(s, "?")
		s = strings.TrimSuffix(s, "/")
		if strings.Count(s, "/") > 1 {
			return reference{}, malformed(ref, "is not the page of a model itself")
		}
	} else if !given {
		return reference{}, malformed(ref, "is no reference to a model of Ollama's")
	}
	r, problem := split(s)
	if problem == "" {
		problem = r.check()
	}
	if problem != "" {
		return reference{}, malformed(ref, problem)
	}
	return r, nil
}

// split takes [scheme://][host/][namespace/]name[:tag][@digest] apart, as Ollama does: from its end.
func split(s string) (r reference, problem string) {
	s, digest, hasDigest := strings.Cut(s, "@")
	if hasDigest && !digestRule.MatchString(digest) {
		return r, `has no digest such as sha256:0123… (64 hexadecimal digits) after its "@"`
	}
	r.digest = digest
	scheme, rest, hasScheme := strings.Cut(s, "://")
	if hasScheme {
		s = rest
	}
	if i := strings.LastIndex(s, ":"); i > strings.LastIndex(s, "/") {
		s, r.tag = s[:i], s[i+1:]
		if r.tag == "" {
			return r, `has no tag after its ":"`
		}
	} else if !hasDigest {
		r.tag = defaultTag
	}
	r.namespace = defaultNamespace
	parts := strings.Split(s, "/")
	switch len(parts) {
	case 1:
		r.name = parts[0]
	case 2:
		r.namespace, r.name = parts[0], parts[1]
	case 3:
		r.host, r.namespace, r.name = strings.ToLower(parts[0]), parts[1], parts[2]
		if r.host == "" {
			return r, "has an empty host"
		}
	default:
		return r, "has more parts than host, namespace and name"
	}
	if hasScheme && (r.host == "" || scheme != schemeOf(r.host)) {
		return r, `has an address in it that is not taken: "https://" belongs before a host, "http://" before one of this machine`
	}
	if slices.Contains(ownHosts, r.host) {
		r.host = ""
	}
	return r, ""
}

// check says what is wrong with a part of r, "" if nothing is.
func (r reference) check() string {
	switch {
	case r.name == "":
		return "has no name of a model"
	case !partRule.MatchString(r.name):
		return "has a name with characters or a length that Ollama does not allow"
	case !namespaceRule.MatchString(r.namespace):
		return "has a namespace with characters or a length that Ollama does not allow"
	case r.tag != "" && !partRule.MatchString(r.tag):
		return "has a tag with characters or a length that Ollama does not allow"
	case len(r.public()) > maxName:
		return "is longer than " + strconv.Itoa(maxName) + " bytes"
	case r.host == "":
		return ""
	}
	m := hostRule.FindStringSubmatch(r.host)
	if m == nil {
		return "has a host that is none"
	}
	if port, _ := strconv.Atoi(m[1]); m[1] != "" && (port < 1 || port > 65535) {
		return "has a host with a port that is none"
	}
	return ""
}

// schemeOf is how a host that stands in a reference is spoken to.
func schemeOf(host string) string {
	if loopback(host) {
		return "http"
	}
	return "https"
}

// loopback says whether host, which may have a port, is this machine.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

func malformed(ref, problem string) error {
	return messages.Errorf(messages.CodeBadRequest, op, "the reference %.100q %s", ref, problem).
		WithHint("such references are: %s", strings.Join(forms(), ", "))
}
