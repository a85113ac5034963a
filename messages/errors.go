package messages

import (
	"errors"
	"fmt"
)

// Code says what kind of thing went wrong, for programs. Codes are part of the wire protocol:
// they are only ever added.
type Code string

// The codes that travel. HTTPStatus says how each looks over HTTP.
const (
	CodeInternal     Code = "internal"       // a bug or an unexpected failure of ours
	CodeBadRequest   Code = "bad_request"    // the request can never succeed as it is
	CodeNotFound     Code = "not_found"      // the worker, hive or job is not known
	CodeModelUnknown Code = "model_unknown"  // nobody serves the model and no hive has it
	CodeNoWorker     Code = "no_worker"      // the model is served, but by nobody who answers
	CodeBusy         Code = "busy"           // no free slot; try again
	CodeUnavailable  Code = "unavailable"    // the other side is loading, draining, gone; try again
	CodeTimeout      Code = "timeout"        // the deadline passed
	CodeCancelled    Code = "cancelled"      // the caller went away or asked to stop
	CodeDenied       Code = "denied"         // the caller may not do this
	CodeConflict     Code = "conflict"       // the id is taken, the role already runs, the pid is another process
	CodeNoMemory     Code = "no_memory"      // the model does not fit
	CodeNoEngine     Code = "no_engine"      // the engine is not installed and cannot be
	CodeBadModel     Code = "bad_model"      // missing, unreadable, truncated or not a GGUF
	CodeContextFull  Code = "context_length" // the prompt is longer than the slot's context
	CodeSlowConsumer Code = "slow_consumer"  // the reader did not keep up; its stream was cancelled
	CodeStreamBroken Code = "stream_broken"  // a gap or a lost sender in the middle of an answer
	CodeStalled      Code = "stalled"        // the other side took the request and then fell silent
	CodeSpawnFailed  Code = "spawn_failed"   // the worker process ended before it was ready
	CodeWrongVersion Code = "wrong_version"  // the message's major version is not ours
	CodeDiskFull     Code = "disk_full"      // no room on the disk, or over the quota
)

// Error is what every part of rbee reports: a code for programs, the operation that was tried, a
// sentence, and a hint that the user can act on. It travels as it is; the cause does not.
type Error struct {
	Code    Code   `msgpack:"code" json:"code"`
	Op      string `msgpack:"op,omitempty" json:"op,omitempty"`     // what was tried: "worker.spawn"
	Message string `msgpack:"message" json:"message"`               // what went wrong, for people
	Hint    string `msgpack:"hint,omitempty" json:"hint,omitempty"` // what the user can do; may be empty
	Err     error  `msgpack:"-" json:"-"`                           // cause, for the log only; may be nil
}

// Errorf makes an [Error] whose message is formatted as by fmt.Errorf; a %w verb keeps the cause.
func Errorf(code Code, op, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Op: op, Message: err.Error(), Err: errors.Unwrap(err)}
}

// WithHint returns a copy of e that tells the user what to do.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// Error is the message, with the operation before it and the hint behind it.
func (e *Error) Error() string {
	s := e.Message
	if s == "" {
		s = string(e.Code)
	}
	if e.Op != "" {
		s = e.Op + ": " + s
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf is the code of the first [Error] in err's chain, [CodeInternal] for a foreign error and
// "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// AsError is err as an [Error]: itself if it is one, else wrapped with [CodeInternal] and op.
func AsError(err error, op string) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeInternal, Op: op, Message: err.Error(), Err: err}
}

// Known says whether the code is one of ours.
func (c Code) Known() bool {
	switch c {
	case CodeInternal, CodeBadRequest, CodeNotFound, CodeModelUnknown, CodeNoWorker, CodeBusy, CodeUnavailable, CodeTimeout, CodeCancelled,
		CodeDenied, CodeConflict, CodeNoMemory, CodeNoEngine, CodeBadModel, CodeContextFull, CodeSlowConsumer, CodeStreamBroken, CodeStalled,
		CodeSpawnFailed, CodeWrongVersion, CodeDiskFull:
		return true
	default:
		return false
	}
}

// Retryable says whether the same request may succeed elsewhere or later. It is what routing asks
// before it tries another worker.
func (c Code) Retryable() bool {
	switch c {
	case CodeBusy, CodeUnavailable, CodeNoWorker, CodeStreamBroken, CodeStalled:
		return true
	default:
		return false
	}
}

// HTTPStatus is the status a code has over HTTP.
func (c Code) HTTPStatus() int {
	switch c {
	case CodeBadRequest, CodeContextFull, CodeWrongVersion, CodeBadModel:
		return 400
	case CodeDenied:
		return 403
	case CodeNotFound, CodeModelUnknown:
		return 404
	case CodeConflict:
		return 409
	case CodeCancelled:
		return 499
	case CodeBusy, CodeUnavailable, CodeNoWorker, CodeNoMemory, CodeNoEngine, CodeSpawnFailed, CodeStalled:
		return 503
	case CodeDiskFull:
		return 507
	case CodeTimeout:
		return 504
	default:
		return 500
	}
}
