package gateway

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// endpoints are the paths of the tasks that are answered by one object.
var endpoints = map[string]string{
	"/v1/embeddings": messages.TaskEmbedding, "/v1/rerank": messages.TaskRerank,
	"/tokenize": messages.TaskTokenize, "/detokenize": messages.TaskDetokenize,
}

// counted fails unless the series is in the metrics before long: the handler counts after the client
// has its answer.
func counted(t *testing.T, metrics func() string, series string) {
	t.Helper()
	for began := time.Now(); !strings.Contains(metrics(), series); {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("no %s in %s", series, metrics())
		}
	}
}

// The body goes to the worker and the object to the client as they are, under the task's own name.
func TestTasks(t *testing.T) {
	const body = `{"model":"m","input":["a"], "x":1}`
	for path, task := range endpoints {
		t.Run(path, func(t *testing.T) {
			const object = `{"object":"list","data":[1.50]}`
			f := &fake{objects: []string{object}, over: io.EOF}
			s := port(t, f, true)
			a := ask(t, s, "POST", path, body)
			<-f.closed
			if a.status != 200 || a.body != object || a.header.Get("Content-Type") != "application/json" || a.header.Get("X-Rbee-Worker") != "w1" {
				t.Errorf("%d %q %v, %v", a.status, a.body, a.header, a.err)
			}
			if r := f.asked; string(r.Body) != body || r.Task != task || r.Model != "m" || r.Stream || !strings.HasPrefix(r.ID, task+"-") || !messages.ValidID(r.ID) {
				t.Errorf("the worker got %+v", r)
			}
			counted(t, func() string { return ask(t, s, "GET", "/metrics", "").body }, `rbee_requests_total{code="ok",task="`+task+`",via="http"} 1`)
		})
	}
}

// What is wrong is said before a worker is asked.
func TestTasksRefused(t *testing.T) {
	for path, task := range endpoints {
		for name, tc := range map[string]struct {
			body, says string
			status     int
		}{
			"as a stream":   {`{"model":"m","input":"a","stream":true}`, "stream: the answer of task " + task + " is one object", 400},
			"no model":      {`{"input":"a"}`, "no model named", 400},
			"no JSON":       {`{"model":"m"`, "the body is not the JSON", 400},
			"unknown model": {`{"model":"x"}`, `no \"x\"`, 404},
		} {
			t.Run(path+" "+name, func(t *testing.T) {
				f := &fake{over: io.EOF}
				s := port(t, f, true)
				a := ask(t, s, "POST", path, tc.body)
				if a.status != tc.status || !strings.Contains(a.body, tc.says) || !json.Valid([]byte(a.body)) {
					t.Errorf("%d %s", a.status, a.body)
				}
				if f.asked != nil {
					t.Error("a worker was asked")
				}
				code := map[int]string{400: "bad_request", 404: "model_unknown"}[tc.status]
				counted(t, func() string { return ask(t, s, "GET", "/metrics", "").body }, `rbee_requests_total{code="`+code+`",task="`+task+`",via="http"} 1`)
			})
		}
		t.Run(path+" by GET", func(t *testing.T) {
			if a := ask(t, port(t, &fake{over: io.EOF}, true), "GET", path, ""); a.status != 404 || !strings.Contains(a.body, path) {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

// A worker's refusal is the client's answer, as OpenAI has errors.
func TestTaskThatTheModelCannot(t *testing.T) {
	f := &fake{over: messages.Errorf(messages.CodeBadRequest, "infer", "this model does not rank documents").WithHint("use a reranker")}
	s := port(t, f, true)
	a := ask(t, s, "POST", "/v1/rerank", `{"model":"m","query":"q","documents":["a"]}`)
	<-f.closed
	if a.status != 400 || !strings.Contains(a.body, `"message":"this model does not rank documents (use a reranker)"`) || !strings.Contains(a.body, `"type":"invalid_request_error"`) {
		t.Errorf("%d %s, %v", a.status, a.body, a.err)
	}
	counted(t, func() string { return ask(t, s, "GET", "/metrics", "").body }, `code="bad_request",task="rerank",via="http"} 1`)
}
