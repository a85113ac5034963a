package messages

import (
	"encoding/json"
	"time"
)

// JobState is where a job is.
type JobState string

// A job starts, has any number of steps, and exactly one terminal event.
const (
	JobStarted   JobState = "started" // the first event of every job
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
	// StartedAt is the At of the job's first event.
	StartedAt time.Time `msgpack:"started_at" json:"started_at"`
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

// JobRef names a job.
type JobRef struct {
	Versioned
	Job JobID `msgpack:"job" json:"job"`
	// After is the stream's number of the last event that is known already; 0 for none.
	After uint64 `msgpack:"after,omitempty" json:"after,omitempty"`
}

// JobEventsReply is a job's history, as much as fits a message.
type JobEventsReply struct {
	Versioned
	Events []JobEvent `msgpack:"events" json:"events"`
	// Next is what to ask for After to get more; 0 at the end.
	Next uint64 `msgpack:"next,omitempty" json:"next,omitempty"`
}

// JobInfo is a job at a glance.
type JobInfo struct {
	Job      JobID    `msgpack:"job" json:"job"`
	Executor Caller   `msgpack:"executor" json:"executor"`
	Op       string   `msgpack:"op" json:"op"`
	State    JobState `msgpack:"state" json:"state"` // of its last event
	Text     string   `msgpack:"text,omitempty" json:"text,omitempty"`
	Error    *Error   `msgpack:"error,omitempty" json:"error,omitempty"`
	// StartedAt and UpdatedAt are the executor's clock, of its first and last event.
	StartedAt time.Time `msgpack:"started_at" json:"started_at"`
	UpdatedAt time.Time `msgpack:"updated_at" json:"updated_at"`
	// Done of Total in Unit, by the last tick of a job that runs.
	Done  int64  `msgpack:"done,omitempty" json:"done,omitempty"`
	Total int64  `msgpack:"total,omitempty" json:"total,omitempty"`
	Unit  string `msgpack:"unit,omitempty" json:"unit,omitempty"`
}

// JobListReply is every open job and the last that ended, the newest first.
type JobListReply struct {
	Versioned
	Jobs []JobInfo `msgpack:"jobs" json:"jobs"`
}
