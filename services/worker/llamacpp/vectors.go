package llamacpp

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/messages"
)

const (
	// vectorTokens is the most tokens of one text for a vector, where the model was trained on as
	// much. All of a text must be in one step.
	vectorTokens = 2048
	// vectorTexts is how many texts go into one step.
	vectorTexts = 16
)

// vectors is a context that makes one vector, or one score, of a whole text. Only the decode loop
// uses it.
type vectors struct {
	ctx     llama.Context
	memory  llama.Memory // 0: the model keeps nothing between steps
	batch   *batch
	pooling llama.PoolingType
	tokens  int // of all texts in one step
	size    int // values of a vector
	pace    pace
}

// poolings are the names of how a text's tokens become one vector.
var poolings = map[string]llama.PoolingType{
	"mean": llama.PoolingTypeMean, "cls": llama.PoolingTypeCLS, "last": llama.PoolingTypeLast, "rank": llama.PoolingTypeRank,
}

// pooling is the model's own way to make a vector, or the one that is asked for: mean where neither
// says.
func pooling(m llama.Model, want string) llama.PoolingType {
	if p, ok := poolings[want]; ok {
		return p
	}
	arch, _ := llama.ModelMetaValStr(m, "general.architecture")
	text, _ := llama.ModelMetaValStr(m, arch+".pooling_type")
	n, err := strconv.Atoi(text)
	if p := llama.PoolingType(n); err == nil && p >= llama.PoolingTypeMean && p <= llama.PoolingTypeRank {
		return p
	}
	return llama.PoolingTypeMean
}

// newVectors makes the context.
func newVectors(s *session, cfg Config) (*vectors, error) {
	v := &vectors{pooling: s.pooling, tokens: s.vectorTokens, size: s.vectorSize}
	m := s.model
	p := contextParams(cfg, v.tokens, s.allF32)
	p.NCtx, p.NBatch, p.NUbatch, p.NSeqMax = uint32(v.tokens), uint32(v.tokens), uint32(v.tokens), vectorTexts
	p.NOutputsMax = 0
	p.KVUnified, p.Embeddings, p.PoolingType = 1, 1, v.pooling
	var err error
	if v.ctx, err = llama.InitFromModel(m, p); err != nil {
		return nil, noMemory(cfg.ModelPath, fmt.Sprintf("no room for embeddings of %d tokens (%s)", v.tokens, takeLibError()))
	}
	v.tokens = min(v.tokens, int(llama.NBatch(v.ctx)), int(llama.NUBatch(v.ctx)))
	v.pooling = llama.GetPoolingType(v.ctx)
	v.memory, _ = llama.GetMemory(v.ctx)
	if v.pooling == llama.PoolingTypeRank {
		v.size = int(max(llama.ModelNClsOut(m), 1))
	}
	if v.batch, err = newBatch(v.tokens); err != nil || v.size <= 0 || v.pooling == llama.PoolingTypeNone {
		v.close()
		return nil, badModel(cfg.ModelPath, errors.New("it makes no vectors"))
	}
	return v, nil
}

func (v *vectors) close() {
	if v == nil {
		return
	}
	if v.batch != nil {
		v.batch.free()
	}
	if v.ctx != 0 {
		_ = llama.Free(v.ctx)
	}
}

// fit is how many of the texts go into one step; each has at most v.tokens. Chats of the same model
// wait for the step, so it has no more than a piece of a prompt may, unless that is one text.
func (v *vectors) fit(texts [][]llama.Token) int {
	n, room := 0, v.tokens
	if len(texts) > 0 && len(texts[0]) <= room {
		room = min(room, max(v.pace.chunk(true), len(texts[0])))
	}
	for n < len(texts) && n < vectorTexts && len(texts[n]) <= room {
		room -= len(texts[n])
		n++
	}
	return n
}

// step makes the vectors of so many texts, which fit.
func (v *vectors) step(texts [][]llama.Token) ([][]float32, error) {
	v.batch.clear()
	for seq, tokens := range texts {
		for i, t := range tokens {
			if !v.batch.add(t, i, seq, true) {
				return nil, errors.New("a batch would outgrow its bounds")
			}
		}
	}
	run := llama.Encode
	if v.memory != 0 {
		if err := llama.MemoryClear(v.memory, false); err != nil {
			return nil, err
		}
		run = llama.Decode
	}
	began := time.Now()
	if code, err := run(v.ctx, v.batch.raw); err != nil || code != 0 {
		if err == nil {
			err = errors.New(takeLibError())
		}
		return nil, fmt.Errorf("llama.cpp says %d (%w)", code, err)
	}
	out := make([][]float32, len(texts))
	for seq := range texts {
		values, err := llama.GetEmbeddingsSeq(v.ctx, llama.SeqId(seq), int32(v.size))
		if err != nil || values == nil {
			return nil, fmt.Errorf("no vector of text %d", seq)
		}
		out[seq] = slices.Clone(values) // llama.cpp's own memory
	}
	v.pace.took(time.Since(began), v.batch.len())
	return out, nil
}

// errand is work for the loop beside its jobs.
type errand interface {
	// advance does what takes about one step, and says whether there is more to do.
	advance(s *session) (more bool)
	// end says that nobody will advance it any more.
	end(err error)
}

// vectorErrand makes the vectors of many texts.
type vectorErrand struct {
	cfg   Config
	texts [][]llama.Token
	gone  func() bool // the reader does not wait any more
	out   [][]float32
	done  chan error // gets one value
}

func (e *vectorErrand) advance(s *session) bool {
	if e.gone() {
		return false
	}
	v, err := s.openVectors(e.cfg)
	if err != nil {
		e.end(err)
		return false
	}
	n := v.fit(e.texts[len(e.out):])
	if n == 0 { // checked before; never without end
		e.end(contextFull(fmt.Sprintf("%d tokens", len(e.texts[len(e.out)])), v.tokens))
		return false
	}
	got, err := v.step(e.texts[len(e.out):][:n])
	if err != nil {
		e.end(messages.Errorf(messages.CodeInternal, "llamacpp.embed", "embedding failed: %w", err))
		return false
	}
	if e.out = append(e.out, got...); len(e.out) == len(e.texts) {
		e.end(nil)
		return false
	}
	return true
}

func (e *vectorErrand) end(err error) { e.done <- err }

// openVectors is the session's context for vectors, made when it is first needed: a model that only
// chats needs no memory for it.
func (s *session) openVectors(cfg Config) (*vectors, error) {
	if s.vectors != nil {
		return s.vectors, nil
	}
	v, err := newVectors(s, cfg)
	if err == nil {
		s.adapt(v.ctx)
		s.vectors = v
	}
	return v, err
}
