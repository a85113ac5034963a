package hive

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/spawn"
)

// beginSpawn refuses when the hive stops, or when a process of this id has not ended: both would write
// the same log and take each other's credentials away. done ends what it began.
func (h *Hive) beginSpawn(id messages.WorkerID) (done func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopping {
		return nil, messages.Errorf(messages.CodeUnavailable, messages.OpSpawn, "hive %s is stopping", h.cfg.ID)
	}
	for p, other := range h.watched {
		if other == id {
			return nil, messages.Errorf(messages.CodeConflict, messages.OpSpawn, "worker %q is process %d of hive %s already", id, p.PID, h.cfg.ID)
		}
	}
	h.starting.Add(1)
	return h.starting.Done, nil
}

// await notes a process whose end is awaited; false if it was already.
func (h *Hive) await(p spawn.Process, id messages.WorkerID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, already := h.watched[p]; already {
		return false
	}
	h.watched[p] = id
	return true
}

func (h *Hive) unawait(p spawn.Process) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watched, p)
}

// StopWorkers ends every process whose end this hive awaits: those it has spawned, and those that the
// queen had it watch. Each finishes what it has, for grace at most. From now on nothing is spawned. When
// ctx ends they are killed at once.
func (h *Hive) StopWorkers(ctx context.Context, grace time.Duration) {
	h.mu.Lock()
	h.stopping = true
	h.mu.Unlock()
	stopSpawns := context.AfterFunc(ctx, h.callOff)
	h.starting.Wait() // each has its port or has ended within seconds
	stopSpawns()
	var all []spawn.Process
	h.mu.Lock()
	for p := range h.watched {
		all = append(all, p)
	}
	h.mu.Unlock()
	var wg sync.WaitGroup
	for _, p := range all {
		wg.Go(func() { h.end(ctx, p, grace) })
	}
	wg.Wait()
}

func (h *Hive) end(ctx context.Context, p spawn.Process, grace time.Duration) {
	err := spawn.Kill(ctx, p.PID, p.StartTime, grace)
	if messages.CodeOf(err) == messages.CodeCancelled { // waited long enough
		err = spawn.Kill(context.WithoutCancel(ctx), p.PID, p.StartTime, 0)
	}
	if err != nil && messages.CodeOf(err) != messages.CodeNotFound {
		h.log.Warn("worker not stopped", "pid", p.PID, "error", err)
	}
}

// watch reports the end of a process that an earlier life of this hive spawned. One that is watched already
// is not watched twice.
func (h *Hive) watch(life context.Context, r *messages.WatchRequest) (*messages.Done, error) {
	if err := messages.CheckID("worker id", string(r.Worker)); err != nil {
		return nil, err
	}
	t, err := spawn.StartTime(r.PID)
	if err != nil && messages.CodeOf(err) != messages.CodeNotFound {
		return nil, err // it cannot be told: the queen asks again
	}
	if err != nil || t != r.StartTime {
		return nil, messages.Errorf(messages.CodeNotFound, messages.OpWatch, "process %d is not worker %q", r.PID, r.Worker)
	}
	if !isWorker(r.PID, r.Worker) {
		return nil, messages.Errorf(messages.CodeNotFound, messages.OpWatch, "process %d is another program, not worker %q", r.PID, r.Worker)
	}
	p := spawn.Process{PID: r.PID, StartTime: r.StartTime}
	if !h.await(p, r.Worker) {
		return &messages.Done{OK: true}, nil
	}
	h.watchers.Go(func() {
		e, err := spawn.Watch(life, r.PID, r.StartTime)
		switch messages.CodeOf(err) {
		case "":
		case messages.CodeCancelled:
			return // the hive stops
		case messages.CodeNotFound, messages.CodeConflict: // it ended between the answer and the watch
			e = spawn.Exit{Process: p, Code: -1, At: time.Now().UTC()}
		default:
			h.log.Warn("worker cannot be watched", "worker", r.Worker, "error", err)
			h.unawait(p)
			return
		}
		e.StderrTail = spawn.Tail(h.logPath(r.Worker))
		h.forget(r.Worker)
		h.unawait(p) // before the report: who hears it may use the id again
		h.report(r.Worker, r.Incarnation, &e)
	})
	return &messages.Done{OK: true}, nil
}

// isWorker says whether a process may be worker id, by its command line, which the hive gave it: pid and
// start time come from a beat, and whoever holds a worker's credentials may write any there. Where the
// system does not tell it is believed.
func isWorker(pid int, id messages.WorkerID) bool {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil || len(line) == 0 {
		return true
	}
	return bytes.Contains(line, []byte("\x00--worker-id\x00"+string(id)+"\x00"))
}

// report tells everybody that a worker's process has ended. While the bus is down nobody hears it; when
// the hive is back the queen asks after each of its workers.
func (h *Hive) report(id messages.WorkerID, incarnation string, e *spawn.Exit) {
	x := &messages.WorkerExited{Worker: id, Incarnation: incarnation, Hive: h.cfg.ID, PID: e.PID, StartTime: e.StartTime,
		Code: e.Code, Signal: e.Signal, Stderr: e.StderrTail, RanMillis: e.After.Milliseconds(), At: e.At}
	h.log.Info("worker exited", "worker", id, "pid", e.PID, "code", e.Code, "signal", e.Signal)
	if err := h.conn.PublishJSON(messages.EventSubject("hive", string(h.cfg.ID), "worker.exited"), x); err != nil {
		h.log.Warn("exit report not sent; the queen will ask", "worker", id, "error", err)
	}
}
