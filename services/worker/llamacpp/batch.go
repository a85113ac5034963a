package llamacpp

import (
	"fmt"
	"unsafe"

	"github.com/hybridgroup/yzma/pkg/llama"
)

// batch is the tokens of one decode call. It writes into llama.cpp's own arrays: yzma's Batch.Add
// allocates for every token.
type batch struct {
	raw    llama.Batch
	tokens []llama.Token
	at     []llama.Pos
	counts []int32
	seqs   []*llama.SeqId
	wanted []int8
}

// newBatch makes room for so many tokens. It must be freed.
func newBatch(tokens int) (*batch, error) {
	raw := llama.BatchInit(int32(tokens), 0, 1)
	if raw.Token == nil || raw.Pos == nil || raw.NSeqId == nil || raw.SeqId == nil || raw.Logits == nil {
		return nil, fmt.Errorf("no batch of %d tokens", tokens)
	}
	return &batch{
		raw: raw, tokens: unsafe.Slice(raw.Token, tokens), at: unsafe.Slice(raw.Pos, tokens),
		counts: unsafe.Slice(raw.NSeqId, tokens), seqs: unsafe.Slice(raw.SeqId, tokens), wanted: unsafe.Slice(raw.Logits, tokens),
	}, nil
}

func (b *batch) len() int { return int(b.raw.NTokens) }
func (b *batch) clear()   { b.raw.NTokens = 0 }

// add puts a token of a sequence at a position, and asks for what follows it if wanted. It reports
// whether there was room.
func (b *batch) add(t llama.Token, position, seq int, wanted bool) bool {
	i := b.len()
	if i >= len(b.tokens) {
		return false
	}
	b.tokens[i], b.at[i], b.counts[i], *b.seqs[i], b.wanted[i] = t, llama.Pos(position), 1, llama.SeqId(seq), 0
	if wanted {
		b.wanted[i] = 1
	}
	b.raw.NTokens++
	return true
}

func (b *batch) free() { _ = llama.BatchFree(b.raw) } // cannot fail
