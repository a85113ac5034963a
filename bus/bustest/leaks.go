package bustest

import (
	"testing"

	"go.uber.org/goleak"
)

// VerifyNoLeaks runs a package's tests, and fails if a goroutine of ours is left: for TestMain. What
// nats-server itself leaves in the process is passed over.
func VerifyNoLeaks(m *testing.M) {
	goleak.VerifyTestMain(m,
		// These it keeps for the life of the process, whatever its servers do.
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*Server).startOCSPMonitor"),
		// And these of a stream that is being made while the server stops.
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}
