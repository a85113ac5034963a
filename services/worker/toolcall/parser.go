package toolcall

import (
	"slices"
	"strings"
)

// Limits on what one answer may make a [Parser] keep.
const (
	// MaxCalls is how many calls one answer may have. What follows the last is content.
	MaxCalls = 128
	// MaxHeld is how many bytes of a call may come before it begins (its arguments, if its name comes
	// after them). A call that has more is content. It is exceeded by at most one character.
	MaxHeld = 64 << 10
	// MaxSpace is how many bytes of white space before a marker are dropped, and so held back.
	MaxSpace = 256
)

// Options say what to look for. The zero value finds nothing: all text is content.
type Options struct {
	// Format is how the model writes calls; empty or unknown: no calls are looked for.
	Format Format
	// Tools are the names of the functions that were offered. Where nothing but its shape marks a call
	// (Llama 3, and Mistral without the text of its special token), only these are calls. Where there is
	// a marker, any valid name is one: it is the client that knows what to do with it.
	Tools []string
	// Reasoning splits off <think>…</think> at the beginning of the answer.
	Reasoning bool
	// InThinking says that the prompt has already opened <think>; it implies Reasoning.
	InThinking bool
	// NewID makes the ids of calls that have none from the model, each another. Nil: random, of the
	// form that OpenAI uses, or for Mistral the nine letters and digits that its templates demand.
	NewID func() string
}

type state uint8

const (
	inPlain   state = iota // all that comes is content
	atThink                // <think> may come
	inThink                // reasoning, until </think>
	afterPart              // white space and what ends a call are dropped
	atStart                // a call without a marker may come
	inText                 // content, until a marker
	atOpen                 // after a marker
	inHeader               // a name before {
	inObject               // a call's object, before the call begins
	inArgs                 // the arguments of a call that has begun
	inTail                 // the rest of a call's object
	ended
)

// Parser splits one answer. It must be made by [New].
type Parser struct {
	format   Format
	tools    []string
	thinking bool
	makeID   func() string

	state  state
	held   string   // text that the state cannot decide on before more comes
	after  []string // what may yet be dropped in afterPart
	fresh  bool     // in reasoning: nothing but white space has come
	calls  int      // that have begun
	ids    []string
	broken bool

	call call
}

// New returns a Parser for one answer.
func New(o Options) *Parser {
	p := &Parser{
		format: o.Format, tools: o.Tools, thinking: o.InThinking, makeID: o.NewID,
		state: o.Format.entry(),
	}
	if o.Reasoning || o.InThinking {
		p.state = atThink
	}
	return p
}

// Broken says that the model began a call and did not write it well, or that the text ended in it. It
// stays so for the rest of the answer.
func (p *Parser) Broken() bool { return p.broken }

// Calls is how many calls have begun.
func (p *Parser) Calls() int { return p.calls }

// Add takes the next piece of text, which should be whole characters, appends what can be told now to
// dst and returns it. Events share memory with text. After [Parser.End] it does nothing.
func (p *Parser) Add(dst []Event, text string) []Event {
	if p.held != "" {
		text, p.held = p.held+text, ""
	}
	for text != "" {
		dst, text = p.step(dst, text)
	}
	return dst
}

// step takes at least one byte of text or changes the state, and returns what remains of text. A state
// that needs more than text puts it into p.held.
func (p *Parser) step(dst []Event, text string) ([]Event, string) {
	switch p.state {
	case atThink:
		return dst, p.think(text)
	case inThink:
		return p.reason(dst, text)
	case afterPart:
		return dst, p.drop(text)
	case atStart:
		return dst, p.start(text)
	case inText:
		return p.content(dst, text)
	case atOpen:
		return p.open(dst, text)
	case inHeader:
		return p.header(dst, text)
	case inObject:
		return p.object(dst, text)
	case inArgs:
		return p.arguments(dst, text, 0)
	case inTail:
		return dst, p.tail(text)
	case ended:
		return dst, ""
	default:
		return put(dst, Content, text), ""
	}
}

// End appends what was held back to dst and returns it. Nothing comes after it.
func (p *Parser) End(dst []Event) []Event {
	switch p.state {
	case atOpen, inHeader, inObject:
		dst = p.giveUp(dst)
	case inArgs:
		p.broken = true
	case afterPart:
		// An answer may be cut within what ends a call; the call itself is complete.
		cut := strings.TrimLeft(p.held, " \t\r\n")
		if slices.ContainsFunc(p.after, func(end string) bool { return strings.HasPrefix(end, cut) }) {
			p.held = ""
		}
	}
	kind := Content
	if p.state == inThink || p.state == atThink && p.thinking {
		kind = Reasoning
	}
	dst = put(dst, kind, p.held)
	p.state, p.held = ended, ""
	return dst
}

func put(dst []Event, kind Kind, text string) []Event {
	if text == "" {
		return dst
	}
	return append(dst, Event{Kind: kind, Text: text})
}

func (p *Parser) offered(name string) bool { return slices.Contains(p.tools, name) }
