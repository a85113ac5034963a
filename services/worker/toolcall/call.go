package toolcall

import (
	"strings"
	"unicode/utf8"
)

// maxHeader is the longest text before the { of a call that has its name there, in bytes: a name, an
// id, and the markers around them.
const maxHeader = 256

// call is what is known of the call that is being read.
type call struct {
	raw    []byte // all of its text, until it begins
	bare   bool   // no marker says that it is a call
	listed bool   // objects may follow it in the same list or tag
	fenced bool   // its arguments are in a Markdown code fence

	scan scanner
	// outer is the scanner's depth around the arguments: 1 in a call's object, 0 after a header.
	outer int

	at     int    // where the key or the value that is read begins in raw
	key    string // whose value is read, if it is one that matters
	seen   seen   // keys that matter
	name   string
	id     string
	argsAt int // the arguments are raw[argsAt:argsTo], once argsTo is not 0
	argsTo int
}

type seen struct{ name, args, id bool }

// reset makes c a call of which text has been read.
func (c *call) reset(text string, bare bool) {
	*c = call{raw: append(c.raw[:0], text...), bare: bare, outer: 1}
}

// giveUp ends a call that has not begun: it was content.
func (p *Parser) giveUp(dst []Event) []Event {
	dst = put(dst, Content, string(p.call.raw))
	p.state = inText
	if p.call.bare {
		p.state = p.noStart()
	} else {
		p.broken = true
	}
	p.call.raw = nil
	return dst
}

// begin emits the beginning of the call; from here on it can only end or be broken.
func (p *Parser) begin(dst []Event) []Event {
	dst = append(dst, Event{Kind: ToolBegin, Index: p.calls, ID: p.idFor(p.call.id), Name: p.call.name})
	p.calls++
	return dst
}

// piece emits a piece of the arguments of the call that has begun last.
func (p *Parser) piece(dst []Event, text string) []Event {
	if text == "" {
		return dst
	}
	return append(dst, Event{Kind: ToolArguments, Text: text, Index: p.calls - 1})
}

// end emits the end of the call.
func (p *Parser) end(dst []Event) []Event {
	p.state = inTail
	if p.call.scan.state == isDone {
		p.leave()
	}
	return append(dst, Event{Kind: ToolEnd, Index: p.calls - 1})
}

// leave goes to what may follow a call.
func (p *Parser) leave() {
	p.state, p.after = afterPart, nil
	switch {
	case p.format == Hermes:
		p.after = hermesAfter
	case p.format == Llama3:
		p.after = llama3After
	case p.format == DeepSeek && p.call.fenced:
		p.after = deepSeekAfter
	case p.format == DeepSeek:
		p.after = deepSeekAfter[1:]
	case p.call.listed:
		p.after = arrayAfter
	}
}

// open decides, after a marker, what kind of call follows.
func (p *Parser) open(dst []Event, text string) ([]Event, string) {
	c := &p.call
	s := strings.TrimLeft(text, space)
	if room := 2*MaxSpace - len(c.raw); len(text)-len(s) > room {
		c.raw = append(c.raw, text[:room]...)
		return p.giveUp(dst), text[room:]
	}
	c.raw = append(c.raw, text[:len(text)-len(s)]...)
	switch {
	case s == "":
		return dst, ""
	case s[0] == '{' && p.format != DeepSeek:
		c.listed = c.listed || p.format == Hermes
		p.state = inObject
	case s[0] == '[' && p.format == Mistral && !c.listed:
		c.listed = true
		c.raw = append(c.raw, '[')
		return dst, s[1:]
	case p.format == Hermes || c.listed:
		return p.giveUp(dst), s
	default:
		p.state = inHeader
		c.at = len(c.raw)
	}
	return dst, s
}

// header reads up to the { that begins the arguments.
func (p *Parser) header(dst []Event, text string) ([]Event, string) {
	c := &p.call
	for i := 0; i < len(text); i++ {
		if text[i] == '{' {
			if !p.parseHeader(string(c.raw[c.at:])) {
				return p.giveUp(dst), text[i:]
			}
			c.raw, c.outer, p.state = c.raw[:0], 0, inArgs
			return p.begin(dst), text[i:]
		}
		if len(c.raw)-c.at >= maxHeader && utf8.RuneStart(text[i]) {
			return p.giveUp(dst), text[i:]
		}
		c.raw = append(c.raw, text[i])
	}
	return dst, ""
}

// parseHeader sets the call's name and id from what is before its arguments.
func (p *Parser) parseHeader(s string) bool {
	c := &p.call
	if p.format == Mistral {
		s = strings.TrimRight(s, space)
		s = strings.TrimRight(strings.TrimSuffix(s, mistralArgs), space)
		s, c.id, _ = strings.Cut(s, mistralID)
		c.name = s
		return validName(s)
	}
	before, after, ok := strings.Cut(s, deepSeekSep)
	c.name = strings.Trim(before, space)
	if after = strings.Trim(after, space); after != "" {
		var lang string
		c.name, lang, c.fenced = strings.Cut(after, fence)
		c.name = strings.TrimRight(c.name, space)
		ok = ok && c.fenced && (lang == "json" || lang == "") && strings.Trim(before, space) == deepSeekKind
	}
	return ok && validName(c.name)
}

// arguments passes the arguments on until they end. The scanner has already taken text[:i].
func (p *Parser) arguments(dst []Event, text string, i int) ([]Event, string) {
	c := &p.call
	for ; i < len(text); i++ {
		if !c.scan.next(text[i]) {
			p.broken, p.state = true, inPlain
			return p.piece(dst, text[:i]), text[i:]
		}
		if c.scan.depth == c.outer {
			return p.end(p.piece(dst, text[:i+1])), text[i+1:]
		}
	}
	return p.piece(dst, text), ""
}

// tail leaves out the rest of a call's object. If it is not well-formed that does not matter any more.
func (p *Parser) tail(text string) string {
	for i := 0; i < len(text); i++ {
		if !p.call.scan.next(text[i]) {
			p.leave()
			return text[i:]
		}
		if p.call.scan.state == isDone {
			p.leave()
			return text[i+1:]
		}
	}
	return ""
}
