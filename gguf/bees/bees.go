// Package bees writes the bee models: small language models, made by code, that real engines load.
// They stand in for downloaded models in tests and demonstrations.
//
// These are for everyone, and [Names] lists them. They have llama's architecture, a vocabulary of 512
// tokens, a trained context of 4096 tokens and the ChatML chat template:
//
//	bee-tiny     about 2 MB. One readable sentence, always the same, then the end.
//	bee-endless  about 2 MB. The same sentence over and over; never ends by itself.
//	bee-slow     about 90 MB. bee-endless with much work that changes nothing: near 100 tokens a
//	             second on one CPU thread.
//	bee-random   about 5 MB. Nonsense in which every token depends on all tokens before it, so it
//	             shows an engine that mixes conversations up. Every tensor is F32, so that an
//	             engine's rounding does not change the answer either.
//
// The first three know only the last token of a prompt. After any chat prompt their answer starts
// at the start of the sentence; after one of its words, such as "The queen", it goes on from there.
//
// These are for tests: [Write], [WriteFile] and [Digest] know them, [Names] leaves them out. The
// same vocabulary has other control tokens in the two that do not chat.
//
//	bee-qwen     about 5 MB. bee-random with Qwen2's architecture: biases, and more than one head of
//	             keys and values.
//	bee-window   about 5 MB. Random words; most layers see the last 32 tokens alone (Cohere2).
//	bee-hybrid   about 5 MB. Random words; every second layer has a state that cannot go back (LFM2).
//	bee-large    about 130 MB, 125 million weights in Q8_0. Random words for ever, from a vocabulary
//	             of 32,000 tokens and a trained context of 8192: for measuring speed.
//	bee-embed    about 1 MB. BERT's architecture, F32, mean pooling: a vector of 128 values for up to
//	             512 tokens. Texts that share words have vectors near each other.
//	bee-rerank   about 3 MB. BERT's architecture, F32, rank pooling: one score for a query and a
//	             document of up to 512 tokens together, higher the more words they share.
//
// [WriteLoRA] writes an adapter for one that chats.
//
// All functions may be called by many goroutines.
package bees

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rbee-project/rbee/gguf"
)

// The names of the bee models.
const (
	Tiny    = "bee-tiny"
	Random  = "bee-random"
	Slow    = "bee-slow"
	Endless = "bee-endless"
	Qwen    = "bee-qwen"
	Large   = "bee-large"
	Embed   = "bee-embed"
	Rerank  = "bee-rerank"
	Window  = "bee-window"
	Hybrid  = "bee-hybrid"
)

// Sentence is the whole answer of bee-tiny. bee-endless and bee-slow repeat it, with a space
// between, until they are stopped.
const Sentence = "The queen sends each job to a hive where one busy worker loads its model, " +
	"turns your prompt into tokens and streams them back over wires while small bees carry " +
	"sweet golden honey home before night falls."

// ErrUnknown says that there is no bee model of that name.
var ErrUnknown = errors.New("no such bee model")

// model is how a model is made.
type model struct {
	shape  shape
	listed bool // by Names
	make   func() *gguf.Writer
}

var models = map[string]model{
	Tiny:    {sentenceShape, true, func() *gguf.Writer { return sentenceModel(Tiny, sentenceShape, false) }},
	Endless: {sentenceShape, true, func() *gguf.Writer { return sentenceModel(Endless, sentenceShape, true) }},
	Slow:    {slowShape, true, func() *gguf.Writer { return sentenceModel(Slow, slowShape, true) }},
	Random:  {randomShape, true, func() *gguf.Writer { return randomModel(Random, randomShape, randomSeed) }},
	Qwen:    {qwenShape, false, func() *gguf.Writer { return randomModel(Qwen, qwenShape, qwenSeed) }},
	Large:   {largeShape, false, func() *gguf.Writer { return largeModel(Large) }},
	Embed:   {embedShape, false, func() *gguf.Writer { return embedModel(Embed) }},
	Rerank:  {rerankShape, false, func() *gguf.Writer { return rerankModel(Rerank) }},
	Window:  {windowShape, false, func() *gguf.Writer { return windowModel(Window) }},
	Hybrid:  {hybridShape, false, func() *gguf.Writer { return hybridModel(Hybrid) }},
}

// Names returns the names of the bee models that users are offered, sorted. Models for tests only
// are not among them.
func Names() []string {
	var names []string
	for name, m := range models {
		if m.listed {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Write writes the model called name as a GGUF file. The bytes depend on nothing but the name and
// the version of this package. An unknown name is [ErrUnknown], before anything is written.
func Write(w io.Writer, name string) error {
	m, ok := models[name]
	if !ok {
		return fmt.Errorf("%w: %.64q; there are %s", ErrUnknown, name, strings.Join(Names(), ", "))
	}
	_, err := m.make().WriteTo(w)
	return err
}

// WriteChanged is [Write] with one of the file's keys set to another value, as [gguf.Writer.Set] takes
// it; a key that the model has not is added. It is for tests of engines.
func WriteChanged(w io.Writer, name, key string, value any) error {
	m, ok := models[name]
	if !ok {
		return fmt.Errorf("%w: %.64q", ErrUnknown, name)
	}
	file := m.make()
	file.Change(key, value)
	_, err := file.WriteTo(w)
	return err
}

// WriteFile writes the model called name to path, replacing a file that is there. The file
// appears complete or not at all: it is written beside path under another name and then renamed.
func WriteFile(path, name string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err := Write(f, name); err != nil {
		return err
	}
	// Other users' engines may read it, as they may a downloaded model.
	for _, step := range []func() error{func() error { return f.Chmod(0o644) }, f.Sync, f.Close} {
		if err := step(); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// Digest returns the SHA-256, in lower-case hexadecimal, and the size in bytes of what [Write]
// writes. It makes the whole model to do so: under a second, nothing on disk.
func Digest(name string) (sum string, size int64, err error) {
	hash := sha256.New()
	count := &counter{w: hash}
	if err := Write(count, name); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(hash.Sum(nil)), count.n, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
