package llamacpp

import "time"

// What one step may hold. A cancel and the other slots' next tokens wait for at most one step.
const (
	chunkTokens = 512                    // prompt tokens that one step reads, at most
	leastChunk  = 32                     // and at least, however slow the machine is: fewer cost nearly as much
	firstChunk  = 128                    // before it is known how slow that is
	mixedStep   = 200 * time.Millisecond // how long a step should take while others decode
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
type pace struct {
	alone    time.Duration // a step in which nobody reads
	perToken time.Duration // of a prompt, on top of that
}

// took learns from a step that had so many prompt tokens.
func (p *pace) took(d time.Duration, prompt int) {
	if prompt == 0 {
		p.alone = mix(p.alone, d)
		return
	}
	if prompt < leastChunk/2 {
		return // the step's own costs would count as the tokens'
	}
	p.perToken = mix(p.perToken, max(d-p.alone, d/4)/time.Duration(prompt))
}

// mix is a mean in which the new counts for a fourth.
func mix(old, now time.Duration) time.Duration {
	if old == 0 {
		return max(now, 1)
	}
	return max((3*old+now)/4, 1)
}

// chunk is how many prompt tokens the next step should read; decoding says that others decode in it.
func (p *pace) chunk(decoding bool) int {
	if p.perToken == 0 {
		return firstChunk
	}
	aim := loneStep
	if decoding {
		aim = max(mixedStep-p.alone, mixedStep/2)
	}
	return min(max(int(aim/p.perToken), leastChunk), chunkTokens)
}
