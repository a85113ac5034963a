package llamacpp

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/engine"
)

// oneObject makes a request for one of the tasks that are answered by one object.
func oneObject(name string, body map[string]any) engine.Request {
	raw, _ := json.Marshal(body) // maps of plain values
	return engine.Request{ID: "r", Model: "m", Task: name, Body: raw}
}

// whole is the one object that answers a request, and the usage.
func whole(t testing.TB, e *Engine, req engine.Request) (o []byte, u engine.Usage) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	u, err := e.Infer(ctx, req, func(raw []byte) error {
		if o != nil {
			t.Errorf("another object: %.200s", raw)
		}
		o = slices.Clone(raw)
		return nil
	})
	if err != nil || o == nil {
		t.Fatalf("%.300s: %v", req.Body, err)
	}
	return o, u
}

// fails runs a request that must be refused with a message that has says.
func fails(t testing.TB, e *Engine, req engine.Request, code messages.Code, says string) {
	t.Helper()
	_, err := e.Infer(t.Context(), req, func(raw []byte) error {
		t.Errorf("%.100s is answered: %.200s", req.Body, raw)
		return nil
	})
	if messages.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("%.100s: %v, want %s with %q", req.Body, err, code, says)
	}
}

// embedded is the vectors that a request is answered with. Their order, their lengths and the counts
// are checked.
func embedded(t testing.TB, e *Engine, input any, fields ...any) (vectors [][]float32, tokens int) {
	t.Helper()
	raw, u := whole(t, e, oneObject(messages.TaskEmbedding, with(map[string]any{"input": input}, fields...)))
	var o struct {
		Object, Model string
		Data          []struct {
			Object    string
			Index     int
			Embedding json.RawMessage
		}
		Usage struct{ Prompt_tokens, Total_tokens int }
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Fatal(err)
	}
	if o.Object != "list" || o.Model != "m" || o.Usage.Prompt_tokens != u.PromptTokens || o.Usage.Total_tokens != u.PromptTokens || u.CompletionTokens != 0 {
		t.Errorf("%+v, %+v", o.Usage, u)
	}
	for i, d := range o.Data {
		var v []float32
		var packed []byte // encoding/json reads base64 into it
		if d.Embedding[0] == '"' {
			var s string
			_ = json.Unmarshal(d.Embedding, &s)
			packed, _ = base64.StdEncoding.DecodeString(s)
			for ; len(packed) >= 4; packed = packed[4:] {
				v = append(v, math.Float32frombits(binary.LittleEndian.Uint32(packed)))
			}
		} else if err := json.Unmarshal(d.Embedding, &v); err != nil {
			t.Fatal(err)
		}
		if n := dot(v, v); d.Index != i || d.Object != "embedding" || math.Abs(n-1) > 1e-5 {
			t.Errorf("%d: index %d, %s, length %g", i, d.Index, d.Object, math.Sqrt(n))
		}
		vectors = append(vectors, v)
	}
	return vectors, u.PromptTokens
}

func dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// apart is the largest difference between two vectors' values.
func apart(a, b []float32) (most float64) {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	for i := range a {
		most = max(most, math.Abs(float64(a[i])-float64(b[i])))
	}
	return most
}

// words makes n texts that all differ, of one to fifty words.
func words(n int) []string {
	all := strings.Fields(bees.Sentence)
	out := make([]string, n)
	for i := range out {
		for k := range 1 + i*37%50 {
			out[i] += all[(i*7+k*(i%5+1))%len(all)] + " "
		}
		out[i] += fmt.Sprint(i)
	}
	return out
}

// byToken is a text's vector as llama.cpp makes it of each token, put together here.
func byToken(t *testing.T, e *Engine, tokens []llama.Token, how string) []float32 {
	t.Helper()
	m, size := e.session.model, int(llama.ModelNEmbdOut(e.session.model))
	p := contextParams(e.cfg, len(tokens), e.session.allF32)
	p.NCtx, p.NSeqMax, p.NBatch, p.NUbatch, p.NOutputsMax = 512, 1, 512, 512, 0
	p.Embeddings, p.PoolingType = 1, llama.PoolingTypeNone
	ctx, err := llama.InitFromModel(m, p)
	if err != nil {
		t.Fatal(err)
	}
	defer llama.Free(ctx)
	b := llama.BatchInit(int32(len(tokens)), 0, 1)
	defer llama.BatchFree(b)
	for i, x := range tokens {
		if err := b.Add(x, llama.Pos(i), []llama.SeqId{0}, true); err != nil {
			t.Fatal(err)
		}
	}
	run := llama.Decode
	if e.session.ctx == 0 {
		run = llama.Encode
	}
	if code, err := run(ctx, b); err != nil || code != 0 {
		t.Fatal(code, err)
	}
	all, err := llama.GetEmbeddings(ctx, len(tokens), size)
	if err != nil || all == nil {
		t.Fatal(err)
	}
	out := make([]float32, size)
	switch how {
	case "cls":
		copy(out, all)
	case "last":
		copy(out, all[len(all)-size:])
	default:
		for i, v := range all {
			out[i%size] += v / float32(len(tokens))
		}
	}
	n := math.Sqrt(dot(out, out))
	for i := range out {
		out[i] = float32(float64(out[i]) / n)
	}
	return out
}

// A text's vector is made of its tokens' as the model, or the flag, says; so also of a model that chats.
func TestPooling(t *testing.T) {
	const input = "The queen sends each job to a hive"
	for _, tc := range []struct{ model, pooling, how string }{
		{bees.Embed, "", "mean"}, {bees.Embed, "mean", "mean"}, {bees.Embed, "cls", "cls"}, {bees.Embed, "last", "last"},
		{bees.Random, "", "mean"}, {bees.Qwen, "last", "last"},
	} {
		t.Run(tc.model+" "+tc.pooling, func(t *testing.T) {
			e := loaded(t, Config{ModelPath: bee(t, tc.model), Pooling: tc.pooling, ContextLength: 512})
			got, n := embedded(t, e, input)
			tokens := e.session.vocab.of(t, input, true, true)
			for _, how := range []string{"mean", "cls", "last"} {
				d := apart(got[0], byToken(t, e, tokens, how))
				if (d < 1e-5) != (how == tc.how) {
					t.Errorf("%g from %s", d, how)
				}
			}
			if n != len(tokens) {
				t.Errorf("%d tokens, want %d", n, len(tokens))
			}
		})
	}
}

// The vectors of a batch are those of its texts alone, in order, however they are given.
func TestVectorsTogetherAsAlone(t *testing.T) {
	for _, model := range []string{bees.Embed, bees.Random, bees.Qwen} {
		t.Run(model, func(t *testing.T) {
			e := loaded(t, Config{ModelPath: bee(t, model), ContextLength: 512})
			texts := words(24)
			got, n := embedded(t, e, texts)
			lists, alone := make([][]llama.Token, len(texts)), 0
			for i, x := range texts {
				one, tokens := embedded(t, e, x)
				if d := apart(one[0], got[i]); d > 1e-5 {
					t.Errorf("text %d: %g apart", i, d)
				}
				if i > 0 && apart(got[i], got[i-1]) < 1e-3 {
					t.Errorf("texts %d and %d are alike", i-1, i)
				}
				alone += tokens
				lists[i] = e.session.vocab.of(t, x, true, true)
			}
			if n != alone {
				t.Errorf("%d tokens, alone %d", n, alone)
			}
			same := func(what string, vectors [][]float32, want [][]float32) {
				t.Helper()
				for i, v := range want {
					if d := apart(vectors[i], v); d > 1e-5 {
						t.Errorf("%s, text %d: %g apart", what, i, d)
					}
				}
			}
			byTokens, _ := embedded(t, e, lists)
			same("lists of tokens", byTokens, got)
			one, _ := embedded(t, e, lists[3])
			same("tokens", one, got[3:4])
			bytes, _ := embedded(t, e, texts, "encoding_format", "base64")
			same("base64", bytes, got)
			cut, _ := embedded(t, e, texts[:3], "dimensions", 32)
			for i, v := range cut {
				if scale := math.Sqrt(dot(got[i][:32], got[i][:32])); len(v) != 32 || math.Abs(float64(v[0])*scale-float64(got[i][0])) > 1e-5 {
					t.Errorf("%d values, the first %g of %g", len(v), v[0], got[i][0])
				}
			}
			isFree(t, e)
		})
	}
}

// Texts that share words are near each other.
func TestVectorsMeanSomething(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Embed)})
	v, _ := embedded(t, e, []string{"the queen sends each job", "each job the queen sends", "10% of 2048: {x}"})
	if near, far := dot(v[0], v[1]), dot(v[0], v[2]); near < far+0.2 {
		t.Errorf("%g and %g", near, far)
	}
}

func TestEmbeddingsRefused(t *testing.T) {
	e := loaded(t, Config{ModelPath: bee(t, bees.Embed), Slots: 1})
	long := make([]int, 513)
	for name, tc := range map[string]struct {
		input any
		more  []any
		code  messages.Code
		says  string
	}{
		"empty":               {"", nil, messages.CodeBadRequest, "input[0]: must not be empty"},
		"one token too many":  {long, nil, messages.CodeContextFull, "input[0]: has 513 tokens, this model takes between 1 and 512"},
		"a long text":         {[]string{"a", strings.Repeat("1 ", 600)}, nil, messages.CodeContextFull, "input[1]: has "},
		"a very long text":    {strings.Repeat("queen ", 1<<20), nil, messages.CodeContextFull, "input[0]: has at least "},
		"no token":            {[]int{1, 512}, nil, messages.CodeBadRequest, "input[0][1]: 512 is no token of this model, which has 512"},
		"negative token":      {[][]int{{1}, {-1}}, nil, messages.CodeBadRequest, "input[1][0]: -1 is no token"},
		"too many dimensions": {"a", []any{"dimensions", 129}, messages.CodeBadRequest, "dimensions: this model's vectors have 128, not 129"},
		"too many inputs":     {make([]string, 2049), nil, messages.CodeBadRequest, "input: must be between 1 and 2048"},
	} {
		t.Run(name, func(t *testing.T) {
			fails(t, e, oneObject(messages.TaskEmbedding, with(map[string]any{"input": tc.input}, tc.more...)), tc.code, tc.says)
			isFree(t, e)
		})
	}
	fails(t, e, chat("hi", nil), messages.CodeBadRequest, "this model makes embeddings and does not generate text")
	fails(t, e, text("hi", nil), messages.CodeBadRequest, "this model makes embeddings and does not generate text")
	isFree(t, e)
	if v, n := embedded(t, e, long[:512], "dimensions", 128); n != 512 || len(v[0]) != 128 {
		t.Errorf("%d tokens, %d values", n, len(v[0]))
	}
	if v, _ := embedded(t, e, strings.Split(strings.Repeat("queen,", 2047)+"job", ",")); len(v) != 2048 {
		t.Errorf("%d vectors", len(v))
	}
}

func TestCapabilities(t *testing.T) {
	for model, want := range map[string]string{
		bees.Tiny: "chat completion json_schema embedding tokenize", bees.Qwen: "chat completion json_schema embedding tokenize",
		bees.Embed: "embedding tokenize", bees.Rerank: "rerank tokenize",
	} {
		m := loaded(t, Config{ModelPath: bee(t, model)}).Info().Models[0]
		if got := strings.Join(m.Capabilities, " "); got != want {
			t.Errorf("%s: %s, want %s", model, got, want)
		}
		if want := map[bool]int{true: 512, false: 4096}[strings.HasPrefix(want, "embedding") || strings.HasPrefix(want, "rerank")]; m.ContextLength != want {
			t.Errorf("%s: %d tokens, want %d", model, m.ContextLength, want)
		}
	}
}

// A step has several texts, but not for longer than a chat may wait.
func TestVectorStepsAreShort(t *testing.T) {
	lengths := func(n ...int) (out [][]llama.Token) {
		for _, x := range n {
			out = append(out, make([]llama.Token, x))
		}
		return out
	}
	ten := lengths(slices.Repeat([]int{10}, 40)...)
	for name, tc := range map[string]struct {
		perToken time.Duration
		texts    [][]llama.Token
		want     int
	}{
		"at first":          {0, ten, firstChunk / 10},
		"fast":              {time.Nanosecond, ten, vectorTexts},
		"slow":              {2 * time.Millisecond, ten, int(mixedStep/(2*time.Millisecond)) / 10},
		"very slow":         {time.Second, ten, leastChunk / 10},
		"one that is long":  {time.Second, lengths(1000, 1), 1},
		"fast, and long":    {time.Nanosecond, lengths(300, 200, 100), 2},
		"as long as can be": {time.Second, lengths(1024, 1), 1},
		"too long":          {0, lengths(1025), 0},
		"the next too long": {0, lengths(1, 1025), 1},
		"none":              {0, nil, 0},
	} {
		v := &vectors{tokens: 1024, pace: pace{perToken: tc.perToken}}
		if got := v.fit(tc.texts); got != tc.want {
			t.Errorf("%s: %d texts, want %d", name, got, tc.want)
		}
	}
}
