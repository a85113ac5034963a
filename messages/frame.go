package messages

import (
	"encoding/binary"
)

// FrameKind is the first byte of a frame.
type FrameKind byte

// An answer on the bus is any number of data and keep-alive frames and one end or error frame.
const (
	FrameData      FrameKind = 'd' // numbered from 1; one or more OpenAI-shaped objects
	FrameKeepAlive FrameKind = 'k' // the sender lives; number of the last data frame; payload Prefill or empty
	FrameEnd       FrameKind = 'e' // complete; number of the last data frame; payload StreamEnd
	FrameError     FrameKind = 'x' // over and not complete; payload Error
)

// Frame is one message of an answer: kind, number, payload. On the wire it is the kind's byte, the
// number as 8 bytes little-endian, then the payload.
type Frame struct {
	Kind    FrameKind
	Seq     uint64
	Payload []byte // aliases the message it was decoded from
}

const frameHead = 9

// AppendFrame appends the wire form of f to b.
func AppendFrame(b []byte, f Frame) []byte {
	b = append(b, byte(f.Kind))
	b = binary.LittleEndian.AppendUint64(b, f.Seq)
	return append(b, f.Payload...)
}

// DecodeFrame reads a frame. Errors are [CodeBadRequest].
func DecodeFrame(data []byte) (Frame, error) {
	if len(data) < frameHead {
		return Frame{}, Errorf(CodeBadRequest, "frame", "frame of %d bytes is too short", len(data))
	}
	f := Frame{Kind: FrameKind(data[0]), Seq: binary.LittleEndian.Uint64(data[1:]), Payload: data[frameHead:]}
	switch f.Kind {
	case FrameData, FrameKeepAlive, FrameEnd, FrameError:
		return f, nil
	default:
		return Frame{}, Errorf(CodeBadRequest, "frame", "unknown frame kind 0x%02x", data[0])
	}
}

// AppendObject appends one object to the payload of a data frame: its length as a varint, then itself.
func AppendObject(payload, object []byte) []byte {
	payload = binary.AppendUvarint(payload, uint64(len(object)))
	return append(payload, object...)
}

// Objects calls fn with each object of a data frame's payload; they alias it. It ends at fn's first
// error; a length beyond the payload is [CodeBadRequest].
func Objects(payload []byte, fn func(object []byte) error) error {
	for len(payload) > 0 {
		n, w := binary.Uvarint(payload)
		if w <= 0 || n > uint64(len(payload)-w) {
			return Errorf(CodeBadRequest, "frame", "an object's length is beyond its frame")
		}
		if err := fn(payload[w : w+int(n)]); err != nil {
			return err
		}
		payload = payload[w+int(n):]
	}
	return nil
}
