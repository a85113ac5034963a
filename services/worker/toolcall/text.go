package toolcall

import "strings"

const space = " \n\r\t"

// find looks for the first of markers in s, which share a first byte that they have nowhere else. It
// returns where it begins and which it is; "" if only a beginning of one is there, at the end of s. If
// there is neither it returns len(s).
func find(s string, markers []string) (int, string) {
	for from := 0; ; from++ {
		i := strings.IndexByte(s[from:], markers[0][0])
		if i < 0 {
			return len(s), ""
		}
		from += i
		for _, m := range markers {
			if strings.HasPrefix(s[from:], m) {
				return from, m
			}
			if strings.HasPrefix(m, s[from:]) {
				return from, ""
			}
		}
	}
}

// spaceBefore is where the white space before s[end:] begins, of which only [MaxSpace] bytes count.
func spaceBefore(s string, end int) int {
	i := end
	for i > 0 && end-i < MaxSpace && isSpace(s[i-1]) {
		i--
	}
	return i
}

// think looks for <think> at the beginning of the answer.
func (p *Parser) think(text string) string {
	s := strings.TrimLeft(text, space)
	switch {
	case len(text)-len(s) > MaxSpace:
		// Not a beginning any more.
	case strings.HasPrefix(s, thinkOpen):
		p.state, p.fresh = inThink, true
		return s[len(thinkOpen):]
	case strings.HasPrefix(thinkOpen, s):
		p.held = text
		return ""
	}
	if p.thinking {
		p.state, p.fresh = inThink, true
	} else {
		p.state = p.format.entry()
	}
	return text
}

func (p *Parser) reason(dst []Event, text string) ([]Event, string) {
	if p.fresh {
		if text = strings.TrimLeft(text, space); text == "" {
			return dst, ""
		}
		p.fresh = false
	}
	at, marker := find(text, thinkMarkers)
	from := spaceBefore(text, at)
	dst = put(dst, Reasoning, text[:from])
	if marker == "" {
		p.held = text[from:]
		return dst, ""
	}
	p.state, p.after = afterPart, nil
	return dst, text[at+len(marker):]
}

// content passes text on until a marker.
func (p *Parser) content(dst []Event, text string) ([]Event, string) {
	if p.calls == MaxCalls {
		p.state = inPlain
		return dst, text
	}
	at, marker := find(text, p.format.opens())
	from := spaceBefore(text, at)
	dst = put(dst, Content, text[:from])
	rest := text[at+len(marker):]
	switch marker {
	case "":
		p.held = text[from:]
		return dst, ""
	case deepSeekList:
		p.state, p.after = afterPart, nil
	default:
		p.call.reset(text[from:len(text)-len(rest)], false)
		p.state = atOpen
	}
	return dst, rest
}

// drop leaves out white space and p.after, and goes on with the first thing that is neither.
func (p *Parser) drop(text string) string {
	s := strings.TrimLeft(text, space)
	if s == "" {
		return ""
	}
	for i, a := range p.after {
		if strings.HasPrefix(s, a) {
			p.after = p.after[i+1:]
			return s[len(a):]
		}
		if strings.HasPrefix(a, s) {
			p.held = s
			return ""
		}
	}
	// Another object in the same list, or in the same tag.
	if s[0] == '{' && p.call.listed && len(p.after) > 0 && p.calls < MaxCalls {
		p.call.reset("", false)
		p.call.listed = true
		p.state = inObject
		return s
	}
	p.state = p.format.entry()
	return s
}

// start looks for a call that has no marker, at the beginning of the answer or after another call.
func (p *Parser) start(text string) string {
	s, found, wait := text, inPlain, false
	if p.calls < MaxCalls {
		if p.format == Llama3 {
			s, found, wait = llama3Start(text)
		} else {
			s, found, wait = p.mistralStart(text)
		}
	}
	switch {
	case len(text)-len(s) > MaxSpace:
		p.state = p.noStart()
		return text
	case wait:
		p.held = text
		return ""
	case found == inPlain:
		p.state = p.noStart()
		return text
	}
	p.call.reset(text[:len(text)-len(s)], true)
	p.call.at = len(p.call.raw)
	p.call.listed = found == inObject && p.format == Mistral
	p.state = found
	return s
}

// noStart is where an answer goes on that does not begin with a call.
func (p *Parser) noStart() state {
	if p.format == Mistral {
		return inText
	}
	return inPlain
}

// llama3Start returns the text from a call on, and how it begins: inPlain if it does not.
func llama3Start(text string) (s string, found state, wait bool) {
	s = strings.TrimLeft(text, space)
	if strings.HasPrefix(s, pythonTag) {
		s = strings.TrimLeft(s[len(pythonTag):], space)
	} else if strings.HasPrefix(pythonTag, s) {
		return s, inPlain, true
	}
	if s == "" {
		return s, inPlain, true
	}
	if s[0] == '{' {
		return s, inObject, false
	}
	return s, inPlain, false
}

// mistralStart does so for an array of calls, and for the name of a function that was offered.
func (p *Parser) mistralStart(text string) (s string, found state, wait bool) {
	s = strings.TrimLeft(text, space)
	if s == "" {
		return s, inPlain, true
	}
	if s[0] == '[' {
		if s = strings.TrimLeft(s[1:], space); s == "" {
			return s, inPlain, true
		}
		if s[0] == '{' {
			return s, inObject, false
		}
		return s, inPlain, false
	}
	for _, name := range p.tools {
		if strings.HasPrefix(name, s) {
			wait = true
		}
		after, ok := strings.CutPrefix(s, name)
		if !ok || name == "" {
			continue
		}
		for _, next := range [...]string{"{", mistralID, mistralArgs} {
			if strings.HasPrefix(after, next) {
				return s, inHeader, false
			}
			wait = wait || strings.HasPrefix(next, after)
		}
	}
	return s, inPlain, wait
}
