package messages

import (
	"encoding/json"
	"slices"
	"strings"
)

// Tasks that an [InferRequest] can ask for.
const (
	TaskChat       = "chat"       // body of OpenAI's POST /v1/chat/completions
	TaskCompletion = "completion" // body of OpenAI's POST /v1/completions
	TaskEmbedding  = "embedding"  // body of OpenAI's POST /v1/embeddings
	TaskRerank     = "rerank"     // body of Jina's and llama-server's POST /v1/rerank
	TaskTokenize   = "tokenize"   // body of llama-server's POST /tokenize, with "model"
	TaskDetokenize = "detokenize" // body of llama-server's POST /detokenize, with "model"
)

// Tasks lists the tasks, those that stream first.
var Tasks = []string{TaskChat, TaskCompletion, TaskEmbedding, TaskRerank, TaskTokenize, TaskDetokenize}

// Streams says whether the task's answer can come as a stream. The others are one object.
func Streams(task string) bool { return task == TaskChat || task == TaskCompletion }

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
	case !slices.Contains(Tasks, r.Task):
		return Errorf(CodeBadRequest, OpInfer, "unknown task %q", r.Task).WithHint("%s", strings.Join(Tasks, ", "))
	case r.Stream && !Streams(r.Task):
		return Errorf(CodeBadRequest, OpInfer, "stream: the answer of task %s is one object", r.Task)
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
	// CachedTokens of the prompt were kept from an earlier request and not read again.
	CachedTokens int `msgpack:"cached_tokens,omitempty" json:"cached_tokens,omitempty"`
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
