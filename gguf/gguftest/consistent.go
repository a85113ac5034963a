package gguftest

import "fmt"

// consistentChanges are wrong models whose shapes agree with their wrong numbers, and whose tensors
// lie as they should: only a reader that knows what the numbers are for can refuse them.
func (f *file) consistentChanges() []change {
	own := f.architecture() + "."
	const key, value = "blk.%d.attn_k", "blk.%d.attn_v"
	width := f.tensor("blk.0.attn_q.weight").dims[0]
	// heads gives every layer keys and values of that size.
	heads := func(f *file, keys, values uint64) {
		for i := range f.blocks() {
			f.tensor(fmt.Sprintf(key+".weight", i)).dims = []uint64{width, keys}
			f.tensor(fmt.Sprintf(value+".weight", i)).dims = []uint64{width, values}
			f.tensor(fmt.Sprintf(key+".bias", i)).dims = []uint64{keys}
			f.tensor(fmt.Sprintf(value+".bias", i)).dims = []uint64{values}
		}
		f.layOut()
	}
	head := func(n, kv, length uint32) func(*file) {
		return func(f *file) {
			f.setUint(own+"attention.head_count", n)
			f.setUint(own+"attention.head_count_kv", kv)
			f.setUint(own+"rope.dimension_count", length)
			heads(f, uint64(kv*length), uint64(kv*length))
		}
	}
	experts := func(n uint32) func(*file) {
		return func(f *file) {
			f.setUint(own+"expert_count", n)
			f.setUint(own+"expert_used_count", 2)
		}
	}
	full, length := uint32(width)/32, uint32(32)
	changes := []change{
		{"key heads that do not divide the heads", head(full, 3, length)},
		{"more key heads than heads", head(full, 2*full, length)},
		{"heads of one value", head(uint32(width), 1, 1)},
		{"no key heads at all", func(f *file) {
			f.setUint(own+"attention.head_count_kv", 0)
			heads(f, 0, 0)
		}},
		{"values longer than keys", func(f *file) {
			f.setUint(own+"attention.key_length", length)
			f.setUint(own+"attention.value_length", 2*length)
			f.setUint(own+"attention.head_count_kv", 1)
			heads(f, uint64(length), 2*uint64(length))
		}},
		{"odd rope dimensions", func(f *file) { f.setUint(own+"rope.dimension_count", 31) }},
		{"more rope dimensions than a head has", func(f *file) { f.setUint(own+"rope.dimension_count", 64) }},
		{"no rope dimensions", func(f *file) { f.setUint(own+"rope.dimension_count", 0) }},
		{"no feed-forward at all", func(f *file) {
			f.setUint(own+"feed_forward_length", 0)
			for i := range f.blocks() {
				f.tensor(fmt.Sprintf("blk.%d.ffn_up.weight", i)).dims = []uint64{width, 0}
				f.tensor(fmt.Sprintf("blk.%d.ffn_gate.weight", i)).dims = []uint64{width, 0}
				f.tensor(fmt.Sprintf("blk.%d.ffn_down.weight", i)).dims = []uint64{0, width}
			}
			f.layOut()
		}},
		{"experts without a router", experts(8)},
		{"1024 experts", experts(1024)},
		{"1025 experts", experts(1025)},
		{"more experts used than there are", func(f *file) {
			f.setUint(own+"expert_count", 2)
			f.setUint(own+"expert_used_count", 5)
		}},
	}
	return append(changes, typeChanges()...)
}

// typeChanges give one tensor a type that is laid out well, but that no model has there.
func typeChanges() []change {
	var changes []change
	for _, name := range []string{"token_embd.weight", "output.weight", "blk.0.attn_q.weight", "output_norm.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.bias"} {
		for _, kind := range []uint32{1, 8, 9, 15, 23, 24, 25, 26, 27, 28, 30, 34, 39} {
			changes = append(changes, change{fmt.Sprintf("%s of type %d", name, kind), func(f *file) {
				f.tensor(name).kind = kind
				f.layOut()
			}})
		}
	}
	return changes
}
