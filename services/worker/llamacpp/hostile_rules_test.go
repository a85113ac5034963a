package llamacpp

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/rbee-project/rbee/gguf/bees"
)

// attackRules sends grammars and schemas that want too much, nothing, or what cannot be.
func attackRules(a *attack) {
	b := a.besiege(Config{ModelPath: bee(a.t, bees.Random)})
	defer b.relieve()
	grammars := hostileGrammars()
	for _, name := range sortedNames(grammars) {
		for _, heat := range []float64{0, 2} {
			b.send("grammar: "+name, completed("hive", map[string]any{"grammar": grammars[name], "max_tokens": 30, "temperature": heat}))
		}
	}
	schemas := hostileSchemas()
	for _, name := range sortedNames(schemas) {
		b.send("schema: "+name, chat("hive", map[string]any{"response_format": jsonSchema(schemas[name]), "max_tokens": 30, "temperature": 1}))
	}
	b.sendFormats()
	b.sendBans()
}

func hostileGrammars() map[string]string {
	chain := "root ::= a0\n"
	for i := range 2000 {
		chain += fmt.Sprintf("a%d ::= a%d a%d | \"x\"\n", i, i+1, i+1)
	}
	return map[string]string{
		"none":                      ``,
		"no root":                   `leaf ::= "a"`,
		"nothing allowed":           `root ::= ""`,
		"nothing after a":           `root ::= "a" ""`,
		"an empty root":             `root ::= `,
		"an empty choice":           `root ::= | | |`,
		"left recursion":            `root ::= root "a" | "b"`,
		"hidden left recursion":     "root ::= e root \"a\" | \"b\"\ne ::= \"x\"?",
		"only itself":               `root ::= root`,
		"never ends":                `root ::= "a" root`,
		"two that need the other":   "root ::= a\na ::= \"x\" b\nb ::= \"y\" a",
		"exponential":               `root ::= ("a" | "a")* ("a"? "a"?)* "b"`,
		"ambiguous":                 `root ::= root2 root2 root2 root2` + "\n" + `root2 ::= ("a" | "aa" | [a-z] | . )*`,
		"doubled 2000 times":        chain + `a2000 ::= "x"`,
		"a byte that no token has":  `root ::= "\xff" "\xfe"`,
		"a character without token": `root ::= [\U0010FFF0-\U0010FFFF] "\uFFFF"`,
		"a NUL":                     `root ::= "\x00" [\x00]`,
		"a class of nothing":        `root ::= [^\x00-\U0010FFFF]`,
		"a class upside down":       `root ::= [z-a]`,
		"many repeats":              `root ::= "a"{1000000000}`,
		"repeats of repeats":        `root ::= (((("a"{1,999}){1,999}){1,999}){1,999}){1,999}`,
		"repeats upside down":       `root ::= "a"{5,2}`,
		"repeat of nothing":         `root ::= (""*)* ("")+ "a"?`,
		"negative repeats":          `root ::= "a"{-1}`,
		"a number of 1 KB":          `root ::= "a"{` + strings.Repeat("9", 1024) + `}`,
		"64 KB of brackets":         `root ::= ` + strings.Repeat("(", 30_000) + `"a"` + strings.Repeat(")", 30_000),
		"64 KB of stars":            `root ::= "a"` + strings.Repeat("*", 60_000),
		"64 KB of choices":          `root ::= "a"` + strings.Repeat(`|"a"`, 15_000),
		"64 KB of text":             `root ::= "` + strings.Repeat("a", 65_000) + `"`,
		"more than 64 KB":           `root ::= "` + strings.Repeat("a", 66_000) + `"`,
		"a quote that stays open":   `root ::= "a`,
		"a bracket that stays":      `root ::= ("a"`,
		"an escape that ends":       `root ::= "\`,
		"an escape of nothing":      `root ::= "\xZZ\u12\U1234"`,
		"a surrogate":               `root ::= "\uD800" [\uDC00-\uDFFF]`,
		"garbage":                   "\x01\x02 ::= ::= |*+?{}[]^-\\",
		"a name of 10 KB":           strings.Repeat("n", 10_000) + ` ::= "a"` + "\nroot ::= " + strings.Repeat("n", 10_000),
		"an unknown name":           `root ::= nothere`,
		"a rule twice":              "root ::= \"a\"\nroot ::= \"b\"",
		"any token":                 `root ::= .*`,
		"an end after everything":   `root ::= .* "\x00"`,
		"tokens by number":          `root ::= <[5]> !<[7]> <|im_end|>`,
	}
}

func hostileSchemas() map[string]string {
	deep := func(n int, a, z string) string { return strings.Repeat(a, n) + "{}" + strings.Repeat(z, n) }
	wide := func(n int, what func(i int) string) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = what(i)
		}
		return strings.Join(parts, ",")
	}
	double := `{"$defs":{` + wide(40, func(i int) string {
		return fmt.Sprintf(`"d%d":{"type":"array","prefixItems":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}],"minItems":2,"maxItems":2}`, i, i+1, i+1)
	}) + `,"d40":{"type":"null"}},"$ref":"#/$defs/d0"}`
	return map[string]string{
		"itself":              `{"$ref":"#"}`,
		"a circle":            `{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}`,
		"a tree":              `{"$defs":{"t":{"type":"object","properties":{"l":{"$ref":"#/$defs/t"},"r":{"$ref":"#/$defs/t"}},"required":["l","r"]}},"$ref":"#/$defs/t"}`,
		"a tree that may end": `{"type":"array","items":{"$ref":"#"}}`,
		"doubled 40 times":    double,
		"nowhere":             `{"$ref":"#/$defs/none"}`,
		"elsewhere":           `{"$ref":"http://127.0.0.1:1/x.json"}`,
		"a file":              `{"$ref":"file:///etc/passwd"}`,
		"deep":                deep(60, `{"properties":{"a":`, `}}`),
		"too deep":            deep(5000, `{"items":`, `}`),
		"deep allOf":          deep(30, `{"allOf":[`, `]}`),
		"nothing fits":        `{"allOf":[{"type":"string"},{"type":"number"}]}`,
		"no value":            `{"enum":[]}`,
		"false":               `{"not":{}}`,
		"upside down":         `{"type":"integer","minimum":10,"maximum":1}`,
		"a string too short":  `{"type":"string","minLength":10,"maxLength":1}`,
		"a huge string":       `{"type":"string","minLength":2000000000}`,
		"a huge array":        `{"type":"array","minItems":1000000000,"items":{"type":"null"}}`,
		"huge numbers":        `{"type":"integer","minimum":-1e308,"maximum":1e308}`,
		"more than a float":   `{"type":"integer","minimum":-1e999999}`,
		"a sliver":            `{"type":"number","exclusiveMinimum":0,"exclusiveMaximum":5e-324}`,
		"1000 properties":     `{"type":"object","properties":{` + wide(1000, func(i int) string { return fmt.Sprintf(`"p%d":{"type":"string"}`, i) }) + `}}`,
		"1000 that must":      `{"type":"object","additionalProperties":false,"properties":{` + wide(1000, func(i int) string { return fmt.Sprintf(`"p%d":{"type":"string"}`, i) }) + `},"required":[` + wide(1000, func(i int) string { return fmt.Sprintf(`"p%d"`, i) }) + `]}`,
		"10,000 values":       `{"enum":[` + wide(10_000, func(i int) string { return fmt.Sprint(i) }) + `]}`,
		"a value of 60 KB":    `{"const":"` + strings.Repeat("x", 60_000) + `"}`,
		"1 MB":                `{"const":"` + strings.Repeat("x", 1<<20) + `"}`,
		"anyOf in anyOf": `{"anyOf":[` + wide(60, func(int) string {
			return `{"anyOf":[` + wide(60, func(i int) string { return fmt.Sprintf(`{"const":%d}`, i) }) + `]}`
		}) + `]}`,
		"allOf of anyOf": `{"allOf":[` + wide(20, func(i int) string {
			return fmt.Sprintf(`{"anyOf":[{"minimum":%d},{"maximum":%d},{"multipleOf":%d}]}`, i, i, i+1)
		}) + `]}`,
		"a pattern":            `{"type":"string","pattern":"^(a+)+$"}`,
		"a hard pattern":       `{"type":"string","pattern":"^((a{1,100}){1,100}){1,100}$"}`,
		"a broken pattern":     `{"type":"string","pattern":"((("}`,
		"a pattern of nothing": `{"type":"string","pattern":"^[^\\s\\S]$"}`,
		"looking around":       `{"type":"string","pattern":"^(?=a)(?!b)(?<=c)\\1$"}`,
		"an odd type":          `{"type":5}`,
		"an odd kind":          `{"type":"bees"}`,
		"odd properties":       `{"properties":[1,2],"required":{"a":1}}`,
		"a list":               `[]`,
		"a text":               `"x"`,
		"null":                 `null`,
		"an odd key":           `{"type":"object","properties":{"\u0000":{"type":"null"},"\ud800":{"type":"null"}},"required":["\u0000"]}`,
	}
}

// sendFormats sends formats beside what does not go with them.
func (b *besieged) sendFormats() {
	object := map[string]any{"type": "json_object"}
	for _, f := range []map[string]any{
		{"response_format": object, "n": 16}, {"response_format": object, "stop": []string{"{", "}", "\""}},
		{"response_format": object, "stop": "{"}, {"response_format": object, "max_tokens": 0}, {"response_format": object, "ignore_eos": true},
		{"response_format": object, "logprobs": true, "top_logprobs": 20}, {"response_format": object, "grammar": `root ::= "a"`},
		{"response_format": object, "mirostat": 1, "temperature": 2}, {"response_format": object, "mirostat": 2, "temperature": 2},
		{"response_format": object, "top_k": 1, "min_p": 1, "top_p": 0, "typical_p": 0, "temperature": 2},
		{"response_format": object, "max_tokens": 200, "temperature": 2},
		{"response_format": map[string]any{"type": "yaml"}}, {"response_format": 5}, {"response_format": map[string]any{"type": "json_schema"}},
		{"response_format": map[string]any{}}, {"response_format": map[string]any{"type": nil}},
	} {
		raw, _ := json.Marshal(f)
		b.send(string(raw), chat("hive", both(map[string]any{"max_tokens": 20}, f)))
	}
}

// sendBans bans all that a grammar allows.
func (b *besieged) sendBans() {
	bans := map[string]float64{}
	for t, p := range b.e.session.vocab.pieces {
		if strings.Trim(p, "a") == "" {
			bans[fmt.Sprint(t)] = -100
		}
	}
	for _, g := range []string{`root ::= "aaa"`, `root ::= "a"*`, `root ::= "a"* "b"`, `root ::= [a]{100,200}`} {
		for _, heat := range []float64{0, 1, 2} {
			for _, f := range []map[string]any{{}, {"ignore_eos": true}, {"min_p": 1}, {"mirostat": 1}, {"mirostat": 2}, {"top_n_sigma": 1e-9}, {"typical_p": 0}, {"repeat_penalty": 10, "presence_penalty": 2, "frequency_penalty": 2}, {"n": 4, "stop": "aa"}} {
				raw, _ := json.Marshal(f)
				b.send(fmt.Sprintf("banned, but %s wants it, temperature %g, %s", g, heat, raw),
					completed("hive", both(f, map[string]any{"grammar": g, "logit_bias": bans, "temperature": heat})))
			}
		}
	}
}
