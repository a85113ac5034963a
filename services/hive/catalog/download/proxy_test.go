package download

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// proxy passes connections on to a server and cuts each after some bytes of its answer.
type proxy struct {
	net.Listener
	wg   sync.WaitGroup
	cuts int
	mu   sync.Mutex
}

func newProxy(t testing.TB, to string, least, most int64) *proxy {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: ln}
	p.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.pass(c, to, least+rand.Int64N(most-least)) })
		}
	})
	t.Cleanup(func() { ln.Close(); p.wg.Wait() })
	return p
}

func (p *proxy) pass(c net.Conn, to string, n int64) {
	defer c.Close()
	up, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer up.Close()
	_ = up.(*net.TCPConn).SetReadBuffer(4 << 10)
	p.wg.Go(func() { _, _ = io.Copy(up, c); up.Close() })
	if _, err := io.CopyN(c, struct{ io.Reader }{up}, n); err == nil {
		p.mu.Lock()
		p.cuts++
		p.mu.Unlock()
	}
}
