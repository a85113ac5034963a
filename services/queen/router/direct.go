package router

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
	"golang.org/x/sync/singleflight"
)

// Direct is the route over the worker's HTTP port.
type Direct struct {
	client *http.Client
	asking singleflight.Group
}

// NewDirect returns a Direct with connections of its own; Close ends the idle ones.
func NewDirect() *Direct {
	return &Direct{client: &http.Client{Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, DisableCompression: true,
	}}}
}

// errTransport is the cause of errors that are not the worker's own word.
var errTransport = errors.New("the worker's port does not answer")

// unreachable says whether err means that a route failed, not that the worker refused.
func unreachable(err error) bool {
	return errors.Is(err, errTransport) || errors.Is(err, bus.ErrNobody)
}

// failure is an error of the route.
func failure(code messages.Code, format string, args ...any) *messages.Error {
	e := messages.Errorf(code, messages.OpInfer, format, args...)
	e.Err = errTransport
	return e
}

// address is the worker's HTTP port, with a path.
func address(w *messages.WorkerInfo, path string) string {
	return "http://" + net.JoinHostPort(w.Host, strconv.Itoa(w.Port)) + path
}

// Name is "direct".
func (*Direct) Name() string { return "direct" }

// Close ends the idle connections.
func (d *Direct) Close() { d.client.CloseIdleConnections() }

// Open posts req to the worker. It returns when the worker has answered with a status: for a
// stream before the first token.
func (d *Direct) Open(ctx context.Context, w *messages.WorkerInfo, req *messages.InferRequest) (Stream, error) {
	body, err := messages.Encode(messages.JSON, req)
	if err != nil {
		return nil, err
	}
	asked := ctx // it bounds the opening; the answer lives on until Close
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(asked))
	defer context.AfterFunc(asked, func() { cancel(context.Cause(asked)) })()
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, address(w, "/v1/infer"), bytes.NewReader(body))
	if err != nil {
		cancel(nil)
		return nil, messages.Errorf(messages.CodeInternal, messages.OpInfer, "%w", err)
	}
	post.Header.Set("Content-Type", "application/json")
	s := &direct{ctx: ctx, cancel: cancel, quiet: d.watch(w, cancel)}
	resp, err := d.client.Do(post) //nolint:bodyclose // s.Close closes it
	if err != nil {
		s.Close()
		if cause := context.Cause(ctx); ctx.Err() != nil && asked.Err() == nil && !errors.Is(cause, context.Canceled) {
			return nil, cause // it fell silent
		}
		if asked.Err() != nil {
			return nil, ended(asked)
		}
		return nil, failure(messages.CodeUnavailable, "worker %s does not answer over HTTP: %v", w.ID, err)
	}
	s.body = resp.Body
	s.quiet.heard()
	if resp.StatusCode != http.StatusOK {
		defer s.Close()
		return nil, httpError(resp)
	}
	if req.Stream {
		s.lines = bufio.NewReaderSize(resp.Body, 64<<10)
	}
	return s, nil
}

// httpError reads the worker's {"error": …} body.
func httpError(resp *http.Response) error {
	var e struct {
		Error *messages.Error `json:"error"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&e) == nil && e.Error != nil && e.Error.Code != "" {
		return e.Error
	}
	return failure(messages.CodeUnavailable, "the worker answers %s", resp.Status)
}

type direct struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	quiet  *quiet
	body   io.ReadCloser
	lines  *bufio.Reader // nil: one JSON object
	usage  messages.Usage
	over   error
}

// Next reads server-sent events: data lines are objects, "end" carries the usage, "error" the
// worker's error. A body that ends before either is broken.
func (s *direct) Next(ctx context.Context) ([]byte, error) {
	if s.over != nil {
		return nil, s.over
	}
	stop := context.AfterFunc(ctx, func() { s.cancel(context.Cause(ctx)) })
	defer stop()
	o, err := s.read()
	if err != nil {
		switch {
		case ctx.Err() != nil:
			err = ended(ctx)
		case s.ctx.Err() != nil && !errors.Is(err, io.EOF):
			err = context.Cause(s.ctx) // it fell silent
		}
		s.over = err
	}
	return o, err
}

func (s *direct) read() ([]byte, error) {
	if s.lines == nil {
		return s.readWhole()
	}
	event := ""
	for {
		line, err := s.lines.ReadBytes('\n')
		if err != nil {
			return nil, failure(messages.CodeStreamBroken, "the worker's connection broke: %v", err) // not wrapped: an io.EOF would say complete
		}
		s.quiet.heard()
		line = bytes.TrimRight(line, "\r\n")
		if name, ok := bytes.CutPrefix(line, []byte("event: ")); ok {
			event = string(name)
			continue
		}
		data, ok := bytes.CutPrefix(line, []byte("data: "))
		if !ok {
			continue // blank line or comment: a keep-alive
		}
		switch event {
		case "":
			return data, nil
		case "end":
			var end messages.StreamEnd
			if err := json.Unmarshal(data, &end); err != nil {
				return nil, messages.Errorf(messages.CodeStreamBroken, messages.OpInfer, "bad end event: %w", err)
			}
			s.usage = end.Usage
			return nil, io.EOF
		case "error":
			e := &messages.Error{}
			if json.Unmarshal(data, e) != nil || e.Code == "" {
				e = messages.Errorf(messages.CodeInternal, messages.OpInfer, "the worker failed: %s", data)
			}
			return nil, e
		default:
			return nil, fmt.Errorf("unknown event %q", event)
		}
	}
}

// maxWhole bounds an answer that is not streamed, in bytes. Two thousand vectors may have 100 MB.
const maxWhole = 256 << 20

func (s *direct) readWhole() ([]byte, error) {
	o, err := io.ReadAll(io.LimitReader(s.body, maxWhole+1))
	if err != nil {
		return nil, failure(messages.CodeStreamBroken, "the worker's connection broke: %v", err)
	}
	if len(o) > maxWhole {
		return nil, messages.Errorf(messages.CodeBadRequest, messages.OpInfer, "the answer has more than %d MiB", maxWhole>>20).
			WithHint("ask for less at once")
	}
	var u struct {
		Usage struct {
			messages.Usage
			Details struct {
				Cached int `json:"cached_tokens"`
			} `json:"prompt_tokens_details"`
		}
	}
	_ = json.Unmarshal(o, &u)
	s.usage, s.over = u.Usage.Usage, io.EOF
	s.usage.CachedTokens = u.Usage.Details.Cached
	return o, nil
}

func (s *direct) Usage() messages.Usage { return s.usage }

func (s *direct) Close() {
	s.quiet.stop()
	s.cancel(nil)
	if s.body != nil {
		_ = s.body.Close()
	}
}
