package chattemplate

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// patience is how long a test waits for anything before it calls it lost.
const patience = 30 * time.Second

// soon is what a hostile template may take. It takes little more than [Deadline] where the machine has
// nothing else to do.
const soon = 5 * time.Second

func chat(contents ...string) Input {
	in := Input{AddGenerationPrompt: true}
	for i, c := range contents {
		in.Messages = append(in.Messages, rawJSON(fmt.Sprintf(`{"role":%q,"content":%q}`, []string{"user", "assistant"}[i%2], c))...)
	}
	return in
}

func open(t testing.TB, source string) *Renderer {
	t.Helper()
	r, err := New(context.Background(), source, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func (r *Renderer) wantGood(t *testing.T) {
	t.Helper()
	if parts, err := r.Render(t.Context(), chat("good")); err != nil || joinText(parts) != "<good>" {
		t.Errorf("a good render afterwards: %v, %v", parts, err)
	}
}

// pid is the child's, 0 if there is none.
func (r *Renderer) pid() (pid int) {
	p := <-r.turn
	if p != nil {
		pid = p.cmd.Process.Pid
	}
	r.turn <- p
	return pid
}

func wantBad(t *testing.T, err error, text string) {
	t.Helper()
	if messages.CodeOf(err) != messages.CodeBadRequest || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want bad_request with %q", err, text)
	}
}

func TestRefusal(t *testing.T) {
	r := open(t, Builtin("gemma"))
	in := chat("a", "b")
	in.Messages = in.Messages[1:]
	_, err := r.Render(t.Context(), in)
	wantBad(t, err, "Conversation roles must alternate user/assistant/user/assistant/...")
	var e *messages.Error
	if !errors.As(err, &e) || e.Op != "chattemplate.render" {
		t.Errorf("%#v", err)
	}
	in.Messages = rawJSON(`{"role":`)
	_, err = r.Render(t.Context(), in)
	wantBad(t, err, "messages")
	in.Messages = rawJSON(`"` + strings.Repeat("a", MaxInput) + `"`)
	_, err = r.Render(t.Context(), in)
	wantBad(t, err, "at most")
	if parts, err := r.Render(t.Context(), chat("a")); err != nil || len(parts) != 1 {
		t.Error(parts, err)
	}
}

// TestDefaultDate: without a date it is today.
func TestDefaultDate(t *testing.T) {
	r := open(t, `{{ messages[0].content }}{{ strftime_now('%Y') }}`)
	parts, err := r.Render(t.Context(), chat(""))
	if y, _ := strconv.Atoi(joinText(parts)); err != nil || y < 2026 {
		t.Error(parts, err)
	}
}

const endless = `{% if messages[0].content == 'bad' %}{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}{% endif %}<{{ messages[0].content }}>`

func TestContextEnds(t *testing.T) {
	r := open(t, endless)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	began := time.Now()
	_, err := r.Render(ctx, chat("bad"))
	if messages.CodeOf(err) != messages.CodeCancelled || time.Since(began) > Deadline {
		t.Errorf("%v after %s", err, time.Since(began))
	}
	late, cancelLate := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancelLate()
	if _, err := r.Render(late, chat("bad")); messages.CodeOf(err) != messages.CodeTimeout {
		t.Error(err)
	}
	if _, err := r.Render(ctx, chat("good")); messages.CodeOf(err) != messages.CodeCancelled {
		t.Error(err)
	}
	if _, err := New(ctx, endless, Options{}); messages.CodeOf(err) != messages.CodeCancelled {
		t.Error(err)
	}
	r.wantGood(t)
}

// TestWaitsForTurn: who waits behind a slow render goes away with its context, long before that ends.
func TestWaitsForTurn(t *testing.T) {
	r := open(t, endless)
	p := <-r.turn // a render that never ends
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.Render(ctx, chat("good")); messages.CodeOf(err) != messages.CodeTimeout {
		t.Error(err)
	}
	r.turn <- p
	r.wantGood(t)
}

func TestManyAtOnce(t *testing.T) {
	r := open(t, endless)
	var g sync.WaitGroup
	for i := range 50 {
		g.Go(func() {
			text := fmt.Sprint(i)
			if parts, err := r.Render(t.Context(), chat(text)); err != nil || joinText(parts) != "<"+text+">" {
				t.Error(text, parts, err)
			}
		})
	}
	g.Wait()
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		r, err := New(b.Context(), Builtin("chatml"), Options{})
		if err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
}

// BenchmarkRender is a chat of 20 messages.
func BenchmarkRender(b *testing.B) {
	r := open(b, Builtin("chatml"))
	var contents []string
	for range 20 {
		contents = append(contents, strings.Repeat("where is the queen ", 20))
	}
	in := chat(contents...)
	for b.Loop() {
		if _, err := r.Render(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}
