// Package gateway is the queen's HTTP port: OpenAI's API, health and metrics.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/queen/metrics"
	"github.com/rbee-project/rbee/services/queen/router"
)

// Inferer answers requests. *router.Router is one.
type Inferer interface {
	Infer(ctx context.Context, req *messages.InferRequest) (*router.Answer, error)
}

// Config of a Gateway.
type Config struct {
	Infer  Inferer
	Models func() []string // public names that can be asked for
	// Name is the public name of what a request calls a model, which may be a reference; nil: every name is public.
	Name    func(ref string) string
	Health  func() Health
	Metrics *metrics.Metrics
	Log     *slog.Logger
}

// Health is what GET /health says: 200 unless Status is [Unavailable].
type Health struct {
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// Degraded means that requests are served, and something else does not work.
const (
	OK          = "ok"
	Degraded    = "degraded"
	Unavailable = "unavailable"
)

// Gateway serves HTTP. It is safe for concurrent use.
type Gateway struct {
	cfg   Config
	began time.Time
	life  context.Context // ends when answers that still run are broken off
	end   context.CancelCauseFunc
}

// New returns a Gateway that does not listen yet.
func New(cfg Config) *Gateway {
	g := &Gateway{cfg: cfg, began: time.Now()}
	g.life, g.end = context.WithCancelCause(context.Background())
	return g
}

// finishFor is how long requests may go on when the queen stops.
const finishFor = 5 * time.Second

// Serve answers on ln until ctx ends, then lets requests finish for 5 s. What still runs then is told so,
// by an error event where it streams.
func (g *Gateway) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{Handler: g.Handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(g.cfg.Log.Handler(), slog.LevelDebug)}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		c, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishFor+time.Second)
		defer cancel()
		defer time.AfterFunc(finishFor, func() {
			g.end(messages.Errorf(messages.CodeUnavailable, messages.OpInfer, "the queen is stopping"))
		}).Stop()
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

// Handler is the whole port.
func (g *Gateway) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", g.health)
	mux.Handle("GET /metrics", g.cfg.Metrics.Handler())
	mux.HandleFunc("GET /v1/models", g.models)
	mux.HandleFunc("GET /v1/models/{model...}", g.model)
	mux.HandleFunc("POST /v1/chat/completions", g.infer(messages.TaskChat))
	mux.HandleFunc("POST /v1/completions", g.infer(messages.TaskCompletion))
	mux.HandleFunc("POST /v1/embeddings", g.infer(messages.TaskEmbedding))
	mux.HandleFunc("POST /v1/rerank", g.infer(messages.TaskRerank))
	mux.HandleFunc("POST /tokenize", g.infer(messages.TaskTokenize))
	mux.HandleFunc("POST /detokenize", g.infer(messages.TaskDetokenize))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, messages.Errorf(messages.CodeNotFound, "http", "no %s %s", r.Method, r.URL.Path).
			WithHint("POST /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/rerank, /tokenize, /detokenize, GET /v1/models, /health, /metrics"))
	})
	return guard(mux)
}

// guard refuses a Host or an Origin that is not this machine's loopback: a page of the web that had
// its name resolve to 127.0.0.1 must not reach the port.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !loopback(r.Host) {
			writeError(w, messages.Errorf(messages.CodeDenied, "http", "host %q is not this machine's loopback", r.Host))
			return
		}
		if o := r.Header.Get("Origin"); o != "" {
			u, err := url.Parse(o)
			if err != nil || !loopback(u.Host) {
				writeError(w, messages.Errorf(messages.CodeDenied, "http", "origin %q may not use this port", o))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func (g *Gateway) health(w http.ResponseWriter, _ *http.Request) {
	h, status := g.cfg.Health(), http.StatusOK
	if h.Status == Unavailable {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, h)
}

// model is one entry of OpenAI's model list.
type model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

func (g *Gateway) entry(id string) model {
	return model{ID: id, Object: "model", Created: g.began.Unix(), OwnedBy: "rbee"}
}

func (g *Gateway) models(w http.ResponseWriter, _ *http.Request) {
	list := []model{}
	for _, id := range g.cfg.Models() {
		list = append(list, g.entry(id))
	}
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": list})
}

func (g *Gateway) model(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("model")
	if g.cfg.Name != nil {
		name = g.cfg.Name(name)
	}
	if slices.Contains(g.cfg.Models(), name) {
		writeJSON(w, http.StatusOK, g.entry(name))
		return
	}
	writeError(w, messages.Errorf(messages.CodeModelUnknown, "models", "no model %q", r.PathValue("model")))
}
