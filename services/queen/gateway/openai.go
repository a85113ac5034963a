package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/rbee-project/rbee/messages"
)

// maxBody bounds a request's body in bytes.
const maxBody = 16 << 20

// idPrefixes are what an answer's id begins with, by task, as OpenAI has them.
var idPrefixes = map[string]string{messages.TaskChat: "chatcmpl-", messages.TaskCompletion: "cmpl-"}

// infer answers the endpoint of a task. The body goes to the worker untouched.
func (g *Gateway) infer(task string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		req, err := readRequest(w, r, task)
		if err == nil {
			err = g.answer(w, r, req)
		}
		g.cfg.Metrics.Request("http", task, err)
	}
}

func readRequest(w http.ResponseWriter, r *http.Request, task string) (*messages.InferRequest, error) {
	fail := func(e *messages.Error) (*messages.InferRequest, error) {
		writeError(w, e)
		return nil, e
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return fail(messages.Errorf(messages.CodeBadRequest, task, "cannot read the body: %w", err))
	}
	var head struct {
		Model  string `json:"model"`
		Stream bool   `json:"stream"`
	}
	if err := json.Unmarshal(body, &head); err != nil {
		return fail(messages.Errorf(messages.CodeBadRequest, task, "the body is not the JSON that was expected: %w", err))
	}
	prefix, ok := idPrefixes[task]
	if !ok {
		prefix = task + "-"
	}
	req := &messages.InferRequest{ID: messages.NewID(prefix), Model: head.Model, Task: task, Stream: head.Stream, Body: body}
	if err := req.Check(); err != nil {
		return fail(messages.AsError(err, task))
	}
	return req, nil
}

// answer writes a worker's answer as it comes. An answer that breaks after its first token ends
// with an error event and a cut connection, never as if it were complete.
func (g *Gateway) answer(w http.ResponseWriter, r *http.Request, req *messages.InferRequest) error {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(g.life, func() { cancel(context.Cause(g.life)) })()
	a, err := g.cfg.Infer.Infer(ctx, req)
	if err != nil {
		if r.Context().Err() == nil {
			writeError(w, messages.AsError(err, req.Task))
		}
		return err
	}
	defer a.Close()
	w.Header().Set("X-Rbee-Worker", string(a.Worker.ID))
	w.Header().Set("X-Rbee-Route", a.Route)
	if req.Stream {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-cache")
	} else {
		w.Header().Set("Content-Type", "application/json")
	}
	flush := http.NewResponseController(w)
	for {
		o, err := a.Next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			if req.Stream {
				_, _ = io.WriteString(w, "data: [DONE]\n\n")
			}
			return nil
		case err != nil:
			if r.Context().Err() != nil {
				return messages.Errorf(messages.CodeCancelled, req.Task, "the client is gone")
			}
			g.cfg.Log.Warn("answer broke off", "request", req.ID, "worker", a.Worker.ID, "error", err)
			g.breakOff(w, req, err)
		case req.Stream:
			if err := writeEvent(w, o); err != nil {
				return messages.Errorf(messages.CodeCancelled, req.Task, "the client is gone: %w", err)
			}
			_ = flush.Flush()
		default:
			_, _ = w.Write(o)
		}
	}
}

// breakOff says in a stream what went wrong, and cuts the connection.
func (g *Gateway) breakOff(w http.ResponseWriter, req *messages.InferRequest, err error) {
	if req.Stream {
		e, _ := json.Marshal(openAIError(messages.AsError(err, req.Task)))
		_ = writeEvent(w, e)
		_ = http.NewResponseController(w).Flush()
	}
	g.cfg.Metrics.Request("http", req.Task, err)
	panic(http.ErrAbortHandler)
}

func writeEvent(w io.Writer, o []byte) error {
	b := make([]byte, 0, len(o)+8)
	b = append(append(append(b, "data: "...), o...), "\n\n"...)
	_, err := w.Write(b)
	return err
}

// openAIError is the shape of OpenAI's errors.
func openAIError(e *messages.Error) map[string]any {
	kind := "server_error"
	switch s := e.Code.HTTPStatus(); {
	case s == http.StatusForbidden:
		kind = "permission_error"
	case s < 500:
		kind = "invalid_request_error"
	}
	msg := e.Message
	if e.Hint != "" {
		msg += " (" + e.Hint + ")"
	}
	return map[string]any{"error": map[string]any{"message": msg, "type": kind, "param": nil, "code": e.Code}}
}

func writeError(w http.ResponseWriter, e *messages.Error) {
	status := e.Code.HTTPStatus()
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	writeJSON(w, status, openAIError(e))
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	_ = enc.Encode(v)
}
