// Package completion reads the OpenAI-shaped bodies of chat and completion requests and writes the
// OpenAI-shaped objects that answer them. It knows no engine. It has no state: every function may be
// called from many goroutines at once, a [Writer] from one at a time.
package completion

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
)

// The limits of a body.
const (
	MaxStops     = 16      // stop strings in one request
	MaxStopBytes = 1 << 10 // bytes in one stop string
	MaxMessages  = 1 << 14 // messages in one chat
)

// Unlimited is the MaxTokens of a request that sets no limit.
const Unlimited = -1

// Params is what a body asks for, with defaults filled in and every value in range.
type Params struct {
	// Messages is the chat. Empty for a completion.
	Messages []Message
	// Prompt is the text to go on from. Empty for a chat.
	Prompt string

	// MaxTokens ends the answer; [Unlimited] if the body sets none. 0 reads the prompt and answers
	// nothing.
	MaxTokens int
	// Stops end the answer and are not part of it. None is empty.
	Stops []string

	// Temperature 0 means greedy: always the likeliest token.
	Temperature float32
	TopP, MinP  float32
	// TopK 0 means all tokens.
	TopK int32
	// FrequencyPenalty and PresencePenalty are OpenAI's, 0 for none.
	FrequencyPenalty, PresencePenalty float32
	// Seed makes sampling repeatable; nil asks for a new one each time.
	Seed *int64

	// IncludeUsage asks for a last chunk with the token counts.
	IncludeUsage bool
}

// Message is one turn of a chat. Role is one of system, user, assistant and tool.
type Message struct{ Role, Content string }
