package catalog

import (
	"encoding/json"
	"io"
	"os"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// maxParams bounds what is read of a file of parameters, in bytes.
const maxParams = 1 << 20

// WantedContext is the context length in tokens that the parameters which came with a model ask for
// (num_ctx, by Ollama's names), at most [messages.MaxContext]; 0 if they do not say.
func WantedContext(m *messages.Model) int {
	for _, f := range m.Files {
		if f.Kind != string(vendor.Params) {
			continue
		}
		r, err := os.Open(f.Path)
		if err != nil {
			return 0 // the worker says so
		}
		b, err := io.ReadAll(io.LimitReader(r, maxParams))
		_ = r.Close()
		var p struct {
			NumCtx float64 `json:"num_ctx"`
		}
		if err != nil || json.Unmarshal(b, &p) != nil || !(p.NumCtx >= 1) {
			return 0
		}
		return int(min(p.NumCtx, messages.MaxContext))
	}
	return 0
}
