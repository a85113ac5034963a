package tasks

import (
	"encoding/json"
	"unicode/utf8"

	"github.com/rbee-project/rbee/services/worker/completion"
)

// Tokenize is the body of llama-server's POST /tokenize.
type Tokenize struct {
	Content string
	// AddSpecial adds the tokens that the model has at a prompt's beginning.
	AddSpecial bool
	// ParseSpecial has the texts of special tokens become those tokens. It is true if the body does
	// not say.
	ParseSpecial bool
	// WithPieces asks for the tokens' texts, too.
	WithPieces bool
}

// ParseTokenize reads the body. Errors are messages.CodeBadRequest and name the field.
func ParseTokenize(raw []byte) (Tokenize, error) {
	var b struct {
		Content      *string `json:"content"`
		AddSpecial   bool    `json:"add_special"`
		ParseSpecial *bool   `json:"parse_special"`
		WithPieces   bool    `json:"with_pieces"`
	}
	if err := decode(raw, &b); err != nil {
		return Tokenize{}, err
	}
	if b.Content == nil {
		return Tokenize{}, bad("content: is missing")
	}
	if n := len(*b.Content); n > MaxText {
		return Tokenize{}, bad("content: at most %d bytes, has %d", MaxText, n)
	}
	text, err := completion.CheckText("content", *b.Content)
	return Tokenize{Content: text, AddSpecial: b.AddSpecial, WithPieces: b.WithPieces,
		ParseSpecial: b.ParseSpecial == nil || *b.ParseSpecial}, err
}

// Answer is the object that answers with tokens; piece gives a token's bytes.
func (t Tokenize) Answer(tokens []int32, piece func(int32) string) []byte {
	if !t.WithPieces {
		if tokens == nil {
			tokens = []int32{}
		}
		return encode(struct {
			Tokens []int32 `json:"tokens"`
		}{tokens})
	}
	type token struct {
		ID    int32 `json:"id"`
		Piece any   `json:"piece"` // a list of bytes where it is no text
	}
	out := make([]token, len(tokens))
	for i, id := range tokens {
		p := piece(id)
		out[i] = token{id, p}
		if !utf8.ValidString(p) {
			bytes := make([]int, len(p))
			for k := range len(p) {
				bytes[k] = int(p[k])
			}
			out[i].Piece = bytes
		}
	}
	return encode(struct {
		Tokens []token `json:"tokens"`
	}{out})
}

// ParseDetokenize reads the tokens of llama-server's POST /detokenize, which the engine must check.
func ParseDetokenize(raw []byte) ([]int32, error) {
	var b struct {
		Tokens json.RawMessage `json:"tokens"`
	}
	if err := decode(raw, &b); err != nil {
		return nil, err
	}
	if len(b.Tokens) == 0 || string(b.Tokens) == "null" {
		return nil, bad("tokens: is missing")
	}
	var tokens []int32
	if json.Unmarshal(b.Tokens, &tokens) != nil || hasNull(b.Tokens) {
		return nil, bad("tokens: must be a list of tokens")
	}
	if len(tokens) > MaxTokens {
		return nil, bad("tokens: at most %d, has %d", MaxTokens, len(tokens))
	}
	return tokens, nil
}

// DetokenizeAnswer is the object that answers with a text.
func DetokenizeAnswer(text string) []byte {
	return encode(struct {
		Content string `json:"content"`
	}{text})
}
