package messages

import "time"

// How often things are said, and when silence counts.
const (
	HeartbeatEvery = 5 * time.Second  // a worker's beats; more often when something changes
	HiveBeatEvery  = 5 * time.Second  // a hive's inventory
	SuspectAfter   = 12 * time.Second // of silence: the worker is not picked
	LostAfter      = 20 * time.Second // of silence: the worker is gone
)

// Status is where a worker is in its life.
type Status string

// A worker goes starting -> ready <-> busy -> draining -> stopped.
const (
	StatusStarting Status = "starting" // the model loads
	StatusReady    Status = "ready"    // at least one slot is free
	StatusBusy     Status = "busy"     // no slot is free
	StatusDraining Status = "draining" // finishes what it has, takes nothing new
	StatusStopped  Status = "stopped"  // its last beat: goodbye
)

// ModelInfo is one model that a worker serves.
type ModelInfo struct {
	ID            string `msgpack:"id" json:"id"`                         // public name
	Loaded        bool   `msgpack:"loaded" json:"loaded"`                 // false: loaded on demand
	ContextLength int    `msgpack:"context_length" json:"context_length"` // tokens a slot
	Slots         int    `msgpack:"slots" json:"slots"`                   // requests at once
	// Capabilities of the Can… constants; what is not listed is refused with [CodeBadRequest].
	// Empty: the worker does not say.
	Capabilities []string `msgpack:"capabilities,omitempty" json:"capabilities,omitempty"`
}

// What a model can do: its tasks, and what a chat may ask for.
const (
	CanChat       = TaskChat
	CanComplete   = TaskCompletion
	CanEmbed      = TaskEmbedding
	CanRerank     = TaskRerank
	CanTokenize   = TaskTokenize  // and detokenize
	CanTools      = "tools"       // its template takes tools, and calls in its answers are understood
	CanReason     = "reasoning"   // it thinks before it answers; that text is reasoning_content
	CanJSONSchema = "json_schema" // response_format and grammar
	CanSeePicture = "vision"      // image_url parts
)

// WorkerInfo describes one worker. GET /info and the registry show it.
type WorkerInfo struct {
	ID WorkerID `msgpack:"id" json:"id"`
	// Incarnation is new for every process, so that two lives of one id are never mixed up.
	Incarnation string `msgpack:"incarnation" json:"incarnation"`
	// Hive is the machine that spawned it; empty for a worker that somebody started by hand.
	Hive HiveID `msgpack:"hive,omitempty" json:"hive,omitempty"`
	// Models has at least one entry once the worker is ready; ModelID is the first one's.
	Models  []ModelInfo `msgpack:"models" json:"models"`
	ModelID string      `msgpack:"model_id" json:"model_id"`
	// Device is ggml's name: "CPU", "CUDA0".
	Device string `msgpack:"device" json:"device"`
	// Host and Port are where its HTTP contract answers.
	Host string `msgpack:"host" json:"host"`
	Port int    `msgpack:"port" json:"port"`
	PID  int    `msgpack:"pid" json:"pid"`
	// StartTime is the kernel's start time of the process (Linux: clock ticks since boot). With PID
	// it names one process for ever. 0 where the system does not tell.
	StartTime uint64 `msgpack:"start_time" json:"start_time"`
	Status    Status `msgpack:"status" json:"status"`
	// Progress of loading, 0 to 1, while Status is starting.
	Progress       float64 `msgpack:"progress,omitempty" json:"progress,omitempty"`
	Implementation string  `msgpack:"implementation" json:"implementation"`
	Version        string  `msgpack:"version" json:"version"`
	SlotsTotal     int     `msgpack:"slots_total" json:"slots_total"`
	SlotsUsed      int     `msgpack:"slots_used" json:"slots_used"`
	// ContextLength in tokens of one slot of the first model.
	ContextLength int `msgpack:"context_length" json:"context_length"`
	// TokensPerSecond generated over the last seconds, all slots together; 0 when idle.
	TokensPerSecond float64 `msgpack:"tokens_per_second" json:"tokens_per_second"`
	// Steps counts the engine's decode calls since it loaded; it stands still when nothing runs.
	Steps uint64 `msgpack:"steps" json:"steps"`
}

// Serves says whether the worker answers to the public name model.
func (w *WorkerInfo) Serves(model string) bool {
	for i := range w.Models {
		if w.Models[i].ID == model {
			return true
		}
	}
	return false
}

// Heartbeat is published by a worker on [HeartbeatSubject] every [HeartbeatEvery] and at once when
// something changes. A later one replaces an earlier one, so losing some is harmless. msgpack only.
type Heartbeat struct {
	Versioned
	Worker WorkerInfo `msgpack:"worker" json:"worker"`
	// Seq counts the beats of one incarnation from 1: an older one that arrives late is ignored.
	Seq uint64 `msgpack:"seq" json:"seq"`
	// SentAt is the worker's clock, UTC. Show it; never order or expire by it.
	SentAt time.Time `msgpack:"sent_at" json:"sent_at"`
}

// Check says what is wrong with a beat that came in on the subject of worker id: its ids and its
// bounds. nil if nothing is.
func (h *Heartbeat) Check(id string) error {
	if err := CheckID("worker id", id); err != nil {
		return err
	}
	w := &h.Worker
	if string(w.ID) != id {
		return Errorf(CodeBadRequest, "heartbeat", "worker %q beats on the subject of %q", w.ID, id)
	}
	if !ValidID(w.Incarnation) || (w.Hive != "" && !ValidID(string(w.Hive))) {
		return Errorf(CodeBadRequest, "heartbeat", "worker %s: bad incarnation or hive", id)
	}
	if len(w.Models) > 1024 || len(w.ModelID) > 512 || len(w.Host) > 255 || w.Port < 0 || w.Port > 65535 ||
		w.SlotsTotal < 0 || w.SlotsUsed < 0 {
		return Errorf(CodeBadRequest, "heartbeat", "worker %s: a field is out of range", id)
	}
	return nil
}
