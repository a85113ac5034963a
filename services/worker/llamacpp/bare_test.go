package llamacpp

import (
	"testing"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/services/worker/completion"
)

// bare is llama.cpp's simplest loop: one sequence, one prompt, one token after the other. It is what
// the engine's answers are compared with, and shares no code with it but the vocabulary and the
// chain of samplers.
type bare struct {
	t       testing.TB
	s       *session // for the model and its vocabulary
	ctx     llama.Context
	memory  llama.Memory
	context int
}

// newBare makes a loop for the engine's model, with a context as large as one of its slots.
func newBare(t testing.TB, e *Engine) *bare {
	t.Helper()
	b := &bare{t: t, s: e.session, context: e.session.slotTokens}
	p := contextParams(e.cfg, b.context, e.session.allF32)
	p.NCtx, p.NSeqMax, p.NBatch, p.NUbatch, p.NOutputsMax = uint32(b.context), 1, uint32(b.context), uint32(b.context), 0
	var err error
	if b.ctx, err = llama.InitFromModel(e.session.model, p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = llama.Free(b.ctx) })
	if b.memory, err = llama.GetMemory(b.ctx); err != nil {
		t.Fatal(err)
	}
	return b
}

// generate answers a prompt with at most n tokens. With shift it drops the older half when the
// context is full, as the engine does; else it ends there.
func (b *bare) generate(prompt []llama.Token, p *completion.Sampling, seed uint32, n int, shift bool) (out []llama.Token, reason string) {
	if err := llama.MemoryClear(b.memory, true); err != nil {
		b.t.Fatal(err)
	}
	chain := newChain(b.s, p, seed)
	defer llama.SamplerFree(chain)
	remember(chain, b.s, p, prompt)
	next, used := prompt, 0
	for len(out) < n {
		b.decode(next, used)
		used += len(next)
		t := llama.SamplerSample(chain, b.ctx, -1)
		if llama.VocabIsEOG(b.s.vocab.handle, t) {
			return out, "stop"
		}
		out, next = append(out, t), []llama.Token{t}
		if shift && used == b.context {
			drop := (used - 1) / 2
			if ok, err := llama.MemorySeqRm(b.memory, 0, 1, llama.Pos(1+drop)); err != nil || !ok {
				b.t.Fatal("no shift")
			}
			if err := llama.MemorySeqAdd(b.memory, 0, llama.Pos(1+drop), llama.Pos(used), llama.Pos(-drop)); err != nil {
				b.t.Fatal(err)
			}
			used -= drop
		}
		if !shift && used+1 == b.context {
			return out, "length"
		}
	}
	return out, "length"
}

func (b *bare) decode(tokens []llama.Token, at int) {
	batch := llama.BatchInit(int32(len(tokens)), 0, 1)
	defer llama.BatchFree(batch)
	for i, t := range tokens {
		if err := batch.Add(t, llama.Pos(at+i), []llama.SeqId{0}, i == len(tokens)-1); err != nil {
			b.t.Fatal(err)
		}
	}
	if code, err := llama.Decode(b.ctx, batch); err != nil || code != 0 {
		b.t.Fatalf("decode: %d, %v", code, err)
	}
}

// text is what tokens say, as the engine would.
func (b *bare) text(tokens []llama.Token) string {
	to := completion.NewText(nil)
	out := ""
	for _, t := range tokens {
		out += to.Add(b.s.vocab.pieces[t])
	}
	return out + to.End()
}
