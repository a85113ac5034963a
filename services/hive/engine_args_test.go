package hive

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/engines"
)

// Each option becomes the worker's flag, and no flag where nothing is said. A value stands behind an
// equals sign: it may begin with a dash.
func TestEngineArgs(t *testing.T) {
	for name, tc := range map[string]struct {
		o    messages.EngineOptions
		want string
	}{
		"nothing":    {messages.EngineOptions{}, ""},
		"the engine": {messages.EngineOptions{Name: "llama-cpp-b9"}, ""}, // it is the folder of --lib
		"threads":    {messages.EngineOptions{Threads: 3}, "--threads=3"},
		"gpu layers": {messages.EngineOptions{GPULayers: "0"}, "--gpu-layers=0"},
		"cache":      {messages.EngineOptions{CacheMiB: 7}, "--cache-ram=7"},
		"no cache":   {messages.EngineOptions{CacheMiB: -1}, "--cache-ram=0"},
		"template":   {messages.EngineOptions{ChatTemplate: "-t"}, "--chat-template=-t"},
		"pooling":    {messages.EngineOptions{Pooling: "cls"}, "--pooling=cls"},
		"shift":      {messages.EngineOptions{ContextShift: true}, "--context-shift"},
		"adapters":   {messages.EngineOptions{LoRA: []string{"-a", "b c=0.5"}}, "--lora=-a|--lora=b c=0.5"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(engineArgs(tc.o), "|"); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
	fields := reflect.TypeFor[messages.EngineOptions]()
	if fields.NumField() != 8 {
		t.Errorf("there are %d options: is one not tried?", fields.NumField())
	}
}

// bee-endless ends by its context alone unless that shifts, and the flag is given once.
func TestEndlessShifts(t *testing.T) {
	h := &Hive{}
	for model, n := range map[string]int{"builtin:bee-endless": 1, "builtin:bee-tiny": 0} {
		for _, asked := range []bool{false, true} {
			r := &messages.SpawnRequest{ID: "w1", Engine: messages.EngineOptions{ContextShift: asked}}
			args := h.args(&engines.Installed{}, &messages.Model{ID: model}, "", 1, r)
			got := len(slices.DeleteFunc(args, func(a string) bool { return a != "--context-shift" }))
			if want := max(n, map[bool]int{true: 1}[asked]); got != want {
				t.Errorf("%s, asked %v: --context-shift %d times", model, asked, got)
			}
		}
	}
}
