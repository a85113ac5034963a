package enginetest

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/rbee-project/rbee/services/worker/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFake(t *testing.T) {
	Run(t, func(*testing.T) engine.Engine { return &Fake{} }, Options{})
}
