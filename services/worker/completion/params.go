// Package completion reads the OpenAI-shaped bodies of chat and completion requests and writes the
// OpenAI-shaped objects that answer them. It knows no engine. It has no state: every function may be
// called from many goroutines at once, a [Writer] from one at a time.
package completion

import "encoding/json"

// The tasks that a body can ask for.
const (
	TaskChat       = "chat"
	TaskCompletion = "completion"
)

// What a request gets when it does not say: llama-server's defaults, because clients that run
// against it expect them.
const (
	DefaultTemperature = 0.8
	DefaultTopK        = 40
	DefaultTopP        = 0.95
	DefaultMinP        = 0.05
	DefaultRepeatLastN = 64
)

// The limits of a body.
const (
	MaxStops       = 16       // stop strings in one request
	MaxStopBytes   = 1 << 10  // bytes in one stop string
	MaxMessages    = 1 << 14  // messages in one chat
	MaxChoices     = 16       // n
	MaxTools       = 128      // functions that a chat offers
	MaxTopLogprobs = 20       // alternatives told for each token
	MaxLogitBias   = 1 << 10  // tokens in logit_bias
	MaxGrammar     = 64 << 10 // bytes in grammar
	MaxDepth       = 64       // levels of the objects and lists in a tool, a schema, chat_template_kwargs
)

// Unlimited is the MaxTokens of a request that sets no limit.
const Unlimited = -1

// Params is what a body asks for, with defaults filled in and every value in range. All text is valid
// UTF-8 and has no NUL, in JSON not even as an escape.
type Params struct {
	// Messages is the chat. Empty for a completion.
	Messages []Message
	// Tools may be called in the answer; ToolChoice says whether they must be.
	Tools      []Tool
	ToolChoice ToolChoice
	// TemplateArgs is chat_template_kwargs: more variables of the chat template, of any names and any
	// JSON values, at most [MaxDepth] deep. Only the body bounds their size.
	TemplateArgs map[string]any

	// Prompt is the text to go on from, PromptTokens the same in the model's own tokens, none negative,
	// which the engine must check. Both are empty for a chat.
	Prompt       string
	PromptTokens []int32

	// Choices is how many answers are wanted, 1 to [MaxChoices].
	Choices int
	// MaxTokens ends an answer; [Unlimited] if the body sets none. 0 reads the prompt and answers
	// nothing.
	MaxTokens int
	// Stops end an answer and are not part of it. None is empty.
	Stops []string

	Sampling Sampling
	// Logprobs asks for each token's logarithm of probability, before sampling, and TopLogprobs, 0 to
	// [MaxTopLogprobs], for the likeliest ones beside it.
	Logprobs    bool
	TopLogprobs int

	// Format is what the answer must look like.
	Format Format

	// IncludeUsage asks for a last chunk with the token counts.
	IncludeUsage bool
}

// Sampling is how the next token is chosen. The names and ranges are llama-server's.
type Sampling struct {
	// Temperature 0 means greedy: always the likeliest token. At most 2.
	Temperature float32
	// TopP, MinP and TypicalP are between 0 and 1; TopP 1, MinP 0 and TypicalP 1 keep all tokens.
	TopP, MinP, TypicalP float32
	// TopK 0 means all tokens.
	TopK int32
	// TopNSigma keeps the logits within so many deviations of the largest; 0 keeps all.
	TopNSigma float32
	// RepeatPenalty divides the logits of tokens among the last RepeatLastN; 1 for none.
	// FrequencyPenalty and PresencePenalty are OpenAI's, 0 for none.
	RepeatPenalty, FrequencyPenalty, PresencePenalty float32
	// RepeatLastN is in tokens; -1 is the whole context.
	RepeatLastN int32
	// Dry punishes what would repeat a longer piece.
	Dry Dry
	// Mirostat 1 or 2 replaces the choices above but for penalties and temperature; 0 is off.
	Mirostat                 int
	MirostatTau, MirostatEta float32
	// Seed makes sampling repeatable; nil, which is also -1 in a body, asks for a new one each time.
	Seed *int64
	// LogitBias is added to the logits of tokens, which the engine must check. Each is there once, the
	// smallest number first.
	LogitBias []Bias
	// IgnoreEOS has no token end the answer.
	IgnoreEOS bool
}

// Dry is the sampler "Don't Repeat Yourself": Multiplier 0 is off.
type Dry struct {
	Multiplier, Base float32
	// AllowedLength is how many tokens may repeat unpunished; LastN is how far it looks back, -1: the
	// whole context.
	AllowedLength, LastN int32
	// Breakers end a repetition.
	Breakers []string
}

// Bias is added to the logit of one token. Value is between -100 and 100.
type Bias struct {
	Token int32
	Value float32
}

// Format is what an answer must look like. At most one field is set.
type Format struct {
	// JSON asks for any JSON object.
	JSON bool
	// Schema is a JSON schema, an object, that the answer must match.
	Schema json.RawMessage
	// Grammar is in llama.cpp's GBNF.
	Grammar string
}

// Free says that the answer may be any text.
func (f Format) Free() bool { return !f.JSON && f.Schema == nil && f.Grammar == "" }

// Message is one turn of a chat.
type Message struct {
	// Role is one of system, user, assistant and tool.
	Role string
	// Content is the turn's text.
	Content string
	// Reasoning is what an assistant thought before.
	Reasoning string
	// Name is of a user, or of the function that a tool turn answers for.
	Name string
	// ToolCallID is of the call that a tool turn answers.
	ToolCallID string
	// ToolCalls are an assistant's.
	ToolCalls []ToolCall
}

// ToolCall is one call of a function. Arguments is JSON text, as OpenAI has it.
type ToolCall struct{ ID, Name, Arguments string }

// Tool is a function that a chat offers. Raw is the client's object, {"type":"function",…}.
type Tool struct {
	Name       string
	Parameters json.RawMessage // a JSON schema; nil if the function says nothing of its arguments
	Raw        json.RawMessage
}

// ToolChoice says whether the answer may, must or must not be a call.
type ToolChoice struct {
	// Mode is [ToolsAuto], [ToolsNone] or [ToolsRequired].
	Mode string
	// Name is the one function that must be called; empty for any. Only with ToolsRequired.
	Name string
}

// The modes of a [ToolChoice].
const (
	ToolsAuto     = "auto"
	ToolsNone     = "none"
	ToolsRequired = "required"
)
