package gguf_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/gguf/gguftest"
)

// deaths are the cases that llama.cpp v0.5.0 answers by ending its process, by the key or tensor that our error
// has to name. The first part is of every model, the others of the one named.
var deaths = map[string]map[string]string{
	"all": {
		"block_count 0": ".block_count", "block_count 513": ".block_count", "block_count 1000000": ".block_count",
		"block_count 4294967295": ".block_count",
		"expert_count 1":         ".expert_used_count", "expert_count 2147483648": ".expert_count",
		"expert_used_count 5": ".expert_used_count", "1025 experts": ".expert_count",
		"more experts used than there are": ".expert_used_count",
		"more key heads than heads":        ".attention.head_count_kv",
		"no key heads at all":              ".attention.head_count_kv",
		"attention.key_length 0":           ".attention.key_length",
		"attention.key_length 31":          "31 values",
		"an unknown rope scaling":          ".rope.scaling.type", "an unknown pooling": ".pooling_type",
		"token_embd.weight of type 9": `"token_embd.weight" is Q8_1`, "token_embd.weight of type 26": "I32",
		"blk.0.attn_q.weight of type 25": "I16", "blk.0.attn_q.weight of type 28": "F64",
		"a token twice": "tokenizer.ggml.tokens", "a token with a zero byte": "tokenizer.ggml.tokens",
		"no tokenizer, by name": "no vocabulary", "the tokenizer of SentencePiece": "no <0x00>",
		"a huge token": "8388608 bytes",
	},
	bees.Tiny: {
		"key heads that do not divide the heads": "does not divide the 16 heads",
		"heads of one value":                     "even number", "values longer than keys": "32 values and its value 64",
		"attention.layer_norm_rms_epsilon -1": "epsilon is -1", "attention.layer_norm_rms_epsilon NaN": "epsilon is NaN",
		"no feed-forward at all":        "llama.feed_forward_length",
		"an embedding of whole numbers": "I16", "output.weight of type 15": "Q8_K",
		"output_norm.weight of type 30": `"output_norm.weight" is BF16`, "blk.0.attn_norm.weight of type 1": "F16",
	},
	bees.Qwen: {
		"odd rope dimensions": "qwen2.rope.dimension_count", "no rope dimensions": "qwen2.rope.dimension_count",
		"more rope dimensions than a head has": "length of a head's key", "blk.0.attn_q.bias of type 8": `"blk.0.attn_q.bias" is Q8_0`,
	},
	bees.Embed: {
		"attention.layer_norm_epsilon -1": "epsilon is -1", "blk.0.attn_q.bias of type 1": "F16",
	},
}

func TestOpenModelRefusesWhatKillsTheEngine(t *testing.T) {
	for _, name := range []string{bees.Tiny, bees.Qwen, bees.Embed} {
		wanted := map[string]string{}
		for _, part := range []string{"all", name} {
			for k, v := range deaths[part] {
				wanted[k] = v
			}
		}
		path := filepath.Join(t.TempDir(), "m.gguf")
		for what, spoil := range hostile(t, name) {
			want, ok := wanted[what]
			if !ok {
				continue
			}
			delete(wanted, what)
			if err := os.WriteFile(path, spoil(), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := gguf.OpenModel(path)
			if !errors.Is(err, gguf.ErrModel) && !errors.Is(err, gguf.ErrBounds) {
				t.Errorf("%s, %s: %v", name, what, err)
			} else if !strings.Contains(err.Error(), want) {
				t.Errorf("%s, %s: %v, want %q in it", name, what, err, want)
			}
		}
		for what := range wanted {
			t.Errorf("%s: there is no case %q", name, what)
		}
	}
}

func hostile(t *testing.T, name string) func(func(string, func() []byte) bool) {
	t.Helper()
	var good bytes.Buffer
	if err := bees.Write(&good, name); err != nil {
		t.Fatal(err)
	}
	cases, err := gguftest.Hostile(good.Bytes(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

func TestOpenModelTakesGoodModels(t *testing.T) {
	for _, name := range []string{
		bees.Tiny, bees.Endless, bees.Slow, bees.Random, bees.Qwen, bees.Large, bees.Embed, bees.Rerank,
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := bees.WriteFile(path, name); err != nil {
			t.Fatal(err)
		}
		if h, err := gguf.OpenModel(path); err != nil || h.Name != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A vocabulary that is too long to keep is checked all the same.
func TestOpenModelReadsLongVocabularies(t *testing.T) {
	for name, tc := range map[string]struct {
		token, want string
	}{
		"twice":   {"bbb", "the second time as token 4000"},
		"huge":    {strings.Repeat("a", 65_536), "65536 bytes"},
		"unnamed": {"[EMPTY_1]", "twice"},
		"good":    {"x", ""},
	} {
		tokens := make([]string, 4001)
		for i := range tokens {
			tokens[i] = strings.Repeat("b", i)
		}
		tokens[1], tokens[4000] = "", tc.token // llama.cpp calls token 1 [EMPTY_1]
		w := &gguf.Writer{}
		w.Set("tokenizer.ggml.tokens", tokens)
		path := filepath.Join(t.TempDir(), "m.gguf")
		var file bytes.Buffer
		if _, err := w.WriteTo(&file); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := gguf.OpenModel(path)
		if tc.want == "" && err == nil {
			continue
		}
		if !errors.Is(err, gguf.ErrModel) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckModelLeavesOthersAlone(t *testing.T) {
	w := &gguf.Writer{}
	w.Set("general.architecture", "deepseek2")
	w.Set("deepseek2.block_count", uint32(2))
	w.Set("deepseek2.embedding_length", uint32(64))
	w.Set("deepseek2.attention.head_count", []int32{4, 4})
	w.Set("deepseek2.attention.head_count_kv", []int32{0, 2})
	w.Set("deepseek2.attention.key_length", uint32(48))
	w.Set("deepseek2.attention.value_length", uint32(32))
	var file bytes.Buffer
	if _, err := w.WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	h, err := gguf.ReadHeader(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if err := gguf.CheckModel(h); err != nil {
		t.Error(err)
	}
}
