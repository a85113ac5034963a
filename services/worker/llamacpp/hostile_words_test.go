package llamacpp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/gguf/bees"
)

// recut is bee-random with another way to cut text into words before it is made tokens.
func recut(t testing.TB, pre string) string {
	t.Helper()
	var b bytes.Buffer
	if err := bees.Write(&b, bees.Random); err != nil {
		t.Fatal(err)
	}
	const about = "A test model made by code, not by training."
	put := func(file []byte, old, text string) []byte {
		was := append(binary.LittleEndian.AppendUint64(nil, uint64(len(old))), old...)
		is := append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
		if bytes.Count(file, was) != 1 {
			t.Fatalf("%q is not there once", old)
		}
		return bytes.Replace(file, was, is, 1)
	}
	// Weights begin at a multiple of 32: what one text gains another must lose, or gain to 32.
	fill := 64 - (len(pre) - len("gpt-2"))
	file := put(put(b.Bytes(), "gpt-2", pre), about, about+strings.Repeat(".", fill))
	path := filepath.Join(t.TempDir(), "recut.gguf")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// attackWords sends long runs of one kind of character to models that cut text into words by another
// rule: for most of them llama.cpp uses a regular expression that needs stack for every character.
func attackWords(a *attack) {
	for _, pre := range []string{"gpt-2", "deepseek-v3", "tekken", "falcon"}[:min(4, 1+schedules(1))] {
		b := a.besiege(Config{ModelPath: recut(a.t, pre)})
		for _, unit := range []string{"a", " ", "1", "\n", "!", "é", "\u0301", "中", "aB", "x y"} {
			text := strings.Repeat(unit, 40_000) // 24,000 are enough to die of
			b.send(fmt.Sprintf("%s, tokenize much of %q", pre, unit), task("tokenize", map[string]any{"content": text}))
			b.send(fmt.Sprintf("%s, much of %q", pre, unit), completed(text, nil))
		}
		if pre == "gpt-2" { // the time would grow with the square of their number
			b.send("much of control tokens", task("tokenize", map[string]any{"content": strings.Repeat("<|im_end|>a", 80_000)}))
		}
		b.relieve()
	}
}
