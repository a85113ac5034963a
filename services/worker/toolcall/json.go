package toolcall

// MaxDepth is how deep the objects and arrays of a call may be nested, the call's own object included.
const MaxDepth = 128

type scanState uint8

const (
	wantValue    scanState = iota
	wantFirst              // a value or ]
	wantFirstKey           // a key or }
	wantKey
	wantColon
	wantNext // a comma or what closes
	inString
	inEscape
	inHex
	inLiteral
	inMinus
	inZero
	inDigits
	inPoint
	inFraction
	inExponent
	inSign
	inExponentDigits
	isDone // the outermost value has ended
)

// scanner accepts the JSON of RFC 8259 a byte at a time, of an object or array. Strings may have any
// bytes from 0x20 on: whether they are UTF-8 is not its concern.
type scanner struct {
	state   scanState
	key     bool // the string that is read is a key
	hex     uint8
	depth   int
	literal string // what remains of true, false or null
	objects [MaxDepth]bool
}

// next takes a byte and says whether it may come here. After false s must not be used.
func (s *scanner) next(c byte) bool {
	switch s.state {
	case inString:
		return s.inside(c)
	case inEscape:
		return s.escape(c)
	case inHex:
		s.hex--
		if s.hex == 0 {
			s.state = inString
		}
		return isHex(c)
	case inLiteral:
		if c != s.literal[0] {
			return false
		}
		if s.literal = s.literal[1:]; s.literal == "" {
			s.valueEnds()
		}
		return true
	case inMinus, inZero, inDigits, inPoint, inFraction, inExponent, inSign, inExponentDigits:
		return s.number(c)
	case isDone:
		return false
	default:
		return isSpace(c) || s.structure(c)
	}
}

func (s *scanner) inside(c byte) bool {
	switch {
	case c == '\\':
		s.state = inEscape
	case c == '"' && s.key:
		s.state, s.key = wantColon, false
	case c == '"':
		s.valueEnds()
	}
	return c >= 0x20
}

func (s *scanner) escape(c byte) bool {
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.state = inString
	case 'u':
		s.state, s.hex = inHex, 4
	default:
		return false
	}
	return true
}

func (s *scanner) structure(c byte) bool {
	switch s.state {
	case wantValue:
		return s.value(c)
	case wantFirst:
		return c == ']' && s.close() || c != ']' && s.value(c)
	case wantFirstKey, wantKey:
		if c == '}' && s.state == wantFirstKey {
			return s.close()
		}
		s.state, s.key = inString, true
		return c == '"'
	case wantColon:
		s.state = wantValue
		return c == ':'
	default: // wantNext
		object := s.objects[s.depth-1]
		switch {
		case c == ',' && object:
			s.state = wantKey
		case c == ',':
			s.state = wantValue
		case c == '}' && object, c == ']' && !object:
			return s.close()
		default:
			return false
		}
		return true
	}
}

func (s *scanner) value(c byte) bool {
	switch {
	case c == '{' || c == '[':
		return s.open(c == '{')
	case c == '"':
		s.state = inString
	case c == '-':
		s.state = inMinus
	case c == '0':
		s.state = inZero
	case isDigit(c):
		s.state = inDigits
	case c == 't':
		s.state, s.literal = inLiteral, "true"[1:]
	case c == 'f':
		s.state, s.literal = inLiteral, "false"[1:]
	case c == 'n':
		s.state, s.literal = inLiteral, "null"[1:]
	default:
		return false
	}
	return s.depth > 0
}

func (s *scanner) open(object bool) bool {
	if s.depth == MaxDepth {
		return false
	}
	s.objects[s.depth] = object
	s.depth++
	s.state = wantFirst
	if object {
		s.state = wantFirstKey
	}
	return true
}

func (s *scanner) close() bool {
	s.depth--
	s.valueEnds()
	return true
}

func (s *scanner) valueEnds() {
	s.state = wantNext
	if s.depth == 0 {
		s.state = isDone
	}
}

func (s *scanner) number(c byte) bool {
	st := s.state
	switch {
	case c == '0' && st == inMinus:
		s.state = inZero
	case isDigit(c) && (st == inMinus || st == inDigits):
		s.state = inDigits
	case isDigit(c) && (st == inPoint || st == inFraction):
		s.state = inFraction
	case isDigit(c) && (st == inExponent || st == inSign || st == inExponentDigits):
		s.state = inExponentDigits
	case c == '.' && (st == inZero || st == inDigits):
		s.state = inPoint
	case (c == 'e' || c == 'E') && (st == inZero || st == inDigits || st == inFraction):
		s.state = inExponent
	case (c == '+' || c == '-') && st == inExponent:
		s.state = inSign
	case st == inZero, st == inDigits, st == inFraction, st == inExponentDigits:
		s.valueEnds() // c is what follows the number
		return s.next(c)
	default:
		return false
	}
	return true
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }
