package bus

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
)

// schemas caches what reflection finds out: queen and hive ask for the same types.
var schemas sync.Map // reflect.Type -> *jsonschema.Schema

// SchemaOf is the JSON Schema of a payload, given a zero value of it. Unknown fields are allowed, as
// the codec allows them.
func SchemaOf(v any) (*jsonschema.Schema, error) {
	t := reflect.TypeOf(v)
	if s, ok := schemas.Load(t); ok {
		return s.(*jsonschema.Schema), nil
	}
	s, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[json.RawMessage](): {},
		reflect.TypeFor[time.Time]():       {Type: "string", Format: "date-time"},
		reflect.TypeFor[[]byte]():          {Types: []string{"string", "null"}, ContentEncoding: "base64"}, // in JSON; binary in msgpack
	}})
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", t, err)
	}
	open(s)
	schemas.Store(t, s)
	return s, nil
}

// open drops what forbids unknown fields, and what demands fields that a request may leave out.
func open(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if s.Properties != nil {
		s.AdditionalProperties = nil
	}
	for _, p := range s.Properties {
		open(p)
	}
	open(s.Items)
}
