package vendortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const secret = "s3cr3t-token"

// toy is a vendor of what an HTTP server has, as "toy:name". It is good; with a fault it breaks one promise.
type toy struct {
	base     string
	client   *http.Client
	fault    string
	asked    atomic.Int32
	resolved atomic.Bool
	busy     atomic.Int32  // calls under way
	second   chan struct{} // closed once there are two
	met      sync.Once
}

// overlap waits until another call comes, if one does.
func (v *toy) overlap() {
	select {
	case <-v.second:
	case <-time.After(50 * time.Millisecond): // the only call, as in most checks
	}
}

func (v *toy) is(fault string) bool { return v.fault == fault }

func (v *toy) Name() string {
	switch v.fault {
	case "name with a blank":
		return "a toy"
	case "name changes":
		return fmt.Sprintf("toy%d", v.asked.Add(1))
	case "name of the address":
		return fmt.Sprintf("toy%d", instances.Add(1))
	}
	return "toy"
}

var instances atomic.Int32

func (v *toy) Forms() []string {
	switch v.fault {
	case "no forms":
		return nil
	case "foreign form":
		return []string{"toy:name", "boy:name"}
	case "form of control characters":
		return []string{"toy:\x1b[31m"}
	}
	return []string{"toy:name[@revision]"}
}

func (v *toy) Supports(ref string) bool {
	switch {
	case v.is("Supports asks") && strings.HasPrefix(ref, "toy:"):
		if resp, err := v.client.Get(v.base); err == nil {
			resp.Body.Close()
		}
	case v.is("Supports refuses its own"):
		return strings.HasPrefix(ref, "toy:") && len(ref) < 6
	case v.is("Supports refuses the malformed"):
		return strings.HasPrefix(ref, "toy:") && !strings.HasSuffix(ref, "/")
	case v.is("Supports takes nothing"):
		return ref == "" || strings.HasPrefix(ref, "toy:")
	case v.is("Supports takes all"):
		return ref != ""
	case v.is("Supports changes its mind"):
		return strings.HasPrefix(ref, "toy:") && v.asked.Add(1)%2 == 1
	case v.is("Supports panics"):
		return ref[:4] == "toy:"
	case v.is("Supports hangs") && strings.Contains(ref, "\xff"):
		select {}
	}
	return strings.HasPrefix(ref, "toy:")
}

// Spell leaves every reference as it is: there is one way to write each.
func (v *toy) Spell(ref string) string {
	name, ok := strings.CutPrefix(ref, "toy:")
	switch {
	case v.is("spelling asks"):
		if resp, err := v.client.Get(v.base); err == nil {
			resp.Body.Close()
		}
	case v.is("malformed is spelt") && ref == "toy:a/":
		return "toy:a"
	case v.is("spelt as another") && name == "small":
		return "toy:large"
	case v.is("spelt anew each time") && ok:
		return ref + "@1"
	case v.is("spelt as nobody's") && ok:
		return name
	}
	return ref
}

// parse gives the name of a reference.
func (v *toy) parse(ctx context.Context, ref string) (string, error) {
	name, _ := strings.CutPrefix(ref, "toy:")
	name, rev, pinned := strings.Cut(name, "@")
	switch {
	case v.is("Resolve panics") && strings.Contains(ref, "\x00"):
		panic("a NUL")
	case v.is("Resolve hangs") && strings.Contains(ref, "\x00"):
		select {}
	}
	if ok := strings.Trim(name, "abcdefghijklmnopqrstuvwxyz") == "" && name != "" && len(name) < 30; ok && (!pinned || rev == "1") {
		return name, nil
	}
	short := fmt.Sprintf("%.40q", ref)
	code := messages.CodeBadRequest
	switch v.fault {
	case "error of control characters":
		short = ref
	case "endless error":
		short = strings.Repeat("x", len(ref)) + short
	case "malformed is unknown":
		code = messages.CodeModelUnknown
	case "malformed asks":
		_, err := v.head(ctx, "nothing")
		_ = err
	case "malformed has no hint":
		return "", messages.Errorf(code, "toy", "%s is no name", short)
	}
	return "", messages.Errorf(code, "toy", "%s is no name", short).WithHint("write toy:name")
}

func (v *toy) head(ctx context.Context, name string) (http.Header, error) {
	if v.is("Resolve ignores its context") {
		ctx = context.WithoutCancel(ctx)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, v.base+"/"+name, nil)
	if err != nil {
		return nil, err
	}
	resp, err := vendor.Do(v.client, req)
	if err != nil {
		return nil, v.told(name, err)
	}
	resp.Body.Close()
	return resp.Header, nil
}

// told gives an error of the network its code.
func (v *toy) told(name string, err error) error {
	wrong := func(code messages.Code, format string, args ...any) error {
		return messages.Errorf(code, "toy", format, args...)
	}
	if e, ok := errors.AsType[*vendor.StatusError](err); ok && e.Status == http.StatusNotFound {
		switch v.fault {
		case "unknown is unavailable":
			return wrong(messages.CodeUnavailable, "no %s", name)
		case "unknown has no hint":
			return wrong(messages.CodeModelUnknown, "no %s", name)
		case "unknown is a bare error":
			return fmt.Errorf("no %s", name)
		case "unknown has no operation":
			return messages.Errorf(messages.CodeModelUnknown, "", "no %s", name).WithHint("look again")
		case "error shows a secret":
			name = secret
		case "cause shows a secret":
			return messages.Errorf(messages.CodeModelUnknown, "toy", "nothing: %w", errors.New(secret)).WithHint("look again")
		}
		return messages.Errorf(messages.CodeModelUnknown, "toy", "no %s", name).WithHint("look again")
	} else if ok && e.Status == http.StatusForbidden {
		switch v.fault {
		case "denied has no hint":
			return wrong(messages.CodeDenied, "%s is locked", name)
		case "denied is unavailable":
			return messages.Errorf(messages.CodeUnavailable, "toy", "%s is locked", name).WithHint("ask for it")
		}
		return messages.Errorf(messages.CodeDenied, "toy", "%s is locked", name).WithHint("ask for it")
	} else if ok && v.is("busy loses the wait") {
		return wrong(messages.CodeUnavailable, "%s: %v", name, err)
	} else if ok && v.is("busy is permanent") {
		return wrong(messages.CodeBadModel, "%s: %w", name, err)
	}
	switch {
	case v.is("gone is a bare error"):
		return err
	case v.is("gone is unknown"):
		return wrong(messages.CodeModelUnknown, "%s: %w", name, err)
	case v.is("cancel loses its cause"):
		return wrong(messages.CodeUnavailable, "%s: %v", name, err)
	}
	return wrong(messages.CodeUnavailable, "%s: %w", name, err)
}

func (v *toy) Resolve(ctx context.Context, ref string) (*vendor.Artifact, error) {
	if v.is("one at a time") {
		defer v.busy.Add(-1)
		if v.busy.Add(1) > 1 {
			v.met.Do(func() { close(v.second) })
			return nil, errors.New("busy with another")
		}
		v.overlap()
	}
	name, err := v.parse(ctx, ref)
	if err != nil {
		return nil, err
	}
	if v.is("neither artifact nor error") {
		return nil, nil
	}
	if v.is("asks after the end") {
		ctx = context.WithoutCancel(ctx)
	}
	header, err := v.head(ctx, name)
	if err != nil {
		return nil, err
	}
	v.resolved.Store(true)
	content := contents[name]
	a := &vendor.Artifact{Name: name, Ref: "toy:" + name + "@1", License: header.Get("Etag"), Notes: []string{"asked as " + ref}, Files: []vendor.File{
		{Name: name + ".gguf", Kind: vendor.Model, SizeBytes: int64(len(content)), Digest: digest(content), Source: name},
		{Name: "sub/template", Kind: vendor.Template, SizeBytes: -1, Source: "template"},
	}}
	v.spoil(ref, a)
	return a, nil
}

// spoil plants the faults of artifacts.
func (v *toy) spoil(ref string, a *vendor.Artifact) {
	f := &a.Files[0]
	set := map[string]func(){
		"no files":                  func() { a.Files = nil },
		"template first":            func() { a.Files[0], a.Files[1] = a.Files[1], a.Files[0] },
		"model last":                func() { a.Files = append(a.Files, *f) },
		"unknown kind":              func() { a.Files[1].Kind = "weights" },
		"wrong kind":                func() { a.Files[1].Kind = vendor.License },
		"a file missing":            func() { a.Files = a.Files[:1] },
		"file without a name":       func() { f.Name = "" },
		"wrong file name":           func() { f.Name = "other.gguf" },
		"digest in capitals":        func() { f.Digest = "sha256:" + strings.ToUpper(f.Digest[7:]) },
		"wrong digest":              func() { f.Digest = digest([]byte("other")) },
		"wrong size":                func() { f.SizeBytes-- },
		"size -2":                   func() { f.SizeBytes = -2 },
		"relative path":             func() { f.InPlace = "model.gguf" },
		"nothing in place":          func() { f.InPlace = "/nonexistent/model.gguf" },
		"name of dots":              func() { a.Name = "../" + a.Name },
		"name with a space":         func() { a.Name += " x" },
		"name with a hidden letter": func() { a.Name += "\u202e" },
		"name of a path":            func() { a.Name = "/" + a.Name },
		"other name":                func() { a.Name += "x" },
		"no reference":              func() { a.Ref = "" },
		"foreign reference":         func() { a.Ref = "boy:x" },
		"note of control codes":     func() { a.Notes = []string{"\x1b[2J"} },
		"note with a secret":        func() { a.Notes = []string{"with " + secret} },
		"source with a secret":      func() { f.Source += "?token=" + secret },
		"reference of the newest":   func() { a.Revision = ref },
		"changes with time":         func() { a.Revision = fmt.Sprint(v.asked.Add(1)) },
		"changes with the vendor":   func() { a.Revision = fmt.Sprintf("%p", v) },
	}[v.fault]
	if set != nil {
		set()
	}
}

func (v *toy) Fetch(ctx context.Context, f *vendor.File, r vendor.Range) (*vendor.Body, error) {
	switch {
	case v.is("Fetch panics") && strings.Contains(f.Source, "\x00"):
		panic("a NUL")
	case v.is("needs an earlier Resolve") && !v.resolved.Load():
		return nil, errors.New("what is that?")
	case v.is("nothing fetched"):
		return nil, nil
	case v.is("one fetch at a time"):
		defer v.busy.Add(-1)
		if v.busy.Add(1) > 1 {
			v.met.Do(func() { close(v.second) })
			return nil, errors.New("busy with another")
		}
		v.overlap()
	case v.is("Fetch ignores its context"), v.is("Fetch asks after the end"):
		ctx = context.WithoutCancel(ctx)
	case v.is("range off by one") && r.From > 0:
		r.From--
	case v.is("end off by one") && r.To > r.From+1:
		r.To--
	case v.is("whole file only"):
		r = vendor.Whole
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.base+"/"+f.Source, nil)
	if err != nil {
		return nil, messages.Errorf(messages.CodeBadRequest, "toy", "no such file: %w", err)
	}
	b, err := vendor.Open(v.client, req, r)
	if err != nil {
		return v.afterTheEnd(f, r, err)
	}
	return v.spoilBody(b, r), nil
}

// afterTheEnd tells why a file cannot be had, or gives bytes that are none of its.
func (v *toy) afterTheEnd(f *vendor.File, r vendor.Range, err error) (*vendor.Body, error) {
	if e, ok := errors.AsType[*vendor.StatusError](err); ok && e.Status == http.StatusRequestedRangeNotSatisfiable {
		if v.is("zeros beyond the end") {
			return &vendor.Body{ReadCloser: io.NopCloser(bytes.NewReader(make([]byte, 10))), From: r.From, SizeBytes: -1}, nil
		}
		return nil, messages.Errorf(messages.CodeBadRequest, "toy", "%s is shorter", f.Name)
	}
	return nil, v.told(f.Name, err)
}

var contents = map[string][]byte{"small": []byte("GGUF small"), "large": bytes.Repeat([]byte("GGUF large "), 1000), "template": []byte("{{ x }}")}

// source has contents; what is locked is denied.
func source(g *Gate) http.Handler {
	return g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		content, ok := contents[name]
		switch {
		case name == "locked":
			http.Error(w, "no", http.StatusForbidden)
		case !ok:
			http.NotFound(w, r)
		default:
			w.Header().Set("ETag", `"`+name+`"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		}
	}))
}

func newToy(t testing.TB, base, fault string) *toy {
	client := vendor.NewClient()
	t.Cleanup(client.CloseIdleConnections)
	return &toy{base: base, client: client, fault: fault, second: make(chan struct{})}
}
