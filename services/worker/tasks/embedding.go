package tasks

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
)

// Embedding is the body of OpenAI's POST /v1/embeddings.
type Embedding struct {
	Inputs []Input
	// Base64 asks for the vectors as little-endian floats of 32 bits, in base64.
	Base64 bool
	// Dimensions cuts the vectors; 0 leaves them whole.
	Dimensions int
}

// ParseEmbedding reads the body. Errors are messages.CodeBadRequest and name the field.
func ParseEmbedding(raw []byte) (Embedding, error) {
	var b struct {
		Input      json.RawMessage `json:"input"`
		Format     string          `json:"encoding_format"`
		Dimensions *int            `json:"dimensions"`
	}
	var e Embedding
	err := decode(raw, &b)
	if err != nil {
		return e, err
	}
	if e.Inputs, err = parseInputs("input", b.Input); err != nil {
		return e, err
	}
	switch b.Format {
	case "", "float":
	case "base64":
		e.Base64 = true
	default:
		return e, bad("encoding_format: must be \"float\" or \"base64\", is %.80q", b.Format)
	}
	if b.Dimensions != nil {
		if *b.Dimensions < 1 {
			return e, bad("dimensions: must be at least 1, is %d", *b.Dimensions)
		}
		e.Dimensions = *b.Dimensions
	}
	return e, nil
}

// CheckDimensions says whether vectors of so many values can be cut as the body asks.
func (e Embedding) CheckDimensions(size int) error {
	if e.Dimensions > size {
		return bad("dimensions: this model's vectors have %d, not %d", size, e.Dimensions)
	}
	return nil
}

// Answer is the object that answers with a vector for each input. The vectors are made to length 1,
// after they are cut.
func (e Embedding) Answer(model string, vectors [][]float32, promptTokens int) []byte {
	type item struct {
		Object    string `json:"object"`
		Index     int    `json:"index"`
		Embedding any    `json:"embedding"`
	}
	data := make([]item, len(vectors))
	for i, v := range vectors {
		if e.Dimensions > 0 {
			v = v[:e.Dimensions]
		}
		v = normal(v)
		data[i] = item{"embedding", i, v}
		if e.Base64 {
			data[i].Embedding = packed(v)
		}
	}
	return encode(struct {
		Object string `json:"object"`
		Data   []item `json:"data"`
		Model  string `json:"model"`
		Usage  usage  `json:"usage"`
	}{"list", data, model, usage{promptTokens, promptTokens}})
}

type usage struct {
	PromptTokens int `json:"prompt_tokens"`
	TotalTokens  int `json:"total_tokens"`
}

// normal is v at length 1. A vector of zeros, or of what is no number, becomes zeros: JSON knows
// neither NaN nor infinity.
func normal(v []float32) []float32 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	out := make([]float32, len(v))
	if !(sum > 0) || math.IsInf(sum, 0) {
		return out
	}
	scale := 1 / math.Sqrt(sum)
	for i, x := range v {
		out[i] = float32(float64(x) * scale)
	}
	return out
}

func packed(v []float32) string {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(b)
}
