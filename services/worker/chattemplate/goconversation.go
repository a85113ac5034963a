package chattemplate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/ardanlabs/jinja"
)

// What a Go template sees of a conversation: the fields, their JSON and how they are printed are those
// of Ollama's api/types.go (v0.9.6). Fields with the name "-" came later.

type goMessage struct {
	Role       string       `json:"role"`
	Content    string       `json:"content"`
	Thinking   string       `json:"thinking,omitempty"`
	Images     [][]byte     `json:"images,omitempty"`
	ToolCalls  []goToolCall `json:"tool_calls,omitempty"`
	ToolName   string       `json:"tool_name,omitempty"`
	ToolCallID string       `json:"-"`
}

type goToolCall struct {
	ID       string         `json:"-"`
	Function goCallFunction `json:"function"`
}

type goCallFunction struct {
	Index     int         `json:"index,omitempty"`
	Name      string      `json:"name"`
	Arguments goArguments `json:"arguments"`
}

type goArguments map[string]any

// String prints JSON where a template writes the field itself.
func (a *goArguments) String() string { return jsonText(a) }

// UnmarshalJSON takes an object. Numbers become float64, but for whole ones that would lose digits.
func (a *goArguments) UnmarshalJSON(raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil || m == nil {
		return fmt.Errorf("arguments: must be a JSON object")
	}
	*a = plainNumbers(m).(map[string]any)
	return nil
}

func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		if _, notWhole := strconv.ParseInt(v.String(), 10, 64); err != nil || notWhole == nil && strconv.FormatFloat(f, 'f', -1, 64) != v.String() {
			return v
		}
		return f
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plainNumbers(v[k])
		}
	}
	return v
}

func jsonText(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// into hides the control tokens in v and reads it as JSON into to.
func (m *marks) into(v jinja.Value, to any) error {
	s, err := toJSON([]jinja.Value{m.hideAll(v)}, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(s.AsString()), to)
}

// goMessages gives the messages as Ollama's collate does: the texts of all system messages, and the
// messages, where neighbours of one role are one, but for tools' results.
func goMessages(raw []json.RawMessage, m *marks) (system string, out []*goMessage, err error) {
	list, err := conversation(raw, needs{})
	if err != nil {
		return "", nil, err
	}
	var systems []string
	names := map[string]string{} // of functions, by their call's id
	for i, v := range list.AsList().Items {
		var in struct {
			goMessage
			Reasoning string `json:"reasoning_content"`
			Name      string `json:"name"`
			CallID    string `json:"tool_call_id"`
			ToolCalls []struct {
				ID       string         `json:"id"`
				Function goCallFunction `json:"function"`
			} `json:"tool_calls"`
		}
		if err := m.into(v, &in); err != nil {
			return "", nil, fmt.Errorf("messages[%d]: %w", i, err)
		}
		one := &in.goMessage
		for _, c := range in.ToolCalls {
			names[c.ID] = c.Function.Name
			one.ToolCalls = append(one.ToolCalls, goToolCall{ID: c.ID, Function: c.Function})
		}
		if one.Role == "system" {
			systems = append(systems, one.Content)
		}
		if last := len(out) - 1; last >= 0 && out[last].Role == one.Role && one.Role != "tool" {
			out[last].Content += "\n\n" + one.Content
			continue
		}
		one.Thinking = in.Reasoning
		if one.Role == "tool" {
			one.ToolCallID, one.ToolName = in.CallID, in.Name
			if one.ToolName == "" {
				one.ToolName = names[in.CallID]
			}
		}
		out = append(out, one)
	}
	return strings.Join(systems, "\n\n"), out, nil
}

// goThinking are the variables for thinking, from what clients call it, and all other extra ones.
func goThinking(in Input, m *marks) (map[string]any, error) {
	vars := map[string]any{}
	for name, raw := range in.Extra {
		v, err := decode(raw)
		if err != nil {
			return nil, fmt.Errorf("chat_template_kwargs.%s: %w", name, err)
		}
		var plain any
		if err := m.into(v, &plain); err != nil {
			return nil, fmt.Errorf("chat_template_kwargs.%s: %w", name, err)
		}
		vars[name] = plain
	}
	think, level, set := false, "", false
	for _, name := range []string{"reasoning_effort", "thinking", "enable_thinking", "think"} { // the last one wins
		switch v := vars[name].(type) {
		case bool:
			think, level, set = v, map[bool]string{true: "medium"}[v], true
		case string:
			think, level, set = v != "none", v, true
		}
	}
	vars["Think"], vars["ThinkLevel"], vars["IsThinkSet"] = think, level, set
	return vars, nil
}
