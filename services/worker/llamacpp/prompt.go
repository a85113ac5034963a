package llamacpp

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/chattemplate"
	"github.com/rbee-project/rbee/services/worker/completion"
	"github.com/rbee-project/rbee/services/worker/toolcall"
)

// contextFull says that a prompt of that size leaves no room for an answer.
func contextFull(size string, room int) error {
	return messages.Errorf(messages.CodeContextFull, "llamacpp.prompt",
		"the prompt has %s, which leaves no room for an answer: a slot's context has %d", size, room).
		WithHint("shorten the prompt, or start the worker with a longer context")
}

// checked refuses a prompt that leaves no room and makes an empty one something that llama.cpp can
// decode.
func (v *vocabulary) checked(tokens []llama.Token, room int) ([]llama.Token, error) {
	if len(tokens) >= room {
		return nil, contextFull(fmt.Sprintf("%d tokens", len(tokens)), room)
	}
	if len(tokens) > 0 {
		return tokens, nil
	}
	if v.bos == llama.TokenNull {
		return nil, messages.Errorf(messages.CodeBadRequest, "llamacpp.prompt", "prompt: is empty, and this model cannot begin from nothing")
	}
	return []llama.Token{v.bos}, nil
}

// given are a client's tokens. Those that are none of the model's are refused: llama.cpp asserts on
// them.
func (v *vocabulary) given(field string, tokens []int32) ([]llama.Token, error) {
	out := make([]llama.Token, len(tokens))
	for i, t := range tokens {
		if t < 0 || int(t) >= len(v.pieces) {
			return nil, cannot("%s[%d]: %d is no token of this model, which has %d", field, i, t, len(v.pieces))
		}
		out[i] = llama.Token(t)
	}
	return out, nil
}

func (v *vocabulary) checkBias(bias []completion.Bias) error {
	for _, b := range bias {
		if b.Token < 0 || int(b.Token) >= len(v.pieces) {
			return cannot("logit_bias: %d is no token of this model, which has %d", b.Token, len(v.pieces))
		}
	}
	return nil
}

// chatTokens writes the chat by the model's template and cuts it up. A client's text never becomes a
// control token: the template's parts say which text is a client's that tries.
func (a *assignment) chatTokens(ctx context.Context, s *session) ([]llama.Token, error) {
	if s.template == nil {
		return nil, messages.AsError(s.templateErr, "llamacpp.prompt")
	}
	in := chattemplate.Input{AddGenerationPrompt: true, Extra: map[string]json.RawMessage{}}
	for _, m := range a.params.Messages {
		in.Messages = append(in.Messages, templateMessage(m))
	}
	for name, value := range a.params.TemplateArgs {
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, cannot("chat_template_kwargs.%s: %w", name, err)
		}
		in.Extra[name] = raw
	}
	caps := s.template.Caps()
	if err := a.setTools(&in, caps); err != nil {
		return nil, err
	}
	parts, err := s.template.Render(ctx, in)
	if err != nil {
		return nil, err
	}
	a.setParser(parts, caps)
	return s.vocab.partTokens(ctx, parts)
}

// partTokens cuts a rendered prompt up; what is literal never becomes a special token.
func (v *vocabulary) partTokens(ctx context.Context, parts []chattemplate.Part) ([]llama.Token, error) {
	for _, p := range parts {
		if strings.IndexByte(p.Text, 0) >= 0 { // C would see its end there
			return nil, cannot("chat template: it writes a NUL character")
		}
	}
	if len(parts) == 1 {
		return v.tokens(ctx, parts[0].Text, true, !parts[0].Literal)
	}
	var out []llama.Token
	if v.addsBOS && v.bos != llama.TokenNull {
		out = append(out, v.bos)
	}
	for _, p := range parts {
		more, err := v.cut(ctx, p.Text, false, !p.Literal)
		if err != nil {
			return nil, err
		}
		if len(out) == 1 && len(more) > 0 && more[0] == out[0] && out[0] == v.bos {
			more = more[1:] // the template wrote one, too
		}
		out = append(out, more...)
	}
	return out, nil
}

// setTools has the template write the functions that the chat offers.
func (a *assignment) setTools(in *chattemplate.Input, caps chattemplate.Caps) error {
	if len(a.params.Tools) == 0 || a.params.ToolChoice.Mode == completion.ToolsNone {
		a.params.Tools = nil
		return nil
	}
	if !caps.Tools || !knownFormat(caps.Format) {
		return cannot("tools: this model's chat template has no tools that are understood").
			WithHint("use a model that was trained to call functions; GET /info lists what a model can do")
	}
	for _, t := range a.params.Tools {
		in.Tools = append(in.Tools, t.Raw)
	}
	return nil
}

// formats are the ways to call a function that are understood.
var formats = []toolcall.Format{toolcall.Hermes, toolcall.Llama3, toolcall.Mistral, toolcall.DeepSeek}

func knownFormat(name string) bool { return slices.Contains(formats, toolcall.Format(name)) }

// isMark says whether a special token's text is part of how models call functions, or think.
func isMark(text string) bool {
	for _, f := range formats {
		if slices.Contains(f.Markers(), text) {
			return true
		}
	}
	return text == "<think>" || text == thoughtEnd
}

// setParser says how the answer to the rendered prompt is split.
func (a *assignment) setParser(parts []chattemplate.Part, caps chattemplate.Caps) {
	if len(a.params.Tools) == 0 && !caps.Reasoning {
		return
	}
	o := &toolcall.Options{Reasoning: caps.Reasoning}
	if len(a.params.Tools) > 0 {
		o.Format = toolcall.Format(caps.Format)
		for _, t := range a.params.Tools {
			o.Tools = append(o.Tools, t.Name)
		}
	}
	if n := len(parts); n > 0 && caps.Reasoning && !parts[n-1].Literal {
		o.InThinking = strings.HasSuffix(strings.TrimRight(parts[n-1].Text, " \n"), "<think>")
	}
	a.parse, a.afterThought = o, o.InThinking
}

// templateMessage is a turn as templates want it.
func templateMessage(m completion.Message) json.RawMessage {
	type function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	}
	type call struct {
		ID       string   `json:"id,omitempty"`
		Type     string   `json:"type"`
		Function function `json:"function"`
	}
	out := struct {
		Role       string `json:"role"`
		Content    string `json:"content"`
		Reasoning  string `json:"reasoning_content,omitempty"`
		Name       string `json:"name,omitempty"`
		ToolCallID string `json:"tool_call_id,omitempty"`
		ToolCalls  []call `json:"tool_calls,omitempty"`
	}{Role: m.Role, Content: m.Content, Reasoning: m.Reasoning, Name: m.Name, ToolCallID: m.ToolCallID}
	for _, c := range m.ToolCalls {
		out.ToolCalls = append(out.ToolCalls, call{c.ID, "function", function{c.Name, c.Arguments}})
	}
	raw, _ := json.Marshal(out) // strings cannot fail
	return raw
}
