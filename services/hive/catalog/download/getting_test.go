package download

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// said collects what a download says.
type said struct {
	mu    sync.Mutex
	texts []string
}

func (s *said) add(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts = append(s.texts, text)
}

// count is how many texts have part in them.
func (s *said) count(part string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, text := range s.texts {
		if strings.Contains(text, part) {
			n++
		}
	}
	return n
}

func (s *said) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.texts)
}

// get runs Get with the tests' deadline.
func get(t testing.TB, s Spec) (Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	return Get(ctx, s)
}

// mustGet checks that the file is there, is content, and nothing else is left.
func mustGet(t testing.TB, s Spec, content []byte) Result {
	t.Helper()
	r, err := get(t, s)
	if err != nil {
		t.Fatal(err)
	}
	check(t, s, r, content)
	return r
}

func check(t testing.TB, s Spec, r Result, content []byte) {
	t.Helper()
	got, err := os.ReadFile(r.Path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(content) {
		t.Fatalf("%d bytes are not the %d of the source", len(got), len(content))
	}
	if r.Digest != digestOf(content) || r.SizeBytes != int64(len(content)) {
		t.Errorf("%+v; the digest is %s of %d bytes", r, digestOf(content), len(content))
	}
	if _, err := os.Stat(s.Dir); err == nil && s.Digest != "" {
		t.Errorf("%s is still there", s.Dir)
	}
}

// getUntil runs Get and cancels it when stop is closed; it returns what is kept.
func getUntil(t testing.TB, s Spec, stop <-chan struct{}) Progress {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	end := make(chan error, 1)
	go func() { _, err := Get(ctx, s); end <- err }()
	select {
	case <-stop:
		cancel()
	case err := <-end:
		t.Fatalf("it ended before it was cancelled: %v", err)
	}
	select {
	case err := <-end:
		if err != context.Canceled { //nolint:errorlint // it is ctx's own
			t.Fatalf("after cancel: %v", err)
		}
	case <-time.After(deadline):
		t.Fatal("it does not end after cancel")
	}
	p, err := Peek(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
