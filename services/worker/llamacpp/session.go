package llamacpp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/chattemplate"
)

// session is a loaded model with memory for its slots. Only the decode loop uses it, except for the
// vocabulary, which anyone may read.
type session struct {
	vocab *vocabulary
	place place
	// slotTokens is the context of one slot; stepTokens is the most that one decode may get.
	slotTokens, stepTokens int
	shifts                 bool
	// slides is how many tokens the model's sliding layers look back; 0: it has none.
	slides int
	// rewinds says that a slot can forget its last tokens. A model with a recurrent state cannot,
	// which llama.cpp only says when it is asked to.
	rewinds bool
	allF32  bool // all weights, and so all that is computed
	// template writes chats; nil if the model's own is not usable, and templateErr says why.
	template    *chattemplate.Renderer
	templateErr error
	// Of a text's vector: how it is made, its values, and the most tokens of the text.
	pooling                  llama.PoolingType
	vectorSize, vectorTokens int

	model  llama.Model
	ctx    llama.Context // 0 for a model that makes vectors only
	lora   []llama.AdapterLora
	scales []float32
	memory llama.Memory
	batch  *batch
	// vectors is the context for embeddings and reranking; made when it is first needed.
	vectors *vectors
}

// openSession loads the library and the model and makes room for the slots.
func openSession(ctx context.Context, cfg Config, progress func(float64)) (*session, string, error) {
	header, err := checkFile(cfg.ModelPath)
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
	at, err := placeFor(devices, header, cfg)
	if err != nil {
		return nil, "", err
	}
	progress(0)
	model, err := openModel(ctx, cfg, at, progress)
	if err != nil {
		return nil, "", err
	}
	s := &session{place: at, model: model, allF32: header != nil && header.AllF32()}
	if err := s.prepare(ctx, cfg, header); err != nil {
		s.close()
		return nil, "", err
	}
	progress(1)
	return s, version, nil
}

// placeFor is the device that cfg names, with as many layers as cfg says. It refuses a model that does
// not fit, unless cfg insists.
func placeFor(devices []Device, header *gguf.Header, cfg Config) (place, error) {
	at, err := choosePlace(devices, cfg.Device)
	if err != nil {
		return at, err
	}
	layers, err := ParseGPULayers(cfg.GPULayers)
	if err != nil {
		return at, err
	}
	trained := 0
	if header != nil {
		trained = header.ContextLength
	}
	at, err = at.fit(devices, header, layers, cfg.contextPerSlot(trained), cfg.Slots, chunkTokens+cfg.Slots)
	if err != nil && cfg.Force {
		cfg.Log.Warn("the model may not fit, and is loaded all the same", keyError, err)
		err = nil
	}
	return at, err
}

// prepare makes what a loaded model needs to decode.
func (s *session) prepare(ctx context.Context, cfg Config, header *gguf.Header) (err error) {
	if err := checkKind(cfg.ModelPath, s.model); err != nil {
		return err
	}
	s.vocab = readVocabulary(s.model)
	if len(s.vocab.pieces) == 0 {
		return badModel(cfg.ModelPath, errors.New("it has no vocabulary"))
	}
	if err := s.openAdapters(cfg); err != nil {
		return err
	}
	if err := s.describeVectors(cfg, header); err != nil {
		return err
	}
	if header == nil || !header.Encodes() {
		if err := s.openContext(cfg); err != nil {
			return err
		}
	}
	if s.ctx == 0 { // no other use: make the context now, while its lack of memory is a failed load
		v, err := s.openVectors(cfg)
		if err != nil {
			return err
		}
		s.slotTokens = v.tokens
		return ctx.Err()
	}
	if err := s.openTemplate(ctx, cfg); err != nil {
		return err
	}
	return ctx.Err()
}

// openContext makes room for the slots.
func (s *session) openContext(cfg Config) (err error) {
	s.slotTokens = cfg.contextPerSlot(int(llama.ModelNCtxTrain(s.model)))
	if s.ctx, err = llama.InitFromModel(s.model, contextParams(cfg, s.slotTokens, s.allF32)); err != nil {
		return noMemory(cfg.ModelPath, fmt.Sprintf("no room for %d slots of %d tokens (%s)", cfg.Slots, s.slotTokens, takeLibError()))
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
	s.slides, s.rewinds = int(llama.ModelNSWA(s.model)), true
	s.adapt(s.ctx)
	if s.batch, err = newBatch(s.stepTokens); err != nil {
		return noMemory(cfg.ModelPath, err.Error())
	}
	return nil
}

// openTemplate starts the renderer of the model's chat template, or of the file that replaces it. A
// model whose own template is broken still completes text, so that is no failed load.
func (s *session) openTemplate(ctx context.Context, cfg Config) error {
	source := s.vocab.template
	path := cmp.Or(cfg.TemplatePath, cfg.GoTemplatePath)
	if path != "" {
		text, err := readTemplate(path)
		if err != nil {
			return err
		}
		source = text
	}
	if source == "" {
		cfg.Log.Info("the model has no chat template: ChatML is used", keyModel, cfg.PublicName)
		source = chattemplate.Builtin("chatml")
	}
	s.template, s.templateErr = chattemplate.New(ctx, source, chattemplate.Options{
		BOS: s.vocab.text(s.vocab.bos), EOS: s.vocab.text(s.vocab.eos), Control: s.vocab.controls, Go: cfg.GoTemplatePath != "",
	})
	if s.templateErr == nil {
		return nil
	}
	if path != "" {
		return s.templateErr
	}
	cfg.Log.Warn("the model's chat template is not usable: chats are refused", keyModel, cfg.PublicName, keyError, s.templateErr)
	e := messages.AsError(s.templateErr, "llamacpp.load")
	s.templateErr = messages.Errorf(messages.CodeBadRequest, e.Op, "this model cannot chat: %s", e.Message).
		WithHint("start the worker with --chat-template FILE, or use /v1/completions")
	return nil
}

// readTemplate reads a file of at most [chattemplate.MaxSource].
func readTemplate(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", messages.Errorf(messages.CodeBadRequest, "llamacpp.load", "chat template: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, chattemplate.MaxSource+1))
	if err != nil || len(b) > chattemplate.MaxSource {
		return "", messages.Errorf(messages.CodeBadRequest, "llamacpp.load", "chat template: %s is no file of at most %d bytes", path, chattemplate.MaxSource)
	}
	return string(b), nil
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

// add puts a token into the next decode, and asks for what follows it if wanted. It reports whether
// the token and its place are in bounds: llama.cpp asserts on others.
func (s *session) add(slot, position int, t llama.Token, wanted bool) bool {
	if position >= s.slotTokens || t < 0 || int(t) >= len(s.vocab.pieces) {
		return false
	}
	return s.batch.add(t, position, slot, wanted)
}

// decode runs the batch and empties it.
func (s *session) decode() error {
	code, err := llama.Decode(s.ctx, s.batch.raw)
	if err == nil && code != 0 {
		err = fmt.Errorf("llama.cpp says %d (%s)", code, takeLibError())
	}
	s.batch.clear()
	return err
}

func (s *session) close() {
	if s.batch != nil {
		s.batch.free()
	}
	if s.ctx != 0 {
		_ = llama.Free(s.ctx)
	}
	s.vectors.close()
	for _, l := range s.lora {
		_ = llama.AdapterLoraFree(l)
	}
	if s.template != nil {
		s.template.Close()
	}
	freeModel(s.model)
}
