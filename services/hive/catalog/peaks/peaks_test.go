package peaks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func open(t testing.TB) (*Peaks, *bytes.Buffer) {
	t.Helper()
	var said bytes.Buffer
	return Open(filepath.Join(t.TempDir(), "peaks.json"), slog.New(slog.NewTextHandler(&said, nil))), &said
}

func TestLargestCountsForItsKeyAlone(t *testing.T) {
	p, said := open(t)
	key := Key{"sha256:aa", 4096, 4, "CPU"}
	if n, ok := p.Get(key); ok {
		t.Errorf("%d without a file", n)
	}
	for _, n := range []uint64{5, 9, 7} {
		if err := p.Record(key, n); err != nil {
			t.Fatal(err)
		}
	}
	again := Open(p.path, p.log)
	if n, ok := again.Get(key); n != 9 || !ok {
		t.Errorf("%d, %t", n, ok)
	}
	for _, other := range []Key{{"sha256:ab", 4096, 4, "CPU"}, {"sha256:aa", 4095, 4, "CPU"}, {"sha256:aa", 4096, 1, "CPU"}, {"sha256:aa", 4096, 4, "CUDA0"}} {
		if n, ok := again.Get(other); ok {
			t.Errorf("%+v: %d", other, n)
		}
	}
	if said.Len() > 0 {
		t.Errorf("it says %s", said)
	}
	for _, bad := range []Key{{}, {Digest: strings.Repeat("x", 201)}, {Digest: "d", Device: strings.Repeat("x", 201)}, {Digest: "\xff"}} {
		if p.Record(bad, 1) == nil {
			t.Errorf("%+v is recorded", bad)
		}
	}
	if p.Record(key, 0) == nil {
		t.Error("0 is recorded")
	}
}

func TestOldestGo(t *testing.T) {
	p, _ := open(t)
	key := func(n int) Key { return Key{Digest: fmt.Sprint(n)} }
	var list []entry
	for n := range MaxEntries {
		list = append(list, entry{key(n), 1 << 63})
	}
	if err := p.write(list); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, MaxEntries} { // the first is renewed, then there is one more
		if err := p.Record(key(n), 8); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := p.Get(key(1)); ok {
		t.Error("the oldest is still there")
	}
	for _, n := range []int{0, 2, MaxEntries} {
		if _, ok := p.Get(key(n)); !ok {
			t.Errorf("%d is gone", n)
		}
	}
	if n := len(p.read()); n != MaxEntries {
		t.Errorf("%d are kept", n)
	}
}

func TestFullFileIsReadable(t *testing.T) {
	text := strings.Repeat("\x01", maxText) // six bytes each in JSON
	longest, err := json.Marshal(entry{Key{text, math.MinInt64, math.MinInt64, text}, math.MaxUint64})
	if err != nil || len(longest)*MaxEntries > maxFile-1024 {
		t.Errorf("%d bytes an entry, %v", len(longest), err)
	}
}

func TestBrokenFileCountsAsEmpty(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "cut": `{"schema":1,"peaks":[{"dig`, "other": `[]`, "of another version": `{"schema":2,"peaks":[]}`,
		"negative": `{"schema":1,"peaks":[{"digest":"d","bytes":-1}]}`, "large": strings.Repeat(" ", maxFile+1),
	} {
		t.Run(name, func(t *testing.T) {
			p, said := open(t)
			if err := os.WriteFile(p.path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			key := Key{Digest: "d"}
			if n, ok := p.Get(key); ok || !strings.Contains(said.String(), p.path) {
				t.Errorf("%d, it says %q", n, said)
			}
			if err := p.Record(key, 3); err != nil {
				t.Fatal(err)
			}
			if n, ok := p.Get(key); n != 3 || !ok {
				t.Errorf("%d, %t", n, ok)
			}
		})
	}
}

// Nothing is lost among goroutines and processes.
func TestManyAtOnce(t *testing.T) {
	const processes, each = 3, 10
	p, said := open(t)
	var all sync.WaitGroup
	for id := range processes {
		all.Go(func() {
			cmd := exec.Command(os.Args[0], fmt.Sprint(id), p.path)
			cmd.Env = append(os.Environ(), "RBEE_TEST_RECORD=1")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	record(t.Errorf, p, processes, each)
	all.Wait()
	for id := range processes + 1 {
		for n := range each {
			if _, ok := p.Get(Key{Digest: fmt.Sprint(id), Slots: n}); !ok {
				t.Errorf("%d of %d is lost", n, id)
			}
		}
	}
	if said.Len() > 0 {
		t.Errorf("it says %s", said)
	}
	if left, _ := filepath.Glob(p.path + ".part-*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func record(fail func(string, ...any), p *Peaks, id, each int) {
	var all sync.WaitGroup
	for n := range each {
		all.Go(func() {
			if err := p.Record(Key{Digest: fmt.Sprint(id), Slots: n}, 1); err != nil {
				fail("%v", err)
			}
		})
	}
	all.Wait()
}

func TestMain(m *testing.M) {
	if os.Getenv("RBEE_TEST_RECORD") == "" {
		os.Exit(m.Run())
	}
	id := int(os.Args[1][0] - '0')
	record(func(text string, args ...any) {
		fmt.Fprintf(os.Stderr, text+"\n", args...)
		os.Exit(1)
	}, Open(os.Args[2], slog.New(slog.DiscardHandler)), id, 10)
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"schema":1,"peaks":[{"digest":"d","context_length":1,"slots":2,"device":"CPU","bytes":3}]}`))
	f.Add([]byte(`{"schema":1,"peaks":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, err := decode(b); err != nil && list != nil || len(list) > MaxEntries {
			t.Errorf("%d entries, %v", len(list), err)
		}
	})
}
