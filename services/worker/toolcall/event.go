package toolcall

import "fmt"

// Kind says what an [Event] is.
type Kind uint8

// The kinds of events. A call is one ToolBegin, one or more ToolArguments and one ToolEnd, with nothing
// of another kind between them; only a call that the model broke has no ToolEnd.
const (
	Reasoning     Kind = iota + 1 // Text is a piece of reasoning
	Content                       // Text is a piece of the answer
	ToolBegin                     // call Index begins: ID and Name are set
	ToolArguments                 // Text is a piece of the JSON text of call Index's arguments
	ToolEnd                       // call Index is complete
)

// String is the kind's name in snake case.
func (k Kind) String() string {
	switch k {
	case Reasoning:
		return "reasoning"
	case Content:
		return "content"
	case ToolBegin:
		return "tool_begin"
	case ToolArguments:
		return "tool_arguments"
	case ToolEnd:
		return "tool_end"
	default:
		return fmt.Sprintf("kind %d", uint8(k))
	}
}

// Event is one step of an answer. Text is never empty where the kind has one, and has whole characters
// if the pieces given to [Parser.Add] have.
type Event struct {
	Kind  Kind
	Text  string
	Index int    // of the call, from 0
	ID    string // of the call, unique in the answer; only in ToolBegin
	Name  string // of the function, 1 to [MaxName] of [A-Za-z0-9_.-]; only in ToolBegin
}
