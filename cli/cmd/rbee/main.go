// rbee is the command line: one machine's cluster, and the client of any other.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/rbee-project/rbee/cli"
)

func main() {
	// A reader that left must not end us before what runs is stopped: writes fail instead.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
