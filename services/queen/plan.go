package queen

import (
	"context"
	"fmt"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// doPlan is a job: one hive reads the model's header and adds up what a worker takes, and each hive's devices
// are compared with that.
func (q *Queen) doPlan(_ context.Context, _ *bus.Call, r *messages.PlanRequest) (*messages.Accepted, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	return q.jobs.Start(r.Job, messages.OpModelPlan, r.Model, func(ctx context.Context, job *bus.Job) (any, error) {
		if err := q.awaitHive(ctx, r.Hive); err != nil {
			return nil, err
		}
		hive, err := q.chooseDisk(messages.OpModelPlan, r.Hive, r.Model)
		if err != nil {
			return nil, err
		}
		plan := &messages.PlanReply{}
		err = q.runOn(ctx, job, hive.ID, messages.OpModelPlan, false, func(id messages.JobID) any {
			req := *r
			req.Job, req.Hive = id, hive.ID
			return &req
		}, plan)
		if err != nil {
			return nil, err
		}
		plan.Fits = fits(plan, q.registry.HivesHere(), r.Hive)
		return plan, nil
	})
}

// fits compares a plan with every device of the named hive, or of all.
func fits(p *messages.PlanReply, hives []messages.HiveInfo, only messages.HiveID) []messages.PlanFit {
	out := []messages.PlanFit{}
	for i := range hives {
		h := &hives[i]
		if only != "" && h.ID != only {
			continue
		}
		for _, d := range h.Devices {
			f := messages.PlanFit{Hive: h.ID, Device: d.ID, FreeBytes: d.MemoryFreeBytes, NeedBytes: p.GPUBytes}
			if d.Kind == "cpu" {
				f.NeedBytes, f.FreeBytes = p.LeastBytes, h.MemoryFreeBytes // the device's was read when the hive started
			}
			switch {
			case f.FreeBytes == 0:
				f.Why = "its free memory is not known"
			case f.NeedBytes > f.FreeBytes:
				f.Why = fmt.Sprintf("%d MiB are missing", (f.NeedBytes-f.FreeBytes+(1<<20)-1)>>20)
			case uint64(max(p.DownloadBytes, 0)) > h.DiskFreeBytes && h.DiskFreeBytes > 0:
				f.Why = fmt.Sprintf("the download of %d MiB does not fit the disk, which has %d MiB", p.DownloadBytes>>20, h.DiskFreeBytes>>20)
			default:
				f.Fits = true
			}
			out = append(out, f)
		}
	}
	return out
}
