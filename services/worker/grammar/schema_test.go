package grammar

import (
	"encoding/json"
	"errors"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/grammar/grammartest"
)

// unbounded are schemas whose values may be of any size.
var unbounded = map[string]string{
	"anything":        `{}`,
	"true":            `true`,
	"string":          `{"type":"string"}`,
	"long string":     `{"type":"string","minLength":2,"maxLength":4321}`,
	"very long":       `{"type":"string","minLength":1001}`,
	"any object":      `{"type":"object"}`,
	"any array":       `{"type":"array","minItems":1}`,
	"long array":      `{"type":"array","items":{"type":"null"},"minItems":2,"maxItems":2500}`,
	"pattern star":    `{"type":"string","pattern":"^a+(b|cd)*[^\"\\\\]*$"}`,
	"more properties": `{"type":"object","properties":{"name":{"type":"null"},"names":{"type":"null"},"":{"type":"null"},"n-]":{"type":"null"}},"required":["name"],"additionalProperties":{"type":"boolean"}}`,
	"only others":     `{"type":"object","additionalProperties":{"type":"integer"}}`,
	"others required": `{"type":"object","required":["z"],"properties":{"a":{"const":1}},"additionalProperties":{"type":"string","maxLength":2}}`,
	"merged items":    `{"allOf":[{"type":"array","items":{"minimum":3}},{"items":{"type":"integer"}}]}`,
	"tree":            `{"$defs":{"t":{"type":"object","properties":{"l":{"$ref":"#/$defs/t"},"r":{"$ref":"#/$defs/t"}}}},"$ref":"#/$defs/t"}`,
	"ref and more":    `{"$defs":{"t":{"type":"object","properties":{"l":{"$ref":"#/$defs/t"}}}},"$ref":"#/$defs/t","required":["l"]}`,
	"JSON in JSON":    `{"$ref":"#/$defs/v","$defs":{"v":{"anyOf":[{"type":"null"},{"type":"array","items":{"$ref":"#/$defs/v"}},{"type":"object","additionalProperties":{"$ref":"#/$defs/v"}}]}}}`,
}

func TestSchemasGenerateValidJSON(t *testing.T) {
	all := unboundedAnd(grammartest.Schemas())
	for name, schema := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := mustSchema(t, schema)
			valid := validator(t, schema)
			h := fnv.New64()
			h.Write([]byte(name))
			r := rand.New(rand.NewPCG(h.Sum64(), 1))
			n := 300
			if testing.Short() {
				n = 30
			}
			for range n {
				text := generate(t, g, r)
				if !utf8.ValidString(text) {
					t.Fatalf("%q is not UTF-8", text)
				}
				var v any
				if err := json.Unmarshal([]byte(text), &v); err != nil {
					t.Fatalf("%q: %v", text, err)
				}
				value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
				if err != nil {
					t.Fatalf("%q: %v", text, err)
				}
				if err := valid.Validate(value); err != nil {
					t.Fatalf("%s: %v", text, err)
				}
			}
		})
	}
}

func unboundedAnd(all map[string]string) map[string]string {
	for name, schema := range unbounded {
		all["any size: "+name] = schema
	}
	return all
}

func mustSchema(t testing.TB, schema string) *Grammar {
	t.Helper()
	text, err := FromSchema(json.RawMessage(schema))
	if err != nil {
		t.Fatal(err)
	}
	g, err := Parse(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return g
}

func validator(t testing.TB, schema string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSchemaMatches(t *testing.T) {
	for name, tc := range map[string]struct {
		schema  string
		yes, no []string
	}{
		"order":       {`{"properties":{"b":{"type":"null"},"a":{"type":"null"}}}`, []string{`{}`, `{"b":null}`, `{"a":null}`, `{"b": null, "a": null}`, "{\n  \"b\": null,\n  \"a\": null\n}"}, []string{`{"a":null,"b":null}`, `{"c":null}`, `{,}`, `{"a":null,}`, `{"b":null,"b":null}`, `null`}},
		"range":       {`{"type":"integer","minimum":-7,"maximum":1205}`, []string{"-7", "0", "1", "999", "1000", "1205"}, []string{"-8", "1206", "01", "-0", "1.0", "9999"}},
		"exclusive":   {`{"type":"integer","exclusiveMinimum":-9,"exclusiveMaximum":12}`, []string{"-8", "-1", "0", "11"}, []string{"-9", "12", "-10"}},
		"stricter":    {`{"type":"integer","minimum":3,"exclusiveMinimum":3,"maximum":20,"exclusiveMaximum":30}`, []string{"4", "20"}, []string{"3", "21"}},
		"accents":     {`{"enum":["aé","aè","b"]}`, []string{`"aé"`, `"aè"`, `"b"`}, []string{`"a"`}},
		"pattern":     {`{"pattern":"^[^\\\\a-c]+\\S$"}`, []string{`"de"`, `"\"d"`}, []string{`"\\d"`, `"ad"`, `"d "`, "\"d\u00a0\""}},
		"decimals":    {`{"type":"number","minimum":0.25,"exclusiveMaximum":2}`, []string{"0.25", "0.3", "1", "1.999"}, []string{"0.2", "0.24", "0", "2", "2.0", "-1"}},
		"zero":        {`{"type":"number","minimum":0,"maximum":0}`, []string{"0", "0.0", "0.00"}, []string{"-1", "0.1", "1"}},
		"char":        {`{"type":"string","minLength":1,"maxLength":1}`, []string{`"é"`, `"😀"`, `"\n"`, `"\u00e9"`, `"\uD7FF"`}, []string{`""`, `"ab"`, "\"\n\"", `"\ud800"`, `"\x"`, `"\uDFFF"`}},
		"long":        {`{"type":"string","minLength":1500,"maxLength":2500}`, []string{q(1500), q(1999), q(2000), q(2001), q(2500)}, []string{q(1499), q(2501), q(9000)}},
		"many items":  {`{"items":{"const":1},"minItems":3,"maxItems":3000}`, []string{"[1,1,1]", "[1" + strings.Repeat(",1", 2999) + "]"}, []string{"[1,1]", "[1" + strings.Repeat(",1", 3000) + "]"}},
		"other keys":  {`{"properties":{"ab":{"const":1},"abc":{"const":2}},"additionalProperties":true}`, []string{`{"a":null}`, `{"ab":1,"abd":[]}`, `{"":{}}`, `{"abcd":3}`, `{"b":1}`}, []string{`{"ab":3}`, `{"abc":1}`, `{"a":1,"abc":2}`, `{"\u0061b":1}`}},
		"blanks":      {`{"type":"array"}`, []string{"[]", "[ ]", "[\n]", "[\n\t\t1]"}, []string{"[  ]", " []", "[] ", "[\n\n]", "[\n" + strings.Repeat(" ", 21) + "]"}},
		"leap":        {`{"format":"date"}`, []string{`"2000-02-29"`, `"2024-02-29"`, `"0000-02-29"`, `"2023-12-31"`}, []string{`"1900-02-29"`, `"2023-02-29"`, `"2023-04-31"`, `"2023-00-10"`}},
		"nothing dup": {`{"enum":["a","a"]}`, []string{`"a"`}, []string{`"b"`}},
	} {
		t.Run(name, func(t *testing.T) {
			g := mustSchema(t, tc.schema)
			for _, text := range tc.yes {
				if !matches(g, text) {
					t.Errorf("%.60s does not match", text)
				}
			}
			for _, text := range tc.no {
				if matches(g, text) {
					t.Errorf("%.60s matches", text)
				}
			}
		})
	}
}

func q(n int) string { return `"` + strings.Repeat("x", n) + `"` }

func TestSchemaErrors(t *testing.T) {
	deep := strings.Repeat(`{"items":`, 10_000) + "{}" + strings.Repeat("}", 10_000)
	for name, tc := range map[string]struct{ schema, want string }{
		"not":               {`{"properties":{"a":{"not":{}}}}`, "#/properties/a/not: is not supported"},
		"if":                {`{"if":{}}`, "#/if: is not supported"},
		"unknown":           {`{"items":{"nosuch":1}}`, "#/items/nosuch: is not supported"},
		"uniqueItems":       {`{"uniqueItems":true}`, "#/uniqueItems: is not supported"},
		"multipleOf":        {`{"multipleOf":2}`, "#/multipleOf: is not supported"},
		"patternProps":      {`{"patternProperties":{}}`, "#/patternProperties: is not supported"},
		"minProperties":     {`{"minProperties":1}`, "#/minProperties: is not supported"},
		"maxProperties":     {`{"properties":{"a":{},"b":{}},"maxProperties":1}`, "#/maxProperties: is not supported"},
		"nullable":          {`{"type":"string","nullable":true}`, "#/nullable: is not supported"},
		"anchors":           {`{"pattern":"abc"}`, "#/pattern: is not supported unless"},
		"escaped anchor":    {`{"pattern":"^abc\\$"}`, "#/pattern: is not supported unless"},
		"alternatives":      {`{"pattern":"^a|b$"}`, "#/pattern: is not supported with |"},
		"lookahead":         {`{"pattern":"^(?=a)b$"}`, "#/pattern: groups (?...)"},
		"lazy":              {`{"pattern":"^a+?$"}`, "#/pattern: ? behind a repetition"},
		"class":             {`{"pattern":"^[a$"}`, "#/pattern: has a [ that is not closed"},
		"backreference":     {`{"pattern":"^(a)\\1$"}`, `#/pattern: \1 is not supported`},
		"pattern length":    {`{"pattern":"^a{2,9}$","maxLength":8}`, "#/maxLength: is not supported together"},
		"pattern shorter":   {`{"pattern":"^a{2,9}$","minLength":3}`, "#/minLength: is not supported together"},
		"format":            {`{"format":"uri"}`, `#/format: "uri" is not supported`},
		"type":              {`{"type":"text"}`, `#/type: "text" is not a type`},
		"schema":            {`3`, "#: must be a JSON object or a boolean"},
		"not JSON":          {`{"type":`, "#/type: is not JSON"},
		"two values":        {`{} {}`, "something follows"},
		"key twice":         {`{"type":"null","type":"null"}`, `#: has the key "type" twice`},
		"false":             {`false`, "#: nothing can satisfy it"},
		"contradiction":     {`{"properties":{"a":{"type":"integer","minimum":3,"maximum":2}},"required":["a"]}`, "#/properties/a: nothing can satisfy it"},
		"closed required":   {`{"required":["a"],"additionalProperties":false}`, "nothing can satisfy it"},
		"far ref":           {`{"$ref":"other.json#/a"}`, "#/$ref: must begin with #"},
		"no such ref":       {`{"$ref":"#/$defs/a"}`, "#/$ref: there is nothing at"},
		"self":              {`{"$ref":"#"}`, "#/$ref: leads back to itself"},
		"two refs":          {`{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}`, "leads back to itself"},
		"allOf self":        {`{"allOf":[{"$ref":"#"}]}`, "leads back to itself"},
		"anyOf self":        {`{"anyOf":[{"$ref":"#"},{"type":"null"}]}`, "leads back to itself"},
		"anyOf and self":    {`{"type":"object","anyOf":[{"$ref":"#"},{"required":["a"]}]}`, "leads back to itself"},
		"allOf cycle":       {`{"$ref":"#/$defs/a","$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"},{"type":"object"}]},"b":{"allOf":[{"$ref":"#/$defs/a"}]}}}`, "leads back to itself"},
		"never ends":        {`{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}`, "can never end"},
		"deep":              {deep, "longer than"},
		"less deep":         {strings.Repeat(`{"items":`, 5000) + "{}" + strings.Repeat("}", 5000), "nested deeper"},
		"large":             {`{"enum":["` + strings.Repeat("a", MaxSchema) + `"]}`, "longer than"},
		"huge minimum":      {`{"minimum":1e999999999}`, "#/minimum: has too many digits"},
		"many items":        {`{"minItems":1000000000}`, "#/minItems: must be 100000 at most"},
		"many elements":     {`{"type":"array","minItems":900,"items":{"type":"string","minLength":900,"maxLength":900}}`, ""},
		"product of anyOf":  {anyOfProduct(12), "too large"},
		"exponential allOf": {allOfTower(60), ""},
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			text, err := FromSchema(json.RawMessage(tc.schema))
			within(t, begin)
			if tc.want == "" {
				if err != nil {
					return
				}
				_, err = Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
			e, ok := errors.AsType[*messages.Error](err)
			if !ok || e.Code != messages.CodeBadRequest || !strings.HasPrefix(e.Message, "response_format.json_schema.schema: #") {
				t.Fatalf("%#v", err)
			}
		})
	}
}

// anyOfProduct is an allOf of n choices of 3: 3^n ways.
func anyOfProduct(n int) string {
	one := `{"anyOf":[{"minimum":1},{"minimum":2},{"minimum":3}]},`
	return `{"allOf":[` + strings.TrimSuffix(strings.Repeat(one, n), ",") + `]}`
}

// allOfTower is n definitions of which each refers twice to the next, and to the first.
func allOfTower(n int) string {
	var out strings.Builder
	for i := range n {
		next := `{"$ref":"#/$defs/d` + itoa(i+1) + `"}`
		out.WriteString(`"d` + itoa(i) + `":{"properties":{"a":{"allOf":[` + next + `,{"$ref":"#/$defs/d0"}]},"b":` + next + `}},`)
	}
	return `{"$ref":"#/$defs/d0","$defs":{` + out.String() + `"d` + itoa(n) + `":{"type":"null"}}}`
}

func itoa(n int) string { return strconv.Itoa(n) }

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func TestHugeEnum(t *testing.T) {
	var texts []string
	for i := range 7000 {
		texts = append(texts, "v"+itoa(i*7919%10007))
	}
	schema := `{"enum":` + string(mustJSON(texts)) + `}`
	g, err := FromSchema(json.RawMessage(schema))
	if err != nil {
		if !strings.Contains(err.Error(), "too large") {
			t.Fatal(err)
		}
		texts = texts[:2000]
		if g, err = FromSchema(json.RawMessage(`{"enum":` + string(mustJSON(texts)) + `}`)); err != nil {
			t.Fatal(err)
		}
	}
	p, err := Parse(g)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		if !matches(p, `"`+text+`"`) {
			t.Fatalf("%q does not match", text)
		}
	}
}

func TestJSONObject(t *testing.T) {
	for _, text := range []string{JSONObject(), JSONValue()} {
		g, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(1, 2))
		for range 300 {
			if doc := generate(t, g, r); !json.Valid([]byte(doc)) {
				t.Fatalf("%q is not JSON", doc)
			}
		}
	}
	g, _ := Parse(JSONObject())
	if matches(g, "[]") || !matches(g, `{"a": [1, -2.5e+7, {"b": null}], "a\u0020": "\ud7ff"}`) {
		t.Fatal("not the grammar of an object")
	}
}

func FuzzFromSchema(f *testing.F) {
	for _, schema := range unboundedAnd(maps.Clone(grammartest.Schemas())) {
		f.Add([]byte(schema))
	}
	f.Fuzz(func(t *testing.T, schema []byte) {
		text, err := FromSchema(schema)
		if err != nil {
			if messages.CodeOf(err) != messages.CodeBadRequest {
				t.Fatal(err)
			}
			return
		}
		if _, err := Parse(text); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}
