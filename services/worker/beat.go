package worker

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// beatGap is the least time between two beats: changes in between are told together.
const beatGap = 20 * time.Millisecond

// BeatNow has the beat loop publish at once.
func (w *Worker) BeatNow() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// beat is a goroutine of its own: a slow load or a long answer must not make it late.
func (w *Worker) beat(ctx context.Context) {
	defer w.beats.OnReconnect(w.BeatNow)()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
			w.publishBeat()
			select { // not faster than beatGap
			case <-ctx.Done():
				return
			case <-time.After(beatGap):
			}
		case <-timer.C:
			w.publishBeat()
		}
		timer.Reset(messages.HeartbeatEvery - time.Duration(rand.Int64N(int64(messages.HeartbeatEvery/10))))
	}
}

func (w *Worker) publishBeat() {
	w.seq++
	// An error means that the bus is down: the beat that follows the reconnect says everything.
	_ = w.beats.Publish(messages.HeartbeatSubject(w.cfg.ID), &messages.Heartbeat{Worker: w.Info(), Seq: w.seq, SentAt: time.Now().UTC()})
}

// goodbye is the last beat; the loop has ended.
func (w *Worker) goodbye() {
	w.setStatus(messages.StatusStopped)
	if w.beats == nil || !w.beats.Connected() {
		return
	}
	w.publishBeat()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = w.beats.Flush(ctx)
}

// watchBus ends a worker that nobody can reach any more, and renews its credentials.
func (w *Worker) watchBus(ctx context.Context) {
	every := time.Second
	if w.cfg.OrphanAfter > 0 {
		every = min(every, max(w.cfg.OrphanAfter/4, 10*time.Millisecond))
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	alone := time.Time{}
	renew := time.Now().Add(w.renewAfter)
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			switch {
			case w.beats.Connected():
				alone = time.Time{}
			case alone.IsZero():
				alone = now
			case w.cfg.OrphanAfter > 0 && now.Sub(alone) > w.cfg.OrphanAfter:
				w.log.Warn("no bus, stopping", "for", now.Sub(alone).Round(time.Second))
				w.Stop()
				return
			}
			if now.After(renew) && w.beats.Connected() {
				renew = now.Add(w.renew(ctx))
			}
		}
	}
}

// Times of a renewal.
const (
	lastHour   = time.Hour // of the credentials: nothing new is taken, so that the worker falls idle
	retryRenew = 10 * time.Minute
	renewWait  = 2 * time.Second // for the queen's answer, with requests held off
)

// renew has the queen sign the worker's key again and reconnects with it, when no request runs. It
// returns when to renew next.
func (w *Worker) renew(ctx context.Context) time.Duration {
	creds := w.beats.Credentials()
	expires := creds.Expires()
	ending := !expires.IsZero() && time.Until(expires) < lastHour
	if !w.pause(ending) {
		return 0
	}
	err := w.sign(ctx, creds)
	if err != nil {
		w.log.Warn("credentials not renewed", "expire", expires, "error", err)
		w.resume(ending)
		return retryRenew
	}
	for _, c := range []*bus.Conn{w.bulk, w.beats} {
		if err := c.Reconnect(); err != nil {
			w.log.Warn("reconnect with new credentials", "error", err)
		}
	}
	w.resume(false)
	return w.renewAfter
}

// pause holds new requests off if none runs, and says whether so; if ending, in any case.
func (w *Worker) pause(ending bool) (idle bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	idle = w.inFlight.Load() == 0
	w.paused = idle || ending
	return idle
}

func (w *Worker) resume(paused bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paused = paused
}

func (w *Worker) sign(ctx context.Context, creds *bus.Credentials) error {
	ctx, cancel := context.WithTimeout(ctx, renewWait)
	defer cancel()
	var r messages.SignReply
	err := w.beats.Request(ctx, messages.DoSubject(w.beats.Caller, messages.OpRenew),
		&messages.SignRequest{Worker: w.cfg.ID, PublicKey: creds.PublicKey()}, &r)
	if err != nil {
		return err
	}
	return creds.Renew(r.JWT)
}
