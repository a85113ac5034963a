// Package weburl is the vendor of models that lie at a plain address on the web.
package weburl

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const (
	maxParts   = 500 // of a split model; each costs a request
	atOnce     = 8   // of those requests
	maxVersion = 200 // bytes of an ETag that are of use
)

// New returns the vendor "url". It takes https addresses whose path ends in .gguf or that have a digest
// behind "#sha256=", and http ones only of this machine or with a digest, since nothing else guards what
// comes. A redirect may lead to other hosts, never from https to http, nor from elsewhere to this machine.
//
// An address may have a query. If there is a token in it, it is part of the reference: it stays in
// Artifact.Ref and File.Source, and is in no name, note or error.
func New() vendor.Vendor { return newVendor() }

func newVendor() *web {
	client := vendor.NewClient()
	client.Transport = guard{client.Transport}
	return &web{client: client}
}

type web struct{ client *http.Client }

func (*web) Name() string { return "url" }

func (*web) Forms() []string {
	return []string{"https://host/path/model.gguf[#sha256=<64 hex digits>]", "https://host/any/path#sha256=<64 hex digits>"}
}

func (*web) Supports(ref string) bool { return looksRight(ref) }

func (w *web) Resolve(ctx context.Context, ref string) (*vendor.Artifact, error) {
	a, err := parse(ref)
	if err != nil {
		return nil, err
	}
	parts, err := a.parts()
	if err != nil {
		return nil, err
	}
	files, versions := make([]vendor.File, len(parts)), make([]string, len(parts))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, part := range parts {
		g.Go(func() error {
			size, version, err := w.look(ctx, part)
			files[i] = vendor.File{Name: part.fileName(), Kind: vendor.Model, SizeBytes: size, Digest: part.digest, Source: part.String()}
			versions[i] = version
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := &vendor.Artifact{Name: a.publicName(), Ref: parts[0].String(), Files: files, Revision: versions[0], Quantization: vendor.Quantization(a.fileName())}
	if a.digest == "" {
		out.Notes = append(out.Notes, "the address has no digest: add #sha256=... to have what comes compared with it")
	}
	return out, nil
}

// look asks for a file's size and version. Not every server knows HEAD, and some addresses are signed for
// GET alone: those are asked for one byte.
func (w *web) look(ctx context.Context, a *address) (size int64, version string, err error) {
	req, err := a.request(ctx, http.MethodHead)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Accept-Encoding", "identity")
	client := w.clientFor(a)
	resp, err := vendor.Do(client, req)
	if err == nil {
		resp.Body.Close()
		if resp.ContentLength > 0 {
			return resp.ContentLength, versionOf(resp.Header), nil
		}
	} else if !headRefused(err) {
		return 0, "", a.told(err)
	}
	if req, err = a.request(ctx, http.MethodGet); err != nil {
		return 0, "", err
	}
	body, err := vendor.Open(client, req, vendor.Range{From: 0, To: 1})
	if err != nil {
		return 0, "", a.told(err)
	}
	body.Close()
	if body.SizeBytes == 0 {
		return 0, "", messages.Errorf(messages.CodeBadModel, op, "the file at %s is empty", a.shown)
	}
	return body.SizeBytes, usable(body.Version), nil
}

func (w *web) Fetch(ctx context.Context, f *vendor.File, r vendor.Range) (*vendor.Body, error) {
	a, err := parse(f.Source)
	if err != nil {
		return nil, err
	}
	req, err := a.request(ctx, http.MethodGet)
	if err != nil {
		return nil, err
	}
	body, err := vendor.Open(w.clientFor(a), req, r)
	if err != nil {
		return nil, a.told(err)
	}
	return body, nil
}

// clientFor is the client, with the rules of redirects from a.
func (w *web) clientFor(a *address) *http.Client {
	client := *w.client
	usual := client.CheckRedirect
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if err := usual(req, via); err != nil {
			return refusedRedirect("%w", err)
		}
		return a.mayLeadTo(req.URL)
	}
	return &client
}

func (a *address) request(ctx context.Context, method string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.String(), http.NoBody)
	if err != nil {
		return nil, malformed(a.shown, "no request can be made of it")
	}
	req.Header.Set("User-Agent", "rbee")
	return req, nil
}

// mayLeadTo refuses redirects that [parse] would refuse as an address, and those that turn this machine
// against itself.
func (a *address) mayLeadTo(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return refusedRedirect("redirected to what is no web address")
	case u.Scheme == "http" && a.digest == "" && !loopback(u):
		return refusedRedirect("redirected to %q without encryption, and there is no digest", u.Host)
	case loopback(u) && !loopback(a.url):
		return refusedRedirect("redirected from elsewhere to this machine")
	}
	return nil
}

// versionOf is a strong ETag, else the date of the last change, as of [vendor.Body.Version].
func versionOf(h http.Header) string {
	if tag := h.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return usable(tag)
	}
	return usable(h.Get("Last-Modified"))
}

// usable is a version that can be shown, or "".
func usable(version string) string {
	if len(version) > maxVersion || !utf8.ValidString(version) || strings.ContainsFunc(version, unicode.IsControl) {
		return ""
	}
	return version
}
