package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/rbee-project/rbee/"

// mayImport says which of our folders each module may import besides its own.
var mayImport = map[string][]string{
	"messages":        {},
	"gguf":            {},
	"bus":             {"messages"},
	"services/queen":  {"messages", "bus"},
	"services/hive":   {"messages", "bus", "gguf"},
	"services/worker": {"messages", "bus", "gguf"},
	"cli":             {"messages", "bus", "gguf", "services/queen", "services/hive", "services/worker"},
}

// only says which folders alone may import these, tests included.
var only = map[string][]string{
	"github.com/hybridgroup/yzma":      {"services/worker"}, // importing it loads libffi, and panics where that is absent
	"github.com/nats-io/nats-server":   {"bus/natsd"},       // the service binaries never link a server
	module + "bus/natsd":               {"bus/bustest", "cli/solo"},
	module + "services/worker":         {"services/worker"}, // a worker is a process, never a library
	module + "bus/bustest":             {"bus", "services", "cli"},
	"github.com/vmihailenco/msgpack":   {"messages", "cli"},
	"github.com/nats-io/nats.go/micro": {"bus"},
}

type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

// TestArrowsPointOneWay holds the import direction of docs/architecture.md.
func TestArrowsPointOneWay(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "work")
	cmd.Dir = ".."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); seen++ {
		var p listed
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		folder := strings.TrimPrefix(p.ImportPath, module)
		for _, imp := range p.Imports {
			checkImport(t, folder, imp)
			checkOnly(t, folder, imp)
		}
		for _, imp := range slices.Concat(p.TestImports, p.XTestImports) {
			if imp != module+"bus/bustest" {
				checkImport(t, folder, imp)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d packages seen", seen)
	}
}

func owner(folder string) string {
	for m := range mayImport {
		if folder == m || strings.HasPrefix(folder, m+"/") {
			return m
		}
	}
	return ""
}

func checkImport(t *testing.T, folder, imp string) {
	t.Helper()
	target, ours := strings.CutPrefix(imp, module)
	if !ours {
		return
	}
	from, to := owner(folder), owner(target)
	if from != to && !slices.Contains(mayImport[from], to) {
		t.Errorf("%s imports %s: %s may import %q alone", folder, target, from, mayImport[from])
	}
}

func checkOnly(t *testing.T, folder, imp string) {
	t.Helper()
	for path, allowed := range only {
		if imp != path && !strings.HasPrefix(imp, path+"/") {
			continue
		}
		if !slices.ContainsFunc(allowed, func(a string) bool { return folder == a || strings.HasPrefix(folder, a+"/") }) {
			t.Errorf("%s imports %s: only %q may", folder, imp, allowed)
		}
	}
}
