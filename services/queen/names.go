package queen

import (
	"context"
	"slices"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/queen/router"
)

// named answers requests for models by any of their names.
type named struct{ q *Queen }

// Infer is the router's, for the public name of the model that is asked for.
func (n named) Infer(ctx context.Context, req *messages.InferRequest) (*router.Answer, error) {
	if q := n.q; !q.dispatcher.Serves(req.Model) {
		if err := q.awaitReady(ctx); err != nil {
			return nil, err
		}
		q.awaitModel(ctx, req.Model)
		if name := q.alias(req.Model); name != req.Model {
			other := *req
			other.Model = name
			req = &other
		}
	}
	return n.q.router.Infer(ctx, req)
}

// alias is the public name of the model that ref is another name of at some hive; ref itself if it is none.
func (q *Queen) alias(ref string) string {
	for _, h := range q.registry.Hives() {
		if slices.Contains(h.Models, ref) {
			return ref
		}
		if id, ok := h.Aliases[ref]; ok {
			return id
		}
	}
	return ref
}

// has says whether a hive has a model by that name or reference, and what it calls it.
func has(h *messages.HiveInfo, ref string) (id string, ok bool) {
	if slices.Contains(h.Models, ref) {
		return ref, true
	}
	id, ok = h.Aliases[ref]
	return id, ok
}

// knowsModel says whether anybody serves or has a model by that name or reference.
func (q *Queen) knowsModel(ref string) bool {
	if slices.Contains(q.models(), ref) {
		return true
	}
	return slices.ContainsFunc(q.registry.Hives(), func(h messages.HiveInfo) bool { _, ok := h.Aliases[ref]; return ok })
}
