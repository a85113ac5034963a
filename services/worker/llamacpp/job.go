package llamacpp

import (
	"sync"
	"sync/atomic"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/services/worker/completion"
	"github.com/rbee-project/rbee/services/worker/grammar"
)

// job is one answer on its way through the decode loop. The loop writes into its mailbox and never
// waits for the reader.
type job struct {
	params *completion.Params
	prompt []llama.Token
	// chain are the answer's own samplers: the choices of one request differ.
	chain llama.Sampler
	// rules bind the text, from its beginning or, with afterThought, from the end of the model's
	// thinking on; nil: free.
	rules        *grammar.Grammar
	afterThought bool
	// marks has the model's special tokens for calls of functions shown as text.
	marks bool

	cancelled atomic.Bool
	ready     chan struct{} // holds one token when there is something to take; the request's

	mu   sync.Mutex
	mail mail
}

// mail is what happened since the reader last looked.
type mail struct {
	text     []byte
	logprobs []completion.Logprob
	read     int // prompt tokens read so far, with those that were kept
	cached   int // prompt tokens that were kept
	tokens   int // answer tokens so far
	ended    bool
	reason   string // why it ended well
	err      error  // or why it did not
}

// tell has the reader look.
func (j *job) tell() {
	select {
	case j.ready <- struct{}{}:
	default:
	}
}

// take empties the mailbox into m, whose text's room is used again; the counts stay.
func (j *job) take(m *mail) {
	j.mu.Lock()
	defer j.mu.Unlock()
	room := m.text[:0]
	*m = j.mail
	j.mail.text, j.mail.logprobs = room, nil
}

// putRead says how far the prompt is.
func (j *job) putRead(read int) {
	j.mu.Lock()
	j.mail.read = read
	j.mu.Unlock()
	j.tell()
}

// putCached says how much of the prompt need not be read.
func (j *job) putCached(n int) {
	j.mu.Lock()
	j.mail.cached, j.mail.read = n, n
	j.mu.Unlock()
}

// mostUnread is how many bytes of an answer may wait for their reader; a logprob counts as its size.
const mostUnread = 4 << 20

// putToken adds a token: its text goes through to, which holds back what may not be shown yet. It
// reports whether the reader keeps up.
func (j *job) putToken(to *completion.Text, piece string, made int, lp *completion.Logprob) bool {
	j.mu.Lock()
	j.mail.text = to.Append(j.mail.text, piece)
	if lp != nil {
		j.mail.logprobs = append(j.mail.logprobs, *lp)
	}
	j.mail.tokens = made
	unread := len(j.mail.text)
	if n := len(j.mail.logprobs); n > 0 {
		unread += 64 * n * (1 + len(j.mail.logprobs[0].Top))
	}
	j.mu.Unlock()
	j.tell()
	return unread <= mostUnread
}

// putEnd says that the answer is complete, or why it is not.
func (j *job) putEnd(rest, reason string, err error) {
	j.mu.Lock()
	j.mail.text = append(j.mail.text, rest...)
	j.mail.ended, j.mail.reason, j.mail.err = true, reason, err
	j.mu.Unlock()
	j.tell()
}
