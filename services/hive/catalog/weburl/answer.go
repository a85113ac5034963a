package weburl

import (
	"context"
	"crypto/tls"
	"errors"
	"mime"
	"net/http"
	"strings"
	"unicode"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// guard refuses answers that are no model, before anything else looks at them.
type guard struct{ http.RoundTripper }

// RoundTrip is of [http.RoundTripper].
func (g guard) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := g.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	page := kind == "text/html" || kind == "application/xhtml+xml"
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300 && page:
		err = messages.Errorf(messages.CodeBadModel, op, "%q sends a web page, not a model", req.URL.Host).
			WithHint("open the address in a browser: it may ask for a login, or have a link for downloads to use instead")
	case resp.StatusCode >= 300 && resp.StatusCode < 400 && !parses(resp.Header.Get("Location")):
		err = refusedRedirect("%q redirects to a malformed address", req.URL.Host) // Go's own error shows it
	}
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

func refusedRedirect(format string, args ...any) error {
	return messages.Errorf(messages.CodeBadRequest, op, format, args...).
		WithHint("that is not followed; if you trust where it leads, use that address itself, with its digest")
}

// headRefused says whether GET may be answered though HEAD was not.
func headRefused(err error) bool {
	e, ok := errors.AsType[*vendor.StatusError](err)
	return ok && (e.Status == http.StatusForbidden || e.Status == http.StatusMethodNotAllowed || e.Status == http.StatusNotImplemented)
}

// told words what went wrong at a.
func (a *address) told(err error) error {
	if e, ok := errors.AsType[*messages.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*vendor.StatusError](err); ok {
		return a.refused(e)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return messages.Errorf(messages.CodeCancelled, op, "%s: %w", a.shown, err)
	case errors.Is(err, context.DeadlineExceeded):
		return messages.Errorf(messages.CodeTimeout, op, "%s: %w", a.shown, err)
	case untrusted(err):
		return messages.Errorf(messages.CodeBadRequest, op, "the host of %s is not who it says: %w", a.shown, brief{err}).
			WithHint("if its certificate is your own, have the hive's machine trust it (SSL_CERT_FILE)")
	case errors.Is(err, http.ErrSchemeMismatch):
		return messages.Errorf(messages.CodeBadRequest, op, "the host of %s does not speak https", a.shown).
			WithHint("check the port; http:// is taken with a digest")
	}
	return messages.Errorf(messages.CodeUnavailable, op, "cannot reach %s: %w", a.shown, brief{err}).
		WithHint("check the host's name, and that this machine has a network")
}

// refused words an answer that is no success. Its text is not shown: it may be anything.
func (a *address) refused(e *vendor.StatusError) error {
	switch {
	case e.Status == http.StatusNotFound || e.Status == http.StatusGone:
		return messages.Errorf(messages.CodeModelUnknown, op, "there is nothing at %s: %w", a.shown, e).
			WithHint("check the address; names are often case-sensitive")
	case e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden || e.Status == http.StatusUnavailableForLegalReasons:
		return messages.Errorf(messages.CodeDenied, op, "%s may not be had: %w", a.shown, e).
			WithHint("it needs a login, or the address has expired: take a fresh one, or give the path of a file you have")
	case vendor.Temporary(e):
		return messages.Errorf(messages.CodeUnavailable, op, "%s cannot be had now: %w", a.shown, e).WithHint("try again later")
	case e.Status == http.StatusRequestedRangeNotSatisfiable:
		return messages.Errorf(messages.CodeBadModel, op, "the file at %s is shorter than expected: %w", a.shown, e).
			WithHint("it may have been replaced: pull it anew")
	}
	return messages.Errorf(messages.CodeBadRequest, op, "%s cannot be had: %w", a.shown, e).WithHint("check the address")
}

func untrusted(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// brief is an error with foreign text in it, made fit to be shown.
type brief struct{ error }

// Error is the start of the text, without control characters.
func (b brief) Error() string {
	s := strings.ToValidUTF8(b.error.Error(), "\uFFFD")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, s)
	if len(s) > maxShown {
		s = strings.ToValidUTF8(s[:maxShown], "") + "..."
	}
	return s
}

// Unwrap gives the cause.
func (b brief) Unwrap() error { return b.error }
