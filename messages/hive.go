package messages

import (
	"fmt"
	"strings"
	"time"
)

// Device is where a model can run, as ggml names it.
type Device struct {
	ID               string `msgpack:"id" json:"id"`     // "CPU", "CUDA0", "Vulkan0"
	Name             string `msgpack:"name" json:"name"` // "NVIDIA GeForce RTX 4090"
	Kind             string `msgpack:"kind" json:"kind"` // "cpu", "gpu", "igpu", "accel"
	MemoryTotalBytes uint64 `msgpack:"memory_total_bytes" json:"memory_total_bytes"`
	MemoryFreeBytes  uint64 `msgpack:"memory_free_bytes" json:"memory_free_bytes"`
}

// Engine is an installed worker engine.
type Engine struct {
	Name      string `msgpack:"name" json:"name"`       // "llama-cpp"
	Version   string `msgpack:"version" json:"version"` // "v0.5.0"
	Path      string `msgpack:"path" json:"path"`       // folder of its libraries
	Source    string `msgpack:"source" json:"source"`   // "npm", "path"
	SizeBytes int64  `msgpack:"size_bytes" json:"size_bytes"`
}

// HiveInfo is what a machine has. A hive says nothing of workers: it keeps no list of them.
type HiveInfo struct {
	ID HiveID `msgpack:"id" json:"id"`
	// Incarnation is new for every process of the hive.
	Incarnation      string   `msgpack:"incarnation" json:"incarnation"`
	Host             string   `msgpack:"host" json:"host"` // hostname
	OS               string   `msgpack:"os" json:"os"`     // GOOS/GOARCH
	Version          string   `msgpack:"version" json:"version"`
	CPU              string   `msgpack:"cpu" json:"cpu"`
	Cores            int      `msgpack:"cores" json:"cores"` // physical
	Devices          []Device `msgpack:"devices" json:"devices"`
	MemoryTotalBytes uint64   `msgpack:"memory_total_bytes" json:"memory_total_bytes"`
	MemoryFreeBytes  uint64   `msgpack:"memory_free_bytes" json:"memory_free_bytes"`
	DiskTotalBytes   uint64   `msgpack:"disk_total_bytes" json:"disk_total_bytes"`
	DiskFreeBytes    uint64   `msgpack:"disk_free_bytes" json:"disk_free_bytes"`
	Engines          []Engine `msgpack:"engines" json:"engines"`
	// Models are the public names in the hive's catalog, builtin ones included.
	Models []string `msgpack:"models" json:"models"`
	// Aliases are other names of those models: the references that they were asked for by. At most
	// [MaxAliases].
	Aliases map[string]string `msgpack:"aliases,omitempty" json:"aliases,omitempty"`
	// Note says what is wrong or missing, for people; usually empty.
	Note string `msgpack:"note,omitempty" json:"note,omitempty"`
}

// HiveBeat is published by a hive on [HiveBeatSubject] every [HiveBeatEvery].
type HiveBeat struct {
	Versioned
	Hive   HiveInfo  `msgpack:"hive" json:"hive"`
	SentAt time.Time `msgpack:"sent_at" json:"sent_at"` // the hive's clock: for show only
}

// WorkerExited is a hive's report that a process it spawned or watches has ended. It travels as
// JSON on [EventSubject] hive, "worker.exited".
type WorkerExited struct {
	Versioned
	Worker      WorkerID `msgpack:"worker" json:"worker"`
	Incarnation string   `msgpack:"incarnation,omitempty" json:"incarnation,omitempty"`
	Hive        HiveID   `msgpack:"hive" json:"hive"`
	PID         int      `msgpack:"pid" json:"pid"`
	StartTime   uint64   `msgpack:"start_time" json:"start_time"`
	// Code is the exit code, -1 if a signal ended it or nobody knows.
	Code int `msgpack:"code" json:"code"`
	// Signal is its name ("SIGKILL"), or "".
	Signal string `msgpack:"signal,omitempty" json:"signal,omitempty"`
	// Stderr is the end of what the process wrote, at most 4 KiB.
	Stderr string `msgpack:"stderr,omitempty" json:"stderr,omitempty"`
	// RanMillis is how long it lived.
	RanMillis int64     `msgpack:"ran_ms" json:"ran_ms"`
	At        time.Time `msgpack:"at" json:"at"`
}

// Cause says how the process ended, for people: "signal SIGKILL after 12s, stderr: …".
func (e *WorkerExited) Cause() string {
	s := fmt.Sprintf("exit %d", e.Code)
	switch {
	case e.Signal != "":
		s = "signal " + e.Signal
	case e.Code < 0:
		s = "ended, how is not known,"
	}
	s += " after " + (time.Duration(e.RanMillis) * time.Millisecond).Round(100*time.Millisecond).String()
	if tail := strings.TrimSpace(e.Stderr); tail != "" {
		lines := strings.Split(tail, "\n")
		s += ", stderr: " + strings.Join(lines[max(0, len(lines)-3):], " | ")
	}
	return s
}
