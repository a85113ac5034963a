package bees

import (
	"fmt"

	"github.com/rbee-project/rbee/gguf"
)

var windowShape = shape{architecture: "cohere2", context: contextLength, blocks: 4, embedding: 384, feedForward: 64, headLength: 32, kvHeads: 2}

const windowSeed = 17

// windowModel makes a model with random weights whose layers, but for every fourth, see only the last 32
// tokens: Cohere2's architecture.
func windowModel(name string) *gguf.Writer {
	n := newNoisy(name, windowShape, windowSeed, map[string]any{
		"attention.layer_norm_epsilon": float32(1e-5), "logit_scale": float32(1), "attention.sliding_window": uint32(32),
		"attention.head_count_kv": uint32(windowShape.kvHeads), "rope.dimension_count": uint32(windowShape.headLength),
		"rope.freq_base": float32(10000),
	})
	n.matrix("token_embd.weight", n.embedding, n.tokens, 0.3)
	n.norm("output_norm.weight", n.embedding)
	for i := range n.blocks {
		p := fmt.Sprintf("blk.%d.", i)
		n.norm(p+"attn_norm.weight", n.embedding)
		n.attentionOf(p)
		n.feedForwardOf(p)
	}
	return n.Writer
}
