package huggingface

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
	maxTries   = 4                      // of one request, while a reference is resolved
	firstPause = 500 * time.Millisecond // between two of them; it doubles
	maxPause   = 30 * time.Second       // that the hub may ask for; of more the user is told at once
)

// patiently tries ask again while the hub is busy or broken, or cuts its answers. Who cannot be reached, or is
// silent, is not waited for: what is here has to work without a network.
func (v *Vendor) patiently(ctx context.Context, ask func() error) error {
	for try := 1; ; try++ {
		err := ask()
		d, ok := pause(err, try, v.firstPause, v.maxPause)
		if end, limited := ctx.Deadline(); !ok || limited && time.Until(end) < d {
			return err
		}
		timer := time.NewTimer(d)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// pause is how long to wait after err, which was that of the given try, if the source asks for no more than most; ok
// is false if another one is of no use.
func pause(err error, try int, first, most time.Duration) (d time.Duration, ok bool) {
	if err == nil || try >= maxTries || !vendor.Temporary(err) {
		return 0, false
	}
	if _, ours := errors.AsType[*messages.Error](err); ours {
		return 0, false
	}
	if e, is := errors.AsType[net.Error](err); is && e.Timeout() {
		return 0, false
	}
	if e, is := errors.AsType[*net.OpError](err); is && (e.Op == "dial" || e.Op == "proxyconnect") {
		return 0, false
	}
	asked := vendor.Wait(err)
	d = max(asked, first<<(try-1))
	return d + rand.N(first), asked <= most
}
