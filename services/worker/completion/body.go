package completion

import (
	"bytes"
	"encoding/json"

	"github.com/rbee-project/rbee/messages"
)

// body has every field that is read from a request. A pointer is nil when the field is absent or
// null. Fields that the engine cannot honour are here so that they are refused, not ignored.
type body struct {
	Messages []message       `json:"messages"`
	Prompt   json.RawMessage `json:"prompt"`

	MaxTokens           *int            `json:"max_tokens"`
	MaxCompletionTokens *int            `json:"max_completion_tokens"`
	Stop                json.RawMessage `json:"stop"`
	N                   *int            `json:"n"`
	BestOf              *int            `json:"best_of"`

	Temperature      *float64 `json:"temperature"`
	TopP             *float64 `json:"top_p"`
	MinP             *float64 `json:"min_p"`
	TopK             *int64   `json:"top_k"`
	FrequencyPenalty *float64 `json:"frequency_penalty"`
	PresencePenalty  *float64 `json:"presence_penalty"`
	Seed             *int64   `json:"seed"`

	Stream        *bool `json:"stream"` // only checked: who asks the engine decides
	StreamOptions *struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`

	Echo           *bool           `json:"echo"`
	Suffix         *string         `json:"suffix"`
	Logprobs       json.RawMessage `json:"logprobs"`
	LogitBias      json.RawMessage `json:"logit_bias"`
	Tools          json.RawMessage `json:"tools"`
	ResponseFormat *struct {
		Type string `json:"type"`
	} `json:"response_format"`
}

type message struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// refuseUnsupported reports the first field that asks for what no part of this engine does. An
// answer without it would look right and be wrong.
func (b *body) refuseUnsupported() error {
	if b.ResponseFormat != nil && b.ResponseFormat.Type != "text" && b.ResponseFormat.Type != "" {
		return bad("response_format: only \"text\" is supported, not %q", b.ResponseFormat.Type)
	}
	if b.Echo != nil && *b.Echo {
		return bad("echo: is not supported")
	}
	if b.Suffix != nil && *b.Suffix != "" {
		return bad("suffix: is not supported")
	}
	for _, f := range []struct {
		name  string
		value json.RawMessage
	}{{"logprobs", b.Logprobs}, {"logit_bias", b.LogitBias}, {"tools", b.Tools}} {
		if !isNothing(f.value) {
			return bad("%s: is not supported", f.name)
		}
	}
	return nil
}

// isNothing says whether raw is absent or one of JSON's ways to ask for nothing.
func isNothing(raw json.RawMessage) bool {
	switch string(bytes.Join(bytes.Fields(raw), nil)) {
	case "", "null", "false", "0", "[]", "{}":
		return true
	default:
		return false
	}
}

func bad(format string, args ...any) error {
	return messages.Errorf(messages.CodeBadRequest, "completion.parse", format, args...)
}
