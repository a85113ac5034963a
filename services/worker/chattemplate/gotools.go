package chattemplate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// goTools are functions as Ollama's api/types.go (v0.9.6) has them, what else a client says is left
// out. The properties of a property are of a later version.
type goTools []goTool

// String prints JSON.
func (t goTools) String() string { return jsonText(t) }

type goTool struct {
	Type     string     `json:"type"`
	Items    any        `json:"items,omitempty"`
	Function goFunction `json:"function"`
}

// String prints JSON.
func (t goTool) String() string { return jsonText(t) }

type goFunction struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Parameters  struct {
		Type       string                `json:"type"`
		Defs       any                   `json:"$defs,omitempty"`
		Items      any                   `json:"items,omitempty"`
		Required   []string              `json:"required"`
		Properties map[string]goProperty `json:"properties"`
	} `json:"parameters"`
}

// String prints JSON where a template writes the field itself.
func (f *goFunction) String() string { return jsonText(f) }

type goProperty struct {
	AnyOf       []goProperty          `json:"anyOf,omitempty"`
	Type        goType                `json:"type"`
	Items       any                   `json:"items,omitempty"`
	Description string                `json:"description"`
	Enum        []any                 `json:"enum,omitempty"`
	Properties  map[string]goProperty `json:"properties,omitempty"`
	Required    []string              `json:"required,omitempty"`
}

// goType is one type's name, or several.
type goType []string

// UnmarshalJSON takes a string or a list of strings.
func (t *goType) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*t = goType{one}
		return nil
	}
	var list []string
	if json.Unmarshal(raw, &list) != nil {
		return fmt.Errorf("type: must be a string or a list of strings")
	}
	*t = list
	return nil
}

// MarshalJSON writes one type as a string.
func (t goType) MarshalJSON() ([]byte, error) {
	if len(t) == 1 {
		return json.Marshal(t[0])
	}
	return json.Marshal([]string(t))
}

// String is the type's name, or the names as Go prints a list.
func (t goType) String() string {
	switch len(t) {
	case 0:
		return ""
	case 1:
		return t[0]
	}
	return fmt.Sprint([]string(t))
}

// typeScript is the type as gpt-oss knows it.
func (p goProperty) typeScript() string {
	var names []string
	for _, p := range p.AnyOf {
		names = append(names, p.typeScript())
	}
	if len(names) == 0 {
		for _, t := range p.Type {
			names = append(names, typeScript(t))
		}
	}
	if len(names) == 0 {
		return "any"
	}
	return strings.Join(names, " | ")
}

func typeScript(schemaType string) string {
	switch schemaType {
	case "string", "boolean", "null":
		return schemaType
	case "number", "integer":
		return "number"
	case "array":
		return "any[]"
	case "object":
		return "Record<string, any>"
	}
	return "any"
}

func goToolsOf(raw []json.RawMessage, m *marks) (goTools, error) {
	var out goTools
	for i, r := range raw {
		v, err := decode(r)
		if err != nil {
			return nil, fmt.Errorf("tools[%d]: %w", i, err)
		}
		var t goTool
		if err := m.into(v, &t); err != nil {
			return nil, fmt.Errorf("tools[%d]: %w", i, err)
		}
		out = append(out, t)
	}
	return slices.Clip(out), nil
}
