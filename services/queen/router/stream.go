package router

import (
	"context"

	"github.com/rbee-project/rbee/messages"
)

// Stream is one answer as it comes, by whatever route.
type Stream interface {
	// Next is the next OpenAI-shaped object; io.EOF ends a complete answer, any other error one that
	// is not.
	Next(ctx context.Context) ([]byte, error)
	// Usage is there once Next has returned io.EOF.
	Usage() messages.Usage
	// Close cancels what is not complete.
	Close()
}

// Transport opens a Stream to a worker.
type Transport interface {
	Name() string // "bus", "direct"
	Open(ctx context.Context, w *messages.WorkerInfo, req *messages.InferRequest) (Stream, error)
}
