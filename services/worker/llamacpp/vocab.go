package llamacpp

import (
	"context"
	"sync"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/services/worker/grammar"
)

// vocabulary is what the decode loop and the prompt builder need to know of the model's tokens. It
// is read once, because each question to llama.cpp costs several allocations.
type vocabulary struct {
	handle llama.Vocab
	// pieces[t] is token t's text. A special token has none.
	pieces []string
	// ends[t] says that token t ends an answer.
	ends []bool
	// control[t] says that token t is one that a user's text must not be able to make.
	control []bool
	// controls are the texts of control tokens, and controlStart has their first bytes.
	controls     []string
	controlStart [256]bool
	// bpe says that text is split into words before it is cut up: in pieces the tokens are the same.
	bpe bool
	// longest is the most bytes that one token can stand for; 0 where a tokenizer may drop text.
	longest          int
	bos, eos, sep    llama.Token // llama.TokenNull if there is none
	addsBOS, addsEOS bool        // to every prompt
	addsSep          bool
	template         string // the model's chat template; may be empty
	rerank           string // the model's template of that name, with {query} and {document}; may be empty
	// special has the texts of the tokens that pieces has nothing for.
	special map[llama.Token]string
	// marks has those of special that are part of how a model calls functions.
	marks map[llama.Token]string

	trieOnce sync.Once
	trieOf   *grammar.Vocabulary
}

func readVocabulary(m llama.Model) *vocabulary {
	h := llama.ModelGetVocab(m)
	n := int(llama.VocabNTokens(h))
	v := &vocabulary{
		handle: h, pieces: make([]string, n), ends: make([]bool, n), control: make([]bool, n),
		bos: llama.VocabBOS(h), eos: llama.VocabEOS(h), sep: llama.VocabSEP(h), template: llama.ModelChatTemplate(m, ""), rerank: llama.ModelChatTemplate(m, "rerank"),
		addsBOS: llama.VocabGetAddBOS(h), addsEOS: llama.VocabGetAddEOS(h), addsSep: llama.VocabGetAddSEP(h),
		special: map[llama.Token]string{}, marks: map[llama.Token]string{},
	}
	buf := make([]byte, 256)
	for i := range n {
		t := llama.Token(i)
		v.pieces[i] = piece(h, t, &buf)
		v.ends[i] = llama.VocabIsEOG(h, t)
		v.longest = max(v.longest, len(v.pieces[i]))
		if !llama.VocabIsControl(h, t) {
			continue
		}
		v.control[i] = true
		if text := llama.VocabGetText(h, t); text != "" {
			v.controls = append(v.controls, text)
			v.controlStart[text[0]] = true
			v.longest = max(v.longest, len(text))
			v.special[t] = text
			if isMark(text) {
				v.marks[t] = text
			}
		}
	}
	kind := llama.GetVocabType(h)
	v.bpe = kind == llama.VocabTypeBPE
	if !v.bpe && kind != llama.VocabTypeSPM {
		v.longest = 0
	}
	for _, t := range []*llama.Token{&v.bos, &v.eos, &v.sep} {
		if *t < 0 || int(*t) >= n {
			*t = llama.TokenNull
		}
	}
	return v
}

// trie is the vocabulary as grammars want it; made when the first one is used.
func (v *vocabulary) trie() *grammar.Vocabulary {
	v.trieOnce.Do(func() { v.trieOf = grammar.NewVocabulary(v.pieces) })
	return v.trieOf
}

// shown is a token's text, also a special one's.
func (v *vocabulary) shown(t llama.Token) string {
	if p := v.pieces[t]; p != "" {
		return p
	}
	return v.special[t]
}

// text is the text of a special token; empty if there is no such token.
func (v *vocabulary) text(t llama.Token) string {
	if t == llama.TokenNull {
		return ""
	}
	return v.special[t]
}

// piece reads one token's text; buf grows when it is too small.
func piece(h llama.Vocab, t llama.Token, buf *[]byte) string {
	n := llama.TokenToPiece(h, t, *buf, 0, false)
	if n < 0 {
		*buf = make([]byte, -n)
		n = llama.TokenToPiece(h, t, *buf, 0, false)
	}
	if n <= 0 {
		return ""
	}
	return string((*buf)[:n])
}

// atLeast is a number of tokens that a text of so many bytes is sure to have.
func (v *vocabulary) atLeast(bytes int) int {
	if v.longest == 0 {
		return 0
	}
	return bytes / max(v.longest, 4) // 4: an unknown character may be one token
}

// tokens cuts text up. With special, the texts of special tokens become those tokens.
func (v *vocabulary) tokens(ctx context.Context, text string, add, special bool) ([]llama.Token, error) {
	out, err := v.cut(ctx, text, add, special)
	if len(out) > 1 && out[0] == v.bos && out[1] == v.bos {
		out = out[1:] // the template wrote one, too
	}
	return out, err
}
