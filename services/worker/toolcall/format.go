package toolcall

// Format is how a model writes tool calls. The zero value is none: text is only content or reasoning.
type Format string

// The formats, as the package's documentation describes them.
const (
	Hermes   Format = "hermes"
	Llama3   Format = "llama3"
	Mistral  Format = "mistral"
	DeepSeek Format = "deepseek"
)

const (
	thinkOpen  = "<think>"
	thinkClose = "</think>"

	hermesOpen  = "<tool_call>"
	hermesClose = "</tool_call>"

	pythonTag = "<|python_tag|>"

	mistralOpen = "[TOOL_CALLS]"
	mistralID   = "[CALL_ID]"
	mistralArgs = "[ARGS]"

	deepSeekList    = "<｜tool▁calls▁begin｜>"
	deepSeekOpen    = "<｜tool▁call▁begin｜>"
	deepSeekSep     = "<｜tool▁sep｜>"
	deepSeekClose   = "<｜tool▁call▁end｜>"
	deepSeekListEnd = "<｜tool▁calls▁end｜>"
	deepSeekKind    = "function"
	fence           = "```"
)

// Markers is the text of the special tokens of f, as far as a vocabulary has them: who turns tokens
// into text for a [Parser] should give these their text, where special tokens have none otherwise.
func (f Format) Markers() []string {
	switch f {
	case Hermes:
		return []string{hermesOpen, hermesClose}
	case Llama3:
		return []string{pythonTag}
	case Mistral:
		return []string{mistralOpen, mistralID, mistralArgs}
	case DeepSeek:
		return []string{deepSeekList, deepSeekOpen, deepSeekSep, deepSeekClose, deepSeekListEnd}
	default:
		return nil
	}
}

// The lists are variables so that no piece of text allocates them. Markers that are looked for together
// begin with the same byte, which occurs in them nowhere else: [find] needs both.
var (
	thinkMarkers    = []string{thinkClose}
	hermesMarkers   = []string{hermesOpen}
	mistralMarkers  = []string{mistralOpen}
	deepSeekMarkers = []string{deepSeekList, deepSeekOpen}

	// What may follow a call, in this order, each at most once.
	hermesAfter   = []string{hermesClose}
	llama3After   = []string{";"}
	arrayAfter    = []string{",", "]"}
	deepSeekAfter = []string{fence, deepSeekClose, deepSeekListEnd}
)

// opens is what begins a call of f in the middle of text.
func (f Format) opens() []string {
	switch f {
	case Hermes:
		return hermesMarkers
	case Mistral:
		return mistralMarkers
	case DeepSeek:
		return deepSeekMarkers
	default:
		return nil
	}
}

// entry is the state in which an answer, or what follows a call, begins.
func (f Format) entry() state {
	switch f {
	case Hermes, DeepSeek:
		return inText
	case Llama3, Mistral:
		return atStart
	default:
		return inPlain
	}
}
