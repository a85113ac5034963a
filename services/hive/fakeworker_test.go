package hive

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rbee-project/rbee/messages"
)

func fakeWorker(mode string, args []string) int {
	flags := map[string]string{}
	for i := 0; i < len(args); i++ {
		if name, value, ok := strings.Cut(args[i], "="); ok {
			flags[name] = value
		} else if i+1 < len(args) {
			i++
			flags[args[i-1]] = args[i]
		}
	}
	if flags["--port"] == "" {
		return 2 // asked for its devices, which it has none of
	}
	tries := noteTry(filepath.Join(flags["--creds"], "../../../tries"), flags["--port"])
	fmt.Fprintln(os.Stderr, "the last words")
	switch {
	case mode == "busy", mode == "busy-twice" && tries < 3:
		return exitBusyPort
	case mode == "fails":
		return 7
	}
	dir, id := filepath.Join(flags["--creds"], "../../.."), flags["--worker-id"]
	switch mode {
	case "late":
		note(filepath.Join(dir, "pid-"+id), os.Getpid())
		for i := 0; i < 2000; i++ {
			if _, err := os.Stat(filepath.Join(dir, "open")); err == nil {
				break
			}
			<-time.After(2 * time.Millisecond)
		}
	case "tree":
		if err := kin(dir, "child"); err != nil {
			return 1
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:"+flags["--port"])
	if err != nil {
		return 1
	}
	go func() {
		_ = http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { //nolint:gosec // a test's
			_ = json.NewEncoder(w).Encode(messages.WorkerInfo{ID: messages.WorkerID(flags["--worker-id"])})
		}))
	}()
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	if mode == "stubborn" {
		told := term
		go func() { <-told; note(filepath.Join(dir, "termed-"+id), os.Getpid()) }()
		term = nil
	}
	if mode == "aborts" || mode == "aborts-in-c" {
		appears := time.NewTicker(2 * time.Millisecond)
		defer appears.Stop()
		for range appears.C {
			if _, err := os.Stat(filepath.Join(dir, "abort")); err == nil {
				break
			}
		}
		assert := "/src/ggml/src/ggml-backend.cpp:189: GGML_ASSERT(buffer) failed"
		if mode == "aborts" { // as in the real worker: Go's runtime sees the signal, tells of every goroutine and exits
			fmt.Fprintln(os.Stderr, assert)
			_ = syscall.Kill(os.Getpid(), syscall.SIGABRT)
		} else { // a worker that is not Go's
			_ = syscall.Exec("/bin/sh", []string{"sh", "-c", "echo '" + assert + "' >&2; kill -ABRT $$"}, nil)
		}
	}
	select {
	case <-term:
		return 3
	case <-time.After(3 * time.Minute): // whoever started it is gone
		return 4
	}
}

// noteTry appends the port to path and says how many ports are there by now.
func noteTry(path, port string) int {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0
	}
	defer f.Close()
	fmt.Fprintln(f, port)
	data, _ := os.ReadFile(path)
	return strings.Count(string(data), "\n")
}

// note writes n into a file, whole.
func note(path string, n int) {
	if os.WriteFile(path+".tmp", fmt.Appendln(nil, n), 0o600) == nil {
		_ = os.Rename(path+".tmp", path)
	}
}

// kin starts a relative of a fake worker in its group.
func kin(dir, who string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return exec.Command(self, "fake-kin", dir, who).Start()
}

// fakeKin is a child, that has a child of its own, or a grandchild.
func fakeKin(dir, who string) int {
	if who == "child" {
		if err := kin(dir, "grandchild"); err != nil {
			return 1
		}
	}
	note(filepath.Join(dir, who), os.Getpid())
	<-time.After(3 * time.Minute)
	return 0
}
