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
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	os.Exit(cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
