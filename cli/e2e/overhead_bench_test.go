package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbee-project/rbee/cli/solo"
)

// way is one way to the same worker.
type way struct {
	name string
	addr string
	path string
	body func(maxTokens int) string
	pids []int // whose CPU it uses, beside the worker
	ttft []time.Duration
	cpu  float64
	rate map[int][]float64 // tokens a second by number of streams
}

// BenchmarkOverhead has the same worker asked by itself, by queen and HTTP, by queen and bus, and by a bare
// reverse proxy, which is what any gateway costs at least; in turns, so that what the machine does
// meanwhile meets all of them.
func BenchmarkOverhead(b *testing.B) {
	a := startApart(b)
	w := a.spawn(b, "builtin:bee-slow", "--id", "w1", "--slots", "8", "--ctx", "512")
	direct := secondQueen(b, a, "direct")
	viaBus := secondQueen(b, a, "bus")
	const chat = `{"model":"builtin:bee-slow","stream":true,"max_tokens":%d,"messages":[{"role":"user","content":"hi"}]}`
	ways := []*way{
		{name: "worker", addr: fmt.Sprintf("%s:%d", w.Host, w.Port), path: "/v1/infer",
			body: func(n int) string {
				return fmt.Sprintf(`{"model":"builtin:bee-slow","task":"chat","stream":true,"body":%s}`, fmt.Sprintf(chat, n))
			}},
		{name: "direct", addr: direct.http, path: "/v1/chat/completions", body: func(n int) string { return fmt.Sprintf(chat, n) }, pids: []int{direct.pid}},
		{name: "bus", addr: viaBus.http, path: "/v1/chat/completions", body: func(n int) string { return fmt.Sprintf(chat, n) },
			pids: []int{viaBus.pid, a.procs[solo.RoleBus].cmd.Process.Pid}},
	}
	ways = append(ways, &way{name: "proxy", addr: bareProxy(b, ways[0].addr), path: ways[0].path, body: ways[0].body})
	for _, y := range ways {
		y.rate = map[int][]float64{}
		await(b, y.name+" answers", func() bool {
			end, _, _ := y.ask(4)
			return end != "no queen" && !strings.HasPrefix(end, "5") && !strings.HasPrefix(end, "4")
		})
	}
	for b.Loop() {
		for range 200 {
			for _, y := range ways {
				before := y.cpuTime(b)
				_, _, ttft := y.ask(4)
				y.ttft = append(y.ttft, ttft)
				y.cpu += y.cpuTime(b) - before
			}
		}
		for range 4 {
			for _, streams := range []int{1, 8} {
				for _, y := range ways {
					y.rate[streams] = append(y.rate[streams], y.throughput(streams))
				}
			}
		}
	}
	report(b, ways)
}

func report(b *testing.B, ways []*way) {
	b.ReportMetric(0, "ns/op")
	alone := ways[0]
	for _, y := range ways {
		slices.Sort(y.ttft)
	}
	for _, y := range ways[1:] {
		n := len(y.ttft)
		b.ReportMetric(ms(y.ttft[n/2]-alone.ttft[n/2]), y.name+"-added-p50-ms")
		b.ReportMetric(ms(y.ttft[n*99/100]-alone.ttft[n*99/100]), y.name+"-added-p99-ms")
		if len(y.pids) > 0 {
			b.ReportMetric(1000*y.cpu/float64(n), y.name+"-cpu-s/1000req")
		}
		for _, streams := range []int{1, 8} {
			b.ReportMetric(median(y.rate[streams])/median(alone.rate[streams]), fmt.Sprintf("%s-rate-at-%d", y.name, streams))
		}
	}
	n := len(alone.ttft)
	b.ReportMetric(ms(alone.ttft[n/2]), "worker-ttft-p50-ms")
	b.ReportMetric(ms(alone.ttft[n*99/100]), "worker-ttft-p99-ms")
	b.ReportMetric(median(alone.rate[8]), "worker-tokens/s-at-8")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// ask is one request; ttft is from its first byte out to the first token in.
func (y *way) ask(maxTokens int) (end string, tokens int, ttft time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := streamed{}
	end = s.read(ctx, "http://"+y.addr+y.path, y.body(maxTokens))
	return end, s.tokens, s.first
}

// throughput is tokens a second of some streams at once.
func (y *way) throughput(streams int) float64 {
	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	began := time.Now()
	for range streams {
		wg.Go(func() {
			_, n, _ := y.ask(48)
			mu.Lock()
			defer mu.Unlock()
			total += n
		})
	}
	wg.Wait()
	return float64(total) / time.Since(began).Seconds()
}

// cpuTime is the CPU seconds that the way's processes have used so far.
func (y *way) cpuTime(t testing.TB) (s float64) {
	t.Helper()
	for _, pid := range y.pids {
		s += cpuSeconds(t, pid)
	}
	return s
}

// cpuSeconds of one process, user and system, out of schedstat: nanoseconds, where stat has hundredths.
func cpuSeconds(t testing.TB, pid int) float64 {
	t.Helper()
	total := 0.0
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, p := range tasks {
		data, err := os.ReadFile(p)
		if err != nil {
			continue // the thread has ended
		}
		ns, _ := strconv.ParseFloat(strings.Fields(string(data))[0], 64)
		total += ns / 1e9
	}
	return total
}

// bareProxy is Go's reverse proxy before the worker, in this process.
func bareProxy(b *testing.B, worker string) string {
	b.Helper()
	p := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: worker})
	p.FlushInterval = -1
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = worker
		p.ServeHTTP(w, r)
	}))
	b.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

type otherQueen struct {
	http string
	pid  int
}

// secondQueen is rbee-queen on the same bus and keys, with a route of its own.
func secondQueen(b *testing.B, a *apart, route string) otherQueen {
	b.Helper()
	dir := filepath.Join(a.dir, "queen-"+route)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(a.dir, "keys"), filepath.Join(dir, "keys")); err != nil {
		b.Fatal(err)
	}
	q := otherQueen{http: freeAddr(b)}
	cmd := exec.Command(filepath.Join(bin, "rbee-queen"), "--server", a.addr.NATS, "--data-dir", dir, "--http", q.http, "--route", route, "--name", "q-"+route)
	cmd.Env = env(a.dir)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	q.pid = cmd.Process.Pid
	b.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	return q
}
