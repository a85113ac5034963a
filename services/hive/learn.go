package hive

import (
	"context"
	"slices"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog"
	"github.com/rbee-project/rbee/services/hive/catalog/peaks"
	"github.com/rbee-project/rbee/services/hive/catalog/plan"
	"github.com/rbee-project/rbee/services/hive/resident"
	"github.com/rbee-project/rbee/services/hive/spawn"
)

const (
	learnFirst = time.Second
	learnEvery = 30 * time.Second
)

// learn measures what a worker takes at most as long as this hive awaits its end, and notes it where it is
// more than the plan's sum. Only a machine without a GPU learns: there the process's memory is all of it.
func (h *Hive) learn(life context.Context, p spawn.Process, m *messages.Model, sum plan.Sum) {
	h.mu.Lock()
	gpu := slices.ContainsFunc(h.devices, func(d messages.Device) bool { return d.Kind == "gpu" })
	h.mu.Unlock()
	if gpu || m.Digest == "" || sum.Slots == 0 {
		return
	}
	key := peaks.Key{Digest: m.Digest, ContextLength: sum.ContextLength, Slots: sum.Slots, Device: catalog.CPU}
	h.watchers.Go(func() {
		known := max(sum.Total(), h.peak(key))
		for wait := learnFirst; ; wait = min(2*wait, learnEvery) {
			select {
			case <-life.Done():
				return
			case <-time.After(wait):
			}
			if !h.awaits(p) {
				return
			}
			now, err := resident.PeakBytes(p.PID)
			if err != nil || now <= known {
				continue // it has ended, or took no more
			}
			known = now
			if err := h.catalog.Peaks().Record(key, now); err != nil {
				h.log.Warn("peak memory not noted", "model", m.ID, "error", err)
			}
		}
	})
}

func (h *Hive) peak(key peaks.Key) uint64 {
	n, _ := h.catalog.Peaks().Get(key)
	return n
}

// awaits says whether the end of a process is awaited still.
func (h *Hive) awaits(p spawn.Process) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.watched[p]
	return ok
}
