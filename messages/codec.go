package messages

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"
)

// Major is the version that every message carries in its field "v". A message without one (written
// by hand) is taken as ours; a higher one is refused with [CodeWrongVersion].
const Major = 1

// Versioned is embedded in every payload that travels on its own.
type Versioned struct {
	// V is the major version of the protocol, see [Major]. Encode sets it.
	V int `msgpack:"v" json:"v,omitempty"`
}

func (v *Versioned) version() *int { return &v.V }

type versioned interface{ version() *int }

// Format is how a payload is written.
type Format int

// Msgpack is what programs send each other; JSON what people read and write by hand.
const (
	Msgpack Format = iota
	JSON
)

// FormatOf says how data is written: JSON if it is empty or its first byte is '{', else msgpack.
// A reply is written as its request was.
func FormatOf(data []byte) Format {
	if t := bytes.TrimLeft(data, " \t\r\n"); len(t) == 0 || t[0] == '{' {
		return JSON
	}
	return Msgpack
}

// Encode writes v, a pointer to a payload, and stamps its version.
func Encode(f Format, v any) ([]byte, error) {
	if m, ok := v.(versioned); ok {
		*m.version() = Major
	}
	if f == JSON {
		return json.Marshal(v)
	}
	return msgpack.Marshal(v)
}

// MustEncode is [Encode] in msgpack for payloads of this package, all of which can be encoded.
func MustEncode(v any) []byte {
	b, err := Encode(Msgpack, v)
	if err != nil {
		panic(fmt.Sprintf("messages: encode %T: %v", v, err))
	}
	return b
}

// Decode reads data into v, a pointer to a payload, in the format that data is in. Empty data leaves
// v as it is; unknown fields are ignored. Whatever data holds, Decode does not panic and allocates
// in proportion to len(data). Errors are [CodeBadRequest] and [CodeWrongVersion].
func Decode(data []byte, v any) error {
	if len(data) > MaxPayload {
		return Errorf(CodeBadRequest, "decode", "message of %d bytes is over the limit of %d", len(data), MaxPayload)
	}
	if len(data) == 0 {
		return nil
	}
	var err error
	if FormatOf(data) == JSON {
		err = json.Unmarshal(data, v)
	} else if err = checkMsgpack(data); err == nil {
		err = msgpack.Unmarshal(data, v)
	}
	if err != nil {
		return Errorf(CodeBadRequest, "decode", "malformed message: %w", err)
	}
	if m, ok := v.(versioned); ok && *m.version() > Major {
		return Errorf(CodeWrongVersion, "decode", "message of version %d, this rbee speaks %d", *m.version(), Major).
			WithHint("update the older side")
	}
	return nil
}
