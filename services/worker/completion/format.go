package completion

import "encoding/json"

// responseFormat is OpenAI's; "schema" beside the type is llama-server's.
type responseFormat struct {
	Type       string          `json:"type"`
	Schema     json.RawMessage `json:"schema"`
	JSONSchema *struct {
		Schema json.RawMessage `json:"schema"`
	} `json:"json_schema"`
}

func (p *Params) setFormat(b *body) error {
	if err := p.setResponseFormat(b.ResponseFormat); err != nil {
		return err
	}
	if b.Grammar != nil && *b.Grammar != "" {
		if !p.Format.Free() {
			return bad("grammar: cannot be used together with response_format")
		}
		if len(*b.Grammar) > MaxGrammar {
			return bad("grammar: at most %d bytes, has %d", MaxGrammar, len(*b.Grammar))
		}
		var err error
		if p.Format.Grammar, err = CheckText("grammar", *b.Grammar); err != nil {
			return err
		}
	}
	if !p.Format.Free() && len(p.Tools) > 0 && p.ToolChoice.Mode != ToolsNone {
		name := "response_format"
		if p.Format.Grammar != "" {
			name = "grammar"
		}
		return bad("%s: cannot be used together with tools; set tool_choice to \"none\"", name)
	}
	return nil
}

func (p *Params) setResponseFormat(f *responseFormat) error {
	if f == nil {
		return nil
	}
	schema, field := f.Schema, "response_format.schema"
	switch f.Type {
	case "":
		if f.JSONSchema != nil || !isNull(schema) {
			return bad("response_format.type: is missing")
		}
		return nil
	case "text":
		return nil
	case "json_object":
	case "json_schema":
		if f.JSONSchema != nil {
			schema, field = f.JSONSchema.Schema, "response_format.json_schema.schema"
		}
		if isNull(schema) {
			return bad("response_format.json_schema.schema: is missing")
		}
	default:
		return bad("response_format.type: must be \"text\", \"json_object\" or \"json_schema\", is %.80q", f.Type)
	}
	if isNull(schema) {
		p.Format.JSON = true
		return nil
	}
	if schema[0] != '{' {
		return bad("%s: must be a JSON schema", field)
	}
	p.Format.Schema = schema
	return checkJSON(field, schema)
}
