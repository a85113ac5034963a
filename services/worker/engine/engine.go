// Package engine is what runs the tokens inside a worker: the interface that llama.cpp in
// process, an attached server or a custom engine implements. An Engine may be used by many
// goroutines at once.
package engine

import (
	"context"
	"encoding/json"
)

// Engine runs inference for one worker. Load is called once, before anything else; Close once,
// after every Infer has returned or been cancelled.
type Engine interface {
	// Load brings the model up and returns when it can answer. Progress is called with 0 to 1, in
	// order, from any goroutine. If ctx ends first Load gives up what it began and returns ctx's error.
	Load(ctx context.Context, progress func(fraction float64)) error

	// Info says what is served. Before Load has returned, Models may be empty.
	Info() Info

	// Stats is cheap: it is read for every beat.
	Stats() Stats

	// Health is nil unless the engine has stopped making progress; then it says since when. It does
	// not say whether a model is loaded.
	Health() error

	// Infer answers one request and returns when the answer is complete. It emits OpenAI-shaped
	// JSON objects: for a streamed request chunks, the first of which is not emitted before the
	// first token exists; else exactly one object, the whole answer. An error from emit, or the end
	// of ctx, stops generation between two steps; Infer then returns that error.
	//
	// Errors are *messages.Error: CodeBusy at once when no slot is free, CodeContextFull for a
	// prompt longer than a slot, CodeBadRequest for a body the engine cannot serve.
	Infer(ctx context.Context, req Request, emit func(object []byte) error) (Usage, error)

	// Close frees everything. Requests still running end with CodeUnavailable.
	Close() error
}

// Request is one inference request.
type Request struct {
	// ID becomes the "id" of every emitted object.
	ID string
	// Model is the public name that becomes the "model" of every emitted object.
	Model string
	// Task is one of messages.Tasks. An engine that cannot do it says CodeBadRequest.
	Task string
	// Stream asks for chunks instead of one object. It wins over the body's own "stream".
	Stream bool
	// Body is the client's OpenAI-shaped JSON, untouched.
	Body json.RawMessage
	// Prefill, if not nil, is told how many of the prompt's tokens are done. It must not block.
	Prefill func(done, total int)
}

// Usage counts tokens as OpenAI's "usage" does.
type Usage struct {
	PromptTokens     int
	CompletionTokens int
	// CachedTokens of the prompt were kept from an earlier request and not read again.
	CachedTokens int
}

// Info describes what an engine serves.
type Info struct {
	// Implementation and Version name the engine: "llama-cpp", "v0.5.0".
	Implementation, Version string
	// Device is ggml's name of where the model runs: "CPU", "CUDA0".
	Device string
	// Models has one entry per public name the engine answers to.
	Models []Model
}

// Model is one model that an engine serves.
type Model struct {
	// ID is the public name.
	ID string
	// Loaded is false for a model that an attached server would load on demand.
	Loaded bool
	// ContextLength is in tokens per slot.
	ContextLength int
	// Slots is how many requests run at once.
	Slots int
	// Capabilities are messages.CanChat and its like; none where the engine does not know.
	Capabilities []string
}

// Stats is the engine's load at one moment.
type Stats struct {
	// SlotsUsed of all models' slots.
	SlotsUsed int
	// Steps counts decode calls since Load. It stands still when the engine is idle.
	Steps uint64
	// Tokens counts generated tokens since Load.
	Tokens uint64
	// TokensPerSecond is over the last few seconds of generation, 0 when idle.
	TokensPerSecond float64
}
