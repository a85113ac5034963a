package completion

import (
	"encoding/json"
	"fmt"
	"strings"
)

// roles maps the roles that OpenAI knows to those that chat templates know.
var roles = map[string]string{
	"system": "system", "developer": "system", "user": "user",
	"assistant": "assistant", "tool": "tool", "function": "tool",
}

func parseMessages(in []message) ([]Message, error) {
	if len(in) == 0 {
		return nil, bad("messages: must not be empty")
	}
	if len(in) > MaxMessages {
		return nil, bad("messages: at most %d, has %d", MaxMessages, len(in))
	}
	out := make([]Message, len(in))
	for i, m := range in {
		role, ok := roles[m.Role]
		if !ok {
			return nil, bad("messages[%d].role: %q is not known", i, m.Role)
		}
		content, err := parseContent(fmt.Sprintf("messages[%d].content", i), m)
		if err != nil {
			return nil, err
		}
		out[i] = Message{Role: role, Content: content}
	}
	return out, nil
}

// parseContent takes a string or a list of text parts. Only an assistant's turn may have none: it
// may have been a tool call.
func parseContent(field string, m message) (string, error) {
	if isNull(m.Content) {
		if m.Role == "assistant" {
			return "", nil
		}
		return "", bad("%s: is missing", field)
	}
	var text string
	if json.Unmarshal(m.Content, &text) == nil {
		return checkText(field, text)
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if json.Unmarshal(m.Content, &parts) != nil {
		return "", bad("%s: must be a string or a list of parts", field)
	}
	var b strings.Builder
	for _, p := range parts {
		if p.Type != "text" {
			return "", bad("%s: a part of type %q is not supported, only \"text\"", field, p.Type)
		}
		b.WriteString(p.Text)
	}
	return checkText(field, b.String())
}
