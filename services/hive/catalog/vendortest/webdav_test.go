package vendortest_test

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const op = "model.webdav"

// webdav is the vendor of the models in a folder of a WebDAV server (RFC 4918): "dav:sub/model.gguf".
type webdav struct {
	folder string // its address, without a slash at the end
	client *http.Client
}

func (*webdav) Name() string { return "webdav" }

func (*webdav) Forms() []string { return []string{"dav:path/model.gguf"} }

func (*webdav) Supports(ref string) bool { return strings.HasPrefix(ref, "dav:") }

func (w *webdav) Resolve(ctx context.Context, ref string) (*vendor.Artifact, error) {
	file := strings.TrimPrefix(ref, "dav:")
	if len(file) > 1000 || !fs.ValidPath(file) || path.Ext(file) != ".gguf" || strings.ContainsAny(file, "\x00\r\n\x1b") {
		return nil, messages.Errorf(messages.CodeBadRequest, op, "%.100q names no .gguf file", ref).WithHint("write dav:path/model.gguf")
	}
	req, err := w.request(ctx, "PROPFIND", file)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Depth", "0")
	resp, err := vendor.Do(w.client, req)
	if err != nil {
		return nil, told(file, err)
	}
	defer resp.Body.Close()
	var found struct {
		Size int64  `xml:"response>propstat>prop>getcontentlength"`
		Tag  string `xml:"response>propstat>prop>getetag"`
	}
	found.Size = -1
	if err := xml.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&found); err != nil {
		return nil, told(file, err)
	}
	return &vendor.Artifact{
		Name:     vendor.PublicName(file),
		Ref:      "dav:" + file,
		Files:    []vendor.File{{Name: path.Base(file), Kind: vendor.Model, SizeBytes: found.Size, Source: file}},
		Revision: strings.Trim(found.Tag, `"`), Quantization: vendor.Quantization(file),
	}, nil
}

func (w *webdav) Fetch(ctx context.Context, f *vendor.File, r vendor.Range) (*vendor.Body, error) {
	req, err := w.request(ctx, http.MethodGet, f.Source)
	if err != nil {
		return nil, err
	}
	body, err := vendor.Open(w.client, req, r)
	if err != nil {
		return nil, told(f.Name, err)
	}
	return body, nil
}

func (w *webdav) request(ctx context.Context, method, file string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, w.folder+(&url.URL{Path: "/" + file}).EscapedPath(), http.NoBody)
	if err != nil {
		return nil, messages.Errorf(messages.CodeBadRequest, op, "%.100q cannot be asked for: %w", file, err)
	}
	return req, nil
}

// told gives an error its code, and says what a person can do.
func told(file string, err error) error {
	e, answered := errors.AsType[*vendor.StatusError](err)
	switch {
	case answered && e.Status == http.StatusNotFound:
		return messages.Errorf(messages.CodeModelUnknown, op, "there is no %q: %w", file, err).WithHint("look into the folder with a browser")
	case answered && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden):
		return messages.Errorf(messages.CodeDenied, op, "%q is not for everyone: %w", file, err).WithHint("ask its owner")
	case answered && !vendor.Temporary(err):
		return messages.Errorf(messages.CodeBadRequest, op, "%q cannot be had: %w", file, err)
	}
	return messages.Errorf(messages.CodeUnavailable, op, "%q cannot be had now: %w", file, err)
}
