package llamacpp

import "time"

// What one step may hold. A cancel and the other slots' next tokens wait for at most one step.
const (
	chunkTokens = 512                    // prompt tokens that one step reads, at most
	leastChunk  = 16                     // and at least, however slow the machine is
	firstChunk  = 128                    // before it is known how slow that is
	mixedStep   = 100 * time.Millisecond // how long a step should take while others decode
	loneStep    = time.Second            // and while all slots read their prompts
)

// demand is what a slot could do in the next step.
type demand struct {
	// prompt is how many tokens of its prompt are not read yet.
	prompt int
	// decoding says that its prompt is read and its last token is to be followed by another.
	decoding bool
}

// planStep says in share how many tokens each slot may put into the next step: one for every slot
// that decodes, and a fair part of the rest, at most chunk, for every slot that still reads its
// prompt, beginning with slot first where there is too little for all. room is the most tokens that the
// step takes. It allocates nothing; share is as long as slots. It reports how many prompt tokens there are.
func planStep(slots []demand, room, chunk, first int, share []int) (prompt int) {
	hungry := 0
	for i, s := range slots {
		share[i] = 0
		switch {
		case s.decoding && room > 0:
			share[i] = 1
			room--
		case s.prompt > 0 && !s.decoding:
			hungry++
		}
	}
	left := min(room, chunk)
	for left > 0 && hungry > 0 {
		// Give everybody the same; who needs less leaves the difference to the others.
		each := max(1, left/hungry)
		hungry = 0
		for k := range slots {
			i := (first + k) % len(slots)
			s := slots[i]
			if s.decoding || share[i] >= s.prompt {
				continue
			}
			n := min(each, s.prompt-share[i], left)
			share[i] += n
			left -= n
			prompt += n
			if share[i] < s.prompt {
				hungry++
			}
		}
	}
	return prompt
}

// pace learns how long this machine takes to read a prompt, so that a step with a piece of one does
// not keep others waiting. The zero value is ready.
type pace struct{ perToken time.Duration }

// took learns from a step that had so many prompt tokens.
func (p *pace) took(d time.Duration, prompt int) {
	if prompt < leastChunk {
		return // the step's own costs would count as the tokens'
	}
	now := d / time.Duration(prompt)
	if p.perToken > 0 {
		now = (3*p.perToken + now) / 4
	}
	p.perToken = max(now, 1)
}

// chunk is how many prompt tokens the next step should read; decoding says that others decode in it.
func (p *pace) chunk(decoding bool) int {
	if p.perToken == 0 {
		return firstChunk
	}
	aim := loneStep
	if decoding {
		aim = mixedStep
	}
	return min(max(int(aim/p.perToken), leastChunk), chunkTokens)
}
