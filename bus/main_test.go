package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/rbee-project/rbee/bus/bustest"
)

func TestMain(m *testing.M) {
	bustest.VerifyNoLeaks(m)
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
