package messages

import (
	"reflect"
	"strings"
	"testing"
)

// spawnWith is a request that is fine but for its options.
func spawnWith(o EngineOptions) *SpawnRequest {
	return &SpawnRequest{Job: "j1", Model: "builtin:bee-tiny", Engine: o}
}

func TestEngineOptionsCheck(t *testing.T) {
	long := strings.Repeat("x", 4096)
	for name, tc := range map[string]struct {
		o    EngineOptions
		says string // "": fine
	}{
		"nothing": {}, "threads": {EngineOptions{Threads: 512}, ""}, "auto": {EngineOptions{GPULayers: "auto"}, ""}, "no layer": {EngineOptions{GPULayers: "0"}, ""},
		"all layers": {EngineOptions{GPULayers: "10000"}, ""}, "no cache": {EngineOptions{CacheMiB: -1}, ""}, "much cache": {EngineOptions{CacheMiB: 1 << 24}, ""},
		"mean": {EngineOptions{Pooling: "mean"}, ""}, "cls": {EngineOptions{Pooling: "cls"}, ""}, "last": {EngineOptions{Pooling: "last"}, ""}, "rank": {EngineOptions{Pooling: "rank"}, ""},
		"an adapter": {EngineOptions{LoRA: []string{"a.gguf=0.5"}}, ""}, "long paths": {EngineOptions{ChatTemplate: long, LoRA: []string{long}}, ""},
		"sixteen adapters": {EngineOptions{LoRA: strings.Split(strings.Repeat("a,", 15)+"a", ",")}, ""}, "an engine": {EngineOptions{Name: "llama-cpp-b1"}, ""},

		"long engine":       {EngineOptions{Name: strings.Repeat("x", 65)}, "the engine"},
		"negative threads":  {EngineOptions{Threads: -1}, "threads -1 is not in 1 to 512"},
		"too many threads":  {EngineOptions{Threads: 513}, "threads 513"},
		"layers in words":   {EngineOptions{GPULayers: "all"}, `gpu layers "all" is not auto or a number`},
		"negative layers":   {EngineOptions{GPULayers: "-1"}, "gpu layers"},
		"too many layers":   {EngineOptions{GPULayers: "10001"}, "gpu layers"},
		"less than none":    {EngineOptions{CacheMiB: -2}, "cache of -2 MiB is out of range"},
		"too much cache":    {EngineOptions{CacheMiB: 1<<24 + 1}, "cache of 16777217 MiB"},
		"another pooling":   {EngineOptions{Pooling: "Mean"}, `pooling "Mean" is not mean, cls, last or rank`},
		"too many adapters": {EngineOptions{LoRA: make([]string, 17)}, "17 LoRA adapters are more than 16"},
		"long template":     {EngineOptions{ChatTemplate: long + "x"}, "the path"},
		"long adapter":      {EngineOptions{LoRA: []string{"a", long + "x"}}, "the path"},
		"NUL in a template": {EngineOptions{ChatTemplate: "a\x00b"}, "the path"},
		"NUL in an adapter": {EngineOptions{LoRA: []string{"a", "a\x00b"}}, "the path"},
		"an empty adapter":  {EngineOptions{LoRA: []string{"a", ""}}, "a LoRA adapter has no path"},
	} {
		t.Run(name, func(t *testing.T) {
			err := spawnWith(tc.o).Check()
			if tc.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if CodeOf(err) != CodeBadRequest || !strings.Contains(err.Error(), tc.says) || len(err.Error()) > 300 {
				t.Errorf("%v", err)
			}
		})
	}
}

// Options come over the bus as they went in, and are left out where nothing is said.
func TestEngineOptionsTravel(t *testing.T) {
	all := EngineOptions{Name: "n", Threads: 2, GPULayers: "3", ContextShift: true, CacheMiB: -1, ChatTemplate: "/t", LoRA: []string{"/a", "/b=2"}, Pooling: "cls"}
	for v, i := reflect.ValueOf(all), 0; i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Fatalf("%s is not tried", v.Type().Field(i).Name)
		}
	}
	for _, o := range []EngineOptions{{}, all} {
		for _, f := range []Format{JSON, Msgpack} {
			data, err := Encode(f, spawnWith(o))
			if err != nil {
				t.Fatal(err)
			}
			var got SpawnRequest
			if err := Decode(data, &got); err != nil || !reflect.DeepEqual(got.Engine, o) {
				t.Errorf("%+v, want %+v, %v", got.Engine, o, err)
			}
			if f == JSON && strings.Contains(string(data), "engine") != (o.Name != "") {
				t.Errorf("%s", data)
			}
		}
	}
}

func TestInferRequestCheck(t *testing.T) {
	for _, task := range append([]string{""}, Tasks...) {
		for _, stream := range []bool{false, true} {
			r := InferRequest{ID: "r", Model: "m", Task: task, Stream: stream, Body: []byte(`{}`)}
			err := r.Check()
			if want := !stream || task == "" || task == TaskChat || task == TaskCompletion; (err == nil) != want {
				t.Errorf("task %q, stream %v: %v", task, stream, err)
			}
			if err != nil && (CodeOf(err) != CodeBadRequest || !strings.Contains(err.Error(), "stream: the answer of task "+task+" is one object")) {
				t.Error(err)
			}
			if task == "" && r.Task != TaskChat {
				t.Errorf("no task is %q", r.Task)
			}
		}
	}
	r := InferRequest{ID: "r", Model: "m", Task: "embeddings", Body: []byte(`{}`)}
	if err := r.Check(); CodeOf(err) != CodeBadRequest || !strings.Contains(err.Error(), `unknown task "embeddings" (chat, completion, embedding, rerank, tokenize, detokenize)`) {
		t.Error(err)
	}
}
