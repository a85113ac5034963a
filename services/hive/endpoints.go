package hive

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/engines"
	"github.com/rbee-project/rbee/services/hive/spawn"
)

// handlers is what the hive does for each of its operations in [messages.Operations]. life is the hive's
// own context: what outlives a request hangs on it.
func (h *Hive) handlers(life context.Context) map[string]func(context.Context, *bus.Call) (any, error) {
	return map[string]func(context.Context, *bus.Call) (any, error){
		messages.OpSpawn: bus.Handle(func(ctx context.Context, _ *bus.Call, r *messages.SpawnRequest) (*messages.SpawnResult, error) {
			return h.spawn(ctx, life, r)
		}),
		messages.OpKill: bus.Handle(h.kill),
		messages.OpWatch: bus.Handle(func(_ context.Context, _ *bus.Call, r *messages.WatchRequest) (*messages.Done, error) {
			return h.watch(life, r)
		}),
		messages.OpLogs:       bus.Handle(h.logs),
		messages.OpModelList:  bus.Handle(h.modelList),
		messages.OpModelPull:  bus.Handle(h.modelPull),
		messages.OpModelGet:   bus.Handle(h.modelGet),
		messages.OpModelRm:    bus.Handle(h.modelRemove),
		messages.OpModelCheck: bus.Handle(h.modelVerify),
		messages.OpModelGC:    bus.Handle(h.modelGC),
		messages.OpModelFind:  bus.Handle(h.modelImport),
		messages.OpModelPlan:  bus.Handle(h.modelPlan),
		messages.OpOffer:      bus.Handle(h.peers.Offer),
		messages.OpRead:       bus.Handle(h.peers.Read),
		messages.OpEngineList: bus.Handle(h.engineList),
		messages.OpEngineInst: bus.Handle(h.engineInstall),
		messages.OpJobCancel:  bus.Handle(h.jobCancel),
	}
}

// endpoints are this hive's alone, so without a queue group.
func (h *Hive) endpoints(life context.Context) []bus.Endpoint {
	var out []bus.Endpoint
	handlers := h.handlers(life)
	for _, op := range messages.Operations() {
		if op.Party == messages.HiveDoes {
			out = append(out, bus.Endpoint{Name: strings.ReplaceAll(op.Op, ".", "-"), Subject: messages.HiveSubject(h.cfg.ID, op.Op),
				Request: op.Request, Reply: op.Reply, Handle: handlers[op.Op]})
		}
	}
	return out
}

// maxGrace bounds how long a kill waits before SIGKILL.
const maxGrace = 10 * time.Minute

// kill ends a process whose pid and start time both match, and that runs as this worker; else nothing is
// signalled.
func (h *Hive) kill(ctx context.Context, _ *bus.Call, r *messages.KillRequest) (*messages.Done, error) {
	if !isWorker(r.PID, r.Worker) {
		return nil, messages.Errorf(messages.CodeConflict, messages.OpKill, "process %d is another program, not worker %q", r.PID, r.Worker)
	}
	if err := spawn.Kill(ctx, r.PID, r.StartTime, millis(r.GraceMillis, maxGrace)); err != nil {
		return nil, err
	}
	return &messages.Done{OK: true}, nil
}

// millis is ms, between none and limit: whatever a request claims, it does not overflow.
func millis(ms int64, limit time.Duration) time.Duration {
	return time.Duration(max(0, min(ms, limit.Milliseconds()))) * time.Millisecond
}

// logs reads a piece of a worker's log.
func (h *Hive) logs(_ context.Context, _ *bus.Call, r *messages.LogsRequest) (*messages.LogsReply, error) {
	if err := messages.CheckID("worker id", string(r.ID)); err != nil {
		return nil, err
	}
	const most = 256 << 10
	f, err := os.Open(h.logPath(r.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, messages.Errorf(messages.CodeNotFound, messages.OpLogs, "hive %s has no log of worker %q", h.cfg.ID, r.ID)
	}
	if err != nil {
		return nil, messages.Errorf(messages.CodeInternal, messages.OpLogs, "%w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, messages.Errorf(messages.CodeInternal, messages.OpLogs, "%w", err)
	}
	from := r.Offset
	if from < 0 || from > st.Size() {
		tail := r.TailBytes
		if tail <= 0 || tail > most {
			tail = 64 << 10
		}
		from = max(0, st.Size()-tail)
	}
	data, err := io.ReadAll(io.NewSectionReader(f, from, most))
	if err != nil {
		return nil, messages.Errorf(messages.CodeInternal, messages.OpLogs, "%w", err)
	}
	return &messages.LogsReply{Text: strings.ToValidUTF8(string(data), "\uFFFD"), Next: from + int64(len(data))}, nil
}

func (h *Hive) logPath(id messages.WorkerID) string {
	return filepath.Join(h.cfg.DataDir, "logs", string(id)+".log")
}

func (h *Hive) engineList(context.Context, *bus.Call, *messages.Versioned) (*messages.EngineListReply, error) {
	r := &messages.EngineListReply{Engines: []messages.Engine{}}
	for _, e := range h.engines.List() {
		r.Engines = append(r.Engines, e.Engine)
	}
	return r, nil
}

// engineInstall is a job; afterwards the engine knows more devices than the CPU.
func (h *Hive) engineInstall(_ context.Context, _ *bus.Call, r *messages.EngineRequest) (*messages.Accepted, error) {
	return h.jobs.Start(r.Job, messages.OpEngineInst, r.Name, func(ctx context.Context, job *bus.Job) (any, error) {
		last := ""
		e, err := h.engines.Install(ctx, r.Name, func(s engines.Step) {
			if s.Text != last {
				last = s.Text
				job.Step("%s", s.Text)
			}
			job.Tick(s.Text, s.Done, s.Total, "B")
		})
		if err != nil {
			return nil, err
		}
		h.probe(ctx)
		return &e.Engine, nil
	})
}

func (h *Hive) jobCancel(_ context.Context, _ *bus.Call, r *messages.JobRef) (*messages.Done, error) {
	return &messages.Done{OK: h.jobs.Cancel(r.Job)}, nil
}
