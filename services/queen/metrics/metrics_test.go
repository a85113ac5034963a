package metrics

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scrape is what GET /metrics says, by name and labels.
func scrape(t *testing.T, m *Metrics) map[string]string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	body, err := io.ReadAll(w.Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d: %s, %v", w.Code, body, err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(body)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			i := strings.LastIndex(line, " ")
			out[line[:i]] = line[i+1:]
		}
	}
	return out
}

// changed are the samples that do has changed, buckets left out.
func changed(t *testing.T, m *Metrics, do func()) map[string]string {
	t.Helper()
	before := scrape(t, m)
	do()
	after := scrape(t, m)
	for k, v := range after {
		if before[k] == v || strings.Contains(k, "_bucket{") {
			delete(after, k)
		}
	}
	return after
}

func none() map[string]float64 { return nil }

func TestEvents(t *testing.T) {
	busy := messages.Errorf(messages.CodeBusy, "infer", "full")
	for name, tc := range map[string]struct {
		do   func(m *Metrics)
		want map[string]string
	}{
		"requests": {func(m *Metrics) {
			m.Request("http", messages.TaskChat, nil)
			m.Request("http", messages.TaskChat, nil)
			m.Request("bus", messages.TaskCompletion, busy)
			m.Request("bus", messages.TaskChat, fmt.Errorf("wrapped: %w", busy))
			m.Request("http", messages.TaskChat, errors.New("foreign"))
		}, map[string]string{
			`rbee_requests_total{code="ok",task="chat",via="http"}`:        "2",
			`rbee_requests_total{code="busy",task="completion",via="bus"}`: "1",
			`rbee_requests_total{code="busy",task="chat",via="bus"}`:       "1",
			`rbee_requests_total{code="internal",task="chat",via="http"}`:  "1",
		}},
		"retries": {func(m *Metrics) {
			m.Retried(messages.CodeStalled)
			m.Retried(messages.CodeStalled)
			m.Retried(messages.CodeUnavailable)
		}, map[string]string{`rbee_retries_total{code="stalled"}`: "2", `rbee_retries_total{code="unavailable"}`: "1"}},
		"workers": {func(m *Metrics) {
			m.Suspected("silence")
			m.Lost("exit")
			m.Lost("exit")
			m.Beat()
			m.Beat()
			m.Beat()
			m.Opened()
		},
			map[string]string{`rbee_worker_suspects_total{cause="silence"}`: "1", `rbee_worker_losses_total{cause="exit"}`: "2",
				`rbee_beats_total`: "3", `rbee_breaker_opened_total`: "1"}},
		"tokens": {func(m *Metrics) {
			m.Answered(messages.Usage{PromptTokens: 3, CompletionTokens: 2})
			m.Answered(messages.Usage{PromptTokens: 4, CompletionTokens: -1})
			m.Answered(messages.Usage{PromptTokens: -9})
		}, map[string]string{`rbee_tokens_total{kind="prompt"}`: "7", `rbee_tokens_total{kind="completion"}`: "2"}},
		"jobs": {func(m *Metrics) {
			m.JobEnded(messages.OpSpawn, messages.JobSucceeded)
			m.JobEnded(messages.OpModelPull, messages.JobFailed)
			m.JobEnded(messages.OpModelPull, messages.JobFailed)
		}, map[string]string{
			fmt.Sprintf(`rbee_jobs_ended_total{op=%q,state="succeeded"}`, messages.OpSpawn):  "1",
			fmt.Sprintf(`rbee_jobs_ended_total{op=%q,state="failed"}`, messages.OpModelPull): "2"}},
		"times": {func(m *Metrics) {
			m.Queued(250 * time.Millisecond)
			m.Queued(0)
			m.FirstToken(2 * time.Second)
			m.NextToken(500 * time.Millisecond)
			m.NextToken(time.Hour)
		}, map[string]string{"rbee_queue_seconds_sum": "0.25", "rbee_queue_seconds_count": "2", "rbee_ttft_seconds_sum": "2", "rbee_ttft_seconds_count": "1",
			"rbee_inter_token_seconds_sum": "3600.5", "rbee_inter_token_seconds_count": "2"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := New(none)
			got := changed(t, m, func() { tc.do(m) })
			for k, v := range tc.want {
				if got[k] != v {
					t.Errorf("%s is %q, want %s", k, got[k], v)
				}
			}
			for k, v := range got {
				if tc.want[k] == "" && v != "0" {
					t.Errorf("%s is %s too", k, v)
				}
			}
		})
	}
}

// TestBuckets: each histogram reaches from where times are uninteresting to a minute or more.
func TestBuckets(t *testing.T) {
	m := New(none)
	m.Queued(250 * time.Microsecond)
	m.FirstToken(3 * time.Millisecond)
	m.NextToken(60 * time.Second)
	got := scrape(t, m)
	for k, want := range map[string]string{
		`rbee_queue_seconds_bucket{le="0.0002"}`: "0", `rbee_queue_seconds_bucket{le="0.0004"}`: "1",
		`rbee_ttft_seconds_bucket{le="0.002"}`: "0", `rbee_ttft_seconds_bucket{le="0.004"}`: "1",
		`rbee_inter_token_seconds_bucket{le="32.768"}`: "0", `rbee_inter_token_seconds_bucket{le="65.536"}`: "1",
	} {
		if got[k] != want {
			t.Errorf("%s is %q, want %s", k, got[k], want)
		}
	}
}

// TestLabelsAreBounded: what somebody else may write makes no series of its own.
func TestLabelsAreBounded(t *testing.T) {
	for name, do := range map[string]func(m *Metrics, word string){
		"task":      func(m *Metrics, word string) { m.Request("bus", word, nil) },
		"operation": func(m *Metrics, word string) { m.JobEnded(word, messages.JobSucceeded) },
		"code": func(m *Metrics, word string) {
			m.Request("bus", messages.TaskChat, &messages.Error{Code: messages.Code(word)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("panic: %v", p)
				}
			}()
			m := New(none)
			got := changed(t, m, func() {
				do(m, "")
				for n := range 100 {
					do(m, fmt.Sprintf("x%d", n))
				}
				do(m, "\xff\"\n{")
			})
			if len(got) != 1 {
				t.Errorf("%d series", len(got))
			}
			for k, v := range got {
				if (name == "task" || name == "operation") && !strings.Contains(k, `="other"`) || v != "102" {
					t.Errorf("%s is %s", k, v)
				}
			}
		})
	}
}

// TestGauges: they are read at each scrape, and each queen has its own.
func TestGauges(t *testing.T) {
	now := map[string]float64{"rbee_workers": 2, "rbee_hives": 0}
	m, other := New(func() map[string]float64 { return now }), New(none)
	if got := scrape(t, m); got["rbee_workers"] != "2" || got["rbee_hives"] != "0" {
		t.Errorf("got %v", got)
	}
	now = map[string]float64{"rbee_workers": 3.5}
	m.Beat()
	got := scrape(t, m)
	if _, stays := got["rbee_hives"]; got["rbee_workers"] != "3.5" || stays {
		t.Errorf("got %v", got)
	}
	if got := scrape(t, other); got["rbee_beats_total"] != "0" || slices.Contains(keys(got), "rbee_workers") {
		t.Errorf("another queen has %v", got)
	}
}

func keys(m map[string]string) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	return out
}

func TestSafeForConcurrentUse(t *testing.T) {
	m := New(none)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				m.Request("http", messages.TaskChat, nil)
				m.Queued(time.Millisecond)
				m.JobEnded(messages.OpSpawn, messages.JobFailed)
			}
			scrape(t, m)
		})
	}
	wg.Wait()
	if got := scrape(t, m); got[`rbee_requests_total{code="ok",task="chat",via="http"}`] != "800" || got["rbee_queue_seconds_count"] != "800" {
		t.Errorf("got %v", got)
	}
}
