package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/rbee-project/rbee/messages"
)

// parsed are the flags as a command line gives them.
func parsed(t *testing.T, args ...string) engineFlags {
	t.Helper()
	var f engineFlags
	p, err := kong.New(&f)
	if err == nil {
		_, err = p.Parse(args)
	}
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return f
}

func TestEngineFlags(t *testing.T) {
	for line, want := range map[string]messages.EngineOptions{
		"": {},
		"--engine llama-cpp --threads 0 --gpu-layers auto --cache-ram 1024": {},
		"--engine llama-cpp-b9":                      {Name: "llama-cpp-b9"},
		"--threads 3 --gpu-layers 0 --context-shift": {Threads: 3, GPULayers: "0", ContextShift: true},
		"--cache-ram 7":                              {CacheMiB: 7},
		"--cache-ram=-1":                             {CacheMiB: -1},
		"--cache-ram 0":                              {CacheMiB: -1},
		"--cache-ram=-5":                             {CacheMiB: -5}, // which Check refuses
		"--chat-template a.jinja --pooling cls --lora a,b.gguf=0.5 --lora c.gguf=x=-1": {ChatTemplate: "a.jinja", Pooling: "cls", LoRA: []string{"a,b.gguf=0.5", "c.gguf=x=-1"}},
	} {
		if got := parsed(t, strings.Fields(line)...).options(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", line, got, want)
		}
	}
}

// Files are found from where the command runs; what is no file stays as it is.
func TestEngineFilesOnThisMachine(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	f := parsed(t, "--chat-template", "../a.jinja", "--lora", "b.gguf=0.5", "--lora", "/c.gguf")
	if err := f.onThisMachine(); err != nil {
		t.Fatal(err)
	}
	want := messages.EngineOptions{ChatTemplate: filepath.Join(filepath.Dir(dir), "a.jinja"), LoRA: []string{filepath.Join(dir, "b.gguf=0.5"), "/c.gguf"}}
	if got := f.options(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	none := parsed(t)
	if err := none.onThisMachine(); err != nil || !reflect.DeepEqual(none.options(), messages.EngineOptions{}) {
		t.Errorf("%+v, %v", none.options(), err)
	}
}
