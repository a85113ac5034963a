package chattemplate

import (
	"encoding/json"
	"time"
)

// Limits of what a template may be and do. Each render has them.
const (
	// MaxSource is the most bytes of a template's source.
	MaxSource = 1 << 20
	// MaxOutput is the most bytes that a render may give.
	MaxOutput = 1 << 20
	// MaxInput is the most bytes of a render's input as JSON.
	MaxInput = 16 << 20
	// Deadline is how long a render, and a new template's trial, may run.
	Deadline = time.Second
)

// Options are what a model gives beside its template.
type Options struct {
	// BOS and EOS are the texts of the model's tokens, which a template may write.
	BOS string `json:"bos,omitempty"`
	EOS string `json:"eos,omitempty"`
	// Control are the texts of the tokens that a client's text must not be able to make. A text that
	// templates look for in an answer, such as </think>, does not belong here.
	Control []string `json:"control,omitempty"`
	// Go says that the template is Ollama's: Go's text/template, not Jinja.
	Go bool `json:"go,omitempty"`
}

// Input is one conversation.
type Input struct {
	// Messages are objects as clients of OpenAI send them; every field reaches the template. They
	// stay JSON here because the order of keys matters to a template that writes arguments. Lists of
	// text parts are joined; arguments given as JSON text become objects; "developer" becomes
	// "system" and "function" "tool".
	Messages []json.RawMessage `json:"messages"`
	// Tools are objects as clients of OpenAI send them; none is None to the template.
	Tools []json.RawMessage `json:"tools,omitempty"`
	// AddGenerationPrompt asks for the start of the assistant's next message. A Go template has it
	// always; there an assistant's message at the end is one to go on with.
	AddGenerationPrompt bool `json:"add_generation_prompt,omitempty"`
	// Extra are more variables, such as enable_thinking (the client's chat_template_kwargs). They
	// cannot replace the template's own.
	Extra map[string]json.RawMessage `json:"extra,omitempty"`
	// Date is what strftime_now, or currentDate, tells; zero is now.
	Date time.Time `json:"date"`
}

// Part is a piece of a rendered prompt.
type Part struct {
	// Text is never empty.
	Text string `json:"text"`
	// Literal says that the text is a client's and spells control tokens: it is to be cut into
	// tokens without special ones.
	Literal bool `json:"literal,omitempty"`
}
