package gguf

import "slices"

// encoders are llama.cpp's architectures that read a whole text at once and generate none.
var encoders = []string{
	"bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert", "eurobert", "gemma-embedding",
}

// Encodes reports whether the model reads whole texts and generates none: it makes embeddings or
// scores, and keeps no attention cache.
func (h *Header) Encodes() bool {
	causal, said := Get[bool](h, h.own("attention.causal"))
	return said && !causal || slices.Contains(encoders, h.Architecture)
}
