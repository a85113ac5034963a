// Package contract is the worker contract over HTTP, as docs/openapi/worker.yaml describes it.
package contract

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rbee-project/rbee/messages"
)

// Worker is what the contract needs. *worker.Worker has it.
type Worker interface {
	Health() error
	Info() messages.WorkerInfo
	BeatNow()
	Infer(ctx context.Context, req *messages.InferRequest, prefill func(done, total int), emit func([]byte) error) (messages.Usage, error)
}

// maxBody bounds a request's body in bytes.
const maxBody = 16 << 20

// Serve answers on ln until ctx ends; then requests that still run end with its cause, and have a
// second to say so.
func Serve(ctx context.Context, ln net.Listener, w Worker, log *slog.Logger) error {
	srv := &http.Server{Handler: Handler(w), ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		c, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if srv.Shutdown(c) != nil {
			_ = srv.Close()
		}
	}()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve http: %w", err)
	}
	<-stopped
	return nil
}

// Handler is the contract's five paths.
func Handler(w Worker) http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range routes(w) {
		mux.Handle(pattern, h)
	}
	return guard(mux)
}

func routes(w Worker) map[string]http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(gauges{w})
	return map[string]http.Handler{
		"GET /health": http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			if err := w.Health(); err != nil {
				writeJSON(rw, http.StatusServiceUnavailable, map[string]string{"status": "unavailable", "reason": messages.AsError(err, "health").Message})
				return
			}
			writeJSON(rw, http.StatusOK, map[string]string{"status": "ok"})
		}),
		"GET /info": http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { writeJSON(rw, http.StatusOK, w.Info()) }),
		"POST /heartbeat": http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			w.BeatNow()
			writeJSON(rw, http.StatusAccepted, messages.Done{Versioned: messages.Versioned{V: messages.Major}, OK: true})
		}),
		"POST /v1/infer": http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { infer(w, rw, r) }),
		"GET /metrics":   promhttp.HandlerFor(reg, promhttp.HandlerOpts{}),
	}
}

// guard refuses pages of the web: what comes across origins, and what reaches this machine's
// loopback by a name that is not its own (a page may have its name resolve to 127.0.0.1).
func guard(next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		writeError(rw, messages.Errorf(messages.CodeDenied, "http", "a page of another origin may not use this port"))
	}))
	next = origins.Handler(next)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		at, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
		if at != nil && at.IP.IsLoopback() && !loopback(r.Host) {
			writeError(rw, messages.Errorf(messages.CodeDenied, "http", "host %q is not this machine's loopback", r.Host))
			return
		}
		next.ServeHTTP(rw, r)
	})
}

func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || (ip != nil && ip.IsLoopback())
}

func infer(w Worker, rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxBody))
	if err != nil {
		writeError(rw, messages.Errorf(messages.CodeBadRequest, messages.OpInfer, "cannot read the body: %w", err))
		return
	}
	var req messages.InferRequest
	if err := json.Unmarshal(body, &req); err != nil {
		writeError(rw, messages.Errorf(messages.CodeBadRequest, messages.OpInfer, "the body is not the JSON that was expected: %w", err))
		return
	}
	if req.V > messages.Major {
		writeError(rw, messages.Errorf(messages.CodeWrongVersion, messages.OpInfer, "request of version %d, this rbee speaks %d", req.V, messages.Major))
		return
	}
	if err := req.Check(); err != nil {
		writeError(rw, messages.AsError(err, messages.OpInfer))
		return
	}
	if req.Stream {
		stream(r.Context(), w, rw, &req)
		return
	}
	var whole []byte
	_, err = w.Infer(r.Context(), &req, nil, func(o []byte) error { whole = append(whole[:0], o...); return nil })
	if err != nil {
		writeError(rw, messages.AsError(err, messages.OpInfer))
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	_, _ = rw.Write(whole)
}

// keepAliveEvery is how often a stream that waits for its first token says that it lives.
const keepAliveEvery = time.Second

// stream writes server-sent events: "data:" lines are OpenAI-shaped chunks; "event: end" with the
// counts is the end of a complete answer, "event: error" of one that is not. Comments say how far
// the prompt is.
func stream(ctx context.Context, w Worker, rw http.ResponseWriter, req *messages.InferRequest) {
	e := &events{w: rw, flush: http.NewResponseController(rw)}
	stop := e.keepAlive()
	var frames uint64
	usage, err := w.Infer(ctx, req, e.prefill, func(o []byte) error { frames++; return e.write("", o) })
	stop()
	if err != nil {
		if !e.started {
			writeError(rw, messages.AsError(err, messages.OpInfer))
			return
		}
		data, _ := json.Marshal(messages.AsError(err, messages.OpInfer))
		_ = e.write("error", data)
		return
	}
	data, _ := json.Marshal(messages.StreamEnd{Versioned: messages.Versioned{V: messages.Major}, Frames: frames, Usage: usage})
	_ = e.write("end", data)
}

// events is shared by the answer and its keep-alives.
type events struct {
	mu          sync.Mutex
	w           http.ResponseWriter
	flush       *http.ResponseController
	started     bool
	last        time.Time
	done, total int
}

func (e *events) prefill(done, total int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.done, e.total = done, total
}

func (e *events) write(event string, data []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var b []byte
	if event != "" {
		b = append(append(append(b, "event: "...), event...), '\n')
	}
	return e.send(append(append(append(b, "data: "...), data...), "\n\n"...))
}

func (e *events) send(b []byte) error {
	if !e.started {
		e.started = true
		e.w.Header().Set("Content-Type", "text/event-stream")
		e.w.Header().Set("Cache-Control", "no-cache")
	}
	e.last = time.Now()
	if _, err := e.w.Write(b); err != nil {
		return messages.Errorf(messages.CodeCancelled, messages.OpInfer, "the reader is gone: %w", err)
	}
	return e.flush.Flush()
}

// keepAlive writes a comment for every second of silence.
func (e *events) keepAlive() (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(keepAliveEvery)
		defer t.Stop()
		for {
			select {
			case <-quit:
				return
			case <-t.C:
				e.mu.Lock()
				if time.Since(e.last) >= keepAliveEvery {
					_ = e.send(fmt.Appendf(nil, ": prefill %d/%d\n\n", e.done, e.total))
				}
				e.mu.Unlock()
			}
		}
	}()
	return func() { close(quit); <-done }
}

func writeError(rw http.ResponseWriter, e *messages.Error) {
	writeJSON(rw, e.Code.HTTPStatus(), map[string]any{"error": e})
}

func writeJSON(rw http.ResponseWriter, status int, v any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(v)
}

// gauges shows the worker's info to Prometheus when somebody scrapes.
type gauges struct{ w Worker }

// Describe sends nothing: the set is checked when it is collected.
func (gauges) Describe(chan<- *prometheus.Desc) {}

// Collect sends the worker's load.
func (g gauges) Collect(out chan<- prometheus.Metric) {
	i := g.w.Info()
	for name, v := range map[string]float64{
		"rbee_worker_slots_total": float64(i.SlotsTotal), "rbee_worker_slots_used": float64(i.SlotsUsed),
		"rbee_worker_tokens_per_second": i.TokensPerSecond, "rbee_worker_decode_steps": float64(i.Steps),
	} {
		d := prometheus.NewDesc(name, "See docs/openapi/worker.yaml, GET /info.", nil, nil)
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
}
