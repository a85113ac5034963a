package bees

import (
	"fmt"

	"github.com/rbee-project/rbee/gguf"
)

var hybridShape = shape{architecture: "lfm2", context: contextLength, blocks: 4, embedding: 384, feedForward: 64, headLength: 32, kvHeads: 2}

const hybridSeed = 19

// hybridModel makes a model with random weights, every second layer of which keeps a state of all that it has
// read, which cannot go back: LFM2's architecture.
func hybridModel(name string) *gguf.Writer {
	n := newNoisy(name, hybridShape, hybridSeed, map[string]any{
		"attention.layer_norm_rms_epsilon": float32(1e-5), "shortconv.l_cache": uint32(3),
		"attention.head_count_kv": []int32{0, 2, 0, 2}, "rope.freq_base": float32(10000),
	})
	n.matrix("token_embd.weight", n.embedding, n.tokens, 0.3)
	n.norm("token_embd_norm.weight", n.embedding)
	for i := range n.blocks {
		p := fmt.Sprintf("blk.%d.", i)
		n.norm(p+"attn_norm.weight", n.embedding)
		n.norm(p+"ffn_norm.weight", n.embedding)
		if i%2 == 1 {
			n.attentionOf(p)
			n.norm(p+"attn_q_norm.weight", n.headLength)
			n.norm(p+"attn_k_norm.weight", n.headLength)
		} else {
			n.matrix(p+"shortconv.conv.weight", 3, n.embedding, 0.5)
			n.matrix(p+"shortconv.in_proj.weight", n.embedding, 3*n.embedding, layerScale)
			n.matrix(p+"shortconv.out_proj.weight", n.embedding, n.embedding, layerScale)
		}
		n.feedForwardOf(p)
	}
	return n.Writer
}
