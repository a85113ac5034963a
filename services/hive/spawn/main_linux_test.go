package spawn

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// roleVar turns the test binary into one of the processes that the tests start.
const roleVar = "SPAWN_TEST_ROLE"

func TestMain(m *testing.M) {
	role, arg, _ := strings.Cut(os.Getenv(roleVar), ":")
	switch role {
	case "":
		goleak.VerifyTestMain(m)
	case "exit":
		code, _ := strconv.Atoi(arg)
		fmt.Println("last words on stdout")
		fmt.Fprintln(os.Stderr, "last words on stderr")
		os.Exit(code)
	case "env":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case "crash":
		os.WriteFile(arg, []byte("panic: the sky fell\n"), 0o600)
		fmt.Println("log line")
		os.Exit(2)
	case "block": // says that it is ready by making the file arg
		ready(arg)
		forever()
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		ready(arg)
		forever()
	case "polite":
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		ready(arg)
		<-c
		os.Exit(7)
	case "parent": // starts a grandchild in its group and blocks
		startCopy("block:" + arg)
		forever()
	case "reuse": // is the first process of a pid namespace
		reuse(arg)
	case "hive": // starts a process with a Spawner of its own, writes who it is and ends
		launch(arg)
	}
}

func ready(path string) {
	tmp := path + ".tmp"
	os.WriteFile(tmp, []byte(strconv.Itoa(os.Getpid())), 0o600)
	os.Rename(tmp, path)
}

func startCopy(role string) *exec.Cmd {
	cmd := exec.Command(self())
	cmd.Env = []string{roleVar + "=" + role}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	return cmd
}

func self() string {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return exe
}

// forever is far longer than a test. It waits on a timer since the runtime ends a program all of
// whose goroutines are asleep.
func forever() { <-time.After(10 * time.Minute) }
