package spawn

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEnviron(t *testing.T) {
	got := Environ([]string{
		"PATH=/bin", "RBEE_DATA=/x", "LC_ALL=C", "CUDA_VISIBLE_DEVICES=0", "GGML_NO_BACKTRACE=1",
		"AWS_SECRET=s", "LD_PRELOAD=evil.so", "TMPDIR=/a", "broken", "PATHOLOGICAL=1",
	}, map[string]string{"RBEE_ID": "w", "TMPDIR": "/b"})
	want := []string{"CUDA_VISIBLE_DEVICES=0", "GGML_NO_BACKTRACE=1", "LC_ALL=C", "PATH=/bin", "RBEE_ID=w", "TMPDIR=/b"}
	if !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestExcerpt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	long := strings.Repeat("a line of the log\n", 1000)
	for name, tc := range map[string]struct {
		content string
		from    int64
		head    int
		prefix  string
		suffix  string
	}{
		"short":         {"one\ntwo\n", 0, 0, "one", "two"},
		"from":          {"one\ntwo\n", 4, 0, "two", "two"},
		"rotated":       {"one\n", 400, 0, "one", "one"},
		"long":          {long + "the end\n", 0, 0, "a line", "the end"},
		"long crash":    {"panic: x\n" + long + "the end\n", 0, 100, "panic: x", "the end"},
		"one long line": {strings.Repeat("x", 9000), 0, 0, "xxx", "xxx"},
		"not UTF-8":     {"ab\xff\xfe", 0, 0, "ab?", "?"},
		"many bad":      {strings.Repeat("\xff\n", 9000), 0, 0, "?", "?"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			got := excerpt(path, tc.from, tc.head)
			if !strings.HasPrefix(got, tc.prefix) || !strings.HasSuffix(got, tc.suffix) {
				t.Errorf("got %q", got)
			}
			if len(got) > TailBytes || !utf8.ValidString(got) {
				t.Errorf("%d bytes, valid: %t", len(got), utf8.ValidString(got))
			}
		})
	}
	if got := excerpt(filepath.Join(t.TempDir(), "none"), 0, 0); got != "" {
		t.Errorf("a missing file gives %q", got)
	}
}
