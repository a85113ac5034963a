// Package devices takes stock of this machine: the devices that models can run on, memory and disk.
// Its functions keep no state and are safe for concurrent use.
package devices

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/spawn"
)

const opProbe = "hive.devices"

const (
	// ProbeTimeout bounds [Probe]: a GPU driver that hangs must not hang the hive.
	ProbeTimeout = 20 * time.Second
	// maxOutput bounds what is read of the worker's answer, in bytes.
	maxOutput = 1 << 20
)

// Command is how to run the worker's binary.
type Command struct {
	// Path of rbee-worker; it is not looked up in PATH.
	Path string
	// Args come after "devices --json".
	Args []string
	// Env is set besides what [spawn.Environ] lets through.
	Env map[string]string
}

// Inventory is what the machine has right now. It never fails: what could not be found out is zero
// and said in Note, and there is always at least the CPU as a device. Only the fields that describe
// the machine are filled: the hive's id, version, engines and models are the caller's.
//
// It runs the worker's binary and may take [ProbeTimeout]; for a look at memory and disk alone there
// is [Host].
func Inventory(ctx context.Context, worker Command, dataDir string) messages.HiveInfo {
	info := Host(ctx, dataDir)
	found, err := Probe(ctx, worker)
	if err != nil {
		info.Note = join(info.Note, "only the CPU is known: "+err.Error())
		info.Devices = []messages.Device{CPU(info)}
		return info
	}
	for i := range found {
		if found[i].Kind == "cpu" && found[i].MemoryTotalBytes == 0 {
			found[i].MemoryTotalBytes, found[i].MemoryFreeBytes = info.MemoryTotalBytes, info.MemoryFreeBytes
		}
	}
	info.Devices = found
	return info
}

// CPU is the device that every machine has, from what [Host] found.
func CPU(info messages.HiveInfo) messages.Device {
	return messages.Device{
		ID: "CPU", Name: info.CPU, Kind: "cpu",
		MemoryTotalBytes: info.MemoryTotalBytes, MemoryFreeBytes: info.MemoryFreeBytes,
	}
}

// Probe asks the worker's binary, which loads the engine, what devices there are: at least one.
// Errors: [messages.CodeNoEngine] when the binary is missing, cannot load the engine or names no
// device, [messages.CodeTimeout] after [ProbeTimeout], [messages.CodeCancelled] when ctx ended.
func Probe(ctx context.Context, worker Command) ([]messages.Device, error) {
	return probe(ctx, worker, ProbeTimeout)
}

func probe(ctx context.Context, worker Command, limit time.Duration) ([]messages.Device, error) {
	if worker.Path == "" {
		return nil, messages.Errorf(messages.CodeNoEngine, opProbe, "no worker binary is known").
			WithHint("put rbee-worker beside rbee")
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var out, said bytes.Buffer
	cmd := exec.CommandContext(limited, worker.Path, append([]string{"devices", "--json"}, worker.Args...)...)
	cmd.Env = spawn.Environ(os.Environ(), worker.Env)
	cmd.Stdout = &bounded{w: &out, left: maxOutput}
	cmd.Stderr = &bounded{w: &said, left: 16 << 10}
	cmd.WaitDelay = time.Second // a grandchild may hold the pipes
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, messages.Errorf(messages.CodeCancelled, opProbe, "devices: %w", ctx.Err())
	case limited.Err() != nil:
		return nil, messages.Errorf(messages.CodeTimeout, opProbe, "%s named no devices within %s", worker.Path, limit)
	case errors.Is(err, os.ErrNotExist) && absent(worker.Path):
		return nil, messages.Errorf(messages.CodeNoEngine, opProbe, "there is no worker binary at %s", worker.Path).
			WithHint("put rbee-worker beside rbee")
	case err != nil:
		return nil, messages.Errorf(messages.CodeNoEngine, opProbe, "%s devices: %w%s", worker.Path, err, lastLine(said.String())).
			WithHint("rbee engine install llama-cpp")
	}
	found := parse(out.Bytes())
	if len(found) == 0 {
		return nil, messages.Errorf(messages.CodeNoEngine, opProbe, "%s named no devices%s", worker.Path, lastLine(said.String()))
	}
	return found, nil
}

func absent(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, os.ErrNotExist)
}

// lastLine is ": " and the last line of what a program said, at most 300 bytes, or "".
func lastLine(s string) string {
	s = strings.TrimSpace(strings.ToValidUTF8(s, "?"))
	s = s[strings.LastIndexByte(s, '\n')+1:]
	if s == "" {
		return ""
	}
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "..."
	}
	return ": " + s
}

// bounded passes on the first left bytes and swallows the rest, so that the program never blocks.
type bounded struct {
	w    io.Writer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	keep := p[:min(len(p), b.left)]
	b.left -= len(keep)
	if _, err := b.w.Write(keep); err != nil {
		return 0, err
	}
	return len(p), nil
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// existing is path or its nearest parent that exists: a data directory may not be made yet.
func existing(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return "."
	}
	for absent(path) && filepath.Dir(path) != path {
		path = filepath.Dir(path)
	}
	return path
}

func platform() string { return fmt.Sprintf("%s/%s", runtime.GOOS, runtime.GOARCH) }
