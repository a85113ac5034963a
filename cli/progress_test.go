package cli

import (
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/vbauerster/mpb/v8"
)

// A bar is drawn in a goroutine of mpb, which waits for nobody: what asks it for something waits for it.
func TestBarsAreDrawnWhileJobsSayMore(t *testing.T) {
	p := &progress{a: &app{}, bars: mpb.New(mpb.WithOutput(io.Discard), mpb.WithAutoRefresh(), mpb.WithRefreshRate(time.Millisecond))}
	var wg sync.WaitGroup
	for hive := range 4 {
		w := p.track(fmt.Sprintf("h%d: ", hive)).watcher()
		wg.Go(func() {
			for i := range int64(1000) {
				w.Tick(messages.JobTick{Text: fmt.Sprint("fetch ", i/10), Done: i % 10, Total: 10, Unit: "B"})
				if i%7 == 0 {
					w.Event(messages.JobEvent{State: messages.JobStep, Text: "copying from another hive"})
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		wg.Wait()
		p.done()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("a job that is shown as a bar hangs")
	}
}
