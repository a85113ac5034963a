package toolcall

import "unicode/utf8"

// object reads a call's object until the call can begin: its name has come, and { of its arguments.
func (p *Parser) object(dst []Event, text string) ([]Event, string) {
	c := &p.call
	for i := 0; i < len(text); i++ {
		b := text[i]
		if len(c.raw) >= MaxHeld && utf8.RuneStart(b) {
			return p.giveUp(dst), text[i:]
		}
		state, depth := c.scan.state, c.scan.depth
		if !c.scan.next(b) {
			return p.giveUp(dst), text[i:]
		}
		c.raw = append(c.raw, b)
		if !p.member(b, state, depth) {
			return p.giveUp(dst), text[i+1:]
		}
		switch {
		case c.name != "" && c.argsTo > 0:
			return p.end(p.piece(p.begin(dst), string(c.raw[c.argsAt:c.argsTo]))), text[i+1:]
		case c.name != "" && c.argsAt > 0:
			p.state = inArgs
			return p.arguments(p.begin(dst), text[i:], 1)
		case c.scan.state != isDone:
		case c.name != "" && !c.bare:
			return p.end(p.piece(p.begin(dst), "{}")), text[i+1:]
		default:
			return p.giveUp(dst), text[i+1:]
		}
	}
	return dst, ""
}

// member follows the members of a call's object by what the scanner was before it took b and what it is
// now. It says whether this may still be a call.
func (p *Parser) member(b byte, was scanState, depth int) bool {
	c := &p.call
	now := c.scan.state
	switch {
	case depth == 1 && (was == wantFirstKey || was == wantKey) && now == inString:
		c.at = len(c.raw)
	case depth == 1 && was == inString && now == wantColon:
		return c.takeKey(c.raw[c.at : len(c.raw)-1])
	case depth == 1 && was == wantValue && now != wantValue:
		return c.valueBegins(b)
	case depth == 1 && was == inString && now == wantNext:
		return p.takeString(c.raw[c.at : len(c.raw)-1])
	case depth == 2 && c.scan.depth == 1 && c.key == "arguments":
		c.argsTo = len(c.raw)
	}
	return true
}

// takeKey says whether the call may have this key here.
func (c *call) takeKey(key []byte) bool {
	c.key = ""
	var again *bool
	switch string(key) {
	case "name":
		c.key, again = "name", &c.seen.name
	case "arguments", "parameters":
		c.key, again = "arguments", &c.seen.args
	case "id":
		c.key, again = "id", &c.seen.id
	case "type":
		return true
	default:
		return !c.bare
	}
	ok := !*again
	*again = true
	return ok
}

func (c *call) valueBegins(b byte) bool {
	c.at = len(c.raw)
	switch c.key {
	case "name":
		return b == '"'
	case "arguments":
		c.argsAt = len(c.raw) - 1
		return b == '{'
	default:
		return true
	}
}

func (p *Parser) takeString(value []byte) bool {
	c := &p.call
	switch c.key {
	case "name":
		if !validName(value) {
			return false
		}
		c.name = string(value)
		return !c.bare || p.offered(c.name)
	case "id":
		if len(value) <= MaxName {
			c.id = string(value)
		}
	}
	return true
}
