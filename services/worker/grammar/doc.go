// Package grammar says which text may come next, so that a model writes only what a grammar or a JSON
// schema allows. Grammars are llama.cpp's GBNF; a schema is turned into one. Grammar and schema come
// from strangers: their size, and the time and memory of matching, are bounded. A [Grammar] and a
// [Vocabulary] may be used by many goroutines at once, a [State] and its clones by one.
//
// # GBNF
//
// Everything of llama.cpp's grammars/README.md but tokens (<...>). Other than there, a rule that is
// defined twice, a rule that can never end, and left recursion of every kind are errors. Matching
// holds 1,024 ways to read the text at most; a grammar that needs more is [ErrTooAmbiguous] when it
// comes to that.
//
// # JSON schema
//
// [FromSchema] supports these keywords. What is generated satisfies all of them; not all that
// satisfies them can be generated.
//
//   - type, also a list of types. Without it the type is what the other keywords are about.
//   - enum and const, beside type, minLength, maxLength, and limits of numbers.
//   - properties, required, additionalProperties: declared properties come in the order as written,
//     each once. Others come behind them, only if additionalProperties is there or no property is
//     declared, and never under a declared name; that two of the others have the same name cannot be
//     excluded. A property whose schema nothing satisfies is left out.
//   - minProperties and maxProperties, if required and properties keep them already.
//   - items, prefixItems, minItems, maxItems. Behind prefixItems other items come only if items is
//     there or minItems asks for them.
//   - minLength and maxLength, of characters.
//   - pattern, from ^ to $: characters, ., [...], \d \w \s and their opposites, \t \n \v \f \r \xNN
//     \uNNNN, groups, |, * + ? {m,n}. With minLength or maxLength only if the pattern keeps them.
//   - format: date, time, date-time, uuid, ipv4, email.
//   - minimum, maximum, exclusiveMinimum, exclusiveMaximum, exactly. Between limits numbers are
//     written without exponent. Whole numbers have 15 digits at most.
//   - anyOf; oneOf as if it were anyOf, so that more than one branch may hold; allOf, merged.
//   - $ref to # or a place in the schema (#/$defs/name, #/definitions/name, any JSON pointer), also
//     recursive, and with keywords beside it. $defs and definitions.
//   - uniqueItems if it is false. true and false as schemas.
//   - Annotations are ignored: title, description, default, examples, $schema, $id, $comment,
//     deprecated, readOnly, writeOnly, and x-anything.
//
// All others are errors that name the place, among them: not, if, then, else, patternProperties,
// propertyNames, dependentRequired, dependentSchemas, unevaluatedItems, unevaluatedProperties,
// contains, multipleOf, nullable, additionalItems, items as a list, $anchor, $dynamicRef, $ref to
// another document, and patterns with assertions, back references, \b, \p, or lazy repetition.
//
// Limits: 64 KiB and 100 levels of schema, 500 properties of an object, counts up to 100,000, and the
// limits of [Parse] for the grammar that comes out.
//
// Between the parts of objects and arrays may be a blank, or a newline and up to 20 blanks and tabs;
// behind a colon a blank. Numbers are bounded, so that a model cannot write digits or blanks forever.
package grammar
