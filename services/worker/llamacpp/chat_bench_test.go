package llamacpp

import (
	"testing"
	"time"

	"github.com/rbee-project/rbee/services/worker/completion"
)

func completionParams(b testing.TB, body string) *completion.Params {
	b.Helper()
	p, err := completion.Parse("completion", []byte(body))
	if err != nil {
		b.Fatal(err)
	}
	return &p
}

// BenchmarkChatTurns holds chats of ten turns: how long the tenth's first token takes, when the
// turns before are kept and when they are not, and how much of the prompts is kept when eight chats
// share four slots.
func BenchmarkChatTurns(b *testing.B) {
	const perTurn, turns = 150, 10
	path := large(b)
	for _, c := range []struct {
		name         string
		chats, slots int
		cache        int
		cold         bool
	}{
		{"warm", 1, 4, 0, false}, {"cold", 1, 4, -1, true},
		{"8 chats on 4 slots", 8, 4, 0, false}, {"8 chats on 4 slots, nothing saved", 8, 4, -1, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			e := loaded(b, Config{ModelPath: path, Slots: c.slots, ContextLength: 2048, CacheBytes: c.cache})
			var last []time.Duration
			prompt, kept := 0, 0
			for b.Loop() {
				for turn := 1; turn <= turns; turn++ {
					if c.cold && turn < turns {
						continue
					}
					for chat := range c.chats {
						began := time.Now()
						at, u, err := stream(b.Context(), e, turn*perTurn, chat+1, 20)
						if err != nil {
							b.Fatal(err)
						}
						prompt, kept = prompt+u.PromptTokens, kept+u.CachedTokens
						if turn == turns {
							last = append(last, at[0].Sub(began))
						}
					}
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(median(last).Microseconds())/1000, "ms-ttft-turn-10")
			b.ReportMetric(float64(kept)/float64(prompt), "kept")
		})
	}
}
