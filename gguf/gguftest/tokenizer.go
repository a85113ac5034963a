package gguftest

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

const (
	keyTokens     = "tokenizer.ggml.tokens"
	keyKinds      = "tokenizer.ggml.token_type"
	keyMerges     = "tokenizer.ggml.merges"
	keyModel      = "tokenizer.ggml.model"
	keyMap        = "tokenizer.ggml.precompiled_charsmap"
	keyTemplate   = "tokenizer.chat_template"
	tokens        = 512 // of the good model
	kindNormal    = 1
	kindControl   = 3
	hugeText      = 8 << 20
	templateDepth = 100_000
)

// tokenizerChanges are wrong vocabularies and chat templates.
func tokenizerChanges() []change {
	changes := append(vocabularyChanges(), templateChanges()...)
	for _, name := range []string{"bos", "eos", "unknown", "padding", "eot", "fim_pre"} {
		for _, id := range []uint32{tokens, 1 << 31, math.MaxUint32} {
			changes = append(changes, change{fmt.Sprintf("%s token %d", name, id), func(f *file) {
				f.setUint("tokenizer.ggml."+name+"_token_id", id)
			}})
		}
	}
	return changes
}

func vocabularyChanges() []change {
	kinds := func(n int, kind uint32) func(*file) {
		return func(f *file) {
			values := make([]uint32, n)
			for i := range values {
				values[i] = kind
			}
			f.setInts(keyKinds, typeInt32, values)
		}
	}
	words := func(edit func(words []string) []string) func(*file) {
		return func(f *file) { f.setTexts(keyTokens, edit(f.texts(keyTokens))) }
	}
	merges := func(list ...string) func(*file) {
		return func(f *file) { f.setTexts(keyMerges, list) }
	}
	scores := func(n int) func(*file) {
		return func(f *file) { f.setInts("tokenizer.ggml.scores", typeFloat32, make([]uint32, n)) }
	}
	model := func(name string) func(*file) { return func(f *file) { f.setText(keyModel, name) } }
	return []change{
		{"no tokenizer", func(f *file) { f.drop(keyModel) }},
		{"an unknown tokenizer", model("bees")},
		{"no tokenizer, by name", model("no_vocab")},
		{"the tokenizer of SentencePiece", model("llama")},
		{"the tokenizer of BERT", model("bert")},
		{"the tokenizer of T5", model("t5")},
		{"the tokenizer of T5 with a broken map", func(f *file) {
			f.setText(keyModel, "t5")
			f.setBytes(keyMap, []byte{0, 0, 0, 1, 9, 9, 9, 9, 255, 255, 255, 255})
		}},
		{"the tokenizer of T5 with a wild map", func(f *file) {
			f.setText(keyModel, "t5")
			b := []byte{0, 4, 0, 0}
			for i := range 1500 {
				b = append(b, byte(i*2654435761>>13))
			}
			f.setBytes(keyMap, b)
		}},
		{"the tokenizer of RWKV", model("rwkv")},
		{"bos asked for by a text", func(f *file) { f.setText("tokenizer.ggml.add_bos_token", "yes") }},
		{"the tokenizer of PLaMo", model("plamo2")},
		{"an unknown way to cut words", func(f *file) { f.setText("tokenizer.ggml.pre", "bees") }},
		{"no tokens", func(f *file) { f.drop(keyTokens) }},
		{"zero tokens", words(func([]string) []string { return nil })},
		{"one token", words(func(w []string) []string { return w[:1] })},
		{"a token too few", words(func(w []string) []string { return w[:len(w)-1] })},
		{"a token too many", words(func(w []string) []string { return append(w, "more") })},
		{"a token twice", words(func(w []string) []string { w[300] = w[301]; return w })},
		{"an empty token", words(func(w []string) []string { w[300] = ""; return w })},
		{"two empty tokens", words(func(w []string) []string { w[300], w[301] = "", ""; return w })},
		{"all tokens empty", words(func(w []string) []string { return make([]string, len(w)) })},
		{"a token of bad UTF-8", words(func(w []string) []string { w[300] = "\xff\xfe\x80"; return w })},
		{"a token with a zero byte", words(func(w []string) []string { w[300] = "a\x00b"; return w })},
		{"a token outside the alphabet", words(func(w []string) []string { w[300] = "\U0001F41D \n"; return w })},
		{"a huge token", words(func(w []string) []string { w[300] = strings.Repeat("x", hugeText); return w })},
		{"no byte tokens", words(func(w []string) []string {
			for i := 4; i < 260; i++ {
				w[i] = fmt.Sprint("word", i)
			}
			return w
		})},
		{"tokens that are numbers", func(f *file) { f.setInts(keyTokens, typeUint32, make([]uint32, tokens)) }},
		{"tokens that are one text", func(f *file) { f.setText(keyTokens, "all") }},
		{"no token types", func(f *file) { f.drop(keyKinds) }},
		{"too few token types", kinds(tokens-1, kindNormal)},
		{"zero token types", kinds(0, kindNormal)},
		{"too many token types", kinds(tokens+1, kindNormal)},
		{"unknown token types", kinds(tokens, 77)},
		{"all tokens control", kinds(tokens, kindControl)},
		{"all tokens bytes", kinds(tokens, 6)},
		{"token types of 8 bits", func(f *file) {
			binary.LittleEndian.PutUint32(f.find(keyKinds).value, 0)
			f.find(keyKinds).value = f.find(keyKinds).value[:12+tokens]
		}},
		{"token types as texts", func(f *file) { f.setTexts(keyKinds, make([]string, tokens)) }},
		{"too few scores", scores(tokens - 1)},
		{"zero scores", scores(0)},
		{"scores as whole numbers of 8 bits", func(f *file) {
			scores(tokens)(f)
			k := f.find("tokenizer.ggml.scores")
			binary.LittleEndian.PutUint32(k.value, 0)
			k.value = k.value[:12+tokens]
		}},
		{"no merges", func(f *file) { f.drop(keyMerges) }},
		{"zero merges", merges()},
		{"a merge of one word", merges("alone")},
		{"a merge of nothing", merges("", " ", "  ")},
		{"a merge of unknown words", merges("no such", "words here")},
		{"merges that are numbers", func(f *file) { f.setInts(keyMerges, typeUint32, make([]uint32, 5)) }},
	}
}

func templateChanges() []change {
	template := func(text string) func(*file) { return func(f *file) { f.setText(keyTemplate, text) } }
	return []change{
		{"no template", func(f *file) { f.drop(keyTemplate) }},
		{"an empty template", template("")},
		{"a template that is a number", func(f *file) { f.setUint(keyTemplate, 7) }},
		{"a huge template", template(strings.Repeat("{{ messages }}", hugeText/14))},
		{"an endless template", template("{% for a in range(1000000000) %}{% for b in range(1000000000) %}x{% endfor %}{% endfor %}")},
		{"a template that grows", template("{% set x = 'aaaaaaaa' %}" + strings.Repeat("{% set x = x + x %}", 60) + "{{ x }}")},
		{"a deep template", template(strings.Repeat("{% if true %}", templateDepth))},
		{"deep brackets in a template", template("{{ " + strings.Repeat("(", templateDepth) + " }}")},
		{"a broken template", template("{% for m in messages %}{{ m.content")},
		{"a template of bad UTF-8", template("\xff\xfe{{ messages }}\x80")},
		{"a template with a zero byte", template("{{ messages }}\x00{{ messages }}")},
		{"a template that reaches into the host", template("{{ ''.__class__.__mro__[1].__subclasses__() }}{% include '/etc/passwd' %}")},
	}
}
