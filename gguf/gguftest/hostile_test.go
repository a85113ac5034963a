package gguftest

import (
	"bytes"
	"hash/maphash"
	"testing"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/gguf/bees"
)

func good(t *testing.T, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := bees.Write(&b, name); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestPartsMakeTheSameFile(t *testing.T) {
	want := good(t, bees.Tiny)
	f, err := parse(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(f.bytes(), want) {
		t.Error("a file taken apart and put together again is another one")
	}
}

func TestHostile(t *testing.T) {
	file := good(t, bees.Tiny)
	copied := bytes.Clone(file)
	cases, err := Hostile(file, 1)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := Hostile(file, 1)
	other, _ := Hostile(file, 2)
	digests, moved := map[string]uint64{}, 0
	same, read := 0, 0
	for name, spoil := range cases {
		b := spoil()
		if _, ok := digests[name]; ok {
			t.Errorf("%q is there twice", name)
		}
		digests[name] = sum(b)
		if bytes.Equal(b, file) {
			same++
		}
		if _, err := gguf.ReadHeader(bytes.NewReader(b), int64(len(b))); err == nil {
			read++
		}
	}
	if len(digests) < 200 {
		t.Errorf("%d cases", len(digests))
	}
	if same > 40 { // that only models of another kind can be spoiled by
		t.Errorf("%d cases are the good file", same)
	}
	if refused := len(digests) - read; refused < 50 {
		t.Errorf("ReadHeader refuses %d of %d", refused, len(digests))
	}
	for name, spoil := range again {
		if digests[name] != sum(spoil()) {
			t.Errorf("%q is another file the second time", name)
		}
	}
	for name, spoil := range other {
		if digests[name] != sum(spoil()) {
			moved++
		}
	}
	if moved < 10 {
		t.Errorf("another seed moves %d cases", moved)
	}
	if !bytes.Equal(file, copied) {
		t.Error("the good file was changed")
	}
}

// sum tells files apart.
func sum(b []byte) uint64 { return maphash.Bytes(seed, b) }

var seed = maphash.MakeSeed()

func TestHostileNeedsAGoodFile(t *testing.T) {
	file := good(t, bees.Tiny)
	for name, b := range map[string][]byte{"empty": nil, "no GGUF": []byte("hello, this is no model"), "cut": file[:1000]} {
		if _, err := Hostile(b, 1); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
