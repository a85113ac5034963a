package llamacpp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbee-project/rbee/services/worker"
)

// BenchmarkLlamaServer asks a worker and the llama-server that RBEE_LLAMA_SERVER names for the same,
// both over HTTP, in turns. Called by `make bench-llama-server`.
func BenchmarkLlamaServer(b *testing.B) {
	server := os.Getenv("RBEE_LLAMA_SERVER")
	if server == "" {
		b.Fatal("RBEE_LLAMA_SERVER is not set: make bench-llama-server")
	}
	const tokens, rounds = 96, 5
	path := large(b)
	for _, streams := range []int{1, 4, 8, 16} {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) {
			theirs, ours := startLlamaServer(b, server, path, streams), startWorker(b, path, streams)
			var their, our []float64
			for b.Loop() {
				for range rounds {
					their = append(their, httpRate(b, theirs+"/v1/completions", "%s", streams, tokens))
					our = append(our, httpRate(b, ours+"/v1/infer", `{"model":"m","task":"completion","stream":true,"body":%s}`, streams, tokens))
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(our), "tokens/s")
			b.ReportMetric(median(their), "llama-server-tokens/s")
			b.ReportMetric(median(our)/median(their), "ratio")
		})
	}
}

func startLlamaServer(b *testing.B, server, path string, slots int) string {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	ln.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, server, "-m", path, "-t", "1", "-tb", "1", "-np", strconv.Itoa(slots), "-c", strconv.Itoa(256*slots),
		"--host", "127.0.0.1", "--port", strconv.Itoa(port), "--no-warmup")
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cancel(); _ = cmd.Wait() })
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if r, err := http.Get(url + "/health"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return url
			}
		}
	}
	b.Fatal("llama-server does not come up")
	return ""
}

func startWorker(b *testing.B, path string, slots int) string {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	e := unloaded(b, Config{ModelPath: path, PublicName: "m", Slots: slots, ContextLength: 256})
	w, err := worker.New(worker.Config{ID: "w", Model: "m"}, e, ln, nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- w.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	for deadline := time.Now().Add(time.Minute); w.Health() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatal("the worker does not come up")
		}
	}
	return "http://" + ln.Addr().String()
}

// httpRate is the tokens a second of so many streams at once, from the first one's first token on.
func httpRate(b *testing.B, url, wrap string, streams, tokens int) float64 {
	b.Helper()
	var mu sync.Mutex
	var first, last time.Time
	n := 0
	var wg sync.WaitGroup
	for i := range streams {
		wg.Go(func() {
			body, _ := json.Marshal(map[string]any{"prompt": "stream " + strconv.Itoa(i), "max_tokens": tokens, "temperature": 0.8, "stream": true, "ignore_eos": true})
			r, err := http.Post(url, "application/json", strings.NewReader(fmt.Sprintf(wrap, body)))
			if err != nil {
				b.Error(err)
				return
			}
			defer r.Body.Close()
			lines := bufio.NewReader(r.Body)
			for {
				line, err := lines.ReadBytes('\n')
				if bytes.Contains(line, []byte(`"choices"`)) {
					mu.Lock()
					if n++; n == 1 {
						first = time.Now()
					}
					last = time.Now()
					mu.Unlock()
				}
				if err == io.EOF {
					return
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return float64(n) / last.Sub(first).Seconds()
}
