package e2e

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// streamEnd has an endless answer streamed and says how it ended: "complete", "error event", "cut",
// "clean end" (which would look complete to a careless client), or an HTTP status.
func (c *cluster) streamEnd(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	return (&streamed{}).read(ctx, "http://"+c.addr.HTTP+"/v1/chat/completions",
		`{"model":"builtin:bee-endless","stream":true,"messages":[{"role":"user","content":"hi"}]}`)
}

// streamed is what came of one streamed request.
type streamed struct {
	tokens int           // pieces that came
	first  time.Duration // to the first of them
	gap    time.Duration // longest between two
	token  func()        // told of each; may be nil
}

// read posts body and reads the answer to its end, which it says.
func (s *streamed) read(ctx context.Context, url, body string) (end string) {
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "no queen"
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return resp.Status
	}
	in := bufio.NewReader(resp.Body)
	failed, last := false, began
	for {
		line, err := in.ReadString('\n')
		switch {
		case strings.HasPrefix(line, "data: [DONE]"), strings.HasPrefix(line, "event: end"):
			return "complete"
		case strings.HasPrefix(line, `data: {"error"`):
			failed = true
		case strings.HasPrefix(line, "data: "):
			now := time.Now()
			if s.tokens++; s.tokens == 1 {
				s.first = now.Sub(began)
			} else {
				s.gap = max(s.gap, now.Sub(last))
			}
			last = now
			if s.token != nil {
				s.token()
			}
		}
		switch {
		case err == nil:
		case failed:
			return "error event"
		case errors.Is(err, io.EOF):
			return "clean end"
		default:
			return "cut"
		}
	}
}
