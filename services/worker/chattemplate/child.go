package chattemplate

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// childEnv tells a process that it is the child of a [Renderer].
const childEnv = "RBEE_CHATTEMPLATE_CHILD"

const (
	maxStack  = 16 << 20  // of one goroutine; beyond it the Go runtime ends the child
	maxMemory = 256 << 20 // the watchdog ends the child above it
	// watchEvery is how often the watchdog looks while a render runs.
	watchEvery = 5 * time.Millisecond
)

// How a child ends by itself.
const (
	exitMemory   = 3
	exitProtocol = 4
)

// mainCalled guards against a program that starts itself over and over.
var mainCalled bool

// Main must be the first call in the main function, and in TestMain, of every program that uses a
// [Renderer]: a Renderer starts the same executable again, and in that process Main renders templates
// and never returns. Else it returns at once.
func Main() {
	mainCalled = true
	if os.Getenv(childEnv) == "" {
		return
	}
	closeInherited()
	limitProcess()
	debug.SetMaxStack(maxStack)
	debug.SetMemoryLimit(maxMemory)
	runtime.GOMAXPROCS(2) // the watchdog runs beside a render
	serve(os.Stdin, os.Stdout)
}

// request is one of its fields.
type request struct {
	Compile *compileRequest `json:"compile,omitempty"`
	Render  *Input          `json:"render,omitempty"`
}

type compileRequest struct {
	Source  string  `json:"source"`
	Options Options `json:"options"`
}

// How a render failed.
const (
	failRaised = "raised" // the template's own words
	failLong   = "long"
	failOther  = "other"
)

type response struct {
	Caps  Caps   `json:"caps,omitzero"`
	Parts []Part `json:"parts,omitempty"`
	Fail  string `json:"fail,omitempty"`
	Text  string `json:"text,omitempty"`
}

// serve answers until stdin ends. The parent's death ends stdin, and that ends a render, too.
func serve(in io.Reader, out io.Writer) {
	requests := make(chan request)
	go func() {
		r := bufio.NewReader(in)
		for {
			var q request
			if err := readFrame(r, &q); err != nil {
				os.Exit(exitProtocol)
			}
			requests <- q
		}
	}()
	var p program
	if writeFrame(out, response{}) != nil { // hello
		os.Exit(exitProtocol)
	}
	for q := range requests {
		done := watchMemory()
		var r response
		if p, r = answer(p, q); writeFrame(out, r) != nil {
			os.Exit(exitProtocol)
		}
		close(done)
	}
}

func answer(p program, q request) (program, response) {
	var r response
	err := errors.New("no template yet")
	switch {
	case q.Compile != nil:
		if p, err = newProgram(q.Compile.Source, q.Compile.Options); err == nil {
			r.Caps, err = p.learn(q.Compile.Source)
		}
	case q.Render != nil && p != nil:
		r.Parts, err = p.render(*q.Render)
	}
	if err == nil {
		return p, r
	}
	r = response{Fail: failOther, Text: err.Error()}
	var said raised
	if errors.As(err, &said) {
		r.Fail = failRaised
	} else if errors.Is(err, errTooLong) {
		r.Fail = failLong
	}
	const most = 1000
	if len(r.Text) > most {
		r.Text = r.Text[:most] + "…"
	}
	return p, r
}

// watchMemory ends the process when it needs too much memory, until the channel is closed.
func watchMemory() chan struct{} {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		use := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				metrics.Read(use)
				if use[0].Value.Uint64()-use[1].Value.Uint64() > maxMemory {
					os.Exit(exitMemory)
				}
			}
		}
	}()
	return done
}

// A frame is its length in four bytes, the high one first, and JSON.

func frameOf(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(body) > maxFrame {
		return nil, errFrame
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	return append(frame, body...), nil
}

func writeFrame(w io.Writer, v any) error {
	frame, err := frameOf(v)
	if err != nil {
		return err
	}
	_, err = w.Write(frame)
	return err
}

// maxFrame holds a source of [MaxSource] or an input of [MaxInput], escaped.
const maxFrame = 2 * MaxInput

var errFrame = fmt.Errorf("more than %d bytes", maxFrame)

func readFrame(r io.Reader, v any) error {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxFrame {
		return errFrame
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	return json.Unmarshal(body, v)
}
