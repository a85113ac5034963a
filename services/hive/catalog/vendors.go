package catalog

import (
	"os"

	"github.com/rbee-project/rbee/services/hive/catalog/huggingface"
	"github.com/rbee-project/rbee/services/hive/catalog/ollama"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
	"github.com/rbee-project/rbee/services/hive/catalog/weburl"
)

// Vendors returns every vendor, preferred first: a reference goes to the first that supports it. Adding a
// vendor is adding a line here.
func Vendors() []vendor.Vendor {
	return []vendor.Vendor{
		builtin{},
		ollama.New(os.Getenv), // before the next: "ollama.com/qwen3" looks like a repository too
		huggingface.New(os.Getenv),
		weburl.New(),
		local{},
	}
}
