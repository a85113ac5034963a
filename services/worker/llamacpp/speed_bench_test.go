package llamacpp

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/gguf/bees"
	"github.com/rbee-project/rbee/services/worker/engine"
)

// large is a model of 100 million parameters in Q8_0, written once for all benchmarks.
func large(b *testing.B) string {
	b.Helper()
	path := filepath.Join(os.TempDir(), fmt.Sprintf("rbee-bench-%d-%s.gguf", os.Getpid(), bees.Large))
	if _, err := os.Stat(path); err != nil {
		if err := bees.WriteFile(path, bees.Large); err != nil {
			b.Fatal(err)
		}
	}
	b.Cleanup(func() { _ = os.Remove(path) })
	return path
}

// stream asks for tokens after a prompt of n tokens and says when each object came.
func stream(ctx context.Context, e *Engine, n, seed, tokens int) (at []time.Time, u engine.Usage, err error) {
	prompt := make([]int32, n)
	for i := range prompt {
		prompt[i] = int32(300 + (i*7+seed*131)%200)
	}
	body, _ := json.Marshal(map[string]any{"prompt": prompt, "temperature": 0.8, "seed": seed, "max_tokens": tokens, "ignore_eos": true})
	u, err = e.Infer(ctx, engine.Request{ID: "r", Model: "m", Task: "completion", Stream: true, Body: body}, func([]byte) error {
		at = append(at, time.Now())
		return nil
	})
	return at, u, err
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail for oneself
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// bareBatch decodes so many sequences with llama.cpp's simplest batched loop, and says how long the
// tokens after the prompts took.
func bareBatch(b *testing.B, s *session, cfg Config, streams, promptTokens, tokens int) time.Duration {
	ctx, err := llama.InitFromModel(s.model, contextParams(cfg, s.slotTokens, s.allF32))
	if err != nil {
		b.Fatal(err)
	}
	defer llama.Free(ctx)
	batch := llama.BatchInit(int32(max(promptTokens, streams)), 0, 1)
	defer llama.BatchFree(batch)
	chains := make([]llama.Sampler, streams)
	next := make([]llama.Token, streams)
	decode := func() {
		if code, err := llama.Decode(ctx, batch); err != nil || code != 0 {
			b.Fatalf("decode: %d, %v", code, err)
		}
	}
	for i := range chains {
		p := &completionParams(b, `{"prompt":"x","temperature":0.8,"ignore_eos":true}`).Sampling
		chains[i] = newChain(s, p, uint32(i))
		defer llama.SamplerFree(chains[i])
		_ = batch.Clear()
		for k := range promptTokens {
			_ = batch.Add(llama.Token(300+(k*7+i*131)%200), llama.Pos(k), []llama.SeqId{llama.SeqId(i)}, k == promptTokens-1)
		}
		decode()
		next[i] = llama.SamplerSample(chains[i], ctx, -1)
	}
	began := time.Now()
	for n := range tokens {
		_ = batch.Clear()
		for i, t := range next {
			_ = batch.Add(t, llama.Pos(promptTokens+n), []llama.SeqId{llama.SeqId(i)}, true)
		}
		decode()
		for i := range next {
			next[i] = llama.SamplerSample(chains[i], ctx, int32(i))
		}
	}
	return time.Since(began)
}

func median[T int | float64 | time.Duration](v []T) T {
	slices.Sort(v)
	return v[len(v)/2]
}

// BenchmarkDecode compares the engine's tokens a second with the bare batched loop's, in turns.
func BenchmarkDecode(b *testing.B) {
	const promptTokens, tokens, rounds = 16, 96, 5
	for _, streams := range []int{1, 4, 8, 16} {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) {
			e := loaded(b, Config{ModelPath: large(b), Slots: streams, ContextLength: 256})
			var ours, bares, perToken []float64
			for b.Loop() {
				for round := range rounds {
					took := bareBatch(b, e.session, e.cfg, streams, promptTokens, tokens)
					bares = append(bares, float64(streams*tokens)/took.Seconds())
					rate, used := decodeRate(b, e, streams, promptTokens, tokens, round)
					ours, perToken = append(ours, rate), append(perToken, used)
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(ours), "tokens/s")
			b.ReportMetric(median(bares), "bare-tokens/s")
			b.ReportMetric(median(ours)/median(bares), "ratio")
			b.ReportMetric(1000*median(perToken), "cpu-s/1000-tokens")
		})
	}
}

// decodeRate is the engine's tokens a second from the moment when all streams have their first.
func decodeRate(b *testing.B, e *Engine, streams, promptTokens, tokens, round int) (perSecond, cpuPerToken float64) {
	all := make([][]time.Time, streams)
	var wg sync.WaitGroup
	began := cpu()
	for i := range streams {
		wg.Go(func() {
			at, _, err := stream(b.Context(), e, promptTokens, 1000*round+i, tokens+1)
			if err != nil {
				b.Error(err)
			}
			all[i] = at
		})
	}
	wg.Wait()
	used := cpu() - began
	var first, last time.Time
	for _, at := range all {
		if t := at[0]; t.After(first) {
			first = t
		}
		if t := at[len(at)-1]; t.After(last) {
			last = t
		}
	}
	n := 0
	for _, at := range all {
		for _, t := range at {
			if t.After(first) {
				n++
			}
		}
	}
	return float64(n) / last.Sub(first).Seconds(), used.Seconds() / float64(streams*(tokens+1))
}

// BenchmarkPrefill compares how fast a prompt of 4,000 tokens is read.
func BenchmarkPrefill(b *testing.B) {
	const promptTokens = 4000
	e := loaded(b, Config{ModelPath: large(b), Slots: 1, ContextLength: 4096, CacheBytes: -1})
	var ours, bares []float64
	for b.Loop() {
		for round := range 3 {
			began := time.Now()
			if _, _, err := stream(b.Context(), e, promptTokens, round, 1); err != nil {
				b.Fatal(err)
			}
			ours = append(ours, promptTokens/time.Since(began).Seconds())
			bares = append(bares, promptTokens/barePrefill(b, e.session, e.cfg, promptTokens).Seconds())
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ours), "tokens/s")
	b.ReportMetric(median(bares), "bare-tokens/s")
	b.ReportMetric(median(ours)/median(bares), "ratio")
}

func barePrefill(b *testing.B, s *session, cfg Config, n int) time.Duration {
	ctx, err := llama.InitFromModel(s.model, contextParams(cfg, s.slotTokens, s.allF32))
	if err != nil {
		b.Fatal(err)
	}
	defer llama.Free(ctx)
	batch := llama.BatchInit(int32(chunkTokens), 0, 1)
	defer llama.BatchFree(batch)
	began := time.Now()
	for at := 0; at < n; at += chunkTokens {
		_ = batch.Clear()
		for k := at; k < min(n, at+chunkTokens); k++ {
			_ = batch.Add(llama.Token(300+k*7%200), llama.Pos(k), []llama.SeqId{0}, k == n-1)
		}
		if code, err := llama.Decode(ctx, batch); err != nil || code != 0 {
			b.Fatalf("decode: %d, %v", code, err)
		}
	}
	return time.Since(began)
}

// BenchmarkMixed reads a prompt of 4,000 tokens while six streams run and short requests come: the
// largest gap that a stream sees, and the TTFT of the short ones.
func BenchmarkMixed(b *testing.B) {
	const streams = 6
	e := loaded(b, Config{ModelPath: large(b), Slots: streams + 2, ContextLength: 4096, CacheBytes: -1})
	var gaps, quiet, firsts []time.Duration
	var long time.Duration
	for b.Loop() {
		ctx, cancel := context.WithCancel(b.Context())
		var mu sync.Mutex
		var reading bool
		var wg sync.WaitGroup
		for i := range streams {
			wg.Go(func() {
				last := time.Now()
				body := fmt.Appendf(nil, `{"prompt":[%d],"temperature":0.8,"ignore_eos":true}`, 300+i)
				_, _ = e.Infer(ctx, engine.Request{ID: "r", Model: "m", Task: "completion", Stream: true, Body: body}, func([]byte) error {
					mu.Lock()
					defer mu.Unlock()
					now := time.Now()
					if reading {
						gaps = append(gaps, now.Sub(last))
					} else {
						quiet = append(quiet, now.Sub(last))
					}
					last = now
					return nil
				})
			})
		}
		time.Sleep(2 * time.Second) // the streams run, and are measured alone
		set := func(v bool) { mu.Lock(); reading = v; mu.Unlock() }
		set(true)
		began, done := time.Now(), make(chan struct{})
		go func() {
			defer close(done)
			if _, _, err := stream(ctx, e, 4000, 5, 1); err != nil {
				b.Error(err)
			}
		}()
		for i := 0; ; i++ {
			at := time.Now()
			if got, _, err := stream(ctx, e, 20, 100+i, 1); err == nil {
				firsts = append(firsts, got[0].Sub(at))
			}
			select {
			case <-done:
			default:
				continue
			}
			break
		}
		long = time.Since(began)
		set(false)
		cancel()
		wg.Wait()
	}
	slices.Sort(firsts)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(slices.Max(gaps).Milliseconds()), "ms-largest-gap")
	b.ReportMetric(float64(median(gaps).Microseconds())/1000, "ms-gap-p50")
	b.ReportMetric(float64(median(quiet).Microseconds())/1000, "ms-gap-alone-p50")
	b.ReportMetric(float64(median(firsts).Milliseconds()), "ms-ttft-p50")
	b.ReportMetric(float64(firsts[len(firsts)*99/100].Milliseconds()), "ms-ttft-p99")
	b.ReportMetric(long.Seconds(), "s-long-prompt")
}
