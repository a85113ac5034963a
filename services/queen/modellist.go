package queen

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

const (
	listLimit  = 5 * time.Second // for a hive's answer
	listAtOnce = 16              // hives asked
)

// modelList asks hive after hive, many at once, until a page is full. Its cursor is hive/id of the last model.
func (q *Queen) modelList(ctx context.Context, call *bus.Call, r *messages.ModelListRequest) (*messages.ModelListReply, error) {
	from, after, _ := strings.Cut(r.After, "/")
	var hives []messages.HiveID
	for _, h := range q.registry.Hives() {
		if string(h.ID) >= from {
			hives = append(hives, h.ID)
		}
	}
	slices.Sort(hives)
	out, page := &messages.ModelListReply{Models: []messages.Model{}}, messages.Page{Format: messages.FormatOf(call.Data)}
	for some := range slices.Chunk(hives, listAtOnce) {
		answers := askHives[messages.ModelListReply](ctx, q, some, messages.OpModelList, func(id messages.HiveID) any {
			if string(id) == from {
				return &messages.ModelListRequest{After: after}
			}
			return &messages.ModelListRequest{}
		})
		for i, id := range some {
			begin := ""
			if string(id) == from {
				begin = after
			}
			last, full, err := take(out, &page, id, begin, &answers[i])
			if err != nil {
				return nil, err
			}
			if full {
				out.Next = string(id) + "/" + last
				return out, nil
			}
		}
	}
	return out, nil
}

// take adds what a hive answered to what was asked for behind after. If the page is full, or the hive has more, full
// is true and last is the id behind which the next page begins.
func take(out *messages.ModelListReply, page *messages.Page, id messages.HiveID, after string, a *answer[messages.ModelListReply]) (last string, full bool, err error) {
	if a.err != nil {
		out.Away = append(out.Away, id)
		return "", false, nil
	}
	last = after
	for _, m := range a.reply.Models {
		if m.ID <= after && after != "" {
			continue // one that does not know pages
		}
		m.Hive = id
		if fits, err := page.Takes(&m); err != nil || !fits {
			return last, true, err
		}
		out.Models = append(out.Models, m)
		last = m.ID
	}
	return last, a.reply.Next != "" && last != after, nil
}

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
