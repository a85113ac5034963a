package messages

import "encoding/json"

// Tasks that an [InferRequest] can ask for.
const (
	TaskChat       = "chat"       // body of OpenAI's POST /v1/chat/completions
	TaskCompletion = "completion" // body of OpenAI's POST /v1/completions
)

// InferRequest is one inference request: POST /v1/infer of a worker, and on the bus. The body is
// the client's own, so that a new feature of an engine needs no change here.
type InferRequest struct {
	Versioned
	ID    string `msgpack:"id" json:"id"`       // of the answer; [A-Za-z0-9_-]{1,64}
	Model string `msgpack:"model" json:"model"` // public name
	Task  string `msgpack:"task" json:"task"`   // [TaskChat] when empty
	// Stream asks for chunks; it wins over the body's "stream".
	Stream bool `msgpack:"stream" json:"stream"`
	// Body is OpenAI-shaped JSON.
	Body json.RawMessage `msgpack:"body" json:"body"`
	// DeadlineMillis is how long the requester waits for the first token; 0: 60 s.
	DeadlineMillis int64 `msgpack:"deadline_ms,omitempty" json:"deadline_ms,omitempty"`
}

// Check says what is wrong with the request, as [CodeBadRequest], and fills the defaults in.
func (r *InferRequest) Check() error {
	if r.ID == "" {
		r.ID = NewID("req-")
	}
	if err := CheckID("request id", r.ID); err != nil {
		return err
	}
	if r.Task == "" {
		r.Task = TaskChat
	}
	switch {
	case r.Task != TaskChat && r.Task != TaskCompletion:
		return Errorf(CodeBadRequest, OpInfer, "unknown task %q", r.Task).WithHint("chat or completion")
	case r.Model == "" || len(r.Model) > 512:
		return Errorf(CodeBadRequest, OpInfer, "no model named").WithHint(`give "model"; rbee model list shows them`)
	case r.DeadlineMillis < 0:
		return Errorf(CodeBadRequest, OpInfer, "deadline_ms is negative")
	case !json.Valid(r.Body):
		return Errorf(CodeBadRequest, OpInfer, "the body is not JSON")
	}
	return nil
}

// CancelRequest ends the request id of its caller.
type CancelRequest struct {
	Versioned
	ID string `msgpack:"id" json:"id"`
}

// PeerCancel is what a queen asks the others on [PeerCancelSubject]: to end a job, or a request of a
// caller. Who has it answers [Done]; nobody else does.
type PeerCancel struct {
	Versioned
	From    string `msgpack:"from" json:"from"` // the process that asks
	Job     JobID  `msgpack:"job,omitempty" json:"job,omitempty"`
	Caller  Caller `msgpack:"caller,omitempty" json:"caller,omitempty"`
	Request string `msgpack:"request,omitempty" json:"request,omitempty"`
}

// Usage counts the tokens of one answer.
type Usage struct {
	PromptTokens     int `msgpack:"prompt_tokens" json:"prompt_tokens"`
	CompletionTokens int `msgpack:"completion_tokens" json:"completion_tokens"`
}

// Prefill says how far the prompt is, in tokens.
type Prefill struct {
	Done  int `msgpack:"done" json:"done"`
	Total int `msgpack:"total" json:"total"`
}

// StreamEnd is the payload of the last frame of an answer.
type StreamEnd struct {
	Versioned
	Frames uint64 `msgpack:"frames" json:"frames"` // data frames sent
	Usage  Usage  `msgpack:"usage" json:"usage"`
}
