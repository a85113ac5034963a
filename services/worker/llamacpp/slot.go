package llamacpp

import (
	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/services/worker/completion"
)

// slot is one sequence of the context, and the job that it works on.
type slot struct {
	job   *job // nil: free
	chain llama.Sampler
	text  *completion.Text
	rules *rules

	// cells are the tokens in the slot's context. They stay after the job, for the next that begins
	// with them.
	cells []llama.Token
	// shifted says that the cells behind the first [shiftKeeps] are not as if just read.
	shifted bool
	// copied says that the context was copied from another slot and not decoded with since:
	// llama.cpp copies with the next decode.
	copied bool
	used   uint64 // when the slot was last given a job

	read   int         // prompt tokens read, with those that were kept
	made   int         // answer tokens
	next   llama.Token // to be decoded, once the prompt is read
	output int32       // where in the batch the wanted logits are; -1: none
	follow int         // the slot that reads what this one needs, too; -1: none
	until  int         // how many tokens that are
}

// reading says that the prompt is not read to its end.
func (s *slot) reading() bool { return s.job != nil && s.read < len(s.job.prompt) }

// finish leaves the slot free, with the cells that the next may use.
func (s *slot) finish() {
	llama.SamplerFree(s.chain)
	cells := s.cells
	switch {
	case s.copied:
		cells = cells[:0]
	case s.shifted:
		cells = cells[:min(shiftKeeps, len(cells))]
	}
	*s = slot{cells: cells, copied: s.copied, used: s.used, follow: -1}
}

// holding is what [pickSlot] is told of the slot.
func (s *slot) holding() holding {
	h := holding{free: s.job == nil, cells: s.cells, soon: s.cells, used: s.used}
	if s.copied || s.shifted {
		h.cells, h.soon = nil, nil
	}
	if s.reading() && !s.shifted {
		h.soon = s.job.prompt
	}
	return h
}
