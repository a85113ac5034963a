package llamacpp

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestPlanStep(t *testing.T) {
	answers, reads := demand{decoding: true}, func(n int) demand { return demand{prompt: n} }
	for name, tc := range map[string]struct {
		slots       []demand
		room, chunk int
		want        []int
	}{
		"idle":                         {[]demand{{}, {}}, 260, 256, []int{0, 0}},
		"one token each":               {[]demand{answers, {}, answers}, 260, 256, []int{1, 0, 1}},
		"short prompt whole":           {[]demand{reads(10)}, 260, 256, []int{10}},
		"long prompt in chunks":        {[]demand{reads(9000)}, 260, 256, []int{256}},
		"long prompt stalls nobody":    {[]demand{reads(9000), answers, answers}, 260, 256, []int{256, 1, 1}},
		"short beside long":            {[]demand{reads(9000), reads(20)}, 260, 256, []int{236, 20}},
		"two long share":               {[]demand{reads(9000), reads(9000)}, 260, 256, []int{128, 128}},
		"answers first in a small one": {[]demand{reads(9000), answers, answers}, 3, 256, []int{1, 1, 1}},
		"no room for prompts":          {[]demand{reads(9000), answers}, 1, 256, []int{0, 1}},
		"more readers than room":       {[]demand{reads(5), reads(5), reads(5)}, 2, 256, []int{1, 1, 0}},
	} {
		got := make([]int, len(tc.slots))
		if planStep(tc.slots, tc.room, tc.chunk, 0, got); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// TestPlanTakesTurns: where a step is too small for all readers, each has its turn.
func TestPlanTakesTurns(t *testing.T) {
	slots := []demand{{prompt: 9}, {prompt: 9}, {prompt: 9}}
	read, share := make([]int, 3), make([]int, 3)
	for first := range 3 {
		planStep(slots, 3, 2, first, share)
		for i, n := range share {
			read[i] += n
		}
	}
	if !slices.Equal(read, []int{2, 2, 2}) {
		t.Errorf("after three steps %v", read)
	}
}

// TestPlanKeepsItsPromises tries what nobody would write down.
func TestPlanKeepsItsPromises(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		slots := make([]demand, 1+r.IntN(12))
		wanted := 0
		for i := range slots {
			switch r.IntN(3) {
			case 0:
				slots[i].decoding = true
			case 1:
				slots[i].prompt = 1 + r.IntN(1000)
				wanted += slots[i].prompt
			}
		}
		room, chunk := len(slots)+r.IntN(300), 1+r.IntN(300)
		share, answers, read := make([]int, len(slots)), 0, 0
		told := planStep(slots, room, chunk, r.IntN(len(slots)), share)
		for i, n := range share {
			switch {
			case slots[i].decoding && n != 1:
				t.Fatalf("slot %d of %v waits: %v", i, slots, share)
			case slots[i].decoding:
				answers++
			case n > slots[i].prompt:
				t.Fatalf("slot %d of %v reads too much: %v", i, slots, share)
			default:
				read += n
			}
		}
		if read != told || read != min(wanted, chunk, room-answers) {
			t.Fatalf("%v with room %d and chunk %d reads %d: %v", slots, room, chunk, read, share)
		}
	}
}
