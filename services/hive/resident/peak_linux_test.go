package resident

import (
	"bufio"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"testing"
)

const taken = 64 << 20

// It counts memory that was in use and is not any more.
func TestPeakOfAnotherProcess(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "RBEE_TEST_TAKE=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	peak, err := PeakBytes(cmd.Process.Pid)
	if err != nil || peak < taken || peak > 8*taken { // the race detector has shadows of it
		t.Errorf("%d bytes, %v, want %d and a little", peak, err, taken)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if peak, err := PeakBytes(cmd.Process.Pid); err == nil {
		t.Errorf("a process that has ended: %d bytes", peak)
	}
}

func TestMain(m *testing.M) {
	if os.Getenv("RBEE_TEST_TAKE") == "" {
		os.Exit(m.Run())
	}
	take()
	debug.FreeOSMemory()
	os.Stdout.WriteString("taken\n")
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the test closes it
}

func take() {
	b := make([]byte, taken)
	for i := range b {
		b[i] = byte(i)
	}
	runtime.KeepAlive(b)
}
