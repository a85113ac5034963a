package download

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const (
	maxWrong = 3         // answers in a row that make no sense
	maxVain  = 20        // tries in a row of one stream whose bytes were all there already, or made no sense
	maxAsked = time.Hour // that servers may have us wait without a byte
)

// readError is a body that broke off.
type readError struct{ err error }

func (e *readError) Error() string { return "the transfer broke off: " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// ownError is a failure of this machine, or of who asked for the download: no other try helps.
type ownError struct{ err error }

func (e *ownError) Error() string { return e.err.Error() }

// wrongAnswer is an answer that does not fit its request, as [vendor.Open] words it.
func wrongAnswer(format string, args ...any) error {
	return messages.Errorf(messages.CodeUnavailable, "fetch", "the source answered a range wrongly: "+format, args...)
}

// isWrong says whether err is of that kind: the source answered, with success, and it makes no sense.
func isWrong(err error) bool {
	e, ok := errors.AsType[*messages.Error](err)
	if !ok || e.Code != messages.CodeUnavailable || e.Op != "fetch" {
		return false
	}
	_, refused := errors.AsType[*vendor.StatusError](err)
	_, broken := errors.AsType[net.Error](err)
	return !broken && !refused
}

// mayRetry is nil if a stream may try again after err, its fails-th failure in a row, else what ends the
// download.
func (t *transfer) mayRetry(err error, fails int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = err
	if own, ok := errors.AsType[*ownError](err); ok {
		return own.err
	}
	switch broken, ok := errors.AsType[*readError](err); {
	case errors.Is(err, errStalled):
		if !t.saidStall {
			t.saidStall = true
			t.tell.say("a stream got no byte for %v: asking anew", t.spec.Stall)
		}
		return nil
	case isWrong(err):
		if t.wrong++; t.wrong >= maxWrong {
			return err
		}
		return nil
	case ok && messages.CodeOf(err) == messages.CodeInternal: // a foreign reader's; the network is the cause
		if fails >= maxVain {
			return t.gaveUp("%d tries in a row brought nothing new: %w", fails, broken.err)
		}
		return nil
	case !vendor.Temporary(err):
		return err
	}
	t.leaveFor(vendor.Wait(err))
	return nil
}

// leaveFor keeps all streams from asking for d. t.mu is held.
func (t *transfer) leaveFor(d time.Duration) {
	until := time.Now().Add(d)
	if d <= 0 || until.Before(t.asked.Add(time.Second)) {
		return
	}
	if at := t.lastByte.Load(); at != t.askedAt {
		t.askedAt, t.askedSum = at, 0
	}
	t.askedSum += d
	t.asked = until
	t.tell.say("waiting %d s: the server asks for it", (d+time.Second-1)/time.Second)
}

// leaveAlone waits as long as the server asked for.
func (t *transfer) leaveAlone(ctx context.Context) error {
	for {
		t.mu.Lock()
		d := time.Until(t.asked)
		t.mu.Unlock()
		if d <= 0 {
			return nil
		}
		if err := sleep(ctx, d+rand.N(t.spec.Backoff)); err != nil { // not all at once
			return err
		}
	}
}

// backoff is a random time up to a bound that doubles ("full jitter", AWS Architecture Blog 2015).
func (t *transfer) backoff(fails int) time.Duration {
	bound := t.spec.Backoff << min(fails-1, 20)
	if bound <= 0 || bound > t.spec.MaxBackoff {
		bound = t.spec.MaxBackoff
	}
	return rand.N(bound)
}

// patient is nil while there is hope, else the error that ends the download.
func (t *transfer) patient() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	deadline := t.begun.Add(time.Duration(t.lastByte.Load()) + t.spec.Patience)
	if t.askedSum <= maxAsked {
		if d := t.asked.Add(t.spec.Patience); d.After(deadline) {
			deadline = d
		}
	}
	if time.Now().Before(deadline) {
		return nil
	}
	last := t.last
	if last == nil {
		last = errStalled
	}
	return t.gaveUp("no byte came for %v: %w", t.spec.Patience, last)
}

// gaveUp says what is kept. t.mu is held.
func (t *transfer) gaveUp(format string, args ...any) error {
	return messages.Errorf(messages.CodeUnavailable, op, format, args...).WithHint("%s; pull again to go on", keptText(t.seg.done, t.seg.size))
}

// throttle waits until n bytes more are within the limit.
func (t *transfer) throttle(ctx context.Context, n int) error {
	if t.limiter == nil {
		return nil
	}
	return sleep(ctx, t.limiter.ReserveN(time.Now(), n).Delay())
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
