package gguf

import (
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"strings"
)

// maxToken is the limit on the bytes of a token. Real ones have some hundred at most; llama.cpp
// spends 10 seconds on one of 8 MB.
const maxToken = 65_535

// OpenModel reads the header of the file at path, as [OpenHeader] does, for an engine that will
// load it. It refuses more: what [CheckModel] refuses, and a vocabulary that llama.cpp dies of.
// It takes up to some 50 bytes of memory for each token while it runs.
func OpenModel(path string) (*Header, error) {
	h, err := OpenHeader(path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read GGUF header: %w", err)
	}
	defer f.Close()
	if err := CheckModel(h); err != nil {
		return nil, fmt.Errorf("read GGUF header of %s: %w", path, err)
	}
	if err := checkVocabulary(f, h); err != nil {
		return nil, fmt.Errorf("read GGUF header of %s: %w", path, err)
	}
	return h, nil
}

// checkVocabulary reads the tokens of the file that r holds, whose header is h.
func checkVocabulary(r io.ReaderAt, h *Header) error {
	v := &vocabulary{seed: maphash.MakeSeed(), hashes: map[uint64]bool{}}
	if kept, ok := Get[Array](h, keyTokens); ok && kept.Values != nil {
		texts, _ := kept.Values.([]string)
		for _, s := range texts {
			v.add(s)
		}
	} else {
		d := newDecoder(r, h.DataOffset)
		d.token = v.add
		_, keys := d.preamble(&Header{})
		d.keys(&Header{values: map[string]any{}}, keys)
		if d.err != nil {
			return d.err
		}
	}
	if v.err != nil {
		return v.err
	}
	if name, _ := Get[string](h, keyTokenizer); name == "llama" && v.n > 0 {
		return v.checkBytes()
	}
	return nil
}

// vocabulary knows which tokens were there, by a hash.
type vocabulary struct {
	seed   maphash.Seed
	hashes map[uint64]bool
	n      int
	err    error
}

// add takes the next token. llama.cpp reads its text up to a zero byte, and gives one without text
// a text of its own.
func (v *vocabulary) add(text string) {
	if len(text) > maxToken && v.err == nil {
		v.err = unusable("%s has a token of %d bytes, the limit is %d", keyTokens, len(text), maxToken)
	}
	text, _, _ = strings.Cut(text, "\x00")
	if text == "" {
		text = fmt.Sprintf("[EMPTY_%d]", v.n)
	}
	hash := maphash.String(v.seed, text)
	if v.hashes[hash] && v.err == nil {
		v.err = unusable("%s has %.64q twice, the second time as token %d", keyTokens, text, v.n)
	}
	v.hashes[hash] = true
	v.n++
}

func (v *vocabulary) has(text string) bool { return v.hashes[maphash.String(v.seed, text)] }

// checkBytes checks that every text has tokens: a SentencePiece tokenizer falls back on those of
// single bytes.
func (v *vocabulary) checkBytes() error {
	for b := range 256 {
		if name := fmt.Sprintf("<0x%02X>", b); !v.has(name) && !v.has(string([]byte{byte(b)})) {
			return unusable("%s has no %s: some texts have no tokens", keyTokens, name)
		}
	}
	return nil
}
