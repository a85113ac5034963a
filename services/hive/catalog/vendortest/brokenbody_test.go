package vendortest

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// spoilBody plants the faults of bodies.
func (v *toy) spoilBody(b *vendor.Body, r vendor.Range) *vendor.Body {
	inner := b.ReadCloser
	body := &spoiled{ReadCloser: inner}
	b.ReadCloser = body
	switch v.fault {
	case "wrong bytes":
		body.flip = true
	case "bytes of the start":
		b.From = 0
	case "says it starts there":
		b.From = r.From
	case "range off by one":
		if r.From > 0 {
			b.From++
		}
	case "too many bytes":
		b.ReadCloser = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(inner, strings.NewReader("more")), inner}
	case "too few bytes":
		body.Reader = io.LimitReader(inner, 3)
	case "wrong total":
		b.SizeBytes = 1
	case "version changes":
		b.Version = fmt.Sprint(v.asked.Add(1))
	case "errors are swallowed":
		body.swallow = true
	case "errors are final":
		body.final = true
	case "Close closes nothing":
		body.keep = true
	case "Close reads on":
		body.drain = true
	case "a goroutine is left":
		go func() { select {} }()
	}
	return b
}

// spoiled is a body with a fault.
type spoiled struct {
	io.ReadCloser
	io.Reader
	flip, swallow, final, keep, drain bool
}

func (s *spoiled) Read(p []byte) (int, error) {
	from := io.Reader(s.ReadCloser)
	if s.Reader != nil {
		from = s.Reader
	}
	n, err := from.Read(p)
	if s.flip && n > 0 {
		p[n-1] ^= 1
	}
	switch {
	case err == nil || errors.Is(err, io.EOF):
	case s.swallow:
		err = io.EOF
	case s.final:
		err = messages.Errorf(messages.CodeBadModel, "toy", "broken: %w", err)
	}
	return n, err
}

func (s *spoiled) Close() error {
	if s.drain {
		_, _ = io.Copy(io.Discard, s.ReadCloser)
	}
	if s.keep {
		return nil
	}
	return s.ReadCloser.Close()
}
