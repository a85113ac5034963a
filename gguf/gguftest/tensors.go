package gguftest

import (
	"encoding/binary"
	"math"
	"strings"
)

func countChanges() []change {
	count := func(n uint64) *uint64 { return &n }
	return []change{
		{"version 1", func(f *file) { f.version = 1 }},
		{"version 4", func(f *file) { f.version = 4 }},
		{"big-endian version", func(f *file) { f.version = 3 << 24 }},
		{"2^63 tensors", func(f *file) { f.tensorCount = count(1 << 63) }},
		{"10^9 tensors", func(f *file) { f.tensorCount = count(1e9) }},
		{"one tensor too many", func(f *file) { f.tensorCount = count(uint64(len(f.tensors)) + 1) }},
		{"one tensor too few", func(f *file) { f.tensorCount = count(uint64(len(f.tensors)) - 1) }},
		{"no tensors", func(f *file) { f.tensors, f.data = nil, nil }},
		{"2^64-1 keys", func(f *file) { f.keyCount = count(math.MaxUint64) }},
		{"10^9 keys", func(f *file) { f.keyCount = count(1e9) }},
		{"one key too many", func(f *file) { f.keyCount = count(uint64(len(f.keys)) + 1) }},
		{"no keys", func(f *file) { f.keys = nil }},
		{"2^61 tokens", func(f *file) { f.setLength(keyTokens, 1<<61) }},
		{"10^9 tokens", func(f *file) { f.setLength(keyTokens, 1e9) }},
		{"a text of 2^63 bytes", func(f *file) { f.setLength("general.name", 1<<63) }},
		{"a text of 2^40 bytes", func(f *file) { f.setLength("general.name", 1<<40) }},
		{"a text of 2^64-1 bytes", func(f *file) { f.setLength("general.name", math.MaxUint64) }},
		{"an array of arrays", func(f *file) { binary.LittleEndian.PutUint32(f.find(keyMerges).value, typeArray) }},
		{"an array of an unknown type", func(f *file) { binary.LittleEndian.PutUint32(f.find(keyMerges).value, 99) }},
		{"a value of an unknown type", func(f *file) { f.find("general.name").kind = 99 }},
		{"a key twice", func(f *file) { f.keys = append(f.keys, f.keys[0]) }},
		{"a key without a name", func(f *file) { f.keys[1].name = "" }},
		{"a key with a zero byte", func(f *file) { f.keys[1].name = "a\x00b" }},
		{"alignment 0", func(f *file) { f.setUint(keyAlignment, 0) }},
		{"alignment 24", func(f *file) { f.setUint(keyAlignment, 24) }},
		{"alignment 2^31", func(f *file) { f.setUint(keyAlignment, 1<<31) }},
		{"alignment as text", func(f *file) { f.setText(keyAlignment, "32") }},
	}
}

func (f *file) tensorChanges() []change {
	const embedding, query, output = "token_embd.weight", "blk.0.attn_q.weight", "output.weight"
	shape := func(name string, dims ...uint64) func(*file) {
		return func(f *file) { f.tensor(name).dims = dims }
	}
	kind := func(name string, kind uint32) func(*file) {
		return func(f *file) { f.tensor(name).kind = kind }
	}
	offset := func(name string, at uint64) func(*file) {
		return func(f *file) { f.tensor(name).offset = at }
	}
	without := func(name string) func(*file) {
		return func(f *file) { f.dropTensor(name) }
	}
	width := f.tensor(query).dims[0]
	return []change{
		{"no embedding", without(embedding)},
		{"no output", without(output)},
		{"no output norm", without("output_norm.weight")},
		{"no queries", without(query)},
		{"no feed-forward", without("blk.0.ffn_down.weight")},
		{"a tensor too many", func(f *file) {
			extra := *f.tensor(query)
			extra.name = "blk.7.extra.weight"
			extra.offset = uint64(len(f.data))
			f.tensors, f.data = append(f.tensors, extra), append(f.data, make([]byte, extra.size())...)
		}},
		{"tensors overlap", func(f *file) { f.tensor(query).offset = f.tensor(output).offset }},
		{"a tensor half over another", func(f *file) { f.tensor(query).offset = f.tensor(output).offset + alignment }},
		{"tensors swapped", func(f *file) {
			a, b := f.tensor(query), f.tensor("blk.0.attn_output.weight")
			a.offset, b.offset = b.offset, a.offset
		}},
		{"a tensor beyond the end", func(f *file) { f.tensor(query).offset = uint64(len(f.data)) }},
		{"a tensor at 2^63", offset(query, 1<<63)},
		{"a tensor at the last byte of 64 bits", offset(query, math.MaxUint64&^(alignment-1))},
		{"an unaligned tensor", func(f *file) { f.tensor(query).offset++ }},
		{"a tensor twice", func(f *file) { f.tensor(output).name = embedding }},
		{"a tensor without a name", func(f *file) { f.tensor(query).name = "" }},
		{"a tensor with a long name", func(f *file) { f.tensor(query).name = strings.Repeat("n", 5000) }},
		{"no dimensions", shape(query)},
		{"five dimensions", shape(query, width, width, 1, 1, 1)},
		{"a dimension of 0", shape(query, 0, width)},
		{"a dimension of 2^63", shape(query, 1<<63, width)},
		{"dimensions that overflow", shape(query, 1<<32, 1<<32)},
		{"negative dimensions", shape(query, math.MaxUint64, math.MaxUint64)},
		{"a narrow embedding", shape(embedding, width/2, width)},
		{"an embedding of one token", shape(embedding, width, 1)},
		{"a vector for a matrix", shape(query, width)},
		{"a cube for a matrix", shape(query, width, width/2, 2)},
		{"a short norm", shape("blk.0.attn_norm.weight", width/2)},
		{"a tensor of an unknown type", kind(query, 999)},
		{"a tensor of a withdrawn type", kind(query, 4)},
		{"a tensor of type 2^32-1", kind(query, math.MaxUint32)},
		{"a matrix of whole numbers", kind(query, 25)},
		{"an embedding of whole numbers", kind(embedding, 25)},
		{"an embedding of 64-bit floats", kind("blk.0.attn_norm.weight", 28)},
		{"a matrix in IQ4_XS", kind(query, 23)},
		{"an embedding in Q8_K", kind(embedding, 15)},
		{"an embedding in Q8_1", kind(embedding, 9)},
		{"a norm in F16", kind("blk.0.attn_norm.weight", 1)},
		{"a norm in BF16", kind("output_norm.weight", 30)},
	}
}

func weightChanges() []change {
	fill := func(name string, number float64) func(*file) {
		return func(f *file) { f.fill(name, number) }
	}
	nan, infinite := math.NaN(), math.Inf(1)
	return []change{
		{"NaN in the embedding", fill("token_embd.weight", nan)},
		{"NaN in the output", fill("output.weight", nan)},
		{"NaN in the queries", fill("blk.0.attn_q.weight", nan)},
		{"NaN in a norm", fill("output_norm.weight", nan)},
		{"infinite output", fill("output.weight", infinite)},
		{"infinite embedding", fill("token_embd.weight", infinite)},
		{"zero output", fill("output.weight", 0)},
		{"random weights", func(f *file) {
			f.data = make([]byte, len(f.data))
			for i := range f.data {
				f.data[i] = byte(i * 2654435761 >> 13)
			}
		}},
	}
}
