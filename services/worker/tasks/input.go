package tasks

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/rbee-project/rbee/services/worker/completion"
)

// Input is one text, or the same in the model's own tokens, which the engine must check.
type Input struct {
	Text   string
	Tokens []int32 // not nil: instead of Text
}

// parseInputs takes the four forms of OpenAI's "input": a text, a list of texts, a list of tokens
// and a list of such lists. There is at least one, and none is empty.
func parseInputs(field string, raw json.RawMessage) ([]Input, error) {
	var (
		one    string
		texts  []string
		tokens []int32
		lists  [][]int32
		out    []Input
	)
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil, bad("%s: is missing", field)
	case json.Unmarshal(raw, &one) == nil:
		out = []Input{{Text: one}}
	case json.Unmarshal(raw, &texts) == nil:
		for _, t := range texts {
			out = append(out, Input{Text: t})
		}
	case hasNull(raw): // a token that is none would be read as 0
		return nil, bad("%s: must not hold null", field)
	case json.Unmarshal(raw, &tokens) == nil:
		out = []Input{{Tokens: tokens}}
	case json.Unmarshal(raw, &lists) == nil:
		for _, t := range lists {
			out = append(out, Input{Tokens: t})
		}
	default:
		return nil, bad("%s: must be a string, a list of strings, a list of tokens or a list of those", field)
	}
	if len(out) == 0 || len(out) > MaxInputs {
		return nil, bad("%s: must be between 1 and %d, are %d", field, MaxInputs, len(out))
	}
	for i := range out {
		if err := out[i].check(fmt.Sprintf("%s[%d]", field, i)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// hasNull says whether JSON without texts has a null in it.
func hasNull(raw []byte) bool { return bytes.Contains(raw, []byte("null")) }

func (in *Input) check(field string) (err error) {
	switch {
	case in.Text == "" && len(in.Tokens) == 0:
		return bad("%s: must not be empty", field)
	case len(in.Tokens) > MaxTokens:
		return bad("%s: at most %d tokens, has %d", field, MaxTokens, len(in.Tokens))
	}
	in.Text, err = completion.CheckText(field, in.Text)
	return err
}
