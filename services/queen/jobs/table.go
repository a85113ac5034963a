// Package jobs knows every job of the cluster by its events and ticks, so that a job whose executor
// died does not stay open. Table decides, as a pure function of what was heard and when.
package jobs

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/rbee-project/rbee/messages"
)

const (
	// SilentAfter is how long an executor may say nothing of an open job: it ticks every 2 s.
	SilentAfter = 15 * time.Second
	// againAfter is how long the end of a job is not written again, should the store refuse it.
	againAfter = 15 * time.Second
	// kept is how many jobs that ended are remembered, most how many there may be at all.
	kept = 500
	most = 20_000
	// maxText bounds what is remembered of a text, in bytes.
	maxText = 4 << 10
)

type job struct {
	info  messages.JobInfo
	seq   int       // of its last event
	last  uint64    // the stream's number of it; 0 until the stream has told
	heard time.Time // of anything
	tried time.Time // when its end was last tried to be written
	// unstored is its end, heard from the executor, while the stream does not have it.
	unstored *messages.JobEvent
}

// Table is not safe for concurrent use.
type Table struct {
	jobs  map[messages.JobID]*job
	ended []messages.JobID // the oldest first
	high  uint64           // the stream's highest number that was told
}

// NewTable is empty.
func NewTable() *Table { return &Table{jobs: map[messages.JobID]*job{}} }

// Event takes an event. number is the stream's, or 0 for one that was heard live and may not be stored. It
// says whether the job has ended with it. What the stream tells again, of a job that was forgotten since,
// changes nothing. The executor of a job is who spoke first of it; nobody else may.
func (t *Table) Event(e *messages.JobEvent, number uint64, now time.Time) (ended bool) {
	j := t.jobs[e.Job]
	again := number > 0 && number <= t.high
	t.high = max(t.high, number)
	if j == nil {
		if again || len(t.jobs) >= most {
			return false
		}
		j = &job{info: messages.JobInfo{Job: e.Job, Executor: e.Executor, StartedAt: e.StartedAt}}
		t.jobs[e.Job] = j
	}
	if e.Executor != j.info.Executor {
		return false
	}
	j.heard = now
	if number > j.last {
		j.last = number
		if e.State.Terminal() {
			j.unstored = nil
		}
	}
	if e.Seq <= j.seq && !e.State.Terminal() || j.info.State.Terminal() {
		return false
	}
	return t.take(j, e, number)
}

// take lets a newer event in.
func (t *Table) take(j *job, e *messages.JobEvent, number uint64) (ended bool) {
	j.seq = e.Seq
	i := &j.info
	i.Op, i.State, i.Error, i.UpdatedAt = e.Op, e.State, e.Error, e.At
	if e.Text != "" {
		i.Text = strings.ToValidUTF8(e.Text[:min(len(e.Text), maxText)], "")
	}
	if i.StartedAt.IsZero() {
		i.StartedAt = e.At
	}
	if !e.State.Terminal() {
		return false
	}
	if number == 0 {
		j.unstored = e
	}
	t.retire(e.Job)
	return true
}

func (t *Table) retire(id messages.JobID) {
	if t.ended = append(t.ended, id); len(t.ended) > kept {
		delete(t.jobs, t.ended[0])
		t.ended = t.ended[1:]
	}
}

// Tick takes a job's progress from its executor.
func (t *Table) Tick(executor messages.Caller, k *messages.JobTick, now time.Time) {
	if j := t.jobs[k.Job]; j != nil && j.info.Executor == executor {
		j.heard = now
		j.info.Done, j.info.Total, j.info.Unit = k.Done, k.Total, k.Unit
	}
}

// Orphan is a job whose terminal event must be written.
type Orphan struct {
	End  messages.JobEvent
	Last uint64 // the stream's number of the job's last event
}

// Orphans are the open jobs whose executors have been silent for [SilentAfter], and those that were heard
// to end but whose end the stream does not have.
func (t *Table) Orphans(now time.Time) []Orphan {
	t.forget(now)
	return t.find(now, func(j *job) string {
		if now.Sub(j.heard) < SilentAfter {
			return ""
		}
		return "nothing heard of it for " + now.Sub(j.heard).Round(time.Second).String()
	})
}

// forget ends, in memory alone, silent jobs of which the stream has nothing: nobody will tell of them.
func (t *Table) forget(now time.Time) {
	for id, j := range t.jobs {
		if j.last == 0 && !j.info.State.Terminal() && now.Sub(j.heard) >= SilentAfter {
			j.info.State, j.info.Text = messages.JobFailed, "nothing heard of it, and the store has none of its events"
			t.retire(id)
		}
	}
}

// Lost are the open jobs of an executor that is known to be gone.
func (t *Table) Lost(executor messages.Caller, cause string, now time.Time) []Orphan {
	return t.find(now, func(j *job) string {
		if j.info.Executor != executor {
			return ""
		}
		return cause
	})
}

// find makes orphans of the stored jobs that why gives a reason for.
func (t *Table) find(now time.Time, why func(*job) string) (out []Orphan) {
	for _, j := range t.jobs {
		if j.last == 0 || now.Sub(j.tried) < againAfter {
			continue // the stream has nothing that could stay open, or it was just tried
		}
		cause := why(j)
		if cause == "" {
			continue
		}
		if o, open := j.orphan(cause); open {
			j.tried = now
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b Orphan) int { return cmp.Compare(a.End.Job, b.End.Job) })
	return out
}

// orphan is the end to write; open is false if the stream has one.
func (j *job) orphan(cause string) (o Orphan, open bool) {
	if j.unstored != nil {
		return Orphan{Last: j.last, End: *j.unstored}, true
	}
	if j.info.State.Terminal() {
		return o, false
	}
	i := &j.info
	e := messages.Errorf(messages.CodeUnavailable, i.Op, "its executor %s is gone: %s", i.Executor, cause).
		WithHint("%s", afterLoss(i.Op))
	return Orphan{Last: j.last, End: messages.JobEvent{Job: i.Job, Executor: i.Executor, Op: i.Op, Seq: j.seq + 1,
		State: messages.JobFailed, Text: e.Error(), Error: e, StartedAt: i.StartedAt}}, true
}

// afterLoss is what to do about a job whose executor is gone.
func afterLoss(op string) string {
	if op == messages.OpSpawn || op == messages.OpEnsure {
		return "what it had begun may be there all the same: rbee worker list"
	}
	return "ask for it again: what was done so far is kept"
}

// Restart starts every clock anew: after the queen was away, silence says nothing.
func (t *Table) Restart(now time.Time) {
	for _, j := range t.jobs {
		j.heard = now
	}
}

// Open is how many jobs run.
func (t *Table) Open() int { return len(t.jobs) - len(t.ended) }

// Get is one job.
func (t *Table) Get(id messages.JobID) (messages.JobInfo, bool) {
	j := t.jobs[id]
	if j == nil {
		return messages.JobInfo{}, false
	}
	return j.info, true
}

// List is the open jobs, then those that ended, each the newest first.
func (t *Table) List() []messages.JobInfo {
	out := make([]messages.JobInfo, 0, len(t.jobs))
	for _, j := range t.jobs {
		out = append(out, j.info)
	}
	open := func(i *messages.JobInfo) int {
		if i.State.Terminal() {
			return 1
		}
		return 0
	}
	slices.SortFunc(out, func(a, b messages.JobInfo) int {
		return cmp.Or(cmp.Compare(open(&a), open(&b)), b.StartedAt.Compare(a.StartedAt), cmp.Compare(a.Job, b.Job))
	})
	return out
}
