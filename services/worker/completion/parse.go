package completion

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rbee-project/rbee/messages"
)

// Parse reads the body of a task. What is wrong comes back as a [messages.Error] with
// [messages.CodeBadRequest] whose message begins with the name of the field.
func Parse(task string, raw []byte) (Params, error) { return Defaults{}.Parse(task, raw) }

// Parse is the function of that name, but what the body does not say is d's.
func (d Defaults) Parse(task string, raw []byte) (Params, error) {
	if !utf8.Valid(raw) {
		raw = bytes.ToValidUTF8(raw, []byte("\uFFFD")) // some of it is kept as it is
	}
	var b body
	if err := json.Unmarshal(raw, &b); err != nil {
		return Params{}, decodeError(err)
	}
	if err := b.refuseUnsupported(); err != nil {
		return Params{}, err
	}
	d.fill(&b)
	var p Params
	p.IncludeUsage = b.StreamOptions != nil && b.StreamOptions.IncludeUsage
	var err error
	switch task {
	case TaskChat:
		err = p.setChat(&b, d.System)
	case TaskCompletion:
		err = p.setPrompt(b.Prompt)
	default:
		err = bad("task: %.80q is not one of %q and %q", task, TaskChat, TaskCompletion)
	}
	for _, set := range []func(*body) error{p.setLimits, p.setFormat, p.setSampling, p.setPenalties, p.setBias} {
		if err == nil {
			err = set(&b)
		}
	}
	if err == nil {
		err = p.setLogprobs(task, &b)
	}
	if err != nil {
		return Params{}, err
	}
	return p, nil
}

// decodeError names the field whose JSON type is wrong.
func decodeError(err error) error {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		name := strings.TrimPrefix(t.Field, "sampling.") // Go's own embedding is not the client's
		if name == "" {
			name = "body"
		}
		return bad("%s: must not be a JSON %.40s", name, t.Value) // a number may have millions of digits
	}
	return messages.Errorf(messages.CodeBadRequest, "completion.parse", "body: is not JSON: %w", err)
}

func (p *Params) setChat(b *body, system string) (err error) {
	if p.Messages, err = parseMessages(b.Messages); err != nil {
		return err
	}
	if system != "" && !slices.ContainsFunc(p.Messages, func(m Message) bool { return m.Role == "system" }) {
		p.Messages = slices.Insert(p.Messages, 0, Message{Role: "system", Content: system})
	}
	if p.TemplateArgs, err = parseTemplateArgs(b.TemplateArgs); err != nil {
		return err
	}
	if p.Tools, err = parseTools(b.Tools); err != nil {
		return err
	}
	p.ToolChoice, err = parseToolChoice(b.ToolChoice, p.Tools)
	return err
}

func parseTemplateArgs(raw json.RawMessage) (args map[string]any, err error) {
	if isNull(raw) {
		return nil, nil
	}
	if err := checkJSON("chat_template_kwargs", raw); err != nil {
		return nil, err
	}
	if json.Unmarshal(raw, &args) != nil {
		return nil, bad("chat_template_kwargs: must be an object, with numbers that fit a float64")
	}
	return args, nil
}

func (p *Params) setLimits(b *body) error {
	p.MaxTokens = Unlimited
	for _, f := range []struct {
		name  string
		value *int
	}{{"max_tokens", b.MaxTokens}, {"max_completion_tokens", b.MaxCompletionTokens}} {
		if f.value == nil {
			continue
		}
		if *f.value < 0 {
			return bad("%s: must not be negative, is %d", f.name, *f.value)
		}
		// The newer name comes last and wins. No sum with a context's length may overflow.
		p.MaxTokens = min(*f.value, math.MaxInt32)
	}
	p.Choices = 1
	if b.N != nil {
		if *b.N < 1 || *b.N > MaxChoices {
			return bad("n: must be between 1 and %d, is %d", MaxChoices, *b.N)
		}
		p.Choices = *b.N
	}
	var err error
	p.Stops, err = parseStops(b.Stop)
	return err
}

// setLogprobs reads OpenAI's two forms: a switch and a number in a chat, one number in a completion.
func (p *Params) setLogprobs(task string, b *body) error {
	if b.TopLogprobs != nil {
		if *b.TopLogprobs < 0 || *b.TopLogprobs > MaxTopLogprobs {
			return bad("top_logprobs: must be between 0 and %d, is %d", MaxTopLogprobs, *b.TopLogprobs)
		}
		p.TopLogprobs = *b.TopLogprobs
	}
	if isNull(b.Logprobs) {
		if p.TopLogprobs > 0 {
			return bad("top_logprobs: needs logprobs")
		}
		return nil
	}
	if json.Unmarshal(b.Logprobs, &p.Logprobs) == nil {
		if !p.Logprobs && p.TopLogprobs > 0 {
			return bad("top_logprobs: needs logprobs")
		}
		return nil
	}
	n := 0
	if task == TaskChat || json.Unmarshal(b.Logprobs, &n) != nil {
		return bad("logprobs: must be true or false%s", map[bool]string{true: "", false: ", or a whole number"}[task == TaskChat])
	}
	if n < 0 || n > MaxTopLogprobs {
		return bad("logprobs: must be between 0 and %d, is %d", MaxTopLogprobs, n)
	}
	p.Logprobs, p.TopLogprobs = true, n
	return nil
}

func parseStops(raw json.RawMessage) ([]string, error) {
	if isNull(raw) {
		return nil, nil
	}
	var stops []string
	var one string
	if json.Unmarshal(raw, &one) == nil {
		stops = []string{one}
	} else if json.Unmarshal(raw, &stops) != nil {
		return nil, bad("stop: must be a string or a list of strings")
	}
	if len(stops) > MaxStops {
		return nil, bad("stop: at most %d strings, has %d", MaxStops, len(stops))
	}
	for _, s := range stops {
		if s == "" || len(s) > MaxStopBytes {
			return nil, bad("stop: each string must have between 1 and %d bytes", MaxStopBytes)
		}
		if _, err := CheckText("stop", s); err != nil {
			return nil, err
		}
	}
	return stops, nil
}

// setPrompt takes a string, a list of one string as some clients send it, or a list of tokens.
func (p *Params) setPrompt(raw json.RawMessage) (err error) {
	if isNull(raw) {
		return bad("prompt: is missing")
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		p.Prompt, err = CheckText("prompt", one)
		return err
	}
	var list []*string
	if json.Unmarshal(raw, &list) == nil {
		if len(list) != 1 || list[0] == nil {
			return bad("prompt: exactly one is supported, has %d", len(list))
		}
		p.Prompt, err = CheckText("prompt", *list[0])
		return err
	}
	// A null among numbers would be read as token 0.
	if json.Unmarshal(raw, &p.PromptTokens) != nil || bytes.Contains(raw, []byte("null")) {
		return bad("prompt: must be a string or a list of tokens")
	}
	for _, t := range p.PromptTokens {
		if t < 0 {
			return bad("prompt: a token must not be negative, is %d", t)
		}
	}
	return nil
}

// CheckText refuses what cannot cross into C: a NUL would cut the text there. What is no UTF-8
// becomes U+FFFD. The error names field.
func CheckText(field, s string) (string, error) {
	if strings.IndexByte(s, 0) >= 0 {
		return "", bad("%s: must not contain a NUL character", field)
	}
	return strings.ToValidUTF8(s, "\uFFFD"), nil
}

// checkJSON refuses JSON that is nested too deep for whoever walks it, and text with a NUL in it. raw
// is valid JSON.
func checkJSON(field string, raw []byte) error {
	depth, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '\\': // only in a string
			i++
			if bytes.HasPrefix(raw[i:], []byte("u0000")) {
				return bad("%s: must not contain a NUL character", field)
			}
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return bad("%s: must not be nested deeper than %d levels", field, MaxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || string(raw) == "null"
}
