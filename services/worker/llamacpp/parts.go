package llamacpp

import (
	"github.com/rbee-project/rbee/services/worker/completion"
	"github.com/rbee-project/rbee/services/worker/toolcall"
)

// parts splits what a model says into content, reasoning and calls of functions.
type parts struct {
	parser *toolcall.Parser // nil: all is content
	events []toolcall.Event

	// What there is of an answer that is not streamed.
	content, reasoning []byte
	calls              []completion.CallPiece
	logprobs           []completion.Logprob
}

func newParts(of *assignment) *parts {
	if of.parse == nil {
		return &parts{}
	}
	return &parts{parser: toolcall.New(*of.parse)}
}

// split is what a piece of text adds to the answer. The logprobs go with its first part.
func (p *parts) split(text string, lp []completion.Logprob, end bool) []completion.Piece {
	if p.parser == nil {
		if text == "" && lp == nil {
			return nil
		}
		return []completion.Piece{{Content: text, Logprobs: lp}}
	}
	p.events = p.parser.Add(p.events[:0], text)
	if end {
		p.events = p.parser.End(p.events)
	}
	var out []completion.Piece
	for _, e := range p.events {
		out = appendEvent(out, e)
	}
	if lp != nil {
		if len(out) == 0 {
			out = append(out, completion.Piece{})
		}
		out[0].Logprobs = lp
	}
	return out
}

func appendEvent(out []completion.Piece, e toolcall.Event) []completion.Piece {
	switch e.Kind {
	case toolcall.Content:
		return append(out, completion.Piece{Content: e.Text})
	case toolcall.Reasoning:
		return append(out, completion.Piece{Reasoning: e.Text})
	case toolcall.ToolBegin:
		return append(out, completion.Piece{Calls: []completion.CallPiece{{Index: e.Index, ID: e.ID, Name: e.Name}}})
	case toolcall.ToolArguments:
		return append(out, completion.Piece{Calls: []completion.CallPiece{{Index: e.Index, Arguments: e.Text}}})
	default: // ToolEnd says nothing new to a client
		return out
	}
}

// keep puts a piece to what there is of the answer.
func (p *parts) keep(piece completion.Piece) {
	p.content = append(p.content, piece.Content...)
	p.reasoning = append(p.reasoning, piece.Reasoning...)
	p.logprobs = append(p.logprobs, piece.Logprobs...)
	for _, c := range piece.Calls {
		if c.ID != "" {
			p.calls = append(p.calls, c)
		} else if n := len(p.calls); n > 0 {
			p.calls[n-1].Arguments += c.Arguments
		}
	}
}

// size is about how many bytes are kept.
func (p *parts) size() int {
	n := len(p.content) + len(p.reasoning)
	if len(p.logprobs) > 0 {
		n += len(p.logprobs) * 64 * (1 + len(p.logprobs[0].Top))
	}
	for _, c := range p.calls {
		n += len(c.Arguments)
	}
	return n
}

// whole is the answer that was kept; reason is why the loop ended it.
func (p *parts) whole(reason string) completion.Answer {
	return completion.Answer{Reason: p.reason(reason), Piece: completion.Piece{
		Content: string(p.content), Reasoning: string(p.reasoning), Calls: p.calls, Logprobs: p.logprobs,
	}}
}

// reason is why the answer ended, as the client is told.
func (p *parts) reason(reason string) string {
	if reason == completion.FinishStop && p.parser != nil && p.parser.Calls() > 0 && !p.parser.Broken() {
		return completion.FinishTools
	}
	return reason
}
