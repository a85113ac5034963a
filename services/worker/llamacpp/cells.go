package llamacpp

import (
	"errors"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/rbee-project/rbee/messages"
)

// clearSlot forgets all that a slot holds.
func (s *session) clearSlot(slot int) error {
	ok, err := llama.MemorySeqRm(s.memory, llama.SeqId(slot), -1, -1)
	if err == nil && !ok {
		err = errors.New("llama.cpp keeps the old cells")
	}
	if err != nil {
		return messages.Errorf(messages.CodeInternal, "llamacpp.clear", "slot %d cannot be cleared: %w", slot, err)
	}
	return nil
}

// cut leaves the slot its first n tokens. It reports whether the model's memory can do that; if not,
// the slot must be cleared.
func (s *session) cut(slot, n int) bool {
	ok, err := llama.MemorySeqRm(s.memory, llama.SeqId(slot), llama.Pos(n), -1)
	if err != nil || !ok {
		s.rewinds = false
		return false
	}
	if s.slides == 0 || n == 0 {
		return true
	}
	// A saved state has no more of the sliding layers than their window, and cut back it has less.
	first, err := llama.MemorySeqPosMin(s.memory, llama.SeqId(slot))
	return err == nil && first >= 0 && int(first) <= max(0, n-s.slides)
}

// copySlot gives the slot to the first n tokens of the slot from, with the next decode. It reports
// whether it can; if not, the slot to is empty.
func (s *session) copySlot(from, to, n int) bool {
	// llama.cpp copies whole sequences between slots; it asserts on anything else.
	if err := llama.MemorySeqCp(s.memory, llama.SeqId(from), llama.SeqId(to), -1, -1); err != nil {
		return false
	}
	if s.cut(to, n) {
		return true
	}
	_ = s.clearSlot(to) // begin has done it just before, so it can be done
	return false
}

// stateSize is how many bytes saveSlot needs.
func (s *session) stateSize(slot int) int {
	n := llama.StateSeqGetSize(s.ctx, llama.SeqId(slot))
	if n > 1<<40 {
		return 0
	}
	return int(n)
}

// saveSlot copies what the slot holds, size bytes; nil if that cannot be done.
func (s *session) saveSlot(slot, size int) []byte {
	data := make([]byte, size)
	if llama.StateSeqGetData(s.ctx, data, llama.SeqId(slot)) != uint64(size) {
		return nil
	}
	return data
}

// restoreSlot gives an empty slot what saveSlot copied. It reports whether it can; if not, the slot is
// empty.
func (s *session) restoreSlot(slot int, data []byte) bool {
	if llama.StateSeqSetData(s.ctx, data, llama.SeqId(slot)) == uint64(len(data)) {
		return true
	}
	_ = s.clearSlot(slot) // it was cleared just before
	return false
}

// shiftKeeps is how many of a slot's first tokens a shift never drops: models lean on the first.
const shiftKeeps = 1

// shiftSlot drops the older half of a full slot, but not its first token. It returns how many tokens
// it dropped.
func (s *session) shiftSlot(slot, used int) int {
	drop := (used - shiftKeeps) / 2
	if drop < 1 {
		return 0
	}
	id := llama.SeqId(slot)
	if ok, err := llama.MemorySeqRm(s.memory, id, shiftKeeps, llama.Pos(shiftKeeps+drop)); err != nil || !ok {
		return 0
	}
	if err := llama.MemorySeqAdd(s.memory, id, llama.Pos(shiftKeeps+drop), llama.Pos(used), llama.Pos(-drop)); err != nil {
		return 0
	}
	return drop
}
