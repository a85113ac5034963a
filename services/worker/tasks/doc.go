// Package tasks reads the bodies of the requests that are answered by one object, and writes those
// objects: embeddings as OpenAI has them, reranking as Jina and llama-server have it, and
// llama-server's tokenize and detokenize. It knows no engine and has no state.
package tasks

import (
	"encoding/json"
	"errors"

	"github.com/rbee-project/rbee/messages"
)

// The limits of a body.
const (
	MaxInputs = 2048    // texts in one request, OpenAI's own limit
	MaxTokens = 1 << 20 // tokens in one list of tokens
	MaxText   = 4 << 20 // bytes of a text to tokenize, which nothing can stop once it has begun
)

func bad(format string, args ...any) error {
	return messages.Errorf(messages.CodeBadRequest, "tasks.parse", format, args...)
}

// decode reads a JSON object; the error names the field that is wrong.
func decode(raw []byte, into any) error {
	err := json.Unmarshal(raw, into)
	if err == nil {
		return nil
	}
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		name := t.Field
		if name == "" {
			name = "body"
		}
		return bad("%s: must not be a JSON %s", name, t.Value)
	}
	return messages.Errorf(messages.CodeBadRequest, "tasks.parse", "body: is not JSON: %w", err)
}

// encode cannot fail for the types of this package.
func encode(v any) []byte {
	b, _ := json.Marshal(v)
	return b
}
