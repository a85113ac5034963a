package messages

import "time"

// Bounds of what a caller may ask for.
const (
	MaxSlots      = 64
	MaxContext    = 1 << 20 // tokens a slot
	DefaultSlots  = 4
	DefaultDevice = "auto"
)

// SpawnRequest asks the queen for a worker. The answer is [Accepted]; the spawn goes on as the job
// that the requester named, which succeeds with a [WorkerInfo] when the worker is ready.
type SpawnRequest struct {
	Versioned
	Job    JobID    `msgpack:"job" json:"job"`
	ID     WorkerID `msgpack:"id,omitempty" json:"id,omitempty"`     // empty: the queen makes one
	Model  string   `msgpack:"model" json:"model"`                   // reference, or path on the hive
	Hive   HiveID   `msgpack:"hive,omitempty" json:"hive,omitempty"` // empty: the queen chooses
	Device string   `msgpack:"device,omitempty" json:"device,omitempty"`
	Slots  int      `msgpack:"slots,omitempty" json:"slots,omitempty"` // 0: [DefaultSlots]
	// ContextLength is in tokens a slot; 0: the trained length, at most 4096.
	ContextLength int `msgpack:"context_length,omitempty" json:"context_length,omitempty"`
	// Force skips the memory check.
	Force bool `msgpack:"force,omitempty" json:"force,omitempty"`
	// OrphanAfterMillis is how long the worker lives without a bus; 0: 10 minutes.
	OrphanAfterMillis int64 `msgpack:"orphan_after_ms,omitempty" json:"orphan_after_ms,omitempty"`
	// Offline refuses a model that would have to be fetched.
	Offline bool `msgpack:"offline,omitempty" json:"offline,omitempty"`
	// Engine is for the engine that runs the model.
	Engine EngineOptions `msgpack:"engine,omitempty" json:"engine,omitzero"`
}

// Check says what is wrong with the request, as [CodeBadRequest].
func (r *SpawnRequest) Check() error {
	for kind, id := range map[string]string{"job id": string(r.Job), "worker id": string(r.ID), "hive id": string(r.Hive)} {
		if id == "" && kind != "job id" {
			continue
		}
		if err := CheckID(kind, id); err != nil {
			return err
		}
	}
	switch {
	case r.Model == "" || len(r.Model) > 4096:
		return Errorf(CodeBadRequest, OpSpawn, "no model named").WithHint("a reference like builtin:bee-tiny, or the path of a .gguf")
	case r.Slots < 0 || r.Slots > MaxSlots:
		return Errorf(CodeBadRequest, OpSpawn, "slots %d is not in 1 to %d", r.Slots, MaxSlots)
	case r.ContextLength < 0 || r.ContextLength > MaxContext:
		return Errorf(CodeBadRequest, OpSpawn, "context length %d is not in 1 to %d", r.ContextLength, MaxContext)
	case r.OrphanAfterMillis < 0 || len(r.Device) > 64:
		return Errorf(CodeBadRequest, OpSpawn, "orphan time or device out of range")
	}
	return r.Engine.check()
}

// SpawnResult is a hive's answer to [OpSpawn], as soon as the process runs.
type SpawnResult struct {
	Versioned
	WorkerID  WorkerID `msgpack:"worker_id" json:"worker_id"`
	PID       int      `msgpack:"pid" json:"pid"`
	Port      int      `msgpack:"port" json:"port"`
	StartTime uint64   `msgpack:"start_time" json:"start_time"`
	ModelID   string   `msgpack:"model_id" json:"model_id"`
}

// Accepted is the answer to a request that goes on as a job.
type Accepted struct {
	Versioned
	Job      JobID  `msgpack:"job" json:"job"`
	Executor Caller `msgpack:"executor" json:"executor"`
	// Known says that the id was used before: nothing was started, and [OpJobEvents] has what happened.
	Known bool `msgpack:"known,omitempty" json:"known,omitempty"`
}

// EnsureRequest asks the queen that a model be served: an existing worker's, else a new one's. The
// job succeeds with the [WorkerInfo]; equal requests share the spawn.
type EnsureRequest struct {
	SpawnRequest
}

// WorkerRef names a worker.
type WorkerRef struct {
	Versioned
	ID WorkerID `msgpack:"id" json:"id"`
}

// HiveRef names a hive.
type HiveRef struct {
	Versioned
	ID HiveID `msgpack:"id" json:"id"`
}

// StopRequest asks the queen to end a worker: its hive sends SIGTERM, waits and kills.
type StopRequest struct {
	Versioned
	ID WorkerID `msgpack:"id" json:"id"`
	// GraceMillis is how long it may finish what it has before SIGKILL; 0: 30 s.
	GraceMillis int64 `msgpack:"grace_ms,omitempty" json:"grace_ms,omitempty"`
}

// StopReply says how the worker ended.
type StopReply struct {
	Versioned
	ID  WorkerID `msgpack:"id" json:"id"`
	PID int      `msgpack:"pid" json:"pid"`
}

// KillRequest asks a hive to end one process. Pid and start time must both match, else nothing is
// signalled and the answer is [CodeConflict].
type KillRequest struct {
	Versioned
	Worker      WorkerID `msgpack:"worker" json:"worker"`
	PID         int      `msgpack:"pid" json:"pid"`
	StartTime   uint64   `msgpack:"start_time" json:"start_time"`
	GraceMillis int64    `msgpack:"grace_ms" json:"grace_ms"` // 0: SIGKILL at once
}

// WatchRequest asks a hive to report the end of a process that it did not spawn itself.
type WatchRequest struct {
	Versioned
	Worker      WorkerID `msgpack:"worker" json:"worker"`
	Incarnation string   `msgpack:"incarnation" json:"incarnation"`
	PID         int      `msgpack:"pid" json:"pid"`
	StartTime   uint64   `msgpack:"start_time" json:"start_time"`
}

// Done is the answer to an operation that has nothing more to say.
type Done struct {
	Versioned
	OK bool `msgpack:"ok" json:"ok"`
}

// SignRequest asks the queen to sign a worker's public nkey. Only the hive that was told to spawn
// the worker gets an answer, and the worker itself for a renewal.
type SignRequest struct {
	Versioned
	Worker    WorkerID `msgpack:"worker" json:"worker"`
	PublicKey string   `msgpack:"public_key" json:"public_key"` // "U…"
}

// SignReply is a user JWT; it is no secret without the seed.
type SignReply struct {
	Versioned
	JWT       string    `msgpack:"jwt" json:"jwt"`
	ExpiresAt time.Time `msgpack:"expires_at" json:"expires_at"`
}

// LogsRequest asks for the end of a worker's log, and for what comes after Offset.
type LogsRequest struct {
	Versioned
	ID WorkerID `msgpack:"id" json:"id"`
	// Offset in bytes to read from; negative: the last TailBytes.
	Offset    int64 `msgpack:"offset" json:"offset"`
	TailBytes int64 `msgpack:"tail_bytes,omitempty" json:"tail_bytes,omitempty"` // 0: 64 KiB
}

// LogsReply is a piece of a worker's log, at most 256 KiB; ask again from Next.
type LogsReply struct {
	Versioned
	Text string `msgpack:"text" json:"text"`
	Next int64  `msgpack:"next" json:"next"`
}

// EngineRequest asks for an engine to be installed; the job's id as in [SpawnRequest].
type EngineRequest struct {
	Versioned
	Job  JobID  `msgpack:"job" json:"job"`
	Hive HiveID `msgpack:"hive,omitempty" json:"hive,omitempty"`
	Name string `msgpack:"name" json:"name"`
}

// WorkerListRequest asks for a page of the registry.
type WorkerListRequest struct {
	Versioned
	// After is the last id of the page before; empty for the first.
	After WorkerID `msgpack:"after,omitempty" json:"after,omitempty"`
}

// WorkerListReply is a page of the live registry, sorted by id: as many as fit a message.
type WorkerListReply struct {
	Versioned
	Workers []WorkerView `msgpack:"workers" json:"workers"`
	// Next is what to ask for After to get the next page; empty at the end.
	Next WorkerID `msgpack:"next,omitempty" json:"next,omitempty"`
}

// WorkerView is a worker as the queen sees it: its own word, and what the queen doubts.
type WorkerView struct {
	WorkerInfo
	// Suspect says why nothing is sent there until it beats or answers; empty if it is not suspect.
	Suspect string `msgpack:"suspect,omitempty" json:"suspect,omitempty"`
	// Bus and Direct say whether it answers by that route: "up", "down" or "unknown".
	Bus    string `msgpack:"bus" json:"bus"`
	Direct string `msgpack:"direct" json:"direct"`
}

// HiveListReply is every hive that beats, sorted by id.
type HiveListReply struct {
	Versioned
	Hives []HiveInfo `msgpack:"hives" json:"hives"`
}

// EngineListReply is every installed engine.
type EngineListReply struct {
	Versioned
	Engines []Engine `msgpack:"engines" json:"engines"`
}

// StatusReply is the queen at a glance.
type StatusReply struct {
	Versioned
	Queen    string `msgpack:"queen" json:"queen"`
	Version  string `msgpack:"version" json:"version"`
	HTTP     string `msgpack:"http" json:"http"` // address of the HTTP port
	UptimeMs int64  `msgpack:"uptime_ms" json:"uptime_ms"`
	Hives    int    `msgpack:"hives" json:"hives"`
	Workers  int    `msgpack:"workers" json:"workers"`
	Running  int    `msgpack:"running" json:"running"` // requests at workers
	Waiting  int    `msgpack:"waiting" json:"waiting"` // requests held for a slot
	Jobs     int    `msgpack:"jobs" json:"jobs"`       // that run
	// Health is "ok", "degraded: …" when requests are served and something else does not work, or
	// "unavailable: …".
	Health string `msgpack:"health" json:"health"`
	// Dropped counts beats that were refused: malformed, forged, or with a reply subject.
	Dropped uint64 `msgpack:"dropped" json:"dropped"`
}
