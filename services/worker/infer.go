package worker

import (
	"context"
	"errors"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/worker/engine"
)

// Infer answers one request; HTTP and bus both end here. The worker admits or refuses: while it loads
// or drains the error is [messages.CodeUnavailable], without a free slot [messages.CodeBusy].
func (w *Worker) Infer(ctx context.Context, req *messages.InferRequest, prefill func(done, total int), emit func([]byte) error) (messages.Usage, error) {
	if err := req.Check(); err != nil {
		return messages.Usage{}, err
	}
	if err := w.admit(req); err != nil {
		return messages.Usage{}, err
	}
	defer w.finish()
	u, err := w.engine.Infer(ctx, engine.Request{ID: req.ID, Model: req.Model, Task: req.Task, Stream: req.Stream, Body: req.Body, Prefill: prefill}, emit)
	if err != nil && ctx.Err() != nil {
		err = whyEnded(ctx)
	}
	return messages.Usage{PromptTokens: u.PromptTokens, CompletionTokens: u.CompletionTokens, CachedTokens: u.CachedTokens}, err
}

// whyEnded is the cause that was given, such as the worker's stop; without one the reader is gone.
func whyEnded(ctx context.Context) error {
	err := context.Cause(ctx)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return messages.Errorf(messages.CodeTimeout, messages.OpInfer, "the deadline passed: %w", err)
	case errors.Is(err, context.Canceled):
		return messages.Errorf(messages.CodeCancelled, messages.OpInfer, "the reader is gone: %w", err)
	default:
		return err
	}
}

func (w *Worker) admit(req *messages.InferRequest) error {
	info := w.Info()
	if !info.Serves(req.Model) {
		return messages.Errorf(messages.CodeModelUnknown, messages.OpInfer, "worker %s serves %s, not %q", info.ID, info.ModelID, req.Model)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.statusNow(); s != messages.StatusReady {
		return messages.Errorf(messages.CodeUnavailable, messages.OpInfer, "worker %s is %s", info.ID, s)
	}
	if w.paused {
		return messages.Errorf(messages.CodeUnavailable, messages.OpInfer, "worker %s renews its credentials", info.ID)
	}
	w.running.Add(1) // under the lock: drain sets the status first, then waits
	w.inFlight.Add(1)
	return nil
}

func (w *Worker) finish() {
	w.inFlight.Add(-1)
	w.running.Done()
	w.BeatNow()
}
