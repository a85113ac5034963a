package queen

import (
	"context"
	"slices"
	"strings"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
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
