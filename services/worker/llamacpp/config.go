package llamacpp

import (
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/completion"
)

// What a zero Config field means.
const (
	DefaultSlots         = 4
	DefaultContextLength = 4096 // at most; a model trained on less gets that
	MaxSlots             = 256  // llama.cpp's own limit on sequences
	DefaultCacheBytes    = 1 << 30
)

// DeviceAuto lets llama.cpp use every GPU it finds, and the CPU where there is none.
const DeviceAuto = "auto"

// Config says what an [Engine] serves and how.
type Config struct {
	// LibDir is the folder with libllama.so, libggml.so and ggml's CPU and GPU variants. A process
	// can use one folder only.
	LibDir string
	// ModelPath is a GGUF file.
	ModelPath string
	// PublicName is the model's id in [Engine.Info]; the file's name without .gguf if empty.
	PublicName string
	// Device is [DeviceAuto], or a name that [Devices] lists. Case does not matter; empty is auto.
	Device string
	// GPULayers is how many of the model's layers the GPUs get: a number, or "auto", which is also
	// empty: as many as fit into what they have free.
	GPULayers string
	// Force loads a model although the sum of what it needs is more than there is.
	Force bool
	// Slots is how many requests run at once; 0 is [DefaultSlots].
	Slots int
	// ContextLength is in tokens per slot, prompt and answer together. 0 is that of Defaults, and where
	// there is none what the model was trained on, at most [DefaultContextLength]. It is lowered to what
	// the model was trained on.
	ContextLength int
	// Threads for CPU work; 0 is the physical cores minus one, at least 1. More threads than free
	// cores are much slower, not faster: llama.cpp's threads spin.
	Threads int
	// ContextShift lets an answer outgrow its slot: the older half of what the model sees is
	// dropped and it goes on. Then only the model, max_tokens or a cancel ends an answer.
	ContextShift bool
	// CacheBytes is how much memory the contexts of chats that lost their slot may take, so that a
	// chat that comes back need not be read again. 0 is [DefaultCacheBytes], negative is none.
	CacheBytes int
	// TemplatePath is a file with a chat template in Jinja, instead of the model's own.
	TemplatePath string
	// GoTemplatePath is a file with one as Ollama has them, in Go's text/template, instead of the model's
	// own. Only one of the two may be given.
	GoTemplatePath string
	// Defaults is what requests get for what they do not say.
	Defaults completion.Defaults
	// Pooling is how embeddings are made of a text's tokens: "mean", "cls", "last", or "rank" for
	// scores. Empty is what the model says, and mean where it says nothing.
	Pooling string
	// LoRA are adapters that change the model's answers; all of them for every request.
	LoRA []LoRA
	// Log gets what llama.cpp prints, and our own lines. Nil is silent.
	Log *slog.Logger
}

// LoRA is an adapter, a GGUF file, and how strongly it counts; 1 is as it was trained.
type LoRA struct {
	Path  string
	Scale float32
}

// withDefaults checks cfg and fills in what does not need the model.
func (c Config) withDefaults() (Config, error) {
	switch {
	case c.LibDir == "":
		return c, messages.Errorf(messages.CodeNoEngine, "llamacpp.new", "no folder with llama.cpp's libraries is given").
			WithHint("install the llama.cpp engine, or name the folder of libllama.so")
	case c.ModelPath == "" || strings.IndexByte(c.ModelPath, 0) >= 0:
		return c, messages.Errorf(messages.CodeBadModel, "llamacpp.new", "the model's path %q is not usable", c.ModelPath)
	case c.Slots < 0 || c.Slots > MaxSlots:
		return c, messages.Errorf(messages.CodeBadRequest, "llamacpp.new", "slots: must be between 1 and %d, is %d", MaxSlots, c.Slots)
	case c.ContextLength < 0 || c.ContextLength > completion.MaxContext:
		return c, messages.Errorf(messages.CodeBadRequest, "llamacpp.new", "context length: %d is out of range", c.ContextLength)
	case c.TemplatePath != "" && c.GoTemplatePath != "":
		return c, messages.Errorf(messages.CodeBadRequest, "llamacpp.new", "chat template: there may be one, in Jinja or in Go's text/template, not both")
	case c.Threads < 0 || c.Threads > 512: // ggml asserts on more
		return c, messages.Errorf(messages.CodeBadRequest, "llamacpp.new", "threads: must be between 1 and 512, is %d", c.Threads)
	}
	if _, ok := poolings[c.Pooling]; !ok && c.Pooling != "" {
		return c, messages.Errorf(messages.CodeBadRequest, "llamacpp.new", "pooling: must be mean, cls, last or rank, is %.80q", c.Pooling)
	}
	for _, l := range c.LoRA {
		if l.Path == "" || strings.IndexByte(l.Path, 0) >= 0 || !(l.Scale >= -100 && l.Scale <= 100) {
			return c, messages.Errorf(messages.CodeBadRequest, "llamacpp.new", "lora: %.200q with scale %g is not usable", l.Path, l.Scale)
		}
	}
	if _, err := ParseGPULayers(c.GPULayers); err != nil {
		return c, err
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = DefaultCacheBytes
	}
	c.CacheBytes = max(c.CacheBytes, 0)
	if c.ContextLength == 0 {
		c.ContextLength = c.Defaults.ContextLength
	}
	if c.PublicName == "" {
		c.PublicName = strings.TrimSuffix(filepath.Base(c.ModelPath), ".gguf")
	}
	if c.Device == "" {
		c.Device = DeviceAuto
	}
	if c.Slots == 0 {
		c.Slots = DefaultSlots
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// threads is how many the decode loop has llama.cpp use.
func (c Config) threads() int32 {
	if c.Threads > 0 {
		return int32(c.Threads)
	}
	return int32(defaultThreads())
}

// contextPerSlot is the slot's context for a model trained on that many tokens (0: unknown).
func (c Config) contextPerSlot(trained int) int {
	n := c.ContextLength
	if n == 0 {
		n = DefaultContextLength
	}
	if trained > 0 && n > trained {
		if c.ContextLength > 0 {
			c.Log.Warn("context length lowered to what the model was trained on", keyAsked, n, keyTrained, trained)
		}
		n = trained
	}
	return n
}

// Keys of log lines.
const (
	keyAsked   = "asked"
	keyError   = "error"
	keyFrom    = "from"
	keyModel   = "model"
	keyTrained = "trained"
)
