package catalog

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const (
	maxTries   = 4                      // to find out what a reference stands for
	firstPause = 500 * time.Millisecond // between two of them; it doubles
	maxPause   = 30 * time.Second       // that a source may ask for; of more the user is told at once
)

// ask has v say what ref stands for. A source that is busy or broken, or cuts its answers, is asked again, and that is
// said. One that cannot be reached, or is silent, is not waited for: what is here has to work without a network.
func ask(ctx context.Context, v vendor.Vendor, ref string, w Watcher) (*vendor.Artifact, error) {
	w.step(Step{Text: "asking " + v.Name() + " for " + messages.Shown(ref)})
	for try := 1; ; try++ {
		a, err := v.Resolve(ctx, ref)
		d, ok := pause(err, try)
		if end, limited := ctx.Deadline(); !ok || limited && time.Until(end) < d {
			return a, err
		}
		w.say("%s; asking again in %s", messages.AsError(err, opResolve).Message, d.Round(100*time.Millisecond))
		timer := time.NewTimer(d)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
}

// pause is how long to wait after err, which was that of the given try; ok is false if another one is of no use.
func pause(err error, try int) (d time.Duration, ok bool) {
	if err == nil || try >= maxTries {
		return 0, false
	}
	if e, is := errors.AsType[*vendor.StatusError](err); is && !vendor.Temporary(e) ||
		!is && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
		return 0, false
	}
	asked := vendor.Wait(err)
	return max(asked, firstPause<<(try-1)) + rand.N(firstPause), asked <= maxPause
}
