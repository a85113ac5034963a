package ollama

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newVendor asks the registry at address; its idle connections end with the test.
func newVendor(t testing.TB, address string) *Vendor {
	t.Helper()
	v := New(func(key string) string {
		if key == RegistryVariable {
			return address
		}
		return ""
	})
	t.Cleanup(v.client.CloseIdleConnections)
	return v
}
