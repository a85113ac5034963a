package spawn

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTailEndsWithTheReason(t *testing.T) {
	dump := "\n\ngoroutine 1 gp=0x1 m=0 [running]:\n" + strings.Repeat("main.f()\n\t/src/f.go:1 +0x1\n", 1000) + "\nrax    0x0\ngs     0x0\n"
	line := "{\"time\":\"2026\",\"msg\":\"hello\"}\n"
	for name, tc := range map[string]struct{ log, ends, without string }{
		"no crash":             {line + "bye\n", "bye", ""},
		"an assert in C":       {line + "a.c:1: GGML_ASSERT(x) failed\nSIGABRT: abort\nPC=0x1 m=0 sigcode=0" + dump, "a.c:1: GGML_ASSERT(x) failed\nSIGABRT: abort", "goroutine"},
		"a fault in C":         {line + "SIGSEGV: segmentation violation\nPC=0x1 m=0\nsignal arrived during cgo execution" + dump, "SIGSEGV: segmentation violation", "goroutine"},
		"a panic":              {line + "panic: index out of range [recovered]\n\tpanic: again" + dump, "panic: index out of range [recovered]\n\tpanic: again", "goroutine"},
		"a fault in Go":        {line + "panic: nil\n[signal SIGSEGV: segmentation violation code=1]" + dump, "[signal SIGSEGV: segmentation violation code=1]", "goroutine 1"},
		"of an earlier run":    {"panic: old" + dump + line + "bye\n", "bye", "panic: old"},
		"two runs, two ways":   {"panic: old" + dump + line + "assert\nSIGABRT: abort" + dump, "assert\nSIGABRT: abort", "panic: old"},
		"only the word":        {line + "SIGABRT: abort\nnothing else\n", "nothing else", ""},
		"a reason that is far": {strings.Repeat(line, 1000) + "assert\nSIGABRT: abort" + dump, "assert\nSIGABRT: abort", "goroutine"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			if err := os.WriteFile(path, []byte(tc.log), 0o600); err != nil {
				t.Fatal(err)
			}
			got := Tail(path)
			if !strings.HasSuffix(got, tc.ends) || tc.without != "" && strings.Contains(got, tc.without) || len(got) > TailBytes {
				t.Errorf("%d bytes, ends %q", len(got), got[max(0, len(got)-200):])
			}
		})
	}
}
