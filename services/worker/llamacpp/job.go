package llamacpp

import (
	"sync"
	"sync/atomic"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/services/worker/completion"
)

// job is one request on its way through the decode loop. The loop writes into its mailbox and never
// waits for the reader.
type job struct {
	params    completion.Params
	prompt    []llama.Token
	cancelled atomic.Bool
	ready     chan struct{} // holds one token when there is something to take

	mu   sync.Mutex
	mail mail
}

// mail is what happened since the reader last looked.
type mail struct {
	text   string
	read   int // prompt tokens read so far
	tokens int // answer tokens so far
	ended  bool
	reason string // why it ended well
	err    error  // or why it did not
}

func newJob(p completion.Params, prompt []llama.Token) *job {
	return &job{params: p, prompt: prompt, ready: make(chan struct{}, 1)}
}

// put changes the mailbox and tells the reader.
func (j *job) put(change func(*mail)) {
	j.mu.Lock()
	change(&j.mail)
	j.mu.Unlock()
	select {
	case j.ready <- struct{}{}:
	default:
	}
}

// take empties the mailbox; the counts stay.
func (j *job) take() mail {
	j.mu.Lock()
	defer j.mu.Unlock()
	m := j.mail
	j.mail.text = ""
	return m
}

// wait returns when the job has ended.
func (j *job) wait() {
	for !j.take().ended {
		<-j.ready
	}
}
