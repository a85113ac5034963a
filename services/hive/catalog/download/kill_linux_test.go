package download

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// killed is what a download with kills is, besides.
type killed string

const (
	plainly killed = ""
	cut     killed = "through a proxy that cuts connections"
	unsure  killed = "without a digest"
)

// kills downloads size bytes at perSecond from a server with kills of the process on the way, each after a
// random number of bytes, and checks that nothing that was kept is lost and at most percent fetched twice.
func kills(t *testing.T, size, n int, perSecond int64, how killed, percent float64) {
	content := bytesOf(size, 1)
	s := newServer(t, content)
	s.piece = 1 << 10
	s.limiter = rate.NewLimiter(rate.Limit(perSecond), s.piece)
	dir := t.TempDir()
	c := childSpec{Dir: filepath.Join(dir, "part"), Final: filepath.Join(dir, "final"), Address: s.URL, Size: int64(size), Digest: digestOf(content), Streams: 8}
	var p *proxy
	if how == unsure {
		c.Digest = ""
	}
	if how == cut {
		p = newProxy(t, s.Listener.Addr().String(), 100<<10, int64(size)/15)
		c.Address = "http://" + p.Addr().String()
	}
	var kept, held, inSockets int64
	step := int64(size/n) * 7 / 10
	for i := range n {
		reached := s.when(step*2/7 + rand.Int64N(step)) // 0.2 to 0.9 of its share: the last must not end before its kill
		before, _ := s.counts()
		cmd, lines := startChild(t, c)
		select {
		case <-reached:
		case <-time.After(deadline):
			t.Fatal("no bytes come")
		}
		s.sending.Lock() // what is sent while the kernel takes the process apart is nobody's fault
		_ = cmd.Process.Signal(syscall.SIGSTOP)
		unread := unreadFrom(t, s.Listener.Addr())
		if p != nil {
			unread += unreadFrom(t, p.Addr())
		}
		inSockets += unread
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for range lines { // until its end
		}
		_ = cmd.Wait()
		s.sending.Unlock()
		now, err := Peek(c.Dir)
		if err != nil {
			t.Fatalf("kill %d: %v", i, err)
		}
		sent, _ := s.counts()
		if now.Done < kept {
			t.Errorf("kill %d: %d bytes are kept, there were %d before", i, now.Done, kept)
		}
		held = max(held, sent-before-(now.Done-kept)-unread)
		kept = now.Done
	}
	cmd, lines := startChild(t, c)
	r := resultOf(t, cmd, lines)
	check(t, Spec{Dir: c.Dir, Digest: c.Digest}, r, content)
	sent, requests := s.counts()
	twice := float64(sent-int64(size)) / float64(size) * 100
	fetched := float64(sent-int64(size)-inSockets) / float64(size) * 100
	t.Logf("%d kills: the server sent %d bytes for %d in %d requests: %.3f%% twice, %.3f%% without what no process had read at a kill; at most %d read and not kept at one kill",
		n, sent, size, requests, twice, fetched, held)
	if p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		t.Logf("%d connections were cut", p.cuts)
		if p.cuts == 0 {
			t.Error("no connection was cut")
		}
	}
	// On a busy machine bytes lie in the sockets: they were sent, and not fetched.
	if fetched > percent || twice > 2*percent {
		t.Errorf("%.2f%% were sent twice, %.2f%% fetched twice", twice, fetched)
	}
	if held > 256<<10 { // of 8 streams; each is between reading and writing at worst
		t.Errorf("%d bytes were read and lost at one kill", held)
	}
	if !r.Resumed {
		t.Error("the last did not go on from what was there")
	}
}

// One percent is for the long test: the bytes that a kill costs do not grow with the file.
func TestKills(t *testing.T)       { kills(t, 15e6, 10, 8e6, plainly, 10) }
func TestKillsProxy(t *testing.T)  { kills(t, 15e6, 10, 8e6, cut, 10) }
func TestKillsUnsure(t *testing.T) { kills(t, 15e6, 10, 8e6, unsure, 10) }

// unreadFrom is how many bytes from a server lie in the sockets of this machine.
func unreadFrom(t *testing.T, server net.Addr) (sum int64) {
	port := server.(*net.TCPAddr).Port
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 5 || !strings.HasSuffix(fields[2], fmt.Sprintf(":%04X", port)) {
			continue
		}
		var tx, rx int64
		if _, err := fmt.Sscanf(fields[4], "%x:%x", &tx, &rx); err == nil {
			sum += rx
		}
	}
	return sum
}
