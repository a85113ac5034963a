package e2e

import (
	"bufio"
	"context"
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
	end, _, _ := stream(ctx, c.addr.HTTP, `{"model":"builtin:bee-endless","stream":true,"messages":[{"role":"user","content":"hi"}]}`)
	return end
}

// stream posts a chat and reads it to its end. tokens are the pieces that came, gap is the longest wait
// for one.
func stream(ctx context.Context, addr, body string) (end string, tokens int, gap time.Duration) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return err.Error(), 0, 0
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "no queen", 0, 0
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return resp.Status, 0, 0
	}
	in := bufio.NewReader(resp.Body)
	failed, last := false, time.Now()
	for {
		line, err := in.ReadString('\n')
		switch {
		case strings.HasPrefix(line, "data: [DONE]"):
			return "complete", tokens, gap
		case strings.HasPrefix(line, `data: {"error"`):
			failed = true
		case strings.HasPrefix(line, "data: "):
			tokens++
			gap, last = max(gap, time.Since(last)), time.Now()
		}
		switch {
		case err == nil:
		case failed:
			return "error event", tokens, gap
		case err == io.EOF:
			return "clean end", tokens, gap
		default:
			return "cut", tokens, gap
		}
	}
}
