package gguftest

import (
	"fmt"
	"math"
)

const (
	keyAlignment    = "general.alignment"
	keyArchitecture = "general.architecture"
)

// numberChanges are wrong hyperparameters.
func (f *file) numberChanges() []change {
	own := f.architecture() + "."
	changes := []change{
		{"no architecture", func(f *file) { f.drop(keyArchitecture) }},
		{"an unknown architecture", func(f *file) { f.setText(keyArchitecture, "beehive") }},
		{"an empty architecture", func(f *file) { f.setText(keyArchitecture, "") }},
		{"an architecture that is no text", func(f *file) { f.setUint(keyArchitecture, 7) }},
		{"another architecture", func(f *file) { f.rename("qwen2") }},
		{"the architecture of another kind", func(f *file) { f.rename("bert") }},
		{"the architecture of a state machine", func(f *file) { f.rename("mamba") }},
		{"a type that is no model", func(f *file) { f.setText("general.type", "adapter") }},
		{"a split file", func(f *file) { f.setUint16("split.count", 3); f.setUint16("split.no", 0) }},
		{"heads for each of a million layers", func(f *file) {
			f.setInts(own+"attention.head_count", typeInt32, make([]uint32, 1<<20))
		}},
		{"heads as text", func(f *file) { f.setText(own+"attention.head_count", "16") }},
		{"heads as a fraction", func(f *file) {
			f.find(own + "attention.head_count").kind = typeFloat32
		}},
		{"not causal", func(f *file) { f.setBool(own+"attention.causal", 0) }},
		{"causal is 7", func(f *file) { f.setBool(own+"attention.causal", 7) }},
		{"an unknown pooling", func(f *file) { f.setUint(own+"pooling_type", 77) }},
		{"rank pooling without a head", func(f *file) { f.setUint(own+"pooling_type", 4) }},
		{"an unknown rope scaling", func(f *file) { f.setText(own+"rope.scaling.type", "bees") }},
		{"yarn by 0", func(f *file) {
			f.setText(own+"rope.scaling.type", "yarn")
			f.setFloat(own+"rope.scaling.factor", 0)
			f.setUint(own+"rope.scaling.original_context_length", 0)
		}},
		{"longrope without factors", func(f *file) { f.setText(own+"rope.scaling.type", "longrope") }},
		{"a sliding window of 0", func(f *file) { f.setUint(own+"attention.sliding_window", 0) }},
		{"a head count for each of no layers", func(f *file) { f.setInts(own+"attention.head_count", typeInt32, nil) }},
		{"a head count for too many layers", func(f *file) {
			f.setInts(own+"attention.head_count", typeInt32, make([]uint32, 600))
		}},
		{"no heads in a layer", func(f *file) { f.setInts(own+"attention.head_count", typeInt32, make([]uint32, f.blocks())) }},
		{"no key heads in a layer", func(f *file) {
			f.setInts(own+"attention.head_count_kv", typeInt32, make([]uint32, f.blocks()))
		}},
	}
	for _, c := range []struct {
		key    string
		values []uint32
	}{
		{"block_count", []uint32{0, 2, 512, 513, 1_000_000, math.MaxUint32}},
		{"context_length", []uint32{0, 1, 1 << 31, math.MaxUint32}},
		{"embedding_length", []uint32{0, 511, 1024, 1 << 31, math.MaxUint32}},
		{"feed_forward_length", []uint32{0, 33, 1 << 31}},
		{"attention.head_count", []uint32{0, 1, 7, 1024, 1 << 31, math.MaxUint32}},
		{"attention.head_count_kv", []uint32{0, 2, 3, 32, 1 << 31}},
		{"attention.key_length", []uint32{0, 1, 31, 64, 1 << 31}},
		{"attention.value_length", []uint32{0, 1, 64}},
		{"rope.dimension_count", []uint32{0, 1, 31, 64, 1 << 31}},
		{"vocab_size", []uint32{0, 100, 1000, 1 << 31}},
		{"expert_count", []uint32{1, 8, 1 << 31}},
		{"expert_used_count", []uint32{5}},
	} {
		for _, v := range c.values {
			changes = append(changes, change{fmt.Sprintf("%s %d", c.key, v), func(f *file) { f.setUint(own+c.key, v) }})
		}
		changes = append(changes, change{"no " + c.key, func(f *file) { f.drop("llama." + c.key) }})
	}
	for _, key := range []string{"attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon", "rope.freq_base", "rope.scaling.factor"} {
		for _, v := range []float64{0, -1, math.NaN(), math.Inf(1)} {
			changes = append(changes, change{fmt.Sprintf("%s %v", key, v), func(f *file) { f.setFloat(own+key, float32(v)) }})
		}
	}
	return changes
}
