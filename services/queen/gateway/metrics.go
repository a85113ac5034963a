package gateway

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rbee-project/rbee/messages"
)

// metrics is a registry of its own, so that several queens may live in one process.
type metrics struct {
	reg      *prometheus.Registry
	requests *prometheus.CounterVec
}

func newMetrics(counts func() map[string]float64) *metrics {
	m := &metrics{reg: prometheus.NewRegistry()}
	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rbee_requests_total",
		Help: "Requests that ended, by the way they came, task and error code (ok for none)."}, []string{"via", "task", "code"})
	m.reg.MustRegister(m.requests, gauges(counts))
	return m
}

func (m *metrics) request(via, task string, err error) {
	code := "ok"
	if err != nil {
		code = string(messages.CodeOf(err))
	}
	m.requests.WithLabelValues(via, task, code).Inc()
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.reg, promhttp.HandlerOpts{})
}

// gauges reads the queen's counts when somebody scrapes.
type gauges func() map[string]float64

// Describe sends nothing: the set is checked when it is collected.
func (gauges) Describe(chan<- *prometheus.Desc) {}

// Collect sends one gauge a count.
func (g gauges) Collect(out chan<- prometheus.Metric) {
	for name, v := range g() {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, "See docs/architecture.md.", nil, nil), prometheus.GaugeValue, v)
	}
}
