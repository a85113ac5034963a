package llamacpp

import (
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/messages"
)

// What a zero Config field means.
const (
	DefaultSlots         = 4
	DefaultContextLength = 4096 // at most; a model trained on less gets that
	MaxSlots             = 256  // llama.cpp's own limit on sequences
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
	// Slots is how many requests run at once; 0 is [DefaultSlots].
	Slots int
	// ContextLength is in tokens per slot, prompt and answer together. 0 is what the model was
	// trained on, at most [DefaultContextLength]. It is lowered to what the model was trained on.
	ContextLength int
	// Threads for CPU work; 0 is the physical cores minus one, at least 1. More threads than free
	// cores are much slower, not faster: llama.cpp's threads spin.
	Threads int
	// ContextShift lets an answer outgrow its slot: the older half of what the model sees is
	// dropped and it goes on. Then only the model, max_tokens or a cancel ends an answer.
	ContextShift bool
	// Log gets what llama.cpp prints, and our own lines. Nil is silent.
	Log *slog.Logger
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
	case c.ContextLength < 0 || c.ContextLength > 1<<24:
		return c, messages.Errorf(messages.CodeBadRequest, "llamacpp.new", "context length: %d is out of range", c.ContextLength)
	case c.Threads < 0 || c.Threads > 512: // ggml asserts on more
		return c, messages.Errorf(messages.CodeBadRequest, "llamacpp.new", "threads: must be between 1 and 512, is %d", c.Threads)
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

// threads leaves one physical core to everything else, and stays within what the system grants.
func (c Config) threads() int32 {
	if c.Threads > 0 {
		return int32(c.Threads)
	}
	return max(1, min(llama.Threads()-1, int32(runtime.GOMAXPROCS(0))))
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
