package router

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// A request that nothing is heard of for askAfter has its worker asked over HTTP; if that says nothing
// within askFor either, the worker is frozen or cut off, and the request ends.
const (
	askAfter = 2 * time.Second
	askFor   = 1800 * time.Millisecond
)

// quiet watches one request to a worker's HTTP port. An answer that is not streamed is silent until it
// is complete, so silence alone proves nothing.
type quiet struct {
	last  atomic.Int64 // when something was heard, in nanoseconds since began
	began time.Time
	timer *time.Timer
	over  atomic.Bool
}

// watch has give end the request with [messages.CodeStalled] when its worker falls silent.
func (d *Direct) watch(w *messages.WorkerInfo, give context.CancelCauseFunc) *quiet {
	q := &quiet{began: time.Now()}
	info := *w
	q.timer = time.AfterFunc(askAfter, func() {
		idle := time.Since(q.began) - time.Duration(q.last.Load())
		if idle >= askAfter && !d.answers(&info) {
			give(messages.Errorf(messages.CodeStalled, messages.OpInfer, "nothing from worker %s for %s", info.ID, (idle + askFor).Round(time.Second)))
			return
		}
		if idle >= askAfter {
			idle = 0
		}
		if !q.over.Load() { // stopped while the worker was asked
			q.timer.Reset(askAfter - idle)
		}
	})
	return q
}

func (q *quiet) heard() { q.last.Store(int64(time.Since(q.began))) }

func (q *quiet) stop() { q.over.Store(true); q.timer.Stop() }

// answers asks the worker's GET /health, once for all requests that want to know. Any answer will do,
// and so will a refusal: who has closed his port may still be finishing what he has.
func (d *Direct) answers(w *messages.WorkerInfo) bool {
	ok, _, _ := d.asking.Do(w.Incarnation, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), askFor)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address(w, "/health"), http.NoBody)
		if err != nil {
			return false, err
		}
		resp, err := d.client.Do(req)
		if err != nil {
			return !errors.Is(err, context.DeadlineExceeded), nil
		}
		return true, resp.Body.Close()
	})
	yes, _ := ok.(bool)
	return yes
}

// Info asks the worker's GET /info: the queen's probe of this route.
func (d *Direct) Info(ctx context.Context, w *messages.WorkerInfo) (*messages.WorkerInfo, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address(w, "/info"), http.NoBody)
	if err != nil {
		return nil, messages.Errorf(messages.CodeInternal, messages.OpInfo, "%w", err)
	}
	resp, err := d.client.Do(req)
	if err != nil {
		code := messages.CodeUnavailable
		if errors.Is(err, context.DeadlineExceeded) {
			code = messages.CodeTimeout
		}
		return nil, messages.Errorf(code, messages.OpInfo, "worker %s over HTTP: %w", w.ID, err)
	}
	defer resp.Body.Close()
	return readInfo(resp)
}

func readInfo(resp *http.Response) (*messages.WorkerInfo, error) {
	info := &messages.WorkerInfo{}
	data, err := io.ReadAll(io.LimitReader(resp.Body, messages.MaxPayload))
	if err == nil && resp.StatusCode == http.StatusOK {
		err = json.Unmarshal(data, info)
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, messages.Errorf(messages.CodeUnavailable, messages.OpInfo, "it is no worker's answer: %s", resp.Status)
	}
	return info, nil
}
