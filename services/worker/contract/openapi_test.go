package contract_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/contract"
	"github.com/rbee-project/rbee/services/worker/enginetest"
)

func document(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("../../../docs/openapi/worker.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context(), openapi3.IsOpenAPI31OrLater()); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestDocumentHasEveryRoute(t *testing.T) {
	var in []string
	for path, item := range document(t).Paths.Map() {
		for method := range item.Operations() {
			in = append(in, method+" "+path)
		}
	}
	slices.Sort(in)
	if want := contract.Routes(); !slices.Equal(in, want) {
		t.Errorf("the document has %q, the worker %q", in, want)
	}
}

// TestDocumentHasEveryField holds the schemas against the Go types: names, and what is always there.
func TestDocumentHasEveryField(t *testing.T) {
	schemas := document(t).Components.Schemas
	for name, v := range map[string]any{
		"WorkerInfo": messages.WorkerInfo{}, "ModelInfo": messages.ModelInfo{}, "InferRequest": messages.InferRequest{},
		"Error": messages.Error{}, "StreamEnd": messages.StreamEnd{}, "Usage": messages.Usage{}, "Done": messages.Done{},
	} {
		var fields, required []string
		for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
			tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Anonymous || tag == "-" {
				continue
			}
			fields = append(fields, tag)
			if options != "omitempty" {
				required = append(required, tag)
			}
		}
		ref := schemas[name]
		if ref == nil {
			t.Errorf("no schema %s", name)
			continue
		}
		same(t, name+"'s fields", slices.Collect(maps.Keys(ref.Value.Properties)), fields)
		same(t, name+"'s required fields", ref.Value.Required, required)
	}
	for name, ref := range schemas {
		for field, p := range ref.Value.Properties {
			if p.Value.Description == "" && p.Ref == "" {
				t.Errorf("%s.%s says nothing of its meaning and unit", name, field)
			}
		}
	}
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: the document has %q, the code %q", what, got, want)
	}
}

// checker holds answers against the document, and remembers what it saw of it.
type checker struct {
	doc  *openapi3.T
	seen map[string]bool // "GET /health 200 application/json", "WorkerInfo.id"
}

// response checks one answer to method path.
func (c *checker) response(t *testing.T, method, path string, r reply) {
	t.Helper()
	what := fmt.Sprint(method, " ", path, " ", r.status)
	var resp *openapi3.ResponseRef
	if item := c.doc.Paths.Value(path); item != nil && item.GetOperation(method) != nil {
		resp = item.GetOperation(method).Responses.Status(r.status)
	}
	if resp == nil || resp.Value.Content[r.media] == nil {
		t.Errorf("%s %s is not in the document", what, r.media)
		return
	}
	c.seen[what+" "+r.media] = true
	switch r.media {
	case "application/json":
		c.json(t, resp.Value.Content[r.media].Schema, r.body)
	case "text/event-stream":
		c.events(t, r.body)
	case "text/plain":
		c.metrics(t, resp.Value.Extensions["x-metrics"], r.body)
	}
}

func (c *checker) json(t *testing.T, schema *openapi3.SchemaRef, raw []byte) {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Errorf("%q: %v", raw, err)
		return
	}
	if err := schema.Value.VisitJSON(v, openapi3.EnableJSONSchema2020()); err != nil {
		t.Errorf("%s: %v", raw, err)
	}
	c.fields(t, schema, v)
}

// fields fails for a field that the document lacks; VisitJSON allows those.
func (c *checker) fields(t *testing.T, schema *openapi3.SchemaRef, v any) {
	t.Helper()
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			c.fields(t, schema.Value.Items, item)
		}
	case map[string]any:
		name := schema.Ref[strings.LastIndexByte(schema.Ref, '/')+1:]
		for k, field := range v {
			p := schema.Value.Properties[k]
			switch {
			case len(schema.Value.Properties) == 0: // an object of somebody else's
			case p == nil:
				t.Errorf("%s.%s is not in the document", name, k)
			default:
				c.seen[name+"."+k] = true
				c.fields(t, p, field)
			}
		}
	}
}

func (c *checker) events(t *testing.T, body []byte) {
	t.Helper()
	for event := range strings.SplitSeq(strings.TrimSpace(string(body)), "\n\n") {
		schema := "Answer"
		if rest, ok := strings.CutPrefix(event, "event: end\n"); ok {
			schema, event = "StreamEnd", rest
		} else if rest, ok := strings.CutPrefix(event, "event: error\n"); ok {
			schema, event = "Error", rest
		}
		data, ok := strings.CutPrefix(event, "data: ")
		if !ok {
			t.Errorf("event %q", event)
		}
		c.json(t, openapi3.NewSchemaRef("#/components/schemas/"+schema, c.doc.Components.Schemas[schema].Value), []byte(data))
	}
}

func (c *checker) metrics(t *testing.T, listed any, body []byte) {
	t.Helper()
	var got []string
	for line := range strings.Lines(string(body)) {
		if !strings.HasPrefix(line, "#") {
			name, _, _ := strings.Cut(line, " ")
			got = append(got, name)
		}
	}
	want, _ := listed.(map[string]any)
	same(t, "metrics", slices.Collect(maps.Keys(want)), got)
}

// unseen is what the document promises and no answer had.
func (c *checker) unseen() (out []string) {
	for path, item := range c.doc.Paths.Map() {
		for method, op := range item.Operations() {
			for status, resp := range op.Responses.Map() {
				for media := range resp.Value.Content {
					out = append(out, method+" "+path+" "+status+" "+media)
				}
			}
		}
	}
	for name, ref := range c.doc.Components.Schemas {
		for field := range ref.Value.Properties {
			out = append(out, name+"."+field)
		}
	}
	return slices.DeleteFunc(out, func(s string) bool { return c.seen[s] })
}

func TestAnswersAreTheDocuments(t *testing.T) {
	c := &checker{document(t), map[string]bool{}}
	do := func(url, method, path, body string, change ...func(*http.Request)) {
		t.Helper()
		c.response(t, method, path, do(t, method, url+path, body, change...))
	}
	evil := func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }
	stream := changed(`"stream":false`, `"stream":true`)

	w, url := start(t, loading{&enginetest.Fake{}})
	await(t, "half loaded", func() bool { return w.Info().Progress == 0.5 })
	do(url, http.MethodGet, "/health", "")
	do(url, http.MethodGet, "/info", "")
	do(url, http.MethodPost, "/v1/infer", sound)

	url = ready(t, &enginetest.Fake{Cached: 1})
	for _, path := range []string{"/health", "/info", "/metrics"} {
		do(url, http.MethodGet, path, "")
	}
	do(url, http.MethodPost, "/heartbeat", "")
	do(url, http.MethodPost, "/v1/infer", sound)
	do(url, http.MethodPost, "/v1/infer", stream)
	do(url, http.MethodPost, "/v1/infer", strings.Replace(stream, `"max_tokens"`, `"stream_options":{"include_usage":true},"max_tokens"`, 1))
	do(url, http.MethodPost, "/v1/infer", changed("r1", "r 1"))    // an error with a hint
	do(url, http.MethodPost, "/v1/infer", changed("fake", "none")) // and one without
	do(url, http.MethodPost, "/v1/infer", sound, func(r *http.Request) { r.Host = "evil.example" })
	do(url, http.MethodPost, "/heartbeat", "", func(r *http.Request) { r.Host = "evil.example" })
	do(url, http.MethodPost, "/heartbeat", "", evil)

	url = ready(t, failing{&enginetest.Fake{}})
	do(url, http.MethodPost, "/v1/infer", sound)
	do(url, http.MethodPost, "/v1/infer", stream)
	url = ready(t, late{&enginetest.Fake{}})
	do(url, http.MethodPost, "/v1/infer", sound)

	// The request as programs send it.
	schema := c.doc.Components.Schemas["InferRequest"]
	ref := openapi3.NewSchemaRef("#/components/schemas/InferRequest", schema.Value)
	full := &messages.InferRequest{ID: "r1", Model: "fake", Task: messages.TaskChat, Body: []byte(`{}`), DeadlineMillis: 5}
	raw, err := messages.Encode(messages.JSON, full)
	if err != nil || !bytes.Contains(raw, []byte(`"v":1`)) {
		t.Fatal(string(raw), err)
	}
	c.json(t, ref, raw)
	for _, s := range c.unseen() {
		t.Errorf("no answer had %s", s)
	}
}
