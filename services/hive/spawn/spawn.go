// Package spawn starts worker processes, kills them and reports how they ended. Workers outlive
// the hive that started them: nothing here ties a child's life to its parent's. Everything exported
// is safe for concurrent use. On systems other than Linux every operation answers that it is not
// supported.
package spawn

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/rbee-project/rbee/messages"
)

const (
	opStart = "spawn.start"
	opKill  = "spawn.kill"
	opWatch = "spawn.watch"
)

// Spec says what to start.
type Spec struct {
	// Path is the program, absolute or relative to the hive's working directory. It is not looked
	// up in PATH.
	Path string
	// Args are the arguments after the program's name.
	Args []string
	// Env is set in the child besides what [Environ] lets through. It wins over the inherited value
	// and may set RBEE_ variables.
	Env map[string]string
	// Dir is the child's working directory; "" means the hive's own.
	Dir string
	// LogPath receives stdout and stderr, appended. Its folder is created. It is a file and never a
	// pipe: a pipe would kill the worker together with the hive.
	LogPath string
	// CrashPath is where the program itself writes its crash report, for [Exit.StderrTail]. Start
	// removes an earlier one. May be empty.
	CrashPath string
}

// Process names one process for good: a pid alone is reused.
type Process struct {
	PID int `json:"pid"`
	// StartTime is in clock ticks since boot, as the kernel counts them. Compare it only for
	// equality and only within one boot of one machine.
	StartTime uint64 `json:"start_time"`
}

// Exit says how a process ended.
type Exit struct {
	Process
	// Code is the exit code; -1 when a signal ended the process or the kernel does not tell.
	Code int `json:"code"`
	// Signal is the name of the signal that ended it, such as "SIGKILL"; else "".
	Signal string `json:"signal,omitempty"`
	// StderrTail is the crash report, or else the last lines of the log, that this process wrote: at
	// most [TailBytes] of valid UTF-8. Empty from [Watch], which does not know the files.
	StderrTail string `json:"stderr,omitempty"`
	// At is when the end was noticed, on this machine's clock, UTC.
	At time.Time `json:"at"`
	// After is how long the process ran.
	After time.Duration `json:"after"`
}

// child is a running process that this Spawner must reap. It is made by start and per system.
type child interface {
	process() Process
	// wait returns once the process has ended, its group is killed and it is reaped; or ctx's error.
	wait(ctx context.Context) (code int, signal string, err error)
}

type request struct {
	spec  Spec
	reply chan started // buffered: the answer is never lost
}

type started struct {
	process Process
	exit    <-chan Exit
	err     error
}

// Spawner starts processes and waits for them. Make it with [New] and give it a [Spawner.Run].
type Spawner struct {
	requests chan request
	done     chan struct{} // closed when Run has stopped taking requests
	once     sync.Once
	waiters  sync.WaitGroup
}

// New returns a Spawner that has not started: no goroutine, no I/O.
func New() *Spawner {
	return &Spawner{requests: make(chan request), done: make(chan struct{})}
}

// Run starts what [Spawner.Start] asks for until ctx ends, and returns nil when every goroutine has
// ended. The processes live on. Call it once; a second call answers [messages.CodeConflict].
//
// All processes are started by one goroutine that stays locked to its thread, so that whatever the
// kernel ties to the parent thread is tied to one that lives as long as Run.
func (s *Spawner) Run(ctx context.Context) error {
	first := false
	s.once.Do(func() { first = true })
	if !first {
		return messages.Errorf(messages.CodeConflict, opStart, "the spawner runs already")
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // never unlocked
		s.loop(ctx)
	}()
	<-ended
	close(s.done)
	s.waiters.Wait()
	return nil
}

func (s *Spawner) loop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-s.requests:
			r.reply <- s.start(ctx, r.spec)
		}
	}
}

func (s *Spawner) start(ctx context.Context, spec Spec) started {
	logFrom := fileSize(spec.LogPath)
	if spec.CrashPath != "" {
		os.Remove(spec.CrashPath) // what cannot be removed shows in the next report, no worse
	}
	begin := time.Now()
	c, err := startChild(spec)
	if err != nil {
		return started{err: err}
	}
	exit := make(chan Exit, 1)
	s.waiters.Go(func() {
		defer close(exit)
		code, sig, err := c.wait(ctx)
		if err != nil {
			return // the spawner stops; the process lives on
		}
		exit <- Exit{
			Process: c.process(), Code: code, Signal: sig,
			StderrTail: lastWords(spec.CrashPath, spec.LogPath, logFrom),
			At:         time.Now().UTC(), After: time.Since(begin),
		}
	})
	return started{process: c.process(), exit: exit}
}

// Start starts a process in a process group of its own and returns once the program runs. ctx limits
// only the wait for that: the process does not end with it. The channel gives one [Exit] and is then
// closed; it is closed without one if Run ends before the process does.
//
// When the process ends, what is left of its group is killed before it is reaped, so no grandchild
// in the group survives it. Errors: [messages.CodeSpawnFailed] when the program cannot be started,
// [messages.CodeBadRequest] for an incomplete spec, [messages.CodeUnavailable] when Run has ended,
// [messages.CodeCancelled] when ctx ended first.
func (s *Spawner) Start(ctx context.Context, spec Spec) (Process, <-chan Exit, error) {
	if spec.Path == "" || spec.LogPath == "" {
		return Process{}, nil, messages.Errorf(messages.CodeBadRequest, opStart, "a program and a log file are needed")
	}
	r := request{spec: spec, reply: make(chan started, 1)}
	select {
	case s.requests <- r: // from here on the loop answers, whatever happens to ctx
		a := <-r.reply
		return a.process, a.exit, a.err
	case <-s.done:
		return Process{}, nil, messages.Errorf(messages.CodeUnavailable, opStart, "the hive is stopping")
	case <-ctx.Done():
		return Process{}, nil, messages.Errorf(messages.CodeCancelled, opStart, "not started: %w", ctx.Err())
	}
}

// openLog opens path for appending and creates it and its folder, readable by the owner alone.
func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}
