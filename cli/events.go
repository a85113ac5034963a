package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

const clockFormat = "2006-01-02 15:04:05.000"

type eventsCmd struct {
	Since    time.Duration `help:"Show what happened this long ago, too: 1h, 30m."`
	Kind     string        `help:"Only these: worker.lost, 'worker.*', hive.up and the like." default:">" placeholder:"KIND"`
	NoFollow bool          `help:"End after what happened; without --since everything that is kept."`
}

// Run shows past events and then, until Ctrl-C, each as it happens.
func (e *eventsCmd) Run(a *app) error {
	if e.Since < 0 {
		return misused("--since %s is not in the past", e.Since)
	}
	if err := messages.CheckKind(e.Kind); err != nil {
		return fmt.Errorf("%w: %w", errMisused, err)
	}
	return a.with(func(ctx context.Context, c *client) error {
		live := make(chan bus.Msg, 1024)
		if !e.NoFollow {
			stop, err := c.Subscribe(messages.EventSubject("*", "*", e.Kind), func(m bus.Msg) {
				select {
				case live <- m:
				case <-ctx.Done():
				}
			})
			if err != nil {
				return err
			}
			defer stop()
			if err := c.Flush(ctx); err != nil {
				return err
			}
		}
		shown := map[string]bool{} // of the past: what happened while we asked is in both
		if e.Since > 0 || e.NoFollow {
			if err := e.past(ctx, a, c, shown); err != nil {
				return err
			}
		}
		for !e.NoFollow {
			select {
			case <-ctx.Done():
				return nil
			case m := <-live:
				if shown[string(m.Data)] {
					continue
				}
				if err := a.event(m.Subject, m.Data); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (e *eventsCmd) past(ctx context.Context, a *app, c *client, shown map[string]bool) error {
	for req := (messages.EventListRequest{SinceMillis: e.Since.Milliseconds(), Kind: e.Kind}); ; {
		var page messages.EventListReply
		if err := c.Request(ctx, messages.QueenSubject(messages.OpEventList), &req, &page); err != nil {
			return err
		}
		for _, s := range page.Events {
			if err := a.event(s.Subject, s.Event); err != nil {
				return err
			}
			if !e.NoFollow {
				shown[string(s.Event)] = true
			}
		}
		if req.After = page.Next; req.After == 0 {
			return nil
		}
	}
}

// event prints one: a line, or what travelled with --json.
func (a *app) event(subject string, data []byte) error {
	if a.JSON {
		var raw json.RawMessage
		if json.Unmarshal(data, &raw) != nil {
			return nil
		}
		return a.print([]any{raw}, nil)
	}
	kind := strings.Join(strings.Split(subject, ".")[4:], ".")
	var e messages.Event
	cause := ""
	if kind == "worker.exited" {
		var x messages.WorkerExited
		if messages.Decode(data, &x) != nil {
			return nil
		}
		e, cause = messages.Event{Worker: x.Worker, Hive: x.Hive, At: x.At}, fmt.Sprintf("pid %d: %s", x.PID, x.Cause())
	} else {
		if messages.Decode(data, &e) != nil {
			return nil
		}
		cause = e.Cause
	}
	var who []string
	for _, s := range []string{string(e.Worker), e.Model, string(e.Hive)} {
		if s != "" {
			who = append(who, s)
		}
	}
	return a.print(nil, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%s  %-18s %s  %s", e.At.Local().Format(clockFormat), kind, strings.Join(who, " "), cut(cause, 400)), " "))
	})
}
