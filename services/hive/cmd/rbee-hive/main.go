// rbee-hive spawns workers on this machine for a queen that is on a NATS server.
package main

import (
	"os"

	"github.com/rbee-project/rbee/services/hive"
)

func main() { os.Exit(hive.Main(os.Args[1:], os.Stderr)) }
