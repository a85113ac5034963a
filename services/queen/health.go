package queen

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/queen/gateway"
	"github.com/rbee-project/rbee/services/queen/registry"
	"github.com/rbee-project/rbee/services/queen/router"
)

// troubles is what does not work with the store, by part.
type troubles struct {
	mu sync.Mutex
	by map[string]string
}

// set says how part is; first is true when it has just broken.
func (t *troubles) set(part string, err error) (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		delete(t.by, part)
		return false
	}
	if t.by == nil {
		t.by = map[string]string{}
	}
	_, was := t.by[part]
	t.by[part] = err.Error()
	return !was
}

func (t *troubles) has(part string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.by[part] != ""
}

// String says what does not work, "" if everything does.
func (t *troubles) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Values(t.by)), "; ")
}

func (q *Queen) troubleWith(part string) func(error) {
	return func(err error) {
		if q.store.set(part, err) {
			q.log.Warn("the store cannot be written; serving goes on", "error", err)
		}
	}
}

// health says whether requests can be served, and what is wrong if anything is: without a store, or while
// the bus is suspect, serving goes on.
func (q *Queen) health() gateway.Health {
	switch {
	case !q.conn.Connected():
		return gateway.Health{Status: gateway.Unavailable, Reason: "no connection to the bus"}
	case q.store.String() != "":
		return gateway.Health{Status: gateway.Degraded, Reason: "the store does not work: " + q.store.String()}
	}
	if mass := q.registry.BusSuspect(); mass != "" {
		return gateway.Health{Status: gateway.Degraded, Reason: "the bus is suspect: " + mass + "; nobody is given up"}
	}
	return gateway.Health{Status: gateway.OK}
}

// suspect takes a request's word that a worker took it and fell silent. While our own connection is down
// the silence may be ours.
func (q *Queen) suspect(w *messages.WorkerInfo, cause string) {
	if q.conn.Connected() {
		q.registry.Suspect(w.ID, w.Incarnation, cause)
	}
}

func (q *Queen) unreachable(w *messages.WorkerInfo, route, cause string) {
	if route == router.RouteBus && !q.conn.Connected() {
		return
	}
	by := registry.ByBus
	if route == router.RouteDirect {
		by = registry.ByDirect
	}
	q.registry.Failed(w.ID, w.Incarnation, by, cause)
}
