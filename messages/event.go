package messages

import (
	"encoding/json"
	"strings"
	"time"
)

// Event says what happened to a worker, a hive or the bus. It travels as JSON on [EventSubject] and is
// kept in [EventsStream]. A hive's own word of a process that ended is a [WorkerExited].
type Event struct {
	Versioned
	Kind   string   `msgpack:"kind" json:"kind"` // "worker.lost"
	Worker WorkerID `msgpack:"worker,omitempty" json:"worker,omitempty"`
	Hive   HiveID   `msgpack:"hive,omitempty" json:"hive,omitempty"`
	Model  string   `msgpack:"model,omitempty" json:"model,omitempty"`
	// Cause is for people: "signal SIGKILL after 12s", "silent for 20s".
	Cause string    `msgpack:"cause,omitempty" json:"cause,omitempty"`
	At    time.Time `msgpack:"at" json:"at"` // the sender's clock, UTC
	// Info is the worker as it was then.
	Info *WorkerInfo `msgpack:"info,omitempty" json:"info,omitempty"`
}

// EventListRequest asks for events of the past.
type EventListRequest struct {
	Versioned
	// SinceMillis is how long ago the first may be; 0: everything that is kept.
	SinceMillis int64 `msgpack:"since_ms,omitempty" json:"since_ms,omitempty"`
	// Kind as a subject's tail: "worker.lost", "worker.*", ">"; empty is ">".
	Kind string `msgpack:"kind,omitempty" json:"kind,omitempty"`
	// After is the stream's number of the last event that is known already; 0 for none.
	After uint64 `msgpack:"after,omitempty" json:"after,omitempty"`
}

// EventListReply is a page of events, as many as fit a message.
type EventListReply struct {
	Versioned
	Events []StoredEvent `msgpack:"events" json:"events"`
	// Next is what to ask for After to get more; 0 at the end.
	Next uint64 `msgpack:"next,omitempty" json:"next,omitempty"`
}

// StoredEvent is one message of the stream.
type StoredEvent struct {
	Seq     uint64 `msgpack:"seq" json:"seq"`
	Subject string `msgpack:"subject" json:"subject"`
	// Event is an [Event] or a [WorkerExited]: JSON.
	Event json.RawMessage `msgpack:"event" json:"event"`
}

// CheckKind says what is wrong with a kind of events, as [CodeBadRequest].
func CheckKind(kind string) error {
	if len(kind) > 128 {
		return Errorf(CodeBadRequest, OpEventList, "a kind of events of %d bytes", len(kind)).WithHint("worker.lost, worker.*, hive.up and the like")
	}
	for i, tok := range strings.Split(kind, ".") {
		last := i == strings.Count(kind, ".")
		if tok != "*" && (tok != ">" || !last) && !ValidID(tok) {
			return Errorf(CodeBadRequest, OpEventList, "%q is not a kind of events", kind).WithHint("worker.lost, worker.*, hive.up and the like")
		}
	}
	return nil
}
