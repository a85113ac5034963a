package bees

import (
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/rbee-project/rbee/gguf"
)

const (
	loraSeed = 23
	loraRank = 4
)

// WriteLoRA writes a LoRA adapter, as a GGUF file, that changes what the model called name answers
// by adding to its queries and values. A strength of 1 adds about as much to them as bee-random has,
// and changes nearly every answer; 0 changes nothing. The sentence models load theirs, but nothing changes
// them. Engines refuse it for a model of another shape or architecture. A name that is no bee model
// which chats is [ErrUnknown], before anything is written.
func WriteLoRA(w io.Writer, name string, strength float32) error {
	m, ok := models[name]
	if !ok || m.shape.architecture == "bert" {
		return fmt.Errorf("%w: %.64q has no adapter", ErrUnknown, name)
	}
	file := &gguf.Writer{}
	file.Set("general.architecture", m.shape.architecture)
	file.Set("general.type", "adapter")
	file.Set("general.name", name+"-lora")
	file.Set("adapter.type", "lora")
	file.Set("adapter.lora.alpha", float32(loraRank)) // so that what is added is b x a, once
	random := rand.NewPCG(loraSeed, 0)
	for i := range m.shape.blocks {
		addPair(file, fmt.Sprintf("blk.%d.attn_q.weight", i), m.shape.embedding, m.shape.embedding, random, strength)
		addPair(file, fmt.Sprintf("blk.%d.attn_v.weight", i), m.shape.embedding, m.shape.keys(), random, strength)
	}
	_, err := file.WriteTo(w)
	return err
}

// addPair adds the two narrow matrices whose product is added to a matrix. The first makes
// numbers of deviation near 1, the second near 2 x strength for each of the matrix' rows.
func addPair(file *gguf.Writer, of string, columns, rows int, random *rand.PCG, strength float32) {
	const narrow = 0.05 // 1/sqrt of the usual number of columns
	addTensor(file, of+".lora_a", gguf.F32, fill(gguf.F32, noise(random, narrow)), columns, loraRank)
	addTensor(file, of+".lora_b", gguf.F32, fill(gguf.F32, noise(random, strength)), loraRank, rows)
}
