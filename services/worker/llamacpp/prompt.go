package llamacpp

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"strings"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/completion"
)

// maxPromptBytes keeps every length far away from C's int.
const maxPromptBytes = 64 << 20

// promptTokens makes the tokens that the model reads for p, if they can be fewer than room.
func (v *vocabulary) promptTokens(p completion.Params, room int) ([]llama.Token, error) {
	size := len(p.Prompt)
	for _, m := range p.Messages {
		size += len(m.Content)
	}
	// Cutting up megabytes only to refuse them would keep a slot for seconds.
	if n := v.atLeast(size); n >= room {
		return nil, contextFull(fmt.Sprintf("at least %d tokens", n), room)
	}
	if size > maxPromptBytes {
		return nil, contextFull(fmt.Sprintf("more than %d bytes", maxPromptBytes), room)
	}
	if len(p.Messages) > 0 {
		return v.checked(v.chatTokens(p.Messages), room)
	}
	return v.checked(v.tokens(p.Prompt, true, true), room)
}

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

// chatTokens writes the chat by the model's template and cuts it up. Text in a message never becomes
// a control token: a message that tries is cut up apart from the template's own text.
func (v *vocabulary) chatTokens(chat []completion.Message) []llama.Token {
	forged := false
	for _, m := range chat {
		forged = forged || v.forgesControl(m.Content)
	}
	if !forged {
		return v.tokens(applyTemplate(v.template, chat), true, true)
	}
	// Write the template around marks, then put the contents in the places of the marks.
	nonce := rand.Text()
	marked := make([]completion.Message, len(chat))
	for i, m := range chat {
		marked[i] = completion.Message{Role: m.Role, Content: fmt.Sprintf("%s.%d;", nonce, i)}
	}
	rest := applyTemplate(v.template, marked)
	var out []llama.Token
	for i, m := range chat {
		before, after, found := strings.Cut(rest, marked[i].Content)
		if !found {
			continue // the template leaves this message out
		}
		out = append(out, v.tokens(before, len(out) == 0, true)...)
		out = append(out, v.tokens(m.Content, false, false)...)
		rest = after
	}
	return append(out, v.tokens(rest, len(out) == 0, true)...)
}

// forgesControl says whether text, cut up as the template is, has a control token.
func (v *vocabulary) forgesControl(text string) bool {
	suspect := false
	for i := 0; i < len(text) && !suspect; i++ {
		suspect = v.controlStart[text[i]]
	}
	if !suspect {
		return false
	}
	for _, t := range llama.Tokenize(v.handle, text, false, true) {
		if t >= 0 && int(t) < len(v.control) && v.control[t] {
			return true
		}
	}
	return false
}

// applyTemplate writes a chat, with the assistant's turn opened. llama.cpp knows the usual templates
// by their looks; where it does not, or the model has none, it is ChatML.
func applyTemplate(template string, chat []completion.Message) string {
	if template != "" {
		if text, ok := renderTemplate(template, chat); ok {
			return text
		}
	}
	text, ok := renderTemplate("chatml", chat)
	if !ok {
		return chatML(chat)
	}
	return text
}

func renderTemplate(template string, chat []completion.Message) (string, bool) {
	in := make([]llama.ChatMessage, len(chat))
	size := 512
	for i, m := range chat {
		in[i] = llama.NewChatMessage(m.Role, m.Content)
		if in[i].Role == nil || in[i].Content == nil {
			return "", false // a NUL; the parser refuses those
		}
		size += len(m.Role) + len(m.Content) + 64
	}
	for range 2 {
		buf := make([]byte, size)
		n := llama.ChatApplyTemplate(template, in, true, buf)
		runtime.KeepAlive(in)
		if n <= 0 {
			return "", false
		}
		if int(n) <= len(buf) {
			return string(buf[:n]), true
		}
		size = int(n)
	}
	return "", false
}

func chatML(chat []completion.Message) string {
	var b strings.Builder
	for _, m := range chat {
		fmt.Fprintf(&b, "<|im_start|>%s\n%s<|im_end|>\n", m.Role, m.Content)
	}
	b.WriteString("<|im_start|>assistant\n")
	return b.String()
}
