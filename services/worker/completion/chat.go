package completion

import (
	"encoding/json"
	"fmt"
	"strings"
)

type message struct {
	Role       string          `json:"role"`
	Content    json.RawMessage `json:"content"`
	Reasoning  *string         `json:"reasoning_content"`
	Name       *string         `json:"name"`
	ToolCallID *string         `json:"tool_call_id"`
	ToolCalls  []toolCall      `json:"tool_calls"`
}

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
		field := fmt.Sprintf("messages[%d]", i)
		role, ok := roles[m.Role]
		if !ok {
			return nil, bad("%s.role: %.80q is not known", field, m.Role)
		}
		content, err := parseContent(field+".content", m)
		if err != nil {
			return nil, err
		}
		calls, err := parseToolCalls(field+".tool_calls", m.ToolCalls)
		if err != nil {
			return nil, err
		}
		out[i] = Message{Role: role, Content: content, ToolCalls: calls}
		for _, f := range []struct {
			name     string
			from, to *string
		}{
			{"reasoning_content", m.Reasoning, &out[i].Reasoning},
			{"name", m.Name, &out[i].Name},
			{"tool_call_id", m.ToolCallID, &out[i].ToolCallID},
		} {
			if f.from == nil {
				continue
			}
			if *f.to, err = CheckText(field+"."+f.name, *f.from); err != nil {
				return nil, err
			}
		}
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
		return CheckText(field, text)
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
		switch p.Type {
		case "text":
			b.WriteString(p.Text)
		case "image_url", "input_audio", "video_url":
			return "", bad("%s: a part of type %q is not supported: this engine reads text alone", field, p.Type)
		default:
			return "", bad("%s: a part of type %.80q is not supported, only \"text\"", field, p.Type)
		}
	}
	return CheckText(field, b.String())
}
