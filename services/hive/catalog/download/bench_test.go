//go:build linux

package download

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	benchBytes = 1 << 30
	benchTurns = 5
)

// run is what one process took.
type benchRun struct {
	wall, cpu time.Duration
	rss       int64 // peak, bytes
}

// BenchmarkCurl downloads 1 GiB from loopback with Get in a process of its own, with curl, and with curl and then
// sha256sum, in turns: go test -bench Curl -benchtime 1x. RBEE_BENCH_DIR is where the files go.
func BenchmarkCurl(b *testing.B) {
	if _, err := exec.LookPath("curl"); err != nil {
		b.Fatal("this needs curl: apt-get install curl")
	}
	dir := b.TempDir()
	if at := os.Getenv("RBEE_BENCH_DIR"); at != "" {
		var err error
		if dir, err = os.MkdirTemp(at, "bench"); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { os.RemoveAll(dir) })
	}
	source := filepath.Join(dir, "file")
	digest := benchFile(b, source)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, source) }))
	defer srv.Close()
	out := filepath.Join(dir, "out")
	c, _ := json.Marshal(childSpec{Dir: filepath.Join(dir, "part"), Final: out, Address: srv.URL, Digest: digest, Size: benchBytes})
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	ways := []struct {
		name string
		cmd  func(ctx context.Context) *exec.Cmd
	}{
		{"get", func(ctx context.Context) *exec.Cmd {
			cmd := exec.CommandContext(ctx, self)
			cmd.Env = append(os.Environ(), childEnv+"="+string(c))
			return cmd
		}},
		{"curl", func(ctx context.Context) *exec.Cmd {
			return exec.CommandContext(ctx, "curl", "-sf", "-o", out, srv.URL+"/file")
		}},
		{"curl+sync", func(ctx context.Context) *exec.Cmd {
			return exec.CommandContext(ctx, "sh", "-c", fmt.Sprintf("curl -sf -o %s %s/file && sync %s", out, srv.URL, out))
		}},
		{"curl+sha256sum", func(ctx context.Context) *exec.Cmd {
			return exec.CommandContext(ctx, "sh", "-c", fmt.Sprintf("curl -sf -o %s %s/file && sha256sum %s", out, srv.URL, out))
		}},
	}
	b.ResetTimer()
	for range b.N {
		runs := map[string][]benchRun{}
		for range benchTurns {
			for _, way := range ways {
				os.Remove(out)
				runs[way.name] = append(runs[way.name], bench(b, way.cmd(b.Context())))
			}
		}
		get := median(runs["get"])
		for _, way := range ways {
			m := median(runs[way.name])
			unit := strings.ReplaceAll(way.name, "+", "-")
			b.Logf("%-15s %7.0f MB/s  %.2f CPU-s/GB  %3d MiB  ratio of get %.2f  %v", way.name, benchBytes/1e6/m.wall.Seconds(),
				m.cpu.Seconds()/(benchBytes/1e9), m.rss>>20, m.wall.Seconds()/get.wall.Seconds(), walls(runs[way.name]))
			b.ReportMetric(m.wall.Seconds()/get.wall.Seconds(), "x-"+unit)
		}
		b.ReportMetric(get.cpu.Seconds()/(benchBytes/1e9), "cpu-s/GB")
		b.ReportMetric(float64(get.rss>>20), "MiB-peak")
	}
}

// benchFile makes the source's file and gives its digest. It takes little memory: a child's peak begins with that
// of its parent.
func benchFile(b *testing.B, path string) string {
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, sum), rand.NewChaCha8([32]byte{60}), benchBytes); err != nil {
		b.Fatal(err)
	}
	return digestPrefix + hex.EncodeToString(sum.Sum(nil))
}

func bench(b *testing.B, cmd *exec.Cmd) benchRun {
	begun := time.Now()
	if text, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %v: %s", cmd.Args, err, text)
	}
	use := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return benchRun{time.Since(begun), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), use.Maxrss << 10}
}

// median is of each number alone.
func median(runs []benchRun) (m benchRun) {
	mid := func(f func(benchRun) int64) int64 {
		var v []int64
		for _, r := range runs {
			v = append(v, f(r))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	m.wall = time.Duration(mid(func(r benchRun) int64 { return int64(r.wall) }))
	m.cpu = time.Duration(mid(func(r benchRun) int64 { return int64(r.cpu) }))
	m.rss = mid(func(r benchRun) int64 { return r.rss })
	return m
}

func walls(runs []benchRun) (w []string) {
	for _, r := range runs {
		w = append(w, fmt.Sprintf("%.2fs", r.wall.Seconds()))
	}
	return w
}
