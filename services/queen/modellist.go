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
	listAtOnce = 64              // hives asked
)

// modelList asks every hive at once. Its cursor is hive/id of the last model.
func (q *Queen) modelList(ctx context.Context, call *bus.Call, r *messages.ModelListRequest) (*messages.ModelListReply, error) {
	from, after, _ := strings.Cut(r.After, "/")
	var hives []messages.HiveID
	for _, h := range q.registry.Hives() {
		if string(h.ID) >= from {
			hives = append(hives, h.ID)
		}
	}
	slices.Sort(hives)
	answers := q.modelsOf(ctx, hives, messages.HiveID(from), after)
	out, page := &messages.ModelListReply{Models: []messages.Model{}}, messages.Page{Format: messages.FormatOf(call.Data)}
	for i, id := range hives {
		if answers[i] == nil {
			out.Away = append(out.Away, id)
			continue
		}
		for _, m := range answers[i].Models {
			m.Hive = id
			switch fits, err := page.Takes(&m); {
			case err != nil:
				return nil, err
			case !fits:
				out.Next = cursor(out.Models)
				return out, nil
			}
			out.Models = append(out.Models, m)
		}
		if answers[i].Next != "" {
			out.Next = cursor(out.Models)
			return out, nil
		}
	}
	return out, nil
}

func cursor(read []messages.Model) string {
	last := &read[len(read)-1]
	return string(last.Hive) + "/" + last.ID
}

// modelsOf is a page of each hive's models, of from's the one after; nil of a hive that does not answer.
func (q *Queen) modelsOf(ctx context.Context, hives []messages.HiveID, from messages.HiveID, after string) []*messages.ModelListReply {
	answers := make([]*messages.ModelListReply, len(hives))
	asking := make(chan struct{}, listAtOnce)
	var all sync.WaitGroup
	for i, id := range hives {
		asking <- struct{}{}
		all.Go(func() {
			defer func() { <-asking }()
			ctx, cancel := context.WithTimeout(ctx, listLimit)
			defer cancel()
			req, page := &messages.ModelListRequest{}, &messages.ModelListReply{}
			if id == from {
				req.After = after
			}
			if err := q.conn.Request(ctx, messages.HiveSubject(id, messages.OpModelList), req, page); err != nil {
				q.log.Warn("models of a hive", "hive", id, "error", err)
				return
			}
			answers[i] = page
		})
	}
	all.Wait()
	return answers
}
