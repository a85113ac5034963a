package bees

import (
	"fmt"
	"io"

	"github.com/rbee-project/rbee/gguf"
)

const (
	contextLength = 4096
	headLength    = 32 // of a head's key and value
)

// chatML is the chat template of all bee models.
const chatML = `{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + ` +
	`message['content'] + '<|im_end|>' + '\n' }}{% endfor %}` +
	`{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`

// shape is the dimensions of a model.
type shape struct {
	blocks      int
	embedding   int // a multiple of headLength
	feedForward int
}

// matrix gives the weight that input column contributes to output row. Values are asked for row
// by row, each once.
type matrix func(row, column int) float32

// same is a matrix with the same weight everywhere.
func same(weight float32) matrix { return func(int, int) float32 { return weight } }

// weights is what a model computes with. A nil matrix is zero everywhere.
type weights struct {
	format     gguf.TensorType // of matrices: F32 or F16; norms are always F32
	embedding  matrix          // row: token
	outputNorm float32         // what the last layer's output, made to length 1 a value, is scaled by
	output     matrix          // row: token
	layer      matrix          // of attention and feed-forward
}

// build puts a model together.
func build(name string, t *tokenizer, s shape, w weights) *gguf.Writer {
	file := &gguf.Writer{}
	setModelKeys(file, name, s, w.format)
	setTokenizerKeys(file, t)
	add := func(name string, columns, rows int, m matrix) {
		file.Add(gguf.Tensor{Name: name, Type: w.format, Dims: []uint64{uint64(columns), uint64(rows)}},
			fill(w.format, columns, rows, m))
	}
	norm := func(name string, weight float32) {
		file.Add(gguf.Tensor{Name: name, Type: gguf.F32, Dims: []uint64{uint64(s.embedding)}},
			fill(gguf.F32, s.embedding, 1, same(weight)))
	}
	add("token_embd.weight", s.embedding, vocabSize, w.embedding)
	norm("output_norm.weight", w.outputNorm)
	add("output.weight", s.embedding, vocabSize, w.output)
	for i := range s.blocks {
		prefix := fmt.Sprintf("blk.%d.", i)
		norm(prefix+"attn_norm.weight", 1)
		add(prefix+"attn_q.weight", s.embedding, s.embedding, w.layer)
		add(prefix+"attn_k.weight", s.embedding, headLength, w.layer)
		add(prefix+"attn_v.weight", s.embedding, headLength, w.layer)
		add(prefix+"attn_output.weight", s.embedding, s.embedding, w.layer)
		norm(prefix+"ffn_norm.weight", 1)
		add(prefix+"ffn_gate.weight", s.embedding, s.feedForward, w.layer)
		add(prefix+"ffn_up.weight", s.embedding, s.feedForward, w.layer)
		add(prefix+"ffn_down.weight", s.feedForward, s.embedding, w.layer)
	}
	return file
}

func setModelKeys(file *gguf.Writer, name string, s shape, format gguf.TensorType) {
	file.Set("general.architecture", "llama")
	file.Set("general.type", "model")
	file.Set("general.name", name)
	file.Set("general.description", "A test model made by code, not by training.")
	file.Set("general.file_type", uint32(format)) // llama.cpp's numbers for F32 and F16 are the same
	file.Set("general.quantization_version", uint32(2))
	file.Set("llama.block_count", uint32(s.blocks))
	file.Set("llama.context_length", uint32(contextLength))
	file.Set("llama.embedding_length", uint32(s.embedding))
	file.Set("llama.feed_forward_length", uint32(s.feedForward))
	file.Set("llama.attention.head_count", uint32(s.embedding/headLength))
	file.Set("llama.attention.head_count_kv", uint32(1))
	file.Set("llama.attention.layer_norm_rms_epsilon", float32(1e-6))
	file.Set("llama.rope.dimension_count", uint32(headLength))
	file.Set("llama.rope.freq_base", float32(10000))
	file.Set("llama.vocab_size", uint32(vocabSize))
}

func setTokenizerKeys(file *gguf.Writer, t *tokenizer) {
	file.Set("tokenizer.ggml.model", "gpt2")
	file.Set("tokenizer.ggml.pre", "gpt-2")
	file.Set("tokenizer.ggml.tokens", t.vocab)
	file.Set("tokenizer.ggml.token_type", t.kinds)
	file.Set("tokenizer.ggml.merges", t.merges)
	file.Set("tokenizer.ggml.bos_token_id", uint32(tokenEndOfText))
	file.Set("tokenizer.ggml.eos_token_id", uint32(tokenTurnEnd))
	file.Set("tokenizer.ggml.padding_token_id", uint32(tokenPad))
	file.Set("tokenizer.ggml.add_bos_token", false)
	file.Set("tokenizer.chat_template", chatML)
}

// fill returns a function that writes a matrix row by row in format, F32 or F16.
func fill(format gguf.TensorType, columns, rows int, m matrix) func(io.Writer) error {
	return func(w io.Writer) error {
		width := 2
		if format == gguf.F32 {
			width = 4
		}
		buf := make([]byte, 0, columns*width)
		for row := range rows {
			if m == nil {
				buf = buf[:cap(buf)] // still the zeros of make
			} else {
				buf = appendRow(buf[:0], format, columns, row, m)
			}
			if _, err := w.Write(buf); err != nil {
				return err
			}
		}
		return nil
	}
}
