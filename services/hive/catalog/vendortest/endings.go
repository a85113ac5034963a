package vendortest

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

func checkCancelledBefore(t testing.TB, c Case) {
	ref := c.Refs[0].Ref
	a := c.must(t, c.New(t), ref)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := c.requests()
	_, err := c.resolve(ctx, t, c.New(t), ref)
	c.cancelled(t, "Resolve", err)
	if a.Files[0].InPlace == "" {
		b, err := c.fetch(ctx, t, c.New(t), a.Files[0], vendor.Whole)
		c.cancelled(t, "Fetch", err)
		if err == nil {
			c.closes(t, b)
		}
	}
	if n := c.requests() - before; n > 0 {
		t.Errorf("the source was asked %d times after the context's end", n)
	}
}

// cancelled checks an error after the context was cancelled. What needs no network may be done instead.
func (c Case) cancelled(t testing.TB, what string, err error) {
	t.Helper()
	if err == nil && c.Offline {
		return
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%s was cancelled, its error does not wrap context.Canceled: %v", what, err)
	}
}

// checkCancelledWaiting cancels while the source does not answer.
func checkCancelledWaiting(t testing.TB, c Case) {
	if c.Gate == nil {
		t.Skip("no network")
	}
	v := c.New(t)
	file, _ := c.target(t, v)
	ref, _ := c.largest()
	c.closed(t, holding, 0)
	for what, call := range map[string]func(ctx context.Context) error{
		"Resolve": func(ctx context.Context) error { _, err := c.New(t).Resolve(ctx, ref); return err },
		"Fetch": func(ctx context.Context) error {
			f := file
			b, err := c.New(t).Fetch(ctx, &f, vendor.Whole)
			if err == nil {
				_ = b.Close()
			}
			return err
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- call(ctx) }()
		if !c.Gate.wait(true, c.Limit) {
			t.Errorf("%s does not ask the source", what)
		}
		cancel()
		select {
		case err := <-ended:
			c.cancelled(t, what, err)
		case <-time.After(c.Limit):
			t.Errorf("%s goes on %v after its context's end", what, c.Limit)
		}
		c.quiet(t, what)
	}
}

// closed sets the gate until the test's end.
func (c Case) closed(t testing.TB, w way, pass int) {
	t.Helper()
	c.Gate.set(w, pass)
	t.Cleanup(func() { c.Gate.set(open, 0) })
}

// quiet fails if the source still answers a request: somebody has not let go of it.
func (c Case) quiet(t testing.TB, what string) {
	t.Helper()
	if c.Gate != nil && !c.Gate.wait(false, c.Limit) {
		t.Errorf("%s has ended and its connection is still held", what)
	}
}

// begin fetches the target and reads its first byte; the gate, if there is one, then halts.
func (c Case) begin(ctx context.Context, t testing.TB, v vendor.Vendor) (*vendor.Body, []byte) {
	t.Helper()
	file, content := c.target(t, v)
	if c.Gate != nil {
		c.closed(t, halting, len(content)/2)
	}
	b, err := c.fetch(ctx, t, v, file, vendor.Whole)
	if err != nil {
		t.Fatalf("%q: %v", file.Name, err)
	}
	c.within(t, "reading the first byte", func() { _, err = io.ReadFull(b, make([]byte, 1)) })
	if err != nil {
		t.Fatalf("the first byte of %q: %v", file.Name, err)
	}
	return b, content
}

func checkCancelledInside(t testing.TB, c Case) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b, content := c.begin(ctx, t, c.New(t))
	cancel()
	var n int64
	var err error
	c.within(t, "reading after the context's end", func() { n, err = io.Copy(io.Discard, b) })
	if err == nil && c.Gate != nil {
		t.Errorf("%d of %d bytes came after the context's end, and no error", n, len(content))
	}
	c.noSecrets(t, "a reader's error", errorText(err))
	c.closes(t, b)
	c.quiet(t, "a cancelled Fetch")
}

// checkClosedEarly looks for what a closed body leaves: a goroutine, a connection.
func checkClosedEarly(t testing.TB, c Case) {
	v := c.New(t)
	_, _ = c.target(t, v)
	ignored := []goleak.Option{goleak.IgnoreCurrent()}
	for _, fn := range []string{ // idle connections and the source itself
		"net/http.(*persistConn).readLoop", "net/http.(*persistConn).writeLoop",
		"net/http.(*conn).serve", "net/http.(*connReader).backgroundRead", "net/http.(*Server).Serve",
	} {
		ignored = append(ignored, goleak.IgnoreAnyFunction(fn))
	}
	b, _ := c.begin(t.Context(), t, v)
	c.closes(t, b)
	c.quiet(t, "a closed body")
	end := time.Now().Add(c.Limit)
	for {
		err := goleak.Find(ignored...) // waits a little itself
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("a closed body leaves goroutines: %v", err)
		}
	}
}

// checkCutOff has the source's connection end in the middle of the file.
func checkCutOff(t testing.TB, c Case) {
	if c.Gate == nil {
		t.Skip("no network")
	}
	v := c.New(t)
	file, content := c.target(t, v)
	c.closed(t, cutting, len(content)/2)
	b, data, err := c.read(t, v, file, vendor.Whole, len(content))
	if err == nil {
		t.Errorf("%d of %d bytes of %q came, and no error", len(data), len(content), file.Name)
	}
	if b != nil && !vendor.Temporary(err) {
		t.Errorf("a connection that was cut is not worth another try: %v", err)
	}
}

func checkBusy(t testing.TB, c Case) {
	c.tellsTrouble(t, busy, "a busy source", func(what string, err error) {
		if got := vendor.Wait(err); got != retryAfter {
			t.Errorf("%s asks to be left alone for %v; vendor.Wait finds %v in %v", what, retryAfter, got, err)
		}
	})
}

func checkGone(t testing.TB, c Case) {
	c.tellsTrouble(t, gone, "a source that is gone", func(string, error) {})
}

// tellsTrouble has Resolve and Fetch meet a source in trouble.
func (c Case) tellsTrouble(t testing.TB, w way, what string, more func(what string, err error)) {
	t.Helper()
	if c.Gate == nil {
		t.Skip("no network")
	}
	v := c.New(t)
	file, _ := c.target(t, v)
	ref, _ := c.largest()
	c.closed(t, w, 0)
	_, err := c.resolve(t.Context(), t, c.New(t), ref)
	errs := map[string]error{"Resolve": err}
	_, errs["Fetch"] = c.fetch(t.Context(), t, v, file, vendor.Whole)
	for call, err := range errs {
		call = call + " from " + what
		toldAs(t, call, err, messages.CodeUnavailable, false)
		if err != nil && !vendor.Temporary(err) {
			t.Errorf("%s is not worth another try: %v", call, err)
		}
		more(call, err)
	}
}
