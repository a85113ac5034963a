package huggingface

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/huggingface/fakehub"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// TestABusyHubIsAskedAgain has hubs that are busy or broken for a moment, while a reference is resolved.
func TestABusyHubIsAskedAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		set   func(*fakehub.Hub)
		fails bool
		count int // of requests
	}{
		"too often, without a time": {set: func(h *fakehub.Hub) { h.RateLimit(0, 2, 0) }, count: 5},
		"too often, in the tree":    {set: func(h *fakehub.Hub) { h.RateLimit(1, 1, 0) }, count: 4},
		"too often, of the file":    {set: func(h *fakehub.Hub) { h.RateLimit(2, 1, 0) }, count: 4},
		"broken for a moment":       {set: func(h *fakehub.Hub) { h.Break(maxTries-1, 503) }, count: 3 + maxTries - 1},
		"broken":                    {set: func(h *fakehub.Hub) { h.Break(maxTries, 503) }, fails: true, count: maxTries},
		"too long":                  {set: func(h *fakehub.Hub) { h.RateLimit(0, 1, 2*time.Second) }, fails: true, count: 1},
		"no hub":                    {set: func(h *fakehub.Hub) { h.Mangle(func(string, []byte) []byte { return []byte("<html>") }) }, fails: true, count: 1},
	} {
		t.Run(name, func(t *testing.T) {
			hub, v := with(t, fakehub.Repo{Name: "o/r", Gated: true, Files: lfs("m.gguf")}, "HF_TOKEN", token)
			hub.AddToken(token, "o/r")
			tc.set(hub)
			if _, err := v.Resolve(t.Context(), "hf:o/r"); (err != nil) != tc.fails {
				t.Error(err)
			}
			if n := len(hub.Requests()); n != tc.count {
				t.Errorf("%d requests, not %d", n, tc.count)
			}
		})
	}
}

// TestPause has how long is waited after an error.
func TestPause(t *testing.T) {
	limit := func(seconds int) error {
		return &vendor.StatusError{Status: http.StatusTooManyRequests, Header: http.Header{"Ratelimit": {fmt.Sprintf(`"api";r=0;t=%d`, seconds)}}}
	}
	for name, tc := range map[string]struct {
		err  error
		try  int
		want time.Duration // at least, less than twice as much; 0 is no other try
	}{
		"the hub says":  {limit(7), 1, 7 * time.Second},
		"too long":      {limit(31), 1, 0},
		"broken":        {&vendor.StatusError{Status: 502}, 1, firstPause},
		"again":         {&vendor.StatusError{Status: 502}, 3, 4 * firstPause},
		"enough":        {&vendor.StatusError{Status: 502}, maxTries, 0},
		"not there":     {&vendor.StatusError{Status: 404}, 1, 0},
		"cut":           {fmt.Errorf("x: %w", io.ErrUnexpectedEOF), 1, firstPause},
		"reset":         {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, 1, firstPause},
		"nobody there":  {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, 1, 0},
		"no proxy":      {&net.OpError{Op: "proxyconnect", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}, 1, 0},
		"silent":        {&net.OpError{Op: "read", Err: timeout{}}, 1, 0},
		"what we found": {messages.Errorf(messages.CodeUnavailable, op, "x"), 1, 0},
		"nothing":       {nil, 1, 0},
		"anything":      {errors.New("x"), 1, 0},
	} {
		got, ok := pause(tc.err, tc.try, firstPause, maxPause)
		if ok != (tc.want > 0) || got < tc.want || tc.want > 0 && got >= 2*tc.want {
			t.Errorf("%s: %v, %v", name, got, ok)
		}
	}
}

type timeout struct{}

func (timeout) Error() string   { return "no time left" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

// TestFilesOfOneNameAreToldApart has two files that differ by their folder alone.
func TestFilesOfOneNameAreToldApart(t *testing.T) {
	_, v := with(t, fakehub.Repo{Name: "o/r", Files: lfs("a/m-Q4_K_M.gguf", "b/m-Q4_K_M.gguf")})
	for _, ref := range []string{"hf:o/r", "hf:o/r:Q4_K_M"} {
		notes := strings.Join(resolve(t, v, ref).Notes, "\n")
		if !strings.Contains(notes, "chose a/m-Q4_K_M.gguf") || ref == "hf:o/r" && !strings.Contains(notes, "b/m-Q4_K_M.gguf has the same quantization") {
			t.Errorf("%s: %q", ref, notes)
		}
	}
}
