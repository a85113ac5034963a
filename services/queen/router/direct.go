package router

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// Direct is the route over the worker's HTTP port.
type Direct struct{ client *http.Client }

// NewDirect returns a Direct with connections of its own; Close ends the idle ones.
func NewDirect() *Direct {
	return &Direct{client: &http.Client{Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, DisableCompression: true,
	}}}
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
	ctx, cancel := context.WithCancel(context.WithoutCancel(asked))
	defer context.AfterFunc(asked, cancel)()
	url := "http://" + net.JoinHostPort(w.Host, strconv.Itoa(w.Port)) + "/v1/infer"
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		cancel()
		return nil, messages.Errorf(messages.CodeInternal, messages.OpInfer, "%w", err)
	}
	post.Header.Set("Content-Type", "application/json")
	resp, err := d.client.Do(post)
	if err != nil {
		cancel()
		if asked.Err() != nil {
			return nil, ended(asked)
		}
		return nil, messages.Errorf(messages.CodeUnavailable, messages.OpInfer, "worker %s does not answer over HTTP: %v", w.ID, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer cancel()
		defer resp.Body.Close()
		return nil, httpError(resp)
	}
	s := &direct{body: resp.Body, cancel: cancel}
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
	return messages.Errorf(messages.CodeUnavailable, messages.OpInfer, "the worker answers %s", resp.Status)
}

type direct struct {
	body   io.ReadCloser
	cancel context.CancelFunc
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
	stop := context.AfterFunc(ctx, s.cancel)
	defer stop()
	o, err := s.read()
	if err != nil {
		if ctx.Err() != nil {
			err = ended(ctx)
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
			return nil, messages.Errorf(messages.CodeStreamBroken, messages.OpInfer, "the worker's connection broke: %v", err) // not wrapped: an io.EOF would say complete
		}
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

func (s *direct) readWhole() ([]byte, error) {
	o, err := io.ReadAll(io.LimitReader(s.body, 64<<20))
	if err != nil {
		return nil, messages.Errorf(messages.CodeStreamBroken, messages.OpInfer, "the worker's connection broke: %v", err)
	}
	var u struct{ Usage messages.Usage }
	_ = json.Unmarshal(o, &u)
	s.usage, s.over = u.Usage, io.EOF
	return o, nil
}

func (s *direct) Usage() messages.Usage { return s.usage }

func (s *direct) Close() {
	s.cancel()
	_ = s.body.Close()
}
