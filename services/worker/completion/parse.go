package completion

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/rbee-project/rbee/messages"
)

// Parse reads the body of a task. What is wrong comes back as a [messages.Error] with
// [messages.CodeBadRequest] whose message begins with the name of the field.
func Parse(task string, raw []byte) (Params, error) {
	var b body
	if err := json.Unmarshal(raw, &b); err != nil {
		return Params{}, decodeError(err)
	}
	if err := b.refuseUnsupported(); err != nil {
		return Params{}, err
	}
	p := Params{Seed: b.Seed}
	p.IncludeUsage = b.StreamOptions != nil && b.StreamOptions.IncludeUsage
	var err error
	switch task {
	case TaskChat:
		p.Messages, err = parseMessages(b.Messages)
	case TaskCompletion:
		p.Prompt, err = parsePrompt(b.Prompt)
	default:
		err = bad("task: %q is not one of %q and %q", task, TaskChat, TaskCompletion)
	}
	if err != nil {
		return Params{}, err
	}
	if err := p.setLimits(&b); err != nil {
		return Params{}, err
	}
	if err := p.setSampling(&b); err != nil {
		return Params{}, err
	}
	return p, nil
}

// decodeError names the field whose JSON type is wrong.
func decodeError(err error) error {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		name := t.Field
		if name == "" {
			name = "body"
		}
		return bad("%s: must not be a JSON %s", name, t.Value)
	}
	return messages.Errorf(messages.CodeBadRequest, "completion.parse", "body: is not JSON: %w", err)
}

func (p *Params) setLimits(b *body) error {
	p.MaxTokens = Unlimited
	for _, f := range []struct {
		name  string
		value *int
	}{{"max_tokens", b.MaxTokens}, {"max_completion_tokens", b.MaxCompletionTokens}} {
		if f.value == nil {
			continue
		}
		if *f.value < 0 {
			return bad("%s: must not be negative, is %d", f.name, *f.value)
		}
		p.MaxTokens = *f.value // the newer name comes last and wins
	}
	if b.N != nil && *b.N != 1 {
		return bad("n: must be 1, is %d", *b.N)
	}
	if b.BestOf != nil && *b.BestOf != 1 {
		return bad("best_of: must be 1, is %d", *b.BestOf)
	}
	var err error
	p.Stops, err = parseStops(b.Stop)
	return err
}

func (p *Params) setSampling(b *body) error {
	for _, f := range []struct {
		name           string
		value          *float64
		low, high, def float64
		to             *float32
	}{
		{"temperature", b.Temperature, 0, 2, DefaultTemperature, &p.Temperature},
		{"top_p", b.TopP, 0, 1, DefaultTopP, &p.TopP},
		{"min_p", b.MinP, 0, 1, DefaultMinP, &p.MinP},
		{"frequency_penalty", b.FrequencyPenalty, -2, 2, 0, &p.FrequencyPenalty},
		{"presence_penalty", b.PresencePenalty, -2, 2, 0, &p.PresencePenalty},
	} {
		v := f.def
		if f.value != nil {
			v = *f.value
		}
		if v < f.low || v > f.high {
			return bad("%s: must be between %g and %g, is %g", f.name, f.low, f.high, v)
		}
		*f.to = float32(v)
	}
	p.TopK = DefaultTopK
	if b.TopK != nil {
		if *b.TopK < -1 || *b.TopK > 1<<30 {
			return bad("top_k: must be between 0 and 2^30, is %d", *b.TopK)
		}
		p.TopK = int32(max(*b.TopK, 0)) // -1 is how some clients say "all"
	}
	return nil
}

func parseStops(raw json.RawMessage) ([]string, error) {
	if isNull(raw) {
		return nil, nil
	}
	var stops []string
	var one string
	if json.Unmarshal(raw, &one) == nil {
		stops = []string{one}
	} else if json.Unmarshal(raw, &stops) != nil {
		return nil, bad("stop: must be a string or a list of strings")
	}
	if len(stops) > MaxStops {
		return nil, bad("stop: at most %d strings, has %d", MaxStops, len(stops))
	}
	for _, s := range stops {
		if s == "" || len(s) > MaxStopBytes {
			return nil, bad("stop: each string must have between 1 and %d bytes", MaxStopBytes)
		}
	}
	return stops, nil
}

// parsePrompt takes a string, or a list of one string as some clients send it.
func parsePrompt(raw json.RawMessage) (string, error) {
	if isNull(raw) {
		return "", bad("prompt: is missing")
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return checkText("prompt", one)
	}
	var list []string
	if json.Unmarshal(raw, &list) != nil {
		return "", bad("prompt: must be a string; tokens are not supported")
	}
	if len(list) != 1 {
		return "", bad("prompt: exactly one is supported, has %d", len(list))
	}
	return checkText("prompt", list[0])
}

// checkText refuses what cannot cross into C: a NUL would cut the text there.
func checkText(field, s string) (string, error) {
	if strings.IndexByte(s, 0) >= 0 {
		return "", bad("%s: must not contain a NUL character", field)
	}
	return strings.ToValidUTF8(s, "\uFFFD"), nil
}

func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || string(raw) == "null"
}
