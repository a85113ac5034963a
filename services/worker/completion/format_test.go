package completion

import (
	"reflect"
	"strings"
	"testing"
)

func TestFormat(t *testing.T) {
	const schema = `{"type":"object"}`
	for name, tc := range map[string]struct {
		fields string
		want   Format
	}{
		"text":                     {`"response_format":{"type":"text"}`, Format{}},
		"nothing said":             {`"response_format":{}`, Format{}},
		"JSON":                     {`"response_format":{"type":"json_object"}`, Format{JSON: true}},
		"JSON, no schema":          {`"response_format":{"type":"json_object","schema":null}`, Format{JSON: true}},
		"OpenAI's schema":          {`"response_format":{"type":"json_schema","json_schema":{"name":"x","strict":true,"schema":` + schema + `}}`, Format{Schema: []byte(schema)}},
		"llama-server's":           {`"response_format":{"type":"json_object","schema":` + schema + `}`, Format{Schema: []byte(schema)}},
		"llama-server's, the type": {`"response_format":{"type":"json_schema","schema":` + schema + `}`, Format{Schema: []byte(schema)}},
		"OpenAI's wins":            {`"response_format":{"type":"json_schema","schema":{},"json_schema":{"schema":` + schema + `}}`, Format{Schema: []byte(schema)}},
		"grammar":                  {`"grammar":"root ::= \"a\""`, Format{Grammar: `root ::= "a"`}},
		"grammar beside text":      {`"grammar":"root ::= \"a\"","response_format":{"type":"text"}`, Format{Grammar: `root ::= "a"`}},
		"the longest grammar":      {`"grammar":"` + strings.Repeat("x", MaxGrammar) + `"`, Format{Grammar: strings.Repeat("x", MaxGrammar)}},
		"beside tools not called":  {`"response_format":{"type":"json_object"},"tool_choice":"none","tools":[` + look + `]`, Format{JSON: true}},
	} {
		for task, raw := range map[string]string{TaskChat: chat(tc.fields), TaskCompletion: text(tc.fields)} {
			if p := mustParse(t, task, raw); !reflect.DeepEqual(p.Format, tc.want) || p.Format.Free() != reflect.DeepEqual(tc.want, Format{}) {
				t.Errorf("%s: %+v, want %+v", name, p.Format, tc.want)
			}
		}
	}
	if p := mustParse(t, TaskCompletion, text(`"response_format":{"type":"json_object"},"tools":[`+look+`]`)); !p.Format.JSON {
		t.Error("a completion's tools, which are not read, are in the way of its format")
	}
}

func TestFormatRefused(t *testing.T) {
	deep := strings.Repeat(`{"x":`, MaxDepth+1) + `1` + strings.Repeat(`}`, MaxDepth+1)
	for field, fields := range map[string][]string{
		"response_format.type": {`"response_format":{"type":"xml"}`, `"response_format":{"type":"` + strings.Repeat("x", 1<<20) + `"}`,
			`"response_format":{"schema":{}}`, `"response_format":{"json_schema":{"schema":{}}}`},
		"response_format.json_schema.schema": {`"response_format":{"type":"json_schema"}`, `"response_format":{"type":"json_schema","json_schema":{}}`,
			`"response_format":{"type":"json_schema","json_schema":null}`, `"response_format":{"type":"json_schema","json_schema":{"schema":null}}`,
			`"response_format":{"type":"json_schema","json_schema":{"schema":5}}`, `"response_format":{"type":"json_schema","json_schema":{"schema":"{}"}}`,
			`"response_format":{"type":"json_schema","json_schema":{"schema":` + deep + `}}`},
		"response_format.schema": {`"response_format":{"type":"json_object","schema":[]}`, `"response_format":{"type":"json_object","schema":true}`,
			`"response_format":{"type":"json_object","schema":` + deep + `}`, `"response_format":{"type":"json_object","schema":{"const":"\u0000"}}`},
		"grammar": {`"grammar":"` + strings.Repeat("x", MaxGrammar+1) + `"`, `"grammar":"root ::= \"a\"\u0000"`,
			`"grammar":"x","response_format":{"type":"json_object"}`, `"grammar":"x","response_format":{"type":"json_object","schema":{}}`},
	} {
		for _, f := range fields {
			mustRefuse(t, TaskChat, chat(f), field)
			mustRefuse(t, TaskCompletion, text(f), field)
		}
	}
	for f, field := range map[string]string{
		`"response_format":{"type":"json_object"}`: "response_format", `"grammar":"x"`: "grammar", `"grammar":"x","tool_choice":"required"`: "grammar",
	} {
		mustRefuse(t, TaskChat, chat(f+`,"tools":[`+look+`]`), field)
	}
}
