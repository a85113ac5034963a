package chattemplate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// startWait is how long a child may take until its first word: the machine may be busy.
const startWait = 10 * time.Second

var (
	errDeadline = errors.New("deadline")
	errDied     = errors.New("the child ended")
	errSilent   = errors.New("the child ended, or said nothing, at its start")
)

// process is one child.
type process struct {
	cmd     *exec.Cmd
	in, out *os.File
	read    *bufio.Reader
	ended   chan struct{} // closed when the child is gone and reaped
	served  int
}

// startProcess returns once the child has said its first word. The goroutine that waits for the
// child ends with it.
func startProcess(ctx context.Context) (*process, error) {
	exe := executable
	if exe == "" {
		var err error
		if exe, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, childOut, err := os.Pipe()
	if err != nil {
		childIn.Close()
		in.Close()
		return nil, err
	}
	p := &process{cmd: exec.Command(exe), in: in, out: out, read: bufio.NewReader(out), ended: make(chan struct{})}
	p.cmd.Args = []string{"rbee-chattemplate"}
	p.cmd.Env = []string{childEnv + "=1", "GOTRACEBACK=none"}
	p.cmd.Stdin, p.cmd.Stdout = childIn, childOut
	apart(p.cmd)
	err = p.cmd.Start()
	childIn.Close()
	childOut.Close()
	if err != nil {
		in.Close()
		out.Close()
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // how it ended does not matter: whoever waits for an answer sees that none comes
	}()
	var hello response
	err = p.within(ctx, startWait, func() error { return readFrame(p.read, &hello) })
	if err == nil {
		return p, nil
	}
	p.stop()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, errSilent // not errDied: the template had no part in it
}

// within runs f, which reads or writes the child's pipes, and kills the child when time or ctx ends:
// f then fails.
func (p *process) within(ctx context.Context, limit time.Duration, f func() error) error {
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	unhook := context.AfterFunc(timed, p.kill)
	err := f()
	switch inTime := unhook(); {
	case inTime && err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case !inTime:
		return errDeadline
	}
	return fmt.Errorf("%w: %w", errDied, err)
}

// ask sends a request's frame and waits for the answer. After an error the process is of no use.
func (p *process) ask(ctx context.Context, limit time.Duration, frame []byte) (response, error) {
	var r response
	err := p.within(ctx, limit, func() error {
		if _, err := p.in.Write(frame); err != nil {
			return err
		}
		return readFrame(p.read, &r)
	})
	p.served++
	return r, err
}

func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func (p *process) kill() { _ = p.cmd.Process.Kill() } // fails if it has ended

// stop kills the child, waits for it and frees everything.
func (p *process) stop() {
	p.kill()
	<-p.ended
	p.in.Close()
	p.out.Close()
}
