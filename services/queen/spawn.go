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

// loadLimit bounds a spawn from the process's start to its first ready beat.
const loadLimit = 15 * time.Minute

// reportGrace is how long a worker's end may precede its hive's report.
const reportGrace = 5 * time.Second

// answerGrace is how long a cancelled spawn waits for the hive's answer.
const answerGrace = 10 * time.Second

// spawns remembers which hive was told to spawn which worker: only it gets the worker's key signed,
// and its exit reports end the spawn.
type spawns struct {
	mu      sync.Mutex
	pending map[messages.WorkerID]*spawn
	models  map[string]*ensured // by model: equal requests share a spawn
}

type spawn struct {
	job    messages.JobID
	hive   messages.HiveID
	model  string    // as it was asked for
	exited chan exit // buffered; an earlier process of the same id may be among them
}

type exit struct {
	pid   int
	cause string
}

// ensured is one spawn that several requests wait for.
type ensured struct {
	done   chan struct{}
	worker *messages.WorkerInfo
	err    error
}

func newSpawns() *spawns {
	return &spawns{pending: map[messages.WorkerID]*spawn{}, models: map[string]*ensured{}}
}

func (s *spawns) begin(id messages.WorkerID, job messages.JobID, hive messages.HiveID, model string) (*spawn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.pending[id]; ok {
		return nil, messages.Errorf(messages.CodeConflict, messages.OpSpawn, "worker %q is being started already", id)
	}
	sp := &spawn{job: job, hive: hive, model: model, exited: make(chan exit, 8)}
	s.pending[id] = sp
	return sp, nil
}

// jobOf is the job that is starting worker id.
func (s *spawns) jobOf(id messages.WorkerID) (messages.JobID, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp, ok := s.pending[id]
	if !ok {
		return "", false
	}
	return sp.job, true
}

func (s *spawns) end(id messages.WorkerID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, id)
}

func (s *spawns) exited(e *messages.WorkerExited, cause string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sp := s.pending[e.Worker]; sp != nil && sp.hive == e.Hive {
		select {
		case sp.exited <- exit{e.PID, cause}:
		default:
		}
	}
}

// starts says whether a spawn of model is under way.
func (s *spawns) starts(model string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sp := range s.pending {
		if sp.model == model {
			return true
		}
	}
	return false
}

// maySign says whether hive was told to spawn id.
func (s *spawns) maySign(id messages.WorkerID, hive string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp := s.pending[id]
	return sp != nil && string(sp.hive) == hive
}

// spawn is the job: hive and engine, process, first ready beat.
func (q *Queen) spawn(ctx context.Context, job *bus.Job, req messages.SpawnRequest) (*messages.WorkerInfo, error) {
	if req.ID == "" {
		req.ID = messages.WorkerID(messages.NewID("w-"))
	}
	if w, ok := q.registry.Worker(req.ID); ok {
		return nil, messages.Errorf(messages.CodeConflict, messages.OpSpawn, "worker %q already serves %s", w.ID, w.ModelID).
			WithHint("choose another --id, or stop it: rbee worker stop %s", w.ID)
	}
	if err := q.awaitHive(ctx, req.Hive); err != nil {
		return nil, err
	}
	hive, err := q.chooseHive(req.Hive, req.Model)
	if err != nil {
		return nil, err
	}
	req.Hive = hive.ID
	if req.OrphanAfterMillis == 0 {
		req.OrphanAfterMillis = q.cfg.OrphanAfter.Milliseconds()
	}
	if err := q.installEngine(ctx, job, &hive); err != nil {
		return nil, err
	}
	sp, err := q.spawns.begin(req.ID, job.ID, hive.ID, req.Model)
	if err != nil {
		return nil, err
	}
	defer q.heard.poke()
	defer q.spawns.end(req.ID)
	if req.Model, err = q.bring(ctx, job, &hive, &req); err != nil {
		return nil, err
	}
	job.Step("starting %s on %s", req.Model, hive.ID)
	res, err := q.askSpawn(ctx, &req)
	if err != nil {
		// The answer may be lost, and the process be there.
		if w, ok := q.registry.Worker(req.ID); ok && w.Hive == hive.ID {
			_ = q.kill(context.WithoutCancel(ctx), hive.ID, &messages.KillRequest{Worker: w.ID, PID: w.PID, StartTime: w.StartTime})
		}
		return nil, err
	}
	job.Step("worker %s is process %d on port %d, loading %s", res.WorkerID, res.PID, res.Port, res.ModelID)
	w, err := q.waitReady(ctx, job, sp, res.WorkerID, res.PID)
	if err != nil {
		// Whatever went wrong, the process must not stay behind; a process that is gone is no error.
		_ = q.kill(context.WithoutCancel(ctx), hive.ID, &messages.KillRequest{Worker: res.WorkerID, PID: res.PID, StartTime: res.StartTime})
		return nil, err
	}
	return w, nil
}

// askSpawn has the hive start the process. Cancelled or not, its answer is awaited: it names what must
// not stay behind.
func (q *Queen) askSpawn(ctx context.Context, req *messages.SpawnRequest) (*messages.SpawnResult, error) {
	ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(answerGrace, cancel) })()
	gone := q.cancelWithHive(ask, req.Hive, cancel)
	res := &messages.SpawnResult{}
	err := q.conn.Request(ask, messages.HiveSubject(req.Hive, messages.OpSpawn), req, res)
	if err != nil && gone() {
		err = messages.Errorf(messages.CodeUnavailable, messages.OpSpawn, "hive %s is gone", req.Hive).WithHint("rbee events --since 5m")
	}
	return res, err
}

// cancelWithHive cancels as soon as the hive is gone. When another life of it comes the request may have
// reached that one: then its answer has secondLifeGrace. gone says whether the hive went, and ends the
// watching.
func (q *Queen) cancelWithHive(ctx context.Context, id messages.HiveID, cancel context.CancelFunc) (gone func() bool) {
	life := func() string {
		for _, h := range q.registry.Hives() {
			if h.ID == id {
				return h.Incarnation
			}
		}
		return nobody
	}
	first := life()
	ctx, stop := context.WithCancel(ctx)
	done := make(chan bool, 1)
	go func() {
		for {
			changed := q.heard.wait()
			now := life()
			if now != first && now != nobody {
				time.AfterFunc(secondLifeGrace, cancel)
			}
			if now == nobody {
				cancel()
			}
			if now != first {
				done <- true
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				done <- false
				return
			}
		}
	}()
	return func() bool { stop(); return <-done }
}

const (
	nobody          = "-" // no incarnation
	secondLifeGrace = 3 * time.Second
)

// waitReady follows a worker from starting to ready.
func (q *Queen) waitReady(ctx context.Context, job *bus.Job, sp *spawn, id messages.WorkerID, pid int) (*messages.WorkerInfo, error) {
	limit := time.NewTimer(loadLimit)
	defer limit.Stop()
	seen := false
	var lost <-chan time.Time // it has left the registry, and its hive may still tell why
	for {
		changed := q.heard.wait()
		w, ok := q.registry.Worker(id)
		switch ok = ok && w.PID == pid; {
		case ok && (w.Status == messages.StatusReady || w.Status == messages.StatusBusy):
			return &w.WorkerInfo, nil
		case ok && w.Status == messages.StatusStarting:
			seen = true
			job.Tick("loading "+w.ModelID, int64(w.Progress*100), 100, "%")
		case seen && !ok && lost == nil:
			lost = time.After(reportGrace)
		}
		select {
		case <-changed:
		case e := <-sp.exited:
			if e.pid != pid {
				continue
			}
			return nil, messages.Errorf(messages.CodeSpawnFailed, messages.OpSpawn, "the worker ended before it was ready: %s", e.cause).
				WithHint("rbee worker logs %s", id)
		case <-lost:
			if _, back := q.registry.Worker(id); !back {
				return nil, messages.Errorf(messages.CodeSpawnFailed, messages.OpSpawn, "worker %s was lost while it loaded", id).WithHint("rbee events --since 5m")
			}
			lost = nil
		case <-limit.C:
			return nil, messages.Errorf(messages.CodeTimeout, messages.OpSpawn, "worker %s was not ready within %s", id, loadLimit)
		case <-ctx.Done():
			return nil, messages.AsError(context.Cause(ctx), messages.OpSpawn)
		}
	}
}

// awaitHive gives a queen that has just started one beat's time to hear of a hive, the named one or any,
// and a hive that lost its connection the time to come back.
func (q *Queen) awaitHive(ctx context.Context, name messages.HiveID) error {
	limit := time.NewTimer(messages.HiveBeatEvery + time.Second)
	defer limit.Stop()
	for {
		changed := q.heard.wait()
		here := q.registry.HivesHere()
		if slices.ContainsFunc(here, func(h messages.HiveInfo) bool { return name == "" || h.ID == name }) ||
			len(here) > 0 && !q.knowsHive(name) {
			return nil
		}
		select {
		case <-changed:
		case <-limit.C:
			return nil // chooseHive says what is missing
		case <-ctx.Done():
			return messages.AsError(context.Cause(ctx), messages.OpSpawn)
		}
	}
}

func (q *Queen) knowsHive(name messages.HiveID) bool {
	return slices.ContainsFunc(q.registry.Hives(), func(h messages.HiveInfo) bool { return h.ID == name })
}

// bring has the hive pull a model that it does not have, and gives the name that the hive calls it by. A path
// is left to the spawn: it names a file that is there or not.
func (q *Queen) bring(ctx context.Context, job *bus.Job, hive *messages.HiveInfo, req *messages.SpawnRequest) (string, error) {
	if id, ok := has(hive, req.Model); ok {
		return id, nil
	}
	if strings.HasPrefix(req.Model, "/") {
		return req.Model, nil
	}
	job.Step("pulling %s to %s", req.Model, hive.ID)
	var m messages.Model
	err := q.runOn(ctx, job, hive.ID, messages.OpModelPull, false, func(id messages.JobID) any {
		return &messages.PullRequest{Job: id, Model: req.Model, Hive: hive.ID, Offline: req.Offline, IfMissing: true}
	}, &m)
	if err != nil {
		return "", at(err, hive.ID, true)
	}
	return m.ID, nil
}

const defaultEngine = "llama-cpp"

// installEngine has the hive install the default engine if it has none, and passes its progress on.
func (q *Queen) installEngine(ctx context.Context, job *bus.Job, hive *messages.HiveInfo) error {
	if slices.ContainsFunc(hive.Engines, func(e messages.Engine) bool { return e.Name == defaultEngine }) {
		return nil
	}
	id := messages.JobID(messages.NewID("engine-"))
	w := bus.Watcher{
		Event: func(e messages.JobEvent) {
			if e.State == messages.JobStep {
				job.Step("%s", e.Text)
			}
		},
		Tick: func(t messages.JobTick) { job.Tick(t.Text, t.Done, t.Total, t.Unit) },
	}
	return q.conn.RunJob(ctx, messages.HiveSubject(hive.ID, messages.OpEngineInst), id,
		&messages.EngineRequest{Job: id, Hive: hive.ID, Name: defaultEngine}, nil, w)
}

// kill has a hive end a process; a process that is gone is as good.
func (q *Queen) kill(ctx context.Context, hive messages.HiveID, req *messages.KillRequest) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(req.GraceMillis)*time.Millisecond+15*time.Second)
	defer cancel()
	err := q.conn.Request(ctx, messages.HiveSubject(hive, messages.OpKill), req, nil)
	if messages.CodeOf(err) == messages.CodeNotFound {
		return nil
	}
	return err
}
