package queen

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// TestMassSilence: when all fall silent at once the bus is suspect, which is said; nobody is given up, and
// requests are still sent. As soon as they are heard it is over.
func TestMassSilence(t *testing.T) {
	t.Parallel()
	w := begin(t)
	var all []*fakeWorker
	for i := range 3 {
		f := w.ready(t, messages.WorkerID(fmt.Sprint("w", i)))
		f.mu.Lock()
		f.mute = true // its beats and answers get lost, what is sent to it arrives
		f.mu.Unlock()
		all = append(all, f)
	}
	heard := time.Now()
	w.healthIs(t, http.StatusOK, "3 of 3 workers fell silent")
	limit := time.NewTimer(time.Until(heard.Add(messages.LostAfter + 3*time.Second)))
	defer limit.Stop()
	for waiting := true; waiting; {
		changed := w.q.heard.wait()
		if n := w.q.registry.Count(); n != 3 {
			t.Fatalf("%d of 3 are left", n)
		}
		select {
		case <-changed:
		case <-limit.C:
			waiting = false
		}
	}
	if status, body := w.chat(deadline(t)); status != http.StatusOK {
		t.Errorf("a request meanwhile: %d %s", status, body)
	}
	for _, f := range all {
		f.beat(t, messages.StatusReady)
	}
	w.healthIs(t, http.StatusOK, `"ok"`)
}
