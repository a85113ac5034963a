package llamacpp

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/completion"
	"github.com/rbee-project/rbee/services/worker/grammar"
	"github.com/rbee-project/rbee/services/worker/toolcall"
)

// setRules compiles what binds the answer: a format that is asked for, or a call that must be made.
func (a *assignment) setRules(s *session) error {
	f, err := a.gbnf()
	if err != nil || f == "" {
		return err
	}
	s.vocab.trie() // made here the first time, and not while the loop decodes
	a.rules, err = grammar.Parse(f)
	return err
}

// gbnf is the grammar of the answer; empty: any text.
func (a *assignment) gbnf() (string, error) {
	f := a.params.Format
	switch {
	case f.Grammar != "":
		return f.Grammar, nil
	case f.Schema != nil:
		text, err := grammar.FromSchema(f.Schema)
		return text, inField("response_format", err)
	case f.JSON:
		return grammar.JSONObject(), nil
	case len(a.params.Tools) > 0 && a.params.ToolChoice.Mode == completion.ToolsRequired:
		return a.callGrammar()
	default:
		return "", nil
	}
}

// inField says where in the body a schema was.
func inField(field string, err error) error {
	if err == nil {
		return nil
	}
	e := messages.AsError(err, "llamacpp.infer")
	if !strings.HasPrefix(e.Message, field) {
		e = messages.Errorf(e.Code, e.Op, "%s: %s", field, e.Message)
	}
	return e
}

// callShapes are how the formats write one call: around the object, and its key of the arguments.
var callShapes = map[toolcall.Format]struct{ before, after, arguments string }{
	toolcall.Hermes:  {"<tool_call>\n", "\n</tool_call>", "arguments"},
	toolcall.Llama3:  {"", "", "parameters"},
	toolcall.Mistral: {"[", "]", "arguments"}, // [TOOL_CALLS] is a token without text, and may be left out
}

// callGrammar has the answer be one call of one of the functions that may be called.
func (a *assignment) callGrammar() (string, error) {
	shape, ok := callShapes[a.parse.Format]
	if !ok {
		return "", cannot("tool_choice: must be \"auto\" or \"none\" for this model: its form of calls cannot be enforced")
	}
	var calls []json.RawMessage
	for i, t := range a.params.Tools {
		if n := a.params.ToolChoice.Name; n != "" && n != t.Name {
			continue
		}
		params := t.Parameters
		if params == nil {
			params = json.RawMessage(`{"type":"object","additionalProperties":false}`) // no arguments, says OpenAI
		}
		if _, err := grammar.FromSchema(params); err != nil {
			return "", inField("tools["+strconv.Itoa(i)+"].function.parameters", err)
		}
		name, _ := json.Marshal(t.Name)
		calls = append(calls, json.RawMessage(`{"type":"object","properties":{"name":{"const":`+string(name)+`},"`+shape.arguments+`":`+
			rebased(params, len(calls), shape.arguments)+`},"required":["name","`+shape.arguments+`"],"additionalProperties":false}`))
	}
	schema, _ := json.Marshal(map[string]any{"anyOf": calls}) // valid JSON, all of it
	text, err := grammar.FromSchema(schema)
	if err != nil {
		return "", inField("tools", err)
	}
	text = strings.Replace(text, "root ::= ", "rbee-call ::= ", 1)
	return "root ::= " + literal(shape.before) + " rbee-call " + literal(shape.after) + "\n" + text, nil
}

// rebased is a function's schema, as a part of the larger one, with its local references pointing
// there.
func rebased(params json.RawMessage, at int, key string) string {
	if !strings.Contains(string(params), `"$ref"`) {
		return string(params) // in the order in which it was written
	}
	var doc any
	d := json.NewDecoder(bytes.NewReader(params))
	d.UseNumber()
	if d.Decode(&doc) != nil {
		return string(params)
	}
	prefix := "#/anyOf/" + strconv.Itoa(at) + "/properties/" + key
	var walk func(v any, names bool) // names: the keys are a client's, not the schema language's
	walk = func(v any, names bool) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok && strings.HasPrefix(ref, "#") {
				v["$ref"] = prefix + strings.TrimPrefix(ref, "#")
			}
			for k, x := range v {
				if names || k != "const" && k != "enum" { // those are values
					walk(x, !names && (k == "properties" || k == "$defs" || k == "definitions"))
				}
			}
		case []any:
			for _, x := range v {
				walk(x, false)
			}
		}
	}
	walk(doc, false)
	raw, _ := json.Marshal(doc)
	return string(raw)
}

// literal is text as a GBNF literal.
func literal(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text) + `"`
}
