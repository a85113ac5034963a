package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/micro"
	"github.com/rbee-project/rbee/messages"
)

// maxCalls bounds the requests that one service works on at once; more are answered busy.
const maxCalls = 1024

// Endpoint is one operation of a micro service.
type Endpoint struct {
	Name    string // without dots: as `nats micro info` shows it
	Subject string
	// Queue is the group whose members share the requests; "" for none.
	Queue string
	// Request and Reply are zero values of the payloads, for the metadata; nil for none.
	Request, Reply any
	// Handle answers one request, on a goroutine of its own. Its value is a pointer to a payload, or
	// [Streamed] when the handler has answered by itself.
	Handle func(ctx context.Context, call *Call) (any, error)
}

// Streamed is what a handler returns that answers with frames of its own.
var Streamed any = new(struct{})

// Call is one request.
type Call struct {
	Subject, Reply string
	Data           []byte
	// Caller is who asks, for a subject under rbee.do; the server has checked it.
	Caller messages.Caller
}

// Decode reads the request into v.
func (c *Call) Decode(v any) error { return messages.Decode(c.Data, v) }

// Handle makes an [Endpoint]'s handler of a function on its decoded request and its reply.
func Handle[Req, Reply any](fn func(context.Context, *Call, *Req) (*Reply, error)) func(context.Context, *Call) (any, error) {
	return func(ctx context.Context, call *Call) (any, error) {
		req := new(Req)
		if err := call.Decode(req); err != nil {
			return nil, err
		}
		reply, err := fn(ctx, call, req)
		if err != nil {
			return nil, err
		}
		return reply, nil
	}
}

// Service is a running micro service.
type Service struct {
	svc    micro.Service
	conn   *Conn
	ctx    context.Context
	cancel context.CancelCauseFunc
	calls  sync.WaitGroup
	slots  chan struct{}
}

// Serve registers a micro service, so that `nats micro ls` shows it. Requests whose reply subject is
// none of ours are counted in [Conn.Refused] and not answered. Stop the service before the Conn.
func (c *Conn) Serve(ctx context.Context, name, version, description string, endpoints []Endpoint) (*Service, error) {
	svc, err := micro.AddService(c.nc, micro.Config{Name: name, Version: semver(version), Description: description,
		ErrorHandler: func(_ micro.Service, e *micro.NATSError) {
			c.log.Warn("bus service", "subject", e.Subject, "error", e.Description)
		}})
	if err != nil {
		return nil, fmt.Errorf("register %s: %w", name, err)
	}
	s := &Service{svc: svc, conn: c, slots: make(chan struct{}, maxCalls)}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	for _, e := range endpoints {
		opts := []micro.EndpointOpt{micro.WithEndpointSubject(e.Subject), micro.WithEndpointMetadata(metadata(e))}
		if e.Queue == "" {
			opts = append(opts, micro.WithEndpointQueueGroupDisabled())
		} else {
			opts = append(opts, micro.WithEndpointQueueGroup(e.Queue))
		}
		if err := svc.AddEndpoint(e.Name, s.handler(e), opts...); err != nil {
			s.Stop()
			return nil, fmt.Errorf("register %s on %s: %w", e.Name, e.Subject, err)
		}
	}
	if err := c.Flush(ctx); err != nil && c.Connected() { // a service that returned can be asked
		s.Stop()
		return nil, fmt.Errorf("register %s: %w", name, err)
	}
	return s, nil
}

// Stop takes the service off the bus and waits for the requests in hand, which are cancelled.
func (s *Service) Stop() { s.Finish(0) }

// Finish is Stop that lets the requests in hand go on for a while. What still runs then ends with
// [messages.CodeUnavailable] as its cause.
func (s *Service) Finish(within time.Duration) {
	_ = s.svc.Stop()
	done := make(chan struct{})
	go func() { s.calls.Wait(); close(done) }()
	if within > 0 {
		limit := time.NewTimer(within)
		defer limit.Stop()
		select {
		case <-done:
		case <-limit.C:
		}
	}
	s.cancel(messages.Errorf(messages.CodeUnavailable, "service", "%s is stopping", s.conn.Caller))
	<-done
}

// handler answers each request on its own goroutine: micro runs one endpoint's handlers one after another.
func (s *Service) handler(e Endpoint) micro.Handler {
	return micro.HandlerFunc(func(r micro.Request) {
		call := &Call{Subject: r.Subject(), Reply: r.Reply(), Data: r.Data()}
		if messages.SubjectToken(call.Subject, 1) == "do" {
			call.Caller = messages.Caller(messages.SubjectToken(call.Subject, 2))
		}
		if !replyAllowed(call) {
			s.conn.refused.Add(1)
			s.conn.log.Warn("request refused: its reply subject is not the caller's", "subject", call.Subject, "reply", call.Reply)
			return
		}
		select {
		case s.slots <- struct{}{}:
		default:
			respond(r, call, messages.Errorf(messages.CodeBusy, e.Name, "%d requests at once", maxCalls))
			return
		}
		s.calls.Go(func() {
			defer func() { <-s.slots }()
			reply, err := e.Handle(s.ctx, call)
			switch {
			case err != nil:
				respond(r, call, messages.AsError(err, e.Name))
			case reply != Streamed:
				respond(r, call, reply)
			}
		})
	})
}

// replyAllowed holds a reply to inboxes, and a caller's to its own inbox: NATS never checks it.
func replyAllowed(call *Call) bool {
	if call.Caller == "" {
		return messages.ReplyAllowed(call.Reply)
	}
	own := messages.InboxPrefix(call.Caller.Role(), call.Caller.Name()) + "."
	return len(call.Reply) > len(own) && call.Reply[:len(own)] == own
}

// respond answers in the format of the request; an error also sets micro's headers.
func respond(r micro.Request, call *Call, v any) {
	data, err := messages.Encode(messages.FormatOf(call.Data), v)
	if err == nil && len(data) > messages.MaxPayload {
		err = messages.Errorf(messages.CodeInternal, "reply", "answer of %d bytes is over the limit", len(data))
	}
	if err != nil {
		e := messages.AsError(err, "reply")
		v = e
		data, _ = messages.Encode(messages.FormatOf(call.Data), e)
	}
	if e, ok := v.(*messages.Error); ok {
		// Not r.Error: it writes to the request, which micro reads as soon as the handler has returned.
		_ = r.Respond(data, micro.WithHeaders(micro.Headers{
			micro.ErrorCodeHeader: {fmt.Sprint(e.Code.HTTPStatus())}, micro.ErrorHeader: {e.Error()}}))
		return
	}
	_ = r.Respond(data)
}

// metadata is the schemas of request and reply, for `nats micro info`.
func metadata(e Endpoint) map[string]string {
	m := map[string]string{}
	for k, v := range map[string]any{"request_schema": e.Request, "reply_schema": e.Reply} {
		if v == nil {
			continue
		}
		s, err := SchemaOf(v)
		if err != nil {
			continue // a test holds that every payload has one
		}
		if data, err := json.Marshal(s); err == nil {
			m[k] = string(data)
		}
	}
	return m
}

var (
	isSemver  = regexp.MustCompile(`^\d+\.\d+\.\d+([-+][0-9A-Za-z.-]+)?$`)
	notSemver = regexp.MustCompile(`[^0-9A-Za-z-]+`)
)

// semver is version as micro demands it. A build without a tag has a commit's name ("8d5f2c1") or
// "dev": it becomes a pre-release of 0.0.0.
func semver(version string) string {
	if v := strings.TrimPrefix(version, "v"); isSemver.MatchString(v) {
		return v
	}
	return "0.0.0-build-" + notSemver.ReplaceAllString(version, "-")
}
