package download

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const (
	maxWrong = 3         // answers in a row of one stream that make no sense
	maxWhole = 3         // whole files in a row that one stream gets for a range, of a source that gave ranges
	maxVain  = 20        // tries in a row of one stream that broke off or stalled and brought nothing new
	maxAsked = time.Hour // that servers may have us wait without a byte
	sayAfter = 5         // failures of one stream in a row are said,
	sayEvery = time.Minute
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
	return messages.Errorf(messages.CodeUnavailable, "fetch", "the source %w", fmt.Errorf("%w: "+format, append([]any{vendor.ErrRange}, args...)...))
}

// mayRetry is nil if st may try again after err, else what ends the download.
func (t *transfer) mayRetry(st *stream, err error) error {
	defer t.flush()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = err
	if own, ok := errors.AsType[*ownError](err); ok {
		return own.err
	}
	vain := st.vain
	switch _, broken := errors.AsType[*readError](err); {
	case errors.Is(err, errStalled):
		if !t.saidStall {
			t.saidStall = true
			t.note("a stream got no byte for %v: asking anew", t.spec.Stall)
		}
	case errors.Is(err, vendor.ErrRange):
		if st.wrong++; st.wrong >= maxWrong {
			return err
		}
	case broken && messages.CodeOf(err) == messages.CodeInternal: // a foreign reader's; the network is the cause
		vain = st.fails
	case !vendor.Temporary(err):
		return err
	default:
		t.leaveFor(vendor.Wait(err))
	}
	if st.fails >= sayAfter && (t.saidWhy.IsZero() || time.Since(t.saidWhy) >= sayEvery) {
		t.saidWhy = time.Now()
		t.note("trying again: %v", err)
	}
	if vain >= maxVain {
		return t.gaveUp("%d tries in a row brought nothing new: %w", vain, err)
	}
	return nil
}

// note has [transfer.flush] say something. t.mu is held, under which nobody is told anything: who is told may
// take his time.
func (t *transfer) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

func (t *transfer) flush() {
	t.mu.Lock()
	notes := t.notes
	t.notes = nil
	t.mu.Unlock()
	for _, text := range notes {
		t.tell.say("%s", text)
	}
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
	t.note("waiting %d s: the server asks for it", (d+time.Second-1)/time.Second)
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
