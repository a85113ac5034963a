// rbee-queen runs a queen on a NATS server that is there already.
package main

import (
	"os"

	"github.com/rbee-project/rbee/services/queen"
)

func main() { os.Exit(queen.Main(os.Args[1:], os.Stderr)) }
