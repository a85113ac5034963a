package messages

import (
	"slices"
	"strconv"
	"strings"
)

// EngineOptions change how an engine runs a model. The zero value leaves it to the engine. Files are
// paths on the hive's machine.
type EngineOptions struct {
	// Name is the engine; empty: llama-cpp, in its best installed build.
	Name string `msgpack:"name,omitempty" json:"name,omitempty"`
	// Threads of CPU work; 0: physical cores minus one.
	Threads int `msgpack:"threads,omitempty" json:"threads,omitempty"`
	// GPULayers is how many layers a GPU computes: a number, or "auto", which is also empty: as many as
	// fit.
	GPULayers string `msgpack:"gpu_layers,omitempty" json:"gpu_layers,omitempty"`
	// ContextShift has an answer go on when its slot is full, without the oldest tokens.
	ContextShift bool `msgpack:"context_shift,omitempty" json:"context_shift,omitempty"`
	// CacheMiB is the memory for chats that lost their slot; 0: 1024, -1: none.
	CacheMiB int `msgpack:"cache_mib,omitempty" json:"cache_mib,omitempty"`
	// ChatTemplate is a file with a Jinja template, instead of the model's own.
	ChatTemplate string `msgpack:"chat_template,omitempty" json:"chat_template,omitempty"`
	// LoRA are adapters, each FILE or FILE=SCALE.
	LoRA []string `msgpack:"lora,omitempty" json:"lora,omitempty"`
	// Pooling of embeddings: mean, cls, last or rank; empty: as the model says.
	Pooling string `msgpack:"pooling,omitempty" json:"pooling,omitempty"`
}

// check says what is wrong with the options.
func (o *EngineOptions) check() error {
	if len(o.Name) > 64 {
		return Errorf(CodeBadRequest, OpSpawn, "the engine %.64q is not known", o.Name)
	}
	if o.Threads < 0 || o.Threads > 512 {
		return Errorf(CodeBadRequest, OpSpawn, "threads %d is not in 1 to 512", o.Threads)
	}
	if n, err := strconv.Atoi(o.GPULayers); o.GPULayers != "" && o.GPULayers != "auto" && (err != nil || n < 0 || n > 10_000) {
		return Errorf(CodeBadRequest, OpSpawn, "gpu layers %.32q is not auto or a number", o.GPULayers)
	}
	if o.CacheMiB < -1 || o.CacheMiB > 1<<24 {
		return Errorf(CodeBadRequest, OpSpawn, "cache of %d MiB is out of range", o.CacheMiB)
	}
	if o.Pooling != "" && !slices.Contains([]string{"mean", "cls", "last", "rank"}, o.Pooling) {
		return Errorf(CodeBadRequest, OpSpawn, "pooling %.32q is not mean, cls, last or rank", o.Pooling)
	}
	if len(o.LoRA) > 16 {
		return Errorf(CodeBadRequest, OpSpawn, "%d LoRA adapters are more than 16", len(o.LoRA))
	}
	if slices.Contains(o.LoRA, "") {
		return Errorf(CodeBadRequest, OpSpawn, "a LoRA adapter has no path")
	}
	for _, f := range append([]string{o.ChatTemplate}, o.LoRA...) {
		if len(f) > 4096 || strings.IndexByte(f, 0) >= 0 {
			return Errorf(CodeBadRequest, OpSpawn, "the path %.64q is not usable", f)
		}
	}
	return nil
}
