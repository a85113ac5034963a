package completion

import (
	"encoding/json"
	"time"
)

// Why an answer ended.
const (
	FinishStop   = "stop"       // the model ended it, or a stop string did
	FinishLength = "length"     // max_tokens, or the slot's context
	FinishTools  = "tool_calls" // it asks for functions to be called
)

// Writer makes the objects that answer one request, in the shapes of OpenAI's API reference ("The chat
// completion object", "The chat completion chunk object", "The completion object"), with llama-server's
// reasoning_content. Each is newly allocated: the receiver may keep it.
type Writer struct {
	task, id, model string
	created         int64
	offsets         map[int]int // of each choice of a completion: the characters of the tokens told
}

// NewWriter returns a Writer for a task; created is the "created" of every object.
func NewWriter(task, id, model string, created time.Time) *Writer {
	return &Writer{task: task, id: id, model: model, created: created.Unix(), offsets: map[int]int{}}
}

// Counts are the tokens of one request: all its choices together.
type Counts struct {
	Prompt, Completion int
	// Cached tokens of the prompt were not read again.
	Cached int
}

// Piece is what an answer has grown by, or all of it.
type Piece struct {
	Content, Reasoning string
	Calls              []CallPiece
	Logprobs           []Logprob
}

// CallPiece is a part of one call of a function: the first has ID and Name, the others more of
// Arguments, which is JSON when they are put together.
type CallPiece struct {
	Index               int
	ID, Name, Arguments string
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
	Message      *reply  `json:"message,omitempty"`
	Text         *string `json:"text,omitempty"`
	Logprobs     any     `json:"logprobs,omitempty"` // only a chat's chunk may be without: see null
	FinishReason *string `json:"finish_reason"`
}

// null is for what OpenAI says is required, but may be null.
var null = json.RawMessage("null")

// reply is a whole turn. Content is null if the turn is calls alone.
type reply struct {
	Role      string          `json:"role"`
	Content   *string         `json:"content"`
	Refusal   json.RawMessage `json:"refusal"`
	Reasoning string          `json:"reasoning_content,omitempty"`
	ToolCalls []call          `json:"tool_calls,omitempty"`
}

// turn is what a turn has grown by.
type turn struct {
	Role      string  `json:"role,omitempty"`
	Content   *string `json:"content,omitempty"`
	Reasoning string  `json:"reasoning_content,omitempty"`
	ToolCalls []call  `json:"tool_calls,omitempty"`
}

type call struct {
	Index    *int     `json:"index,omitempty"` // only in a chunk
	ID       string   `json:"id,omitempty"`
	Type     string   `json:"type,omitempty"`
	Function function `json:"function"`
}

type function struct {
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments"`
}

type usage struct {
	PromptTokens     int           `json:"prompt_tokens"`
	CompletionTokens int           `json:"completion_tokens"`
	TotalTokens      int           `json:"total_tokens"`
	Details          promptDetails `json:"prompt_tokens_details"`
}

type promptDetails struct {
	CachedTokens int `json:"cached_tokens"`
}

func (c Counts) usage() *usage {
	return &usage{c.Prompt, c.Completion, c.Prompt + c.Completion, promptDetails{c.Cached}}
}

// Begin is the chunk that says that an answer has begun. A completion has none: nil.
func (w *Writer) Begin(index int) []byte {
	if w.task != TaskChat {
		return nil
	}
	empty := ""
	return w.chunk(choice{Index: index, Delta: &turn{Role: "assistant", Content: &empty}})
}

// Piece is the chunk for what an answer has grown by.
func (w *Writer) Piece(index int, p Piece) []byte {
	if w.task != TaskChat {
		offset := w.offsets[index]
		lp := textLogprobs(p.Logprobs, &offset)
		w.offsets[index] = offset
		return w.chunk(choice{Index: index, Text: &p.Content, Logprobs: lp})
	}
	d := &turn{Reasoning: p.Reasoning}
	if p.Content != "" || p.Reasoning == "" && p.Calls == nil {
		d.Content = &p.Content
	}
	for _, c := range p.Calls {
		part := call{Index: &c.Index, ID: c.ID, Function: function{c.Name, c.Arguments}}
		if c.ID != "" {
			part.Type = "function"
		}
		d.ToolCalls = append(d.ToolCalls, part)
	}
	c := choice{Index: index, Delta: d}
	if p.Logprobs != nil {
		c.Logprobs = chatLogprobs(p.Logprobs)
	}
	return w.chunk(c)
}

// Finish is the last chunk of a choice.
func (w *Writer) Finish(index int, reason string) []byte {
	if w.task != TaskChat {
		empty := ""
		return w.chunk(choice{Index: index, Text: &empty, Logprobs: null, FinishReason: &reason})
	}
	return w.chunk(choice{Index: index, Delta: &turn{}, FinishReason: &reason})
}

// Usage is the chunk that stream_options.include_usage asks for: no choices, only counts.
func (w *Writer) Usage(c Counts) []byte {
	return w.object(w.chunkName(), []choice{}, c.usage())
}

// Answer is one whole choice.
type Answer struct {
	Piece
	Reason string
}

// Whole is the one object of an answer that is not streamed.
func (w *Writer) Whole(answers []Answer, c Counts) []byte {
	choices := make([]choice, len(answers))
	for i, a := range answers {
		choices[i] = choice{Index: i, FinishReason: &a.Reason}
		if w.task != TaskChat {
			choices[i].Text, choices[i].Logprobs = &a.Content, textLogprobs(a.Logprobs, new(int))
			continue
		}
		t := &reply{Role: "assistant", Content: &a.Content, Refusal: null, Reasoning: a.Reasoning}
		if a.Content == "" && len(a.Calls) > 0 {
			t.Content = nil
		}
		for _, p := range a.Calls {
			t.ToolCalls = append(t.ToolCalls, call{ID: p.ID, Type: "function", Function: function{p.Name, p.Arguments}})
		}
		choices[i].Message, choices[i].Logprobs = t, chatLogprobs(a.Logprobs)
	}
	name := "chat.completion"
	if w.task != TaskChat {
		name = "text_completion"
	}
	return w.object(name, choices, c.usage())
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
	// Nothing in these types can fail to marshal: told keeps infinities out.
	b, _ := json.Marshal(object{w.id, name, w.created, w.model, choices, u})
	return b
}
