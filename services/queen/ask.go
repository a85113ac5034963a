package queen

import (
	"context"
	"sync"
	"time"

	"github.com/rbee-project/rbee/messages"
)

const (
	listLimit  = 5 * time.Second // for a hive's answer
	listAtOnce = 16              // hives asked
)

// answer is what a hive said.
type answer[Reply any] struct {
	reply Reply
	err   error
}

// askHives asks hives at once, and gives their answers in the same order.
func askHives[Reply any](ctx context.Context, q *Queen, hives []messages.HiveID, op string, req func(messages.HiveID) any) []answer[Reply] {
	answers := make([]answer[Reply], len(hives))
	ctx, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	var all sync.WaitGroup
	for i, id := range hives {
		all.Go(func() {
			a := &answers[i]
			if a.err = q.conn.Request(ctx, messages.HiveSubject(id, op), req(id), &a.reply); a.err != nil && messages.CodeOf(a.err) != messages.CodeModelUnknown {
				q.log.Warn("a hive does not say what models it has", "hive", id, "error", a.err)
			}
		})
	}
	all.Wait()
	return answers
}
