package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// timing of one answer.
type timing struct {
	ttft, took time.Duration
	tokens     int
}

// rate is tokens per second after the first.
func (t timing) rate() string {
	s := (t.took - t.ttft).Seconds()
	if t.tokens < 2 || s <= 0 {
		return fmt.Sprintf("%d tokens", t.tokens)
	}
	return fmt.Sprintf("%d tokens at %.1f tokens/s", t.tokens, float64(t.tokens-1)/s)
}

// chunk is what is read of an OpenAI-shaped chunk.
type chunk struct {
	Choices []struct {
		Delta struct {
			Content string `json:"content"`
		} `json:"delta"`
	} `json:"choices"`
}

// answer streams one answer to stdout and returns its text.
func (r *runCmd) answer(ctx context.Context, a *app, c *client, model string, msgs []map[string]string) (string, timing, error) {
	body := map[string]any{"model": model, "messages": msgs}
	if r.MaxTokens > 0 {
		body["max_tokens"] = r.MaxTokens
	}
	if r.Temperature != nil {
		body["temperature"] = *r.Temperature
	}
	if r.Seed != nil {
		body["seed"] = *r.Seed
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return "", timing{}, fmt.Errorf("request: %w", err)
	}
	req := &messages.InferRequest{ID: messages.NewID("run-"), Model: model, Task: messages.TaskChat, Stream: true, Body: raw}
	data, err := messages.Encode(messages.Msgpack, req)
	if err != nil {
		return "", timing{}, err
	}
	began := time.Now()
	s, err := c.OpenStream(c.do(messages.OpInfer), c.NewInbox(), c.do(messages.OpInferCtl)+"."+req.ID, data)
	if err != nil {
		return "", timing{}, err
	}
	defer s.Close()
	var text strings.Builder
	var t timing
	for {
		o, err := s.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if text.Len() > 0 {
				fmt.Fprintln(a.stdout)
			}
			return text.String(), t, err
		}
		if t.ttft == 0 {
			t.ttft = time.Since(began)
		}
		if err := a.show(&text, o); err != nil {
			return text.String(), t, fmt.Errorf("write the answer: %w", err)
		}
	}
	t.took, t.tokens = time.Since(began), s.Usage().CompletionTokens
	if !a.JSON {
		_, err = fmt.Fprintln(a.stdout)
	}
	return text.String(), t, err
}

// show prints an object and adds its text to text.
func (a *app) show(text *strings.Builder, object []byte) error {
	var ch chunk
	if json.Unmarshal(object, &ch) != nil {
		return nil // no chunk of ours; there is nothing to show
	}
	before := text.Len()
	for _, c := range ch.Choices {
		text.WriteString(c.Delta.Content)
	}
	out := text.String()[before:]
	if a.JSON {
		out = string(object) + "\n"
	}
	_, err := io.WriteString(a.stdout, out)
	return err
}
