package completion

import (
	"bytes"
	"encoding/json"

	"github.com/rbee-project/rbee/messages"
)

// body has every field that is read from a request. A pointer is nil when the field is absent or
// null. Fields that the engine cannot honour are here so that they are refused, not ignored.
type body struct {
	Messages     []message       `json:"messages"`
	Prompt       json.RawMessage `json:"prompt"`
	Tools        []tool          `json:"tools"`
	ToolChoice   json.RawMessage `json:"tool_choice"`
	TemplateArgs json.RawMessage `json:"chat_template_kwargs"`

	MaxTokens           *int            `json:"max_tokens"`
	MaxCompletionTokens *int            `json:"max_completion_tokens"`
	Stop                json.RawMessage `json:"stop"`
	N                   *int            `json:"n"`
	BestOf              *int            `json:"best_of"`

	sampling

	Logprobs    json.RawMessage `json:"logprobs"` // a bool in a chat, a number in a completion
	TopLogprobs *int            `json:"top_logprobs"`

	ResponseFormat *responseFormat `json:"response_format"`
	Grammar        *string         `json:"grammar"`

	Stream        *bool `json:"stream"` // only checked: who asks the engine decides
	StreamOptions *struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`

	Echo         *bool           `json:"echo"`
	Suffix       *string         `json:"suffix"`
	Functions    json.RawMessage `json:"functions"`
	FunctionCall json.RawMessage `json:"function_call"`
	Audio        json.RawMessage `json:"audio"`
	Modalities   []string        `json:"modalities"`
}

// sampling has the fields of [Sampling].
type sampling struct {
	Temperature      *float64           `json:"temperature"`
	TopP             *float64           `json:"top_p"`
	MinP             *float64           `json:"min_p"`
	TypicalP         *float64           `json:"typical_p"`
	TopK             *int64             `json:"top_k"`
	TopNSigma        *float64           `json:"top_n_sigma"`
	RepeatPenalty    *float64           `json:"repeat_penalty"`
	RepeatLastN      *int64             `json:"repeat_last_n"`
	FrequencyPenalty *float64           `json:"frequency_penalty"`
	PresencePenalty  *float64           `json:"presence_penalty"`
	DryMultiplier    *float64           `json:"dry_multiplier"`
	DryBase          *float64           `json:"dry_base"`
	DryAllowedLength *int64             `json:"dry_allowed_length"`
	DryLastN         *int64             `json:"dry_penalty_last_n"`
	DryBreakers      []string           `json:"dry_sequence_breakers"`
	Mirostat         *int64             `json:"mirostat"`
	MirostatTau      *float64           `json:"mirostat_tau"`
	MirostatEta      *float64           `json:"mirostat_eta"`
	Seed             *int64             `json:"seed"`
	LogitBias        map[string]float64 `json:"logit_bias"`
	IgnoreEOS        *bool              `json:"ignore_eos"`
}

// refuseUnsupported reports the first field that asks for what no part of this engine does. An
// answer without it would look right and be wrong.
func (b *body) refuseUnsupported() error {
	if b.Echo != nil && *b.Echo {
		return bad("echo: is not supported")
	}
	if b.Suffix != nil && *b.Suffix != "" {
		return bad("suffix: is not supported")
	}
	if b.BestOf != nil && *b.BestOf != 1 {
		return bad("best_of: must be 1, is %d", *b.BestOf)
	}
	for _, m := range b.Modalities {
		if m != "text" {
			return bad("modalities: only \"text\" is supported, not %.80q", m)
		}
	}
	for _, f := range []struct {
		name  string
		value json.RawMessage
		use   string
	}{
		{"functions", b.Functions, "tools"},
		{"function_call", b.FunctionCall, "tool_choice"},
		{"audio", b.Audio, "text"},
	} {
		if !isNothing(f.value) {
			return bad("%s: is not supported, use %s", f.name, f.use)
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
