// Package grammartest has JSON schemas for tests of whatever generates by a grammar.
package grammartest

import "maps"

// Schemas returns JSON schemas by name. All are supported by package grammar, none is ambiguous about
// oneOf, and every value of theirs is small: a model that picks tokens at random ends after some
// hundred of them.
func Schemas() map[string]string { return maps.Clone(schemas) }

var schemas = map[string]string{
	"null":             `{"type":"null"}`,
	"boolean":          `{"type":"boolean"}`,
	"integer":          `{"type":"integer"}`,
	"number":           `{"type":"number"}`,
	"short string":     `{"type":"string","maxLength":12}`,
	"string of 3 to 5": `{"type":"string","minLength":3,"maxLength":5}`,
	"type list":        `{"type":["string","null","integer"],"maxLength":6}`,
	"enum":             `{"enum":["red","green","blue","gr",null,3,1.5,true,{"a":[1,"x"]}]}`,
	"enum of accents":  `{"enum":["aé","aè","aê","aê1","日本","旧"]}`,
	"enum with type":   `{"type":["integer","string"],"enum":["a","bb",1,2.5,7],"minimum":2,"maxLength":1}`,
	"const":            `{"const":{"quote":"\"\\\n\u00e9","n":[1,2]}}`,
	"byte":             `{"type":"integer","minimum":0,"maximum":255}`,
	"signed range":     `{"type":"integer","minimum":-1234,"maximum":98}`,
	"negative range":   `{"type":"integer","minimum":-120,"exclusiveMaximum":-7}`,
	"exclusive range":  `{"type":"integer","exclusiveMinimum":9,"exclusiveMaximum":101}`,
	"from":             `{"type":"integer","minimum":1000}`,
	"up to":            `{"type":"integer","maximum":17}`,
	"fraction limits":  `{"type":"integer","minimum":0.5,"maximum":9.99}`,
	"probability":      `{"type":"number","minimum":0,"maximum":1}`,
	"open probability": `{"type":"number","exclusiveMinimum":0,"exclusiveMaximum":1}`,
	"decimals":         `{"type":"number","minimum":-2.75,"maximum":13.125}`,
	"close decimals":   `{"type":"number","minimum":3.14,"exclusiveMaximum":3.1416}`,
	"positive":         `{"type":"number","exclusiveMinimum":0}`,
	"negative number":  `{"type":"number","maximum":-0.5}`,
	"pattern":          `{"type":"string","pattern":"^[A-Z]{2}-\\d{3,5}$"}`,
	"pattern escapes":  `{"type":"string","pattern":"^(?:\\w\\.|[^\\s\\w]{1,2}|\\\\|\"|\\t)x{0,3}$"}`,
	"pattern any":      `{"type":"string","pattern":"^.{2,4}$","minLength":1,"maxLength":4}`,
	"date":             `{"type":"string","format":"date"}`,
	"time":             `{"type":"string","format":"time"}`,
	"date-time":        `{"type":"string","format":"date-time"}`,
	"uuid":             `{"type":"string","format":"uuid"}`,
	"ipv4":             `{"type":"string","format":"ipv4"}`,
	"email":            `{"type":"string","format":"email"}`,
	"array":            `{"type":"array","items":{"type":"integer"},"maxItems":4}`,
	"array of 2 to 3":  `{"type":"array","items":{"type":"boolean"},"minItems":2,"maxItems":3}`,
	"empty array":      `{"type":"array","maxItems":0}`,
	"tuple":            `{"type":"array","prefixItems":[{"type":"integer"},{"type":"boolean"},{"enum":["a","b"]}],"items":false,"minItems":2}`,
	"tuple and more":   `{"type":"array","prefixItems":[{"type":"boolean"}],"items":{"type":"null"},"minItems":3,"maxItems":5}`,
	"person": `{"type":"object","title":"Person","properties":{"name":{"type":"string","maxLength":20},` +
		`"age":{"type":"integer","minimum":0,"maximum":150},"email":{"type":["string","null"],"maxLength":10}},` +
		`"required":["name","age","email"],"additionalProperties":false}`,
	"optional": `{"type":"object","properties":{"a":{"type":"boolean"},"b":{"type":"null"},"c":{"enum":[1,2]}},"additionalProperties":false}`,
	"some optional": `{"type":"object","properties":{"a":{"type":"boolean"},"b":{"type":"null"},"c":{"enum":[1,2]},` +
		`"d":{"type":"boolean"},"e":{"type":"boolean"}},"required":["d","b"]}`,
	"no properties": `{"type":"object","additionalProperties":false}`,
	"forbidden":     `{"type":"object","properties":{"a":false,"b":{"type":"boolean"}},"minProperties":0,"maxProperties":1}`,
	"strange names": `{"type":"object","properties":{"":{"type":"null"},"a\"b":{"type":"null"},"é\n":{"type":"null"},"]-^[\\":{"type":"null"}},"required":["","a\"b","é\n","]-^[\\"]}`,
	"nested": `{"type":"object","properties":{"at":{"type":"object","properties":{"x":{"type":"number","minimum":-10,"maximum":10},` +
		`"y":{"type":"number","minimum":-10,"maximum":10}},"required":["x","y"]},"tags":{"type":"array","items":{"enum":["new","old","sold"]},"maxItems":3}},"required":["at","tags"]}`,
	"ref": `{"$defs":{"color":{"enum":["red","blue"]},"pair":{"type":"array","items":{"$ref":"#/$defs/color"},"minItems":2,"maxItems":2}},` +
		`"type":"object","properties":{"one":{"$ref":"#/$defs/color"},"two":{"$ref":"#/$defs/pair","description":"both"}},"required":["one","two"]}`,
	"definitions": `{"definitions":{"a/b":{"type":"boolean"}},"type":"array","items":{"$ref":"#/definitions/a~1b"},"minItems":1,"maxItems":2}`,
	"anyOf":       `{"anyOf":[{"type":"integer","maximum":5,"minimum":0},{"type":"string","maxLength":3},{"type":"array","items":{"type":"null"},"maxItems":2}]}`,
	"oneOf": `{"oneOf":[{"type":"object","properties":{"kind":{"const":"cat"},"lives":{"type":"integer","minimum":1,"maximum":9}},"required":["kind","lives"]},` +
		`{"type":"object","properties":{"kind":{"const":"dog"},"good":{"const":true}},"required":["kind","good"]}]}`,
	"anyOf with base": `{"type":"object","properties":{"a":{"type":"boolean"},"b":{"type":"boolean"}},"anyOf":[{"required":["a"]},{"required":["b"]}]}`,
	"allOf": `{"allOf":[{"$ref":"#/$defs/base"},{"properties":{"b":{"type":"boolean"},"a":{"maximum":9}},"required":["b"]}],` +
		`"$defs":{"base":{"type":"object","properties":{"a":{"type":"integer","minimum":0}},"required":["a"]}}}`,
	"allOf closed": `{"type":"object","allOf":[{"properties":{"a":{"type":"null"},"b":{"type":"boolean"}},"additionalProperties":false},` +
		`{"properties":{"c":{"type":"null"}},"additionalProperties":{"type":["boolean","null"]}}]}`,
	"tree": `{"type":"object","properties":{"v":{"type":"boolean"},"kids":{"type":"array","items":{"$ref":"#"},"maxItems":1}},"required":["v"]}`,
	"list": `{"$ref":"#/$defs/node","$defs":{"node":{"type":"object","properties":{"v":{"type":"integer","minimum":0,"maximum":9},` +
		`"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["v","next"],"additionalProperties":false}}}`,
}
