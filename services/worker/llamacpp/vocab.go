package llamacpp

import (
	"github.com/hybridgroup/yzma/pkg/llama"
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
	// controlStart has the first bytes of control tokens' texts.
	controlStart [256]bool
	// longest is the most bytes that one token can stand for; 0 where a tokenizer may drop text.
	longest  int
	bos      llama.Token // llama.TokenNull if there is none
	template string      // the model's chat template; may be empty
}

func readVocabulary(m llama.Model) *vocabulary {
	h := llama.ModelGetVocab(m)
	n := int(llama.VocabNTokens(h))
	v := &vocabulary{
		handle: h, pieces: make([]string, n), ends: make([]bool, n), control: make([]bool, n),
		bos: llama.VocabBOS(h), template: llama.ModelChatTemplate(m, ""),
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
			v.controlStart[text[0]] = true
			v.longest = max(v.longest, len(text))
		}
	}
	if k := llama.GetVocabType(h); k != llama.VocabTypeBPE && k != llama.VocabTypeSPM {
		v.longest = 0
	}
	if v.bos < 0 || int(v.bos) >= n {
		v.bos = llama.TokenNull
	}
	return v
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
func (v *vocabulary) tokens(text string, addBOS, special bool) []llama.Token {
	out := llama.Tokenize(v.handle, text, addBOS, special)
	if len(out) > 1 && out[0] == v.bos && out[1] == v.bos {
		out = out[1:] // the template wrote one, too
	}
	return out
}
