package messages

import (
	"encoding/binary"
	"errors"
)

// maxDepth bounds the nesting of a message; ours nest 6 deep.
const maxDepth = 32

var (
	errShort = errors.New("msgpack: a length is beyond the message's end")
	errDeep  = errors.New("msgpack: nested too deeply")
	errTail  = errors.New("msgpack: bytes after the message")
	errByte  = errors.New("msgpack: byte 0xc1 is never used")
)

// checkMsgpack walks data once without allocating and holds every announced length against the
// bytes at hand. The decoder trusts a map's or an array's count up to a million entries, which is
// 40 MB from five bytes. Format: https://github.com/msgpack/msgpack/blob/master/spec.md
func checkMsgpack(data []byte) error {
	var open [maxDepth]uint64 // values still due at each depth
	depth, pos := 0, 0
	open[0] = 1
	for {
		for open[depth] == 0 {
			if depth == 0 {
				if pos != len(data) {
					return errTail
				}
				return nil
			}
			depth--
		}
		open[depth]--
		size, children, err := msgpackItem(data[pos:])
		if err != nil {
			return err
		}
		pos += size
		if children > uint64(len(data)-pos) {
			return errShort
		}
		if children > 0 {
			if depth++; depth == maxDepth {
				return errDeep
			}
			open[depth] = children
		}
	}
}

// msgpackItem is the size in bytes of the item at the head of b without its children, and their number.
func msgpackItem(b []byte) (size int, children uint64, err error) {
	if len(b) == 0 {
		return 0, 0, errShort
	}
	c := b[0]
	switch {
	case c <= 0x7f || c >= 0xe0 || c == 0xc0 || c == 0xc2 || c == 0xc3:
		return 1, 0, nil
	case c <= 0x8f:
		return 1, 2 * uint64(c&0x0f), nil
	case c <= 0x9f:
		return 1, uint64(c & 0x0f), nil
	case c <= 0xbf:
		return body(b, 1, uint64(c&0x1f))
	case c == 0xc1:
		return 0, 0, errByte
	case c >= 0xca && c <= 0xd3: // float32, float64, uint8..uint64, int8..int64
		return body(b, 1, [...]uint64{4, 8, 1, 2, 4, 8, 1, 2, 4, 8}[c-0xca])
	case c >= 0xd4 && c <= 0xd8: // fixext 1 to 16, and their type byte
		return body(b, 2, 1<<(c-0xd4))
	}
	return msgpackSized(b, c)
}

// msgpackSized is msgpackItem for the items that carry a length of 1, 2 or 4 bytes.
func msgpackSized(b []byte, c byte) (int, uint64, error) {
	width := map[byte]int{0xc4: 1, 0xc5: 2, 0xc6: 4, 0xc7: 1, 0xc8: 2, 0xc9: 4, 0xd9: 1, 0xda: 2, 0xdb: 4,
		0xdc: 2, 0xdd: 4, 0xde: 2, 0xdf: 4}[c]
	if len(b) < 1+width {
		return 0, 0, errShort
	}
	var n uint64
	switch width {
	case 1:
		n = uint64(b[1])
	case 2:
		n = uint64(binary.BigEndian.Uint16(b[1:]))
	default:
		n = uint64(binary.BigEndian.Uint32(b[1:]))
	}
	switch {
	case c >= 0xde:
		return 1 + width, 2 * n, nil
	case c >= 0xdc:
		return 1 + width, n, nil
	case c >= 0xc7 && c <= 0xc9:
		return body(b, 2+width, n)
	default:
		return body(b, 1+width, n)
	}
}

func body(b []byte, head int, n uint64) (int, uint64, error) {
	if uint64(len(b)) < uint64(head)+n {
		return 0, 0, errShort
	}
	return head + int(n), 0, nil
}
