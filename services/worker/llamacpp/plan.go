package llamacpp

// chunkTokens is the most prompt tokens that one step reads. A cancel and the other slots' next
// tokens wait for at most one step.
const chunkTokens = 256

// demand is what a slot could do in the next step.
type demand struct {
	// prompt is how many tokens of its prompt are not read yet.
	prompt int
	// decoding says that its prompt is read and its last token is to be followed by another.
	decoding bool
}

// planStep says how many tokens each slot may put into the next step: one for every slot that
// decodes, and a fair share of the rest, at most chunk, for every slot that still reads its prompt.
// room is the most tokens that the step takes.
func planStep(slots []demand, room, chunk int) []int {
	share := make([]int, len(slots))
	var readers []int
	for i, s := range slots {
		switch {
		case s.decoding && room > 0:
			share[i] = 1
			room--
		case s.prompt > 0:
			readers = append(readers, i)
		}
	}
	left := min(room, chunk)
	// Give everybody the same; who needs less leaves the difference to the others.
	for left > 0 && len(readers) > 0 {
		each := max(1, left/len(readers))
		hungry := readers[:0]
		for _, i := range readers {
			n := min(each, slots[i].prompt-share[i], left)
			share[i] += n
			left -= n
			if share[i] < slots[i].prompt {
				hungry = append(hungry, i)
			}
		}
		readers = hungry
	}
	return share
}
