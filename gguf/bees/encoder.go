package bees

import (
	"fmt"

	"github.com/rbee-project/rbee/gguf"
)

// The ways to make one result of a text's tokens, as llama.cpp numbers them.
const (
	poolMean uint32 = 1
	poolRank uint32 = 4
)

// encoder is what a model of BERT's design computes with: every token sees every other, and
// positions have values of their own. All of it is F32; a nil matrix is zero everywhere.
type encoder struct {
	pooling             uint32
	embedding, position matrix // row: token, or position
	layers              []encoderLayer
	class, score        matrix // the head of a reranker; nil for other models
	classBias           matrix
}

// encoderLayer is one block: attention, then feed-forward, which adds nothing if it is zero.
type encoderLayer struct {
	query, key, value, output matrix
	queryBias, valueBias      matrix
	up, down                  matrix
}

// buildEncoder puts an encoder together.
func buildEncoder(name string, s shape, e encoder) *gguf.Writer {
	t := learn(lesson, encoderTokens)
	file := &gguf.Writer{}
	setModelKeys(file, name, s, gguf.F32)
	file.Set("bert.attention.layer_norm_epsilon", float32(1e-6))
	file.Set("bert.attention.causal", false)
	file.Set("bert.pooling_type", e.pooling)
	setTokenizerKeys(file, t)
	setEncoderTokenKeys(file)
	add := func(name string, m matrix, dims ...int) {
		addTensor(file, name, gguf.F32, fill(gguf.F32, m), dims...)
	}
	norm := func(name string) {
		add(name+".weight", same(1), s.embedding)
		add(name+".bias", nil, s.embedding)
	}
	add("token_embd.weight", e.embedding, s.embedding, len(t.vocab))
	add("position_embd.weight", e.position, s.embedding, s.context)
	add("token_types.weight", nil, s.embedding, tokenTypes)
	norm("token_embd_norm")
	if e.class != nil {
		add("cls.weight", e.class, s.embedding, s.embedding)
		add("cls.bias", e.classBias, s.embedding)
		add("cls.output.weight", e.score, s.embedding, 1)
		add("cls.output.bias", nil, 1)
	}
	for i, layer := range e.layers {
		prefix := fmt.Sprintf("blk.%d.", i)
		project := func(name string, columns, rows int, m, bias matrix) {
			add(prefix+name+".weight", m, columns, rows)
			add(prefix+name+".bias", bias, rows)
		}
		project("attn_q", s.embedding, s.embedding, layer.query, layer.queryBias)
		project("attn_k", s.embedding, s.embedding, layer.key, nil)
		project("attn_v", s.embedding, s.embedding, layer.value, layer.valueBias)
		project("attn_output", s.embedding, s.embedding, layer.output, nil)
		norm(prefix + "attn_output_norm")
		project("ffn_up", s.embedding, s.feedForward, layer.up, nil)
		project("ffn_down", s.feedForward, s.embedding, layer.down, nil)
		norm(prefix + "layer_output_norm")
	}
	return file
}

// tokenTypes is 2 in BERT: the first and the second of two texts. llama.cpp uses the first only.
const tokenTypes = 2

func setEncoderTokenKeys(file *gguf.Writer) {
	file.Set("tokenizer.ggml.token_type_count", uint32(tokenTypes))
	file.Set("tokenizer.ggml.bos_token_id", uint32(tokenClass))
	file.Set("tokenizer.ggml.eos_token_id", uint32(tokenSeparator))
	file.Set("tokenizer.ggml.seperator_token_id", uint32(tokenSeparator)) // spelled so in llama.cpp
	file.Set("tokenizer.ggml.mask_token_id", uint32(tokenMask))
	file.Set("tokenizer.ggml.padding_token_id", uint32(tokenPad))
	file.Set("tokenizer.ggml.add_bos_token", true)
	file.Set("tokenizer.ggml.add_eos_token", true)
}
