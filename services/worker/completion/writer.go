package completion

import (
	"encoding/json"
	"time"
)

// Why an answer ended.
const (
	FinishStop   = "stop"   // the model ended it, or a stop string did
	FinishLength = "length" // max_tokens, or the slot's context
)

// Writer makes the objects that answer one request. Each is newly allocated: the receiver may keep it.
type Writer struct {
	task, id, model string
	created         int64
}

// NewWriter returns a Writer for a task; created is the "created" of every object.
func NewWriter(task, id, model string, created time.Time) *Writer {
	return &Writer{task: task, id: id, model: model, created: created.Unix()}
}

type object struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"`
	Model   string   `json:"model"`
	Choices []choice `json:"choices"`
	Usage   *usage   `json:"usage,omitempty"`
}

type choice struct {
	Index        int     `json:"index"`
	Delta        *turn   `json:"delta,omitempty"`
	Message      *turn   `json:"message,omitempty"`
	Text         *string `json:"text,omitempty"`
	FinishReason *string `json:"finish_reason"`
}

type turn struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

type usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`
}

// Begin is the chunk that says that an answer has begun. A completion has none: nil.
func (w *Writer) Begin() []byte {
	if w.task != TaskChat {
		return nil
	}
	empty := ""
	return w.chunk(choice{Delta: &turn{Role: "assistant", Content: &empty}})
}

// Text is the chunk for a piece of the answer.
func (w *Writer) Text(s string) []byte {
	if w.task != TaskChat {
		return w.chunk(choice{Text: &s})
	}
	return w.chunk(choice{Delta: &turn{Content: &s}})
}

// Finish is the last chunk with a choice.
func (w *Writer) Finish(reason string) []byte {
	if w.task != TaskChat {
		empty := ""
		return w.chunk(choice{Text: &empty, FinishReason: &reason})
	}
	return w.chunk(choice{Delta: &turn{}, FinishReason: &reason})
}

// Usage is the chunk that stream_options.include_usage asks for: no choices, only counts.
func (w *Writer) Usage(prompt, completion int) []byte {
	return w.object(w.chunkName(), []choice{}, &usage{prompt, completion, prompt + completion})
}

// Whole is the one object of an answer that is not streamed.
func (w *Writer) Whole(text, reason string, prompt, completion int) []byte {
	u := &usage{prompt, completion, prompt + completion}
	if w.task != TaskChat {
		return w.object("text_completion", []choice{{Text: &text, FinishReason: &reason}}, u)
	}
	c := choice{Message: &turn{Role: "assistant", Content: &text}, FinishReason: &reason}
	return w.object("chat.completion", []choice{c}, u)
}

func (w *Writer) chunk(c choice) []byte {
	return w.object(w.chunkName(), []choice{c}, nil)
}

func (w *Writer) chunkName() string {
	if w.task != TaskChat {
		return "text_completion"
	}
	return "chat.completion.chunk"
}

func (w *Writer) object(name string, choices []choice, u *usage) []byte {
	// Nothing in these types can fail to marshal.
	b, _ := json.Marshal(object{w.id, name, w.created, w.model, choices, u})
	return b
}
