package llamacpp

import (
	"context"
	"errors"
	"fmt"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/messages"
)

// session is a loaded model with memory for its slots. Only the decode loop uses it, except for the
// vocabulary, which anyone may read.
type session struct {
	vocab *vocabulary
	place place
	// slotTokens is the context of one slot; stepTokens is the most that one decode may get.
	slotTokens, stepTokens int
	shifts                 bool

	model  llama.Model
	ctx    llama.Context
	memory llama.Memory
	batch  llama.Batch
}

// openSession loads the library and the model and makes room for the slots.
func openSession(ctx context.Context, cfg Config, progress func(float64)) (*session, string, error) {
	allF32, err := checkFile(cfg.ModelPath)
	if err != nil {
		return nil, "", err
	}
	version, err := loadLibrary(cfg.LibDir)
	if err != nil {
		return nil, "", err
	}
	devices, err := Devices(cfg.LibDir)
	if err != nil {
		return nil, "", err
	}
	at, err := choosePlace(devices, cfg.Device)
	if err != nil {
		return nil, "", err
	}
	progress(0)
	model, err := openModel(ctx, cfg, at, progress)
	if err != nil {
		return nil, "", err
	}
	s := &session{place: at, model: model}
	if err := s.prepare(ctx, cfg, allF32); err != nil {
		s.close()
		return nil, "", err
	}
	progress(1)
	return s, version, nil
}

// prepare makes what a loaded model needs to decode.
func (s *session) prepare(ctx context.Context, cfg Config, allF32 bool) (err error) {
	if err := checkKind(cfg.ModelPath, s.model); err != nil {
		return err
	}
	s.vocab = readVocabulary(s.model)
	if len(s.vocab.pieces) == 0 {
		return badModel(cfg.ModelPath, errors.New("it has no vocabulary"))
	}
	s.slotTokens = cfg.contextPerSlot(int(llama.ModelNCtxTrain(s.model)))
	if s.ctx, err = llama.InitFromModel(s.model, contextParams(cfg, s.slotTokens, allF32)); err != nil {
		return noMemory(cfg.ModelPath, fmt.Sprintf("no room for %d slots of %d tokens (%s)", cfg.Slots, s.slotTokens, lastLibError()))
	}
	if s.memory, err = llama.GetMemory(s.ctx); err != nil || s.memory == 0 {
		return badModel(cfg.ModelPath, errors.New("it keeps no context"))
	}
	s.slotTokens = min(s.slotTokens, int(llama.NCtxSeq(s.ctx)))
	s.stepTokens = int(llama.NBatch(s.ctx))
	if s.stepTokens < cfg.Slots || int(llama.NSeqMax(s.ctx)) < cfg.Slots {
		return messages.Errorf(messages.CodeBadRequest, "llamacpp.load", "slots: %d are too many for a context of %d tokens", cfg.Slots, s.slotTokens)
	}
	s.shifts = cfg.ContextShift
	if can, _ := llama.MemoryCanShift(s.memory); s.shifts && !can {
		cfg.Log.Warn("this model's context cannot shift: answers end when it is full", keyModel, cfg.PublicName)
		s.shifts = false
	}
	s.batch = llama.BatchInit(int32(s.stepTokens), 0, 1)
	return ctx.Err()
}

// contextParams gives every slot memory of its own. A model whose weights are all F32 is computed in
// F32 throughout: then an answer does not depend on which others are decoded with it.
func contextParams(cfg Config, slotTokens int, allF32 bool) llama.ContextParams {
	p := llama.ContextDefaultParams()
	p.NCtx = uint32(slotTokens * cfg.Slots)
	p.NSeqMax = uint32(cfg.Slots)
	p.NBatch = uint32(chunkTokens + cfg.Slots)
	p.NUbatch = p.NBatch
	p.NOutputsMax = p.NSeqMax // one token follows per slot and step; the default makes room for a whole batch
	p.NThreads = cfg.threads()
	p.NThreadsBatch = p.NThreads
	p.KVUnified = 0
	p.NoPerf = 1
	if allF32 {
		p.TypeK, p.TypeV = llama.GGMLTypeF32, llama.GGMLTypeF32
		p.FlashAttentionType = llama.FlashAttentionTypeDisabled
	}
	return p
}

// clearSlot forgets what the slot's last request left behind. Every request begins with it.
func (s *session) clearSlot(slot int) error {
	ok, err := llama.MemorySeqRm(s.memory, llama.SeqId(slot), -1, -1)
	if err == nil && !ok {
		err = errors.New("llama.cpp keeps the old cells")
	}
	if err != nil {
		return messages.Errorf(messages.CodeInternal, "llamacpp.clear", "slot %d cannot be cleared: %w", slot, err)
	}
	return nil
}

// shiftSlot drops the older half of a full slot, but not its first token, which models lean on. It
// returns how many tokens the slot has now.
func (s *session) shiftSlot(slot, used int) int {
	const keep = 1
	drop := (used - keep) / 2
	if drop < 1 {
		return used
	}
	id := llama.SeqId(slot)
	if ok, err := llama.MemorySeqRm(s.memory, id, keep, llama.Pos(keep+drop)); err != nil || !ok {
		return used
	}
	if err := llama.MemorySeqAdd(s.memory, id, llama.Pos(keep+drop), llama.Pos(used), llama.Pos(-drop)); err != nil {
		return used
	}
	return used - drop
}

// add puts a token into the next decode, and asks for what follows it if wanted.
func (s *session) add(slot, position int, t llama.Token, wanted bool) error {
	if position >= s.slotTokens || t < 0 || int(t) >= len(s.vocab.pieces) {
		return fmt.Errorf("token %d at %d of %d", t, position, s.slotTokens)
	}
	return s.batch.Add(t, llama.Pos(position), []llama.SeqId{llama.SeqId(slot)}, wanted)
}

// decode runs the batch and empties it.
func (s *session) decode() error {
	code, err := llama.Decode(s.ctx, s.batch)
	if err == nil && code != 0 {
		err = fmt.Errorf("llama.cpp says %d (%s)", code, lastLibError())
	}
	_ = s.batch.Clear() // cannot fail
	return err
}

func (s *session) close() {
	if s.batch.Token != nil {
		_ = llama.BatchFree(s.batch)
	}
	if s.ctx != 0 {
		_ = llama.Free(s.ctx)
	}
	freeModel(s.model)
}
