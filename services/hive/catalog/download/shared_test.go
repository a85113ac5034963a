package download

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// Eight equal Gets in one process are one download; those that wait show how far it is.
func TestEqualGets(t *testing.T) {
	content := bytesOf(6<<20, 30)
	for name, known := range map[string]bool{"digest known": true, "digest unknown": false} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, content)
			spec, _ := s.spec(t)
			if !known {
				final := spec.Final
				spec.Digest, spec.Final = "", ""
				spec.FinalFor = func(digest string) string { return final + strings.TrimPrefix(digest, digestPrefix) }
			}
			started := make(chan struct{})
			var once sync.Once
			release := make(chan struct{})
			s.answer = gate(release, func() { once.Do(func() { close(started) }) })
			var wg sync.WaitGroup
			var seen sync.Map
			waiting := make(chan int, 100)
			for i := range 8 {
				mine := spec
				mine.Progress = func(p Progress) {
					if _, was := seen.LoadOrStore(i, true); !was {
						waiting <- i
					}
				}
				wg.Go(func() {
					r, err := get(t, mine)
					if err != nil {
						t.Error(err)
						return
					}
					if b, err := os.ReadFile(r.Path); err != nil || !bytes.Equal(b, content) || r.Digest != digestOf(content) {
						t.Errorf("%+v: %d bytes, %v", r, len(b), err)
					}
				})
			}
			for range 8 { // each of them shows progress while none can end
				select {
				case <-waiting:
				case <-time.After(deadline):
					t.Fatal("a Get shows nothing")
				}
			}
			<-started
			close(release)
			wg.Wait()
			if sent := s.quiet(t); sent != int64(len(content)) {
				t.Errorf("%d bytes sent for %d", sent, len(content))
			}
		})
	}
}

// gate lets requests wait until release is closed.
func gate(release <-chan struct{}, at func()) reply {
	return func(_ *server, _ int, _ http.ResponseWriter, r *http.Request) bool {
		at()
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return false
	}
}

// Eight processes that download one file fetch it once, also when that which fetches is killed.
func TestEqualProcesses(t *testing.T) {
	content := bytesOf(6<<20, 31)
	for name, kill := range map[string]bool{"all live": false, "the first is killed": true} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, content)
			s.limiter = rate.NewLimiter(6<<20, s.piece)
			dir := t.TempDir()
			c := childSpec{Dir: filepath.Join(dir, "part"), Final: filepath.Join(dir, "final"), Address: s.URL, Size: int64(len(content)), Digest: digestOf(content)}
			reached := s.when(1 << 20)
			cmds, lines := make([]*exec.Cmd, 8), make([]<-chan string, 8)
			cmds[0], lines[0] = startChild(t, c)
			<-reached
			for i := 1; i < 8; i++ {
				cmds[i], lines[i] = startChild(t, c)
				<-lines[i] // it runs
			}
			first := 0
			if kill {
				_ = cmds[0].Process.Kill()
				for range lines[0] { // until its end
				}
				_ = cmds[0].Wait()
				first = 1
			}
			for i := first; i < 8; i++ {
				check(t, Spec{Dir: c.Dir}, resultOf(t, cmds[i], lines[i]), content)
			}
			if sent := s.quiet(t); sent > int64(len(content))+512<<10 {
				t.Errorf("%d bytes sent for %d", sent, len(content))
			}
			if _, err := os.Stat(c.Dir); err == nil {
				t.Error("the folder is still there")
			}
		})
	}
}

// A waiter goes on when the one it waited for is cancelled; its own end does not wait for the other.
func TestWaiters(t *testing.T) {
	content := bytesOf(6<<20, 32)
	s := newServer(t, content)
	spec, _ := s.spec(t)
	ctx, cancel := context.WithCancel(t.Context())
	reached := s.when(2 << 20)
	slow := spec
	slow.BytesPerSecond = 8 << 20
	first := make(chan error, 1)
	go func() { _, err := Get(ctx, slow); first <- err }()
	<-reached
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := Get(gone, spec); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled waiter: %v", err)
	}
	second := make(chan error, 1)
	looked := make(chan struct{})
	var once sync.Once
	mine := spec
	mine.Progress = func(p Progress) {
		if p.Done > 0 {
			once.Do(func() { close(looked) })
		}
	}
	go func() { _, err := get(t, mine); second <- err }()
	<-looked
	cancel()
	if err := <-first; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := <-second; err != nil {
		t.Error(err)
	}
	check(t, spec, Result{Path: spec.Final, Digest: spec.Digest, SizeBytes: spec.SizeBytes}, content)
}

// A reader that follows a growing download, from another place than its start too, gets exactly its bytes.
func TestPartial(t *testing.T) {
	content := bytesOf(8<<20+11, 33)
	s := newServer(t, content)
	s.limiter = rate.NewLimiter(16<<20, s.piece)
	spec, _ := s.spec(t)
	started := make(chan struct{})
	var once sync.Once
	s.answer = func(_ *server, n int, _ http.ResponseWriter, _ *http.Request) bool {
		if n == 3 { // the first answers told the version
			once.Do(func() { close(started) })
		}
		return false
	}
	end := make(chan error, 1)
	go func() { _, err := get(t, spec); end <- err }()
	<-started
	var wg sync.WaitGroup
	for _, from := range []int64{0, 1, 3<<20 + 5, int64(len(content)) - 1, int64(len(content))} {
		p, err := OpenPartial(spec.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if p.SizeBytes() != int64(len(content)) || p.Digest() != spec.Digest || p.Version() != `"one"` {
			t.Errorf("size %d, digest %s, version %s", p.SizeBytes(), p.Digest(), p.Version())
		}
		wg.Go(func() {
			defer p.Close()
			if got, err := follow(t, p, from); err != nil || !bytes.Equal(got, content[from:]) {
				t.Errorf("from %d: %d bytes that are not the source's: %v", from, len(got), err)
			}
		})
	}
	wg.Wait()
	if err := <-end; err != nil {
		t.Error(err)
	}
	if _, err := OpenPartial(spec.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("at the end: %v", err)
	}
}

func follow(t *testing.T, p *Partial, from int64) (got []byte, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	buf := make([]byte, 100_000)
	for {
		n, err := p.Wait(ctx, from)
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		if over := p.Available(from + n); over == 0 { // behind what is there nothing is given
			if k, err := p.ReadAt(buf[:1], p.SizeBytes()); k != 0 || err == nil {
				t.Errorf("behind the end: %d, %v", k, err)
			}
		}
		k, err := p.ReadAt(buf[:min(n, int64(len(buf)))], from)
		if err != nil {
			return got, err
		}
		got = append(got, buf[:k]...)
		from += int64(k)
	}
}

// What was started over is told to who follows.
func TestPartialReplaced(t *testing.T) {
	content := bytesOf(6<<20, 34)
	s := newServer(t, content)
	spec, _ := s.spec(t)
	getUntil(t, spec, s.when(3<<20))
	p, err := OpenPartial(spec.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if ok, err := Discard(spec.Dir); !ok || err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	var at int64
	for err == nil {
		var n int64
		n, err = p.Wait(ctx, at)
		at += max(n, 1)
	}
	if !errors.Is(err, ErrReplaced) && !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if _, err := Peek(spec.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
