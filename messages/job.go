package messages

import (
	"encoding/json"
	"time"
)

// JobState is where a job is.
type JobState string

// A job has any number of steps and exactly one terminal event.
const (
	JobStep      JobState = "step"
	JobSucceeded JobState = "succeeded"
	JobFailed    JobState = "failed"
	JobCancelled JobState = "cancelled"
)

// Terminal says whether no event follows.
func (s JobState) Terminal() bool {
	return s == JobSucceeded || s == JobFailed || s == JobCancelled
}

// JobEvent is a step or the end of a job, JSON on [JobSubject], kept in [JobsStream].
type JobEvent struct {
	Versioned
	Job      JobID    `msgpack:"job" json:"job"`
	Executor Caller   `msgpack:"executor" json:"executor"`
	Op       string   `msgpack:"op" json:"op"`
	Seq      int      `msgpack:"seq" json:"seq"` // from 1, without gaps
	State    JobState `msgpack:"state" json:"state"`
	Text     string   `msgpack:"text,omitempty" json:"text,omitempty"` // for people
	// Result is the operation's answer when State is succeeded.
	Result json.RawMessage `msgpack:"result,omitempty" json:"result,omitempty"`
	// Error is set when State is failed or cancelled.
	Error *Error    `msgpack:"error,omitempty" json:"error,omitempty"`
	At    time.Time `msgpack:"at" json:"at"`
}

// JobTick is a job's progress, JSON on [TickSubject] at least every 2 s; nothing keeps it.
type JobTick struct {
	Versioned
	Job   JobID  `msgpack:"job" json:"job"`
	Text  string `msgpack:"text,omitempty" json:"text,omitempty"`
	Done  int64  `msgpack:"done" json:"done"`
	Total int64  `msgpack:"total" json:"total"`                   // 0: unknown
	Unit  string `msgpack:"unit,omitempty" json:"unit,omitempty"` // "B", "%"
}

// JobEventsReply is a job's history.
type JobEventsReply struct {
	Versioned
	Events []JobEvent `msgpack:"events" json:"events"`
}
