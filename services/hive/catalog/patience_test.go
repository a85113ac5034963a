package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/huggingface"
	"github.com/rbee-project/rbee/services/hive/catalog/huggingface/fakehub"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// failing is a shelf that cannot say what is on it for the first times.
type failing struct {
	shelf
	err   error
	times int
	asked *int
}

func (f failing) Resolve(ctx context.Context, ref string) (*vendor.Artifact, error) {
	if *f.asked++; *f.asked <= f.times {
		return nil, messages.Errorf(messages.CodeUnavailable, "test", "it is busy: %w", f.err)
	}
	return f.shelf.Resolve(ctx, ref)
}

func limited(seconds int) error {
	return &vendor.StatusError{Status: http.StatusTooManyRequests, Header: http.Header{"Ratelimit": {fmt.Sprintf(`"api";r=0;t=%d`, seconds)}}}
}

// A source that is busy for a moment is asked again, and its user is told; it is asked no more than is of use.
func TestPatience(t *testing.T) {
	for name, tc := range map[string]struct {
		err          error
		times, asked int
		fails        bool
		least        time.Duration // that it takes
	}{
		"at once":      {nil, 0, 1, false, 0},
		"it says when": {limited(7), 1, 2, false, 7 * time.Second},
		"for a while":  {&vendor.StatusError{Status: 502}, maxTries - 1, maxTries, false, 7 * firstPause},
		"for long":     {&vendor.StatusError{Status: 502}, 99, maxTries, true, 7 * firstPause},
		"too long":     {limited(31), 99, 1, true, 0},
		"not there":    {&vendor.StatusError{Status: 404}, 99, 1, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked, said, began := 0, 0, time.Now()
				w := Watcher{Say: func(text string) {
					if said++; !strings.Contains(text, "it is busy") || !strings.Contains(text, "asking again in") {
						t.Errorf("said %q", text)
					}
				}}
				_, err := ask(t.Context(), failing{shelf{}, tc.err, tc.times, &asked}, "test:m", w)
				if (err != nil) != tc.fails || asked != tc.asked || said != tc.asked-1 {
					t.Errorf("%v; asked %d times, said %d times", err, asked, said)
				}
				if took := time.Since(began); took < tc.least || took > 2*tc.least {
					t.Errorf("it took %v, not %v", took, tc.least)
				}
			})
		})
	}
}

func TestPause(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"cut":           {fmt.Errorf("x: %w", io.ErrUnexpectedEOF), true},
		"reset":         {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, true},
		"nobody there":  {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, false},
		"no proxy":      {&net.OpError{Op: "proxyconnect", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}, false},
		"silent":        {context.DeadlineExceeded, false},
		"what we found": {messages.Errorf(messages.CodeUnavailable, "x", "x"), false},
		"nothing":       {nil, false},
		"anything":      {errors.New("x"), false},
	} {
		if d, ok := pause(tc.err, 1); ok != tc.want || ok && (d < firstPause || d >= 2*firstPause) {
			t.Errorf("%s: %v, %v", name, d, ok)
		}
	}
}

// Who is called off while it waits does not wait.
func TestCalledOffWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		asked := 0
		began := time.Now()
		time.AfterFunc(time.Second, cancel)
		if _, err := ask(ctx, failing{shelf{}, limited(20), 99, &asked}, "test:m", Watcher{}); !errors.Is(err, context.Canceled) || asked != 1 || time.Since(began) != time.Second {
			t.Errorf("%v after %v and %d tries", err, time.Since(began), asked)
		}
	})
}

// HuggingFace's answers, whichever of its requests they are to, are told so that it is asked again.
func TestABusyHubIsAskedAgain(t *testing.T) {
	for name, set := range map[string]func(*fakehub.Hub){
		"too often":              func(h *fakehub.Hub) { h.RateLimit(0, 2, 0) },
		"too often, in the tree": func(h *fakehub.Hub) { h.RateLimit(1, 1, 0) },
		"too often, of the file": func(h *fakehub.Hub) { h.RateLimit(2, 1, 0) },
		"broken":                 func(h *fakehub.Hub) { h.Break(1, 503) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bee, _ := beeBytes(t)
			hub := fakehub.Start()
			defer hub.Close()
			hub.Add(fakehub.Repo{Name: "o/r", Gated: true, Files: []fakehub.File{{Path: "m.gguf", Content: bee, LFS: true}}})
			hub.AddToken("hf_token", "o/r")
			set(hub)
			v := huggingface.New(func(name string) string {
				return map[string]string{"HF_ENDPOINT": hub.URL(), "HF_TOKEN": "hf_token"}[name]
			})
			said := 0
			if _, err := ask(t.Context(), v, "hf:o/r", Watcher{Say: func(string) { said++ }}); err != nil || said == 0 {
				t.Errorf("%v, said %d times", err, said)
			}
		})
	}
}
