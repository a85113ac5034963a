package cli

import (
	"path/filepath"

	"github.com/rbee-project/rbee/messages"
)

// engineFlags are how the worker's engine runs the model. Files are on the worker's machine.
type engineFlags struct {
	Engine       string   `help:"Engine: llama-cpp, in its best installed build, or a build's own name." default:"llama-cpp"`
	Threads      int      `help:"CPU threads; 0: physical cores minus one." default:"0"`
	GPULayers    string   `help:"Layers that a GPU computes: a number, or auto for as many as fit." name:"gpu-layers" default:"auto"`
	ContextShift bool     `help:"Drop the oldest tokens when a slot is full, and go on."`
	CacheRAM     int      `help:"MiB of memory for chats that lost their slot; -1: none." name:"cache-ram" default:"1024"`
	ChatTemplate string   `help:"File with a Jinja chat template, instead of the model's own." placeholder:"FILE"`
	Lora         []string `help:"LoRA adapter, a GGUF file; FILE=SCALE for another strength than 1. May be given several times." sep:"none" placeholder:"FILE"`
	Pooling      string   `help:"How embeddings are made: mean, cls, last, or rank for scores. Default: as the model says."`
}

// options are the flags as they go to the hive: what is the default is left out.
func (f engineFlags) options() messages.EngineOptions {
	o := messages.EngineOptions{Threads: f.Threads, ContextShift: f.ContextShift, ChatTemplate: f.ChatTemplate, LoRA: f.Lora, Pooling: f.Pooling}
	if f.Engine != "llama-cpp" {
		o.Name = f.Engine
	}
	if f.GPULayers != "auto" {
		o.GPULayers = f.GPULayers
	}
	if f.CacheRAM != 1024 {
		if o.CacheMiB = f.CacheRAM; f.CacheRAM == 0 {
			o.CacheMiB = -1
		}
	}
	return o
}

// onThisMachine makes the files' paths absolute: the worker has another working directory.
func (f *engineFlags) onThisMachine() error {
	files := make([]*string, 0, len(f.Lora)+1)
	if f.ChatTemplate != "" {
		files = append(files, &f.ChatTemplate)
	}
	for i := range f.Lora {
		files = append(files, &f.Lora[i]) // a scale behind the name does no harm
	}
	for _, p := range files {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	return nil
}
