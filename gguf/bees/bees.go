// Package bees writes the bee models: small language models, made by code, that real engines load.
// They stand in for downloaded models in tests and demonstrations. All have llama's architecture,
// a vocabulary of 512 tokens, a trained context of 4096 tokens and the ChatML chat template.
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
)

// Sentence is the whole answer of bee-tiny. bee-endless and bee-slow repeat it, with a space
// between, until they are stopped.
const Sentence = "The queen sends each job to a hive where one busy worker loads its model, " +
	"turns your prompt into tokens and streams them back over wires while small bees carry " +
	"sweet golden honey home before night falls."

// ErrUnknown says that there is no bee model of that name.
var ErrUnknown = errors.New("no such bee model")

// models has how each model is made.
var models = map[string]func() *gguf.Writer{
	Tiny:    func() *gguf.Writer { return sentenceModel(Tiny, sentenceShape, false) },
	Endless: func() *gguf.Writer { return sentenceModel(Endless, sentenceShape, true) },
	Slow:    func() *gguf.Writer { return sentenceModel(Slow, slowShape, true) },
	Random:  func() *gguf.Writer { return randomModel(Random, randomShape, randomSeed) },
}

// Names returns the names of the bee models, sorted.
func Names() []string {
	names := make([]string, 0, len(models))
	for name := range models {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Write writes the model called name as a GGUF file. The bytes depend on nothing but the name and
// the version of this package. An unknown name is [ErrUnknown], before anything is written.
func Write(w io.Writer, name string) error {
	model, ok := models[name]
	if !ok {
		return fmt.Errorf("%w: %.64q; there are %s", ErrUnknown, name, strings.Join(Names(), ", "))
	}
	_, err := model().WriteTo(w)
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
