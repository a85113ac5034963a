// Package metrics is what the queen counts, for Prometheus. Labels are bounded: codes, causes, kinds,
// operations and states that this program knows, never an id or a name out of a request.
package metrics

import (
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rbee-project/rbee/messages"
)

// Metrics of one queen, in a registry of their own: several queens may live in one process. It is safe
// for concurrent use.
type Metrics struct {
	reg                                                *prometheus.Registry
	requests, suspects, losses, retries, tokens, ended *prometheus.CounterVec
	beats, opened                                      prometheus.Counter
	queue, ttft, gap                                   prometheus.Histogram
}

// New returns Metrics that count from zero. gauges is read at every scrape.
func New(gauges func() map[string]float64) *Metrics {
	m := &Metrics{reg: prometheus.NewRegistry()}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.reg.MustRegister(c)
		return c
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		m.reg.MustRegister(c)
		return c
	}
	histogram := func(name, help string, from float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(from, 2, 18)})
		m.reg.MustRegister(h)
		return h
	}
	m.requests = vec("rbee_requests_total", "Requests that ended, by the way they came, task and error code (ok for none).", "via", "task", "code")
	m.retries = vec("rbee_retries_total", "Tries that failed before the first token and were made again, by error code.", "code")
	m.suspects = vec("rbee_worker_suspects_total", "Workers that became suspect, by what made them so.", "cause")
	m.losses = vec("rbee_worker_losses_total", "Workers that were lost, by how it was noticed.", "cause")
	m.tokens = vec("rbee_tokens_total", "Tokens of complete answers: prompt or completion.", "kind")
	m.ended = vec("rbee_jobs_ended_total", "Jobs that ended, by operation and state.", "op", "state")
	m.beats = counter("rbee_beats_total", "Workers' beats that were taken.")
	m.opened = counter("rbee_breaker_opened_total", "Times that a worker was set aside because requests kept failing there.")
	m.queue = histogram("rbee_queue_seconds", "From a request's arrival to its slot.", 0.0001)
	m.ttft = histogram("rbee_ttft_seconds", "From a request's arrival to its first token.", 0.001)
	m.gap = histogram("rbee_inter_token_seconds", "Between two pieces of a streamed answer.", 0.0005)
	m.reg.MustRegister(collector(gauges))
	return m
}

// Handler is GET /metrics.
func (m *Metrics) Handler() http.Handler { return promhttp.HandlerFor(m.reg, promhttp.HandlerOpts{}) }

// Request counts one that ended; via is "http" or "bus".
func (m *Metrics) Request(via, task string, err error) {
	code := "ok"
	if err != nil {
		code = known(messages.CodeOf(err))
	}
	if !slices.Contains(messages.Tasks, task) {
		task = "other" // a bus client may write anything
	}
	m.requests.WithLabelValues(via, task, code).Inc()
}

// known is a code as a label: a worker may send any.
func known(c messages.Code) string {
	if !c.Known() {
		return "other"
	}
	return string(c)
}

// Beat counts a beat.
func (m *Metrics) Beat() { m.beats.Inc() }

// Suspected counts a worker that became suspect: "silence", "disconnect" or "request".
func (m *Metrics) Suspected(cause string) { m.suspects.WithLabelValues(cause).Inc() }

// Lost counts a worker that was lost.
func (m *Metrics) Lost(cause string) { m.losses.WithLabelValues(cause).Inc() }

// Retried counts a try that failed and is made again.
func (m *Metrics) Retried(code messages.Code) { m.retries.WithLabelValues(known(code)).Inc() }

// Opened counts a breaker that opened.
func (m *Metrics) Opened() { m.opened.Inc() }

// Queued takes how long a request waited for its slot.
func (m *Metrics) Queued(d time.Duration) { m.queue.Observe(d.Seconds()) }

// FirstToken takes a request's TTFT.
func (m *Metrics) FirstToken(d time.Duration) { m.ttft.Observe(d.Seconds()) }

// NextToken takes the time between two pieces of an answer.
func (m *Metrics) NextToken(d time.Duration) { m.gap.Observe(d.Seconds()) }

// Answered counts the tokens of a complete answer.
func (m *Metrics) Answered(u messages.Usage) {
	m.tokens.WithLabelValues("prompt").Add(float64(max(0, u.PromptTokens)))
	m.tokens.WithLabelValues("completion").Add(float64(max(0, u.CompletionTokens)))
}

// JobEnded counts a job by its operation and last state.
func (m *Metrics) JobEnded(op string, state messages.JobState) {
	switch op {
	case messages.OpSpawn, messages.OpEnsure, messages.OpModelPull, messages.OpEngineInst:
	default:
		op = "other"
	}
	m.ended.WithLabelValues(op, string(state)).Inc()
}

// collector reads the queen's gauges when somebody scrapes.
type collector func() map[string]float64

// Describe sends nothing: the set is checked when it is collected.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends one gauge a count.
func (g collector) Collect(out chan<- prometheus.Metric) {
	for name, v := range g() {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, "See docs/architecture.md.", nil, nil), prometheus.GaugeValue, v)
	}
}
