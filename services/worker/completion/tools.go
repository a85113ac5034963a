package completion

import (
	"encoding/json"
	"fmt"
	"slices"
)

type tool struct {
	raw      json.RawMessage
	Type     string `json:"type"`
	Function *struct {
		Name       string          `json:"name"`
		Parameters json.RawMessage `json:"parameters"`
	} `json:"function"`
}

// UnmarshalJSON keeps the client's own text, which the template renders.
func (t *tool) UnmarshalJSON(raw []byte) error {
	*t = tool{} // encoding/json decodes a field that is there twice into the same elements
	type plain tool
	if err := json.Unmarshal(raw, (*plain)(t)); err != nil {
		return err
	}
	t.raw = slices.Clone(raw)
	return nil
}

type toolCall struct {
	ID       string `json:"id"`
	Function *struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

func parseTools(in []tool) ([]Tool, error) {
	if len(in) > MaxTools {
		return nil, bad("tools: at most %d, has %d", MaxTools, len(in))
	}
	var out []Tool
	for i, t := range in {
		field := fmt.Sprintf("tools[%d]", i)
		if t.Type != "function" {
			return nil, bad("%s.type: only \"function\" is supported, not %.80q", field, t.Type)
		}
		if t.Function == nil {
			return nil, bad("%s.function: is missing", field)
		}
		name := t.Function.Name
		if !isFunctionName(name) {
			return nil, bad("%s.function.name: %.80q must have 1 to 64 of A-Z, a-z, 0-9, _, - and .", field, name)
		}
		if slices.ContainsFunc(out, func(o Tool) bool { return o.Name == name }) {
			return nil, bad("%s.function.name: %q is there twice", field, name)
		}
		params := t.Function.Parameters
		if isNull(params) {
			params = nil
		} else if params[0] != '{' {
			return nil, bad("%s.function.parameters: must be a JSON schema", field)
		}
		if err := checkJSON(field, t.raw); err != nil {
			return nil, err
		}
		out = append(out, Tool{Name: name, Parameters: params, Raw: t.raw})
	}
	return out, nil
}

func isFunctionName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

func parseToolChoice(raw json.RawMessage, tools []Tool) (ToolChoice, error) {
	if isNull(raw) {
		return ToolChoice{Mode: ToolsAuto}, nil
	}
	c := ToolChoice{}
	if json.Unmarshal(raw, &c.Mode) != nil {
		var named struct {
			Type     string `json:"type"`
			Function struct {
				Name string `json:"name"`
			} `json:"function"`
		}
		if json.Unmarshal(raw, &named) != nil || named.Type != "function" {
			return c, bad("tool_choice: must be \"auto\", \"none\", \"required\" or a function")
		}
		c = ToolChoice{Mode: ToolsRequired, Name: named.Function.Name}
		if !slices.ContainsFunc(tools, func(t Tool) bool { return t.Name == c.Name }) {
			return c, bad("tool_choice: %.80q is not among the tools", c.Name)
		}
	}
	switch {
	case c.Mode != ToolsAuto && c.Mode != ToolsNone && c.Mode != ToolsRequired:
		return c, bad("tool_choice: must be \"auto\", \"none\", \"required\" or a function, is %.80q", c.Mode)
	case c.Mode == ToolsRequired && len(tools) == 0:
		return c, bad("tool_choice: needs tools")
	}
	return c, nil
}

func parseToolCalls(field string, in []toolCall) ([]ToolCall, error) {
	var out []ToolCall
	for i, c := range in {
		if c.Function == nil || c.Function.Name == "" {
			return nil, bad("%s[%d].function: is missing", field, i)
		}
		call := ToolCall{ID: c.ID, Name: c.Function.Name, Arguments: c.Function.Arguments}
		for _, s := range []*string{&call.ID, &call.Name, &call.Arguments} {
			var err error
			if *s, err = CheckText(fmt.Sprintf("%s[%d]", field, i), *s); err != nil {
				return nil, err
			}
		}
		out = append(out, call)
	}
	return out, nil
}
