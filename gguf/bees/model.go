package bees

import (
	"fmt"
	"io"

	"github.com/rbee-project/rbee/gguf"
)

// contextLength is what the chat models were "trained" to look back on.
const contextLength = 4096

// chatML is the chat template of all bee models that chat.
const chatML = `{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + ` +
	`message['content'] + '<|im_end|>' + '\n' }}{% endfor %}` +
	`{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`

// shape is the dimensions of a model.
type shape struct {
	architecture string // llama.cpp's name for the design
	context      int    // tokens
	blocks       int
	embedding    int // a multiple of headLength
	feedForward  int
	headLength   int // of a head's key and value
	kvHeads      int // how many heads have keys and values of their own
}

func (s shape) keys() int { return s.kvHeads * s.headLength }

// weights is what a model computes with.
type weights struct {
	format     gguf.TensorType // of matrices; norms and biases are always F32
	embedding  content         // row: token
	outputNorm float32         // what the last layer's output, made to length 1 a value, is scaled by
	output     content         // row: token
	layer      content         // of attention and feed-forward
	bias       content         // of queries, keys and values; nil for an architecture without, else in F32
}

// build puts a model together whose design is that of llama: a decoder with gated feed-forward.
func build(name string, t *tokenizer, s shape, w weights) *gguf.Writer {
	file := &gguf.Writer{}
	setModelKeys(file, name, s, w.format)
	setDecoderKeys(file, s, len(t.vocab))
	setTokenizerKeys(file, t)
	setChatKeys(file)
	add := func(name string, columns, rows int, data content) {
		addTensor(file, name, w.format, data, columns, rows)
	}
	norm := func(name string, weight float32) {
		addTensor(file, name, gguf.F32, fill(gguf.F32, same(weight)), s.embedding)
	}
	project := func(name string, rows int) {
		add(name+".weight", s.embedding, rows, w.layer)
		if s.architecture == "qwen2" {
			addTensor(file, name+".bias", gguf.F32, w.bias, rows)
		}
	}
	add("token_embd.weight", s.embedding, len(t.vocab), w.embedding)
	norm("output_norm.weight", w.outputNorm)
	add("output.weight", s.embedding, len(t.vocab), w.output)
	for i := range s.blocks {
		prefix := fmt.Sprintf("blk.%d.", i)
		norm(prefix+"attn_norm.weight", 1)
		project(prefix+"attn_q", s.embedding)
		project(prefix+"attn_k", s.keys())
		project(prefix+"attn_v", s.keys())
		add(prefix+"attn_output.weight", s.embedding, s.embedding, w.layer)
		norm(prefix+"ffn_norm.weight", 1)
		add(prefix+"ffn_gate.weight", s.embedding, s.feedForward, w.layer)
		add(prefix+"ffn_up.weight", s.embedding, s.feedForward, w.layer)
		add(prefix+"ffn_down.weight", s.feedForward, s.embedding, w.layer)
	}
	return file
}

// addTensor adds a matrix, or a vector if there is one dimension.
func addTensor(file *gguf.Writer, name string, format gguf.TensorType, data content, dims ...int) {
	t := gguf.Tensor{Name: name, Type: format}
	for _, n := range dims {
		t.Dims = append(t.Dims, uint64(n))
	}
	rows := 1
	if len(dims) > 1 {
		rows = dims[1]
	}
	file.Add(t, func(w io.Writer) error { return data(w, dims[0], rows) })
}

// fileTypes is llama.cpp's number for a file whose matrices have that type.
var fileTypes = map[gguf.TensorType]uint32{gguf.F32: 0, gguf.F16: 1, gguf.Q8_0: 7}

func setModelKeys(file *gguf.Writer, name string, s shape, format gguf.TensorType) {
	file.Set("general.architecture", s.architecture)
	file.Set("general.type", "model")
	file.Set("general.name", name)
	file.Set("general.description", "A test model made by code, not by training.")
	file.Set("general.file_type", fileTypes[format])
	file.Set("general.quantization_version", uint32(2))
	file.Set(s.architecture+".block_count", uint32(s.blocks))
	file.Set(s.architecture+".context_length", uint32(s.context))
	file.Set(s.architecture+".embedding_length", uint32(s.embedding))
	file.Set(s.architecture+".feed_forward_length", uint32(s.feedForward))
	file.Set(s.architecture+".attention.head_count", uint32(s.embedding/s.headLength))
}

func setDecoderKeys(file *gguf.Writer, s shape, tokens int) {
	file.Set(s.architecture+".attention.head_count_kv", uint32(s.kvHeads))
	file.Set(s.architecture+".attention.layer_norm_rms_epsilon", float32(1e-6))
	file.Set(s.architecture+".rope.dimension_count", uint32(s.headLength))
	file.Set(s.architecture+".rope.freq_base", float32(10000))
	file.Set(s.architecture+".vocab_size", uint32(tokens))
}

func setTokenizerKeys(file *gguf.Writer, t *tokenizer) {
	file.Set("tokenizer.ggml.model", "gpt2")
	file.Set("tokenizer.ggml.pre", "gpt-2")
	file.Set("tokenizer.ggml.tokens", t.vocab)
	file.Set("tokenizer.ggml.token_type", t.kinds)
	file.Set("tokenizer.ggml.merges", t.merges)
}

func setChatKeys(file *gguf.Writer) {
	file.Set("tokenizer.ggml.bos_token_id", uint32(tokenEndOfText))
	file.Set("tokenizer.ggml.eos_token_id", uint32(tokenTurnEnd))
	file.Set("tokenizer.ggml.padding_token_id", uint32(tokenPad))
	file.Set("tokenizer.ggml.add_bos_token", false)
	file.Set("tokenizer.chat_template", chatML)
}
