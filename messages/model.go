package messages

import "time"

// Bounds of the catalog's messages.
const (
	MaxRef     = 4096 // bytes of a model's reference
	MaxAliases = 4096 // of a hive
	// MaxPiece is the most bytes of a file that one [ReadReply] holds.
	MaxPiece = 512 << 10
)

// Model is a model on a hive's disk.
type Model struct {
	Versioned
	ID   string   `msgpack:"id" json:"id"`     // public name
	Refs []string `msgpack:"refs" json:"refs"` // each reference exactly as it was asked for
	// Path of its file, or of the first part of a split one; empty for one that is offered and not there.
	Path string `msgpack:"path" json:"path"`
	Hive HiveID `msgpack:"hive,omitempty" json:"hive,omitempty"`
	// SizeBytes and Digest are of the weights. A split model's digest is over its parts' digests.
	SizeBytes     int64  `msgpack:"size_bytes" json:"size_bytes"`
	Digest        string `msgpack:"digest" json:"digest"` // "sha256:…"; empty for a file that was never hashed
	License       string `msgpack:"license" json:"license"`
	Architecture  string `msgpack:"architecture" json:"architecture"`
	Quantization  string `msgpack:"quantization" json:"quantization"`
	ContextLength int    `msgpack:"context_length,omitempty" json:"context_length,omitempty"` // trained, tokens
	// Vendor is where it came from, Revision which state of that, Full a reference that means exactly it.
	Vendor   string    `msgpack:"vendor,omitempty" json:"vendor,omitempty"`
	Revision string    `msgpack:"revision,omitempty" json:"revision,omitempty"`
	Full     string    `msgpack:"full,omitempty" json:"full,omitempty"`
	AddedAt  time.Time `msgpack:"added_at,omitempty" json:"added_at,omitzero"`
	// Files are all that belongs to it; a list of models leaves them out.
	Files []ModelFile `msgpack:"files,omitempty" json:"files,omitempty"`
}

// ModelFile is one file of a model.
type ModelFile struct {
	Name      string `msgpack:"name" json:"name"` // as the source calls it
	Kind      string `msgpack:"kind" json:"kind"` // "model", "template", "params", …
	Path      string `msgpack:"path" json:"path"`
	SizeBytes int64  `msgpack:"size_bytes" json:"size_bytes"`
	Digest    string `msgpack:"digest,omitempty" json:"digest,omitempty"`
	InPlace   bool   `msgpack:"in_place,omitempty" json:"in_place,omitempty"` // another's: never changed or removed
}

// ModelListRequest asks for a page of the models.
type ModelListRequest struct {
	Versioned
	// After is the Next of the page before; empty for the first.
	After string `msgpack:"after,omitempty" json:"after,omitempty"`
}

// ModelListReply is a page of the models that can be served, sorted by hive and id: as many as fit a message.
type ModelListReply struct {
	Versioned
	Models []Model `msgpack:"models" json:"models"`
	// Next is what to ask for After to get the next page; empty at the end.
	Next string `msgpack:"next,omitempty" json:"next,omitempty"`
	// Away are hives that did not answer in time: what they have is not in the list.
	Away []HiveID `msgpack:"away,omitempty" json:"away,omitempty"`
}

// ModelRef names a model by its public name or by a reference that it was asked for by.
type ModelRef struct {
	Versioned
	Model string `msgpack:"model" json:"model"`
	Hive  HiveID `msgpack:"hive,omitempty" json:"hive,omitempty"` // empty: the first that has it
}

// PullRequest asks for a model on a hive's disk. The job succeeds with the [Model].
type PullRequest struct {
	Versioned
	Job   JobID  `msgpack:"job" json:"job"`
	Model string `msgpack:"model" json:"model"`                   // reference
	Hive  HiveID `msgpack:"hive,omitempty" json:"hive,omitempty"` // empty: the queen chooses
	Name  string `msgpack:"name,omitempty" json:"name,omitempty"` // public name instead of the vendor's
	// BytesPerSecond is a limit of this download; 0: none.
	BytesPerSecond int64 `msgpack:"bytes_per_second,omitempty" json:"bytes_per_second,omitempty"`
	// Copy has a file of the hive's machine copied, not used where it lies.
	Copy bool `msgpack:"copy,omitempty" json:"copy,omitempty"`
	// Offline refuses what needs a network.
	Offline bool `msgpack:"offline,omitempty" json:"offline,omitempty"`
	// IfMissing takes a model of that name that is there as it is, without asking its source.
	IfMissing bool `msgpack:"if_missing,omitempty" json:"if_missing,omitempty"`
}

// Check says what is wrong with the request, as [CodeBadRequest].
func (r *PullRequest) Check() error {
	if err := checkModelJob(OpModelPull, r.Job, r.Hive, r.Model); err != nil {
		return err
	}
	if r.BytesPerSecond < 0 || len(r.Name) > MaxModelName {
		return Errorf(CodeBadRequest, OpModelPull, "limit %d or the name's length is out of range", r.BytesPerSecond)
	}
	return nil
}

// MaxModelName is the longest public name that can be given, in bytes.
const MaxModelName = 256

func checkModelJob(op string, job JobID, hive HiveID, models ...string) error {
	if err := CheckID("job id", string(job)); err != nil {
		return err
	}
	if hive != "" {
		if err := CheckID("hive id", string(hive)); err != nil {
			return err
		}
	}
	for _, m := range models {
		if m == "" || len(m) > MaxRef {
			return Errorf(CodeBadRequest, op, "no model named").WithHint("a reference like hf:org/repo:Q4_K_M, or the path of a .gguf")
		}
	}
	return nil
}

// RemoveRequest asks for a model to be removed from a hive's disk. The job succeeds with a [RemoveReply].
type RemoveRequest struct {
	Versioned
	Job   JobID  `msgpack:"job" json:"job"`
	Model string `msgpack:"model" json:"model"`
	Hive  HiveID `msgpack:"hive,omitempty" json:"hive,omitempty"` // empty: every hive that has it
	// Force stops the workers that serve it; without it they are a [CodeConflict].
	Force bool `msgpack:"force,omitempty" json:"force,omitempty"`
}

// Check says what is wrong with the request, as [CodeBadRequest].
func (r *RemoveRequest) Check() error { return checkModelJob(OpModelRm, r.Job, r.Hive, r.Model) }

// RemoveReply says what was removed. Bytes that another model needs too, or that are another program's,
// are not freed.
type RemoveReply struct {
	Versioned
	Removed    []Removed `msgpack:"removed" json:"removed"`
	FreedBytes int64     `msgpack:"freed_bytes" json:"freed_bytes"`
}

// Removed is one thing that is gone, or would be.
type Removed struct {
	Hive      HiveID `msgpack:"hive,omitempty" json:"hive,omitempty"`
	Kind      string `msgpack:"kind" json:"kind"` // "model", "file", "partial download", "folder"
	Name      string `msgpack:"name" json:"name"`
	SizeBytes int64  `msgpack:"size_bytes" json:"size_bytes"`
}

// VerifyRequest asks for files to be read again and compared with their digests. The job succeeds with a
// [VerifyReply], also when files are damaged.
type VerifyRequest struct {
	Versioned
	Job    JobID    `msgpack:"job" json:"job"`
	Hive   HiveID   `msgpack:"hive,omitempty" json:"hive,omitempty"`
	Models []string `msgpack:"models,omitempty" json:"models,omitempty"` // none: all
}

// Check says what is wrong with the request, as [CodeBadRequest].
func (r *VerifyRequest) Check() error {
	return checkModelJob(OpModelCheck, r.Job, r.Hive, r.Models...)
}

// VerifyReply has a line for each file.
type VerifyReply struct {
	Versioned
	Files   []VerifiedFile `msgpack:"files" json:"files"`
	Damaged int            `msgpack:"damaged" json:"damaged"`
}

// VerifiedFile is one file that was read again.
type VerifiedFile struct {
	Hive  HiveID `msgpack:"hive,omitempty" json:"hive,omitempty"`
	Model string `msgpack:"model" json:"model"`
	Name  string `msgpack:"name" json:"name"`
	// State is "ok", "damaged", "missing", or "unhashed" for a file without a digest whose header was read.
	State  string `msgpack:"state" json:"state"`
	Text   string `msgpack:"text,omitempty" json:"text,omitempty"` // what is wrong, and what was done
	Digest string `msgpack:"digest,omitempty" json:"digest,omitempty"`
}

// GCRequest asks for what no model needs to be removed. The job succeeds with a [RemoveReply].
type GCRequest struct {
	Versioned
	Job    JobID  `msgpack:"job" json:"job"`
	Hive   HiveID `msgpack:"hive,omitempty" json:"hive,omitempty"`
	DryRun bool   `msgpack:"dry_run,omitempty" json:"dry_run,omitempty"`
	// Partial has downloads removed that stopped less than a week ago, too.
	Partial bool `msgpack:"partial,omitempty" json:"partial,omitempty"`
}

// Check says what is wrong with the request, as [CodeBadRequest].
func (r *GCRequest) Check() error { return checkModelJob(OpModelGC, r.Job, r.Hive) }

// ImportRequest asks for models that other programs have on the hive's machine to be registered where they
// lie. The job succeeds with an [ImportReply].
type ImportRequest struct {
	Versioned
	Job    JobID    `msgpack:"job" json:"job"`
	Hive   HiveID   `msgpack:"hive,omitempty" json:"hive,omitempty"`
	Stores []string `msgpack:"stores,omitempty" json:"stores,omitempty"` // "ollama", "huggingface", "lmstudio"; none: all
	Models []string `msgpack:"models,omitempty" json:"models,omitempty"` // names or references; none: all
	DryRun bool     `msgpack:"dry_run,omitempty" json:"dry_run,omitempty"`
}

// Check says what is wrong with the request, as [CodeBadRequest].
func (r *ImportRequest) Check() error {
	return checkModelJob(OpModelFind, r.Job, r.Hive, append(r.Stores, r.Models...)...)
}

// ImportReply has a line for each model that was found.
type ImportReply struct {
	Versioned
	Models []ImportedModel `msgpack:"models" json:"models"`
}

// ImportedModel is a model that another program has.
type ImportedModel struct {
	Hive      HiveID `msgpack:"hive,omitempty" json:"hive,omitempty"`
	Store     string `msgpack:"store" json:"store"`
	Model     string `msgpack:"model" json:"model"`
	Path      string `msgpack:"path" json:"path"`
	SizeBytes int64  `msgpack:"size_bytes" json:"size_bytes"`
	// State is "imported", "there" if it was registered before, "found" in a dry run, or "problem".
	State string `msgpack:"state" json:"state"`
	Text  string `msgpack:"text,omitempty" json:"text,omitempty"`
}

// PlanRequest asks what a worker with a model would take, without downloading it. The job succeeds with a
// [PlanReply].
type PlanRequest struct {
	Versioned
	Job   JobID  `msgpack:"job" json:"job"`
	Model string `msgpack:"model" json:"model"`
	Hive  HiveID `msgpack:"hive,omitempty" json:"hive,omitempty"` // who reads the header; empty: the queen chooses
	// ContextLength in tokens a slot and Slots are as in [SpawnRequest].
	ContextLength int  `msgpack:"context_length,omitempty" json:"context_length,omitempty"`
	Slots         int  `msgpack:"slots,omitempty" json:"slots,omitempty"`
	Offline       bool `msgpack:"offline,omitempty" json:"offline,omitempty"`
}

// Check says what is wrong with the request, as [CodeBadRequest].
func (r *PlanRequest) Check() error {
	if err := checkModelJob(OpModelPlan, r.Job, r.Hive, r.Model); err != nil {
		return err
	}
	if r.Slots < 0 || r.Slots > MaxSlots || r.ContextLength < 0 || r.ContextLength > MaxContext {
		return Errorf(CodeBadRequest, OpModelPlan, "slots %d or context length %d is out of range", r.Slots, r.ContextLength).
			WithHint("1 to %d slots of 1 to %d tokens", MaxSlots, MaxContext)
	}
	return nil
}

// PlanReply is what a worker with a model takes, in bytes, and where it fits.
type PlanReply struct {
	Versioned
	Model         string `msgpack:"model" json:"model"`
	License       string `msgpack:"license" json:"license"`
	Architecture  string `msgpack:"architecture" json:"architecture"`
	Quantization  string `msgpack:"quantization" json:"quantization"`
	ContextLength int    `msgpack:"context_length" json:"context_length"` // tokens a slot
	Slots         int    `msgpack:"slots" json:"slots"`
	// DownloadBytes is what a pull would bring; 0 if it is there.
	DownloadBytes int64 `msgpack:"download_bytes" json:"download_bytes"`
	// FetchedBytes is what was read from the source for this plan.
	FetchedBytes int64  `msgpack:"fetched_bytes" json:"fetched_bytes"`
	WeightsBytes uint64 `msgpack:"weights_bytes" json:"weights_bytes"`
	KVBytes      uint64 `msgpack:"kv_bytes" json:"kv_bytes"`
	ComputeBytes uint64 `msgpack:"compute_bytes" json:"compute_bytes"`
	BaseBytes    uint64 `msgpack:"base_bytes" json:"base_bytes"` // the process itself
	// CopiedBytes are weights that the CPU engine keeps a second time, in an order of its own.
	CopiedBytes uint64 `msgpack:"copied_bytes,omitempty" json:"copied_bytes,omitempty"`
	// TotalBytes is the sum: what the worker's resident memory comes to on a CPU. LeastBytes is without the
	// weights that are there twice, which the kernel drops where memory is short; GPUBytes is what a GPU takes
	// that has all layers.
	TotalBytes uint64 `msgpack:"total_bytes" json:"total_bytes"`
	LeastBytes uint64 `msgpack:"least_bytes" json:"least_bytes"`
	GPUBytes   uint64 `msgpack:"gpu_bytes" json:"gpu_bytes"`
	// Learnt says that TotalBytes was measured: a worker with this model took more than the sum.
	Learnt bool      `msgpack:"learnt,omitempty" json:"learnt,omitempty"`
	Notes  []string  `msgpack:"notes,omitempty" json:"notes,omitempty"`
	Fits   []PlanFit `msgpack:"fits" json:"fits"`
}

// PlanFit says whether a model fits one device of one hive.
type PlanFit struct {
	Hive      HiveID `msgpack:"hive" json:"hive"`
	Device    string `msgpack:"device" json:"device"`
	FreeBytes uint64 `msgpack:"free_bytes" json:"free_bytes"`
	NeedBytes uint64 `msgpack:"need_bytes" json:"need_bytes"`
	Fits      bool   `msgpack:"fits" json:"fits"`
	Why       string `msgpack:"why,omitempty" json:"why,omitempty"` // if it does not
}
