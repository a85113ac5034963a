package llamacpp

import "github.com/rbee-project/rbee/messages"

// reserve takes a slot for a request; the loop says later which. The session may be read until the
// caller says readers.Done. Each slot taken must be released.
func (e *Engine) reserve() (*session, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.servesLocked(); err != nil {
		return nil, err
	}
	if e.taken >= e.cfg.Slots {
		return nil, messages.Errorf(messages.CodeBusy, "llamacpp.infer", "all %d slots are busy", e.cfg.Slots)
	}
	e.taken++
	e.readers.Add(1)
	return e.session, nil
}

// read lets the caller read the session, without a slot, until it says readers.Done.
func (e *Engine) read() (*session, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.servesLocked(); err != nil {
		return nil, err
	}
	e.readers.Add(1)
	return e.session, nil
}

func (e *Engine) servesLocked() error {
	switch e.phase {
	case ready:
		return nil
	case closed:
		return errClosed()
	default:
		return messages.Errorf(messages.CodeUnavailable, "llamacpp.infer", "the model is not loaded")
	}
}

// reserveMore takes up to n more slots, and says how many.
func (e *Engine) reserveMore(n int) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n = max(0, min(n, e.cfg.Slots-e.taken))
	e.taken += n
	return n
}

func (e *Engine) release(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.taken -= n
}

// submit hands a job, for which a slot is taken, to the loop.
func (e *Engine) submit(j *job) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.servesLocked(); err != nil {
		return err
	}
	e.arrivals = append(e.arrivals, j)
	e.poke()
	return nil
}

// send hands an errand to the loop.
func (e *Engine) send(work errand) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.servesLocked(); err != nil {
		return err
	}
	e.errands = append(e.errands, work)
	e.poke()
	return nil
}
