package vendortest

import (
	"fmt"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

func TestMain(m *testing.M) {
	// Two of the broken vendors leave goroutines of their own, for ever.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/rbee-project/rbee/services/hive/catalog/vendortest.(*toy).spoilBody.func1"),
		goleak.IgnoreAnyFunction("github.com/rbee-project/rbee/services/hive/catalog/vendortest.(*toy).Supports"),
		goleak.IgnoreAnyFunction("github.com/rbee-project/rbee/services/hive/catalog/vendortest.(*toy).parse"))
}

// toyCase is a toy and its source.
func toyCase(t testing.TB, fault string) Case {
	gate := new(Gate)
	server := httptest.NewServer(source(gate))
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // broken vendors hold some
	model := func(name string) []File {
		return []File{{name + ".gguf", vendor.Model, contents[name]}, {"sub/template", vendor.Template, contents["template"]}}
	}
	return Case{
		New:       func(t testing.TB) vendor.Vendor { return newToy(t, server.URL, fault) },
		Refs:      []Ref{{"toy:small", "small", model("small")}, {"toy:large@1", "large", model("large")}},
		NotMine:   []string{"boy:x", "/toy.gguf"},
		Malformed: []string{"toy:", "toy:a b", "toy:a/"},
		Unknown:   "toy:unknown",
		Denied:    []string{"toy:locked"},
		Ranges:    true,
		Gate:      gate,
		Secrets:   []string{secret},
	}
}

func TestGoodVendor(t *testing.T) { Run(t, toyCase(t, "")) }

// recorder notes failures instead of failing.
type recorder struct {
	testing.TB
	mu     sync.Mutex
	failed []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = append(r.failed, fmt.Sprintf(format, args...))
}
func (r *recorder) Error(args ...any)                 { r.Errorf("%s", fmt.Sprintln(args...)) }
func (r *recorder) Fatalf(format string, args ...any) { r.Errorf(format, args...); runtime.Goexit() }
func (r *recorder) Fatal(args ...any)                 { r.Error(args...); runtime.Goexit() }

// failures runs one check and gives what it finds.
func failures(t *testing.T, name string, c Case) []string {
	t.Helper()
	for _, k := range checks() {
		if k.name != name {
			continue
		}
		r := &recorder{TB: t}
		done := make(chan struct{})
		go func() { defer close(done); k.run(r, c) }()
		<-done
		return r.failed
	}
	t.Fatalf("no check is called %q", name)
	return nil
}

// faults says which check finds each fault of the toy.
var faults = map[string][]string{
	"name":  {"name with a blank", "name changes", "name of the address"},
	"forms": {"no forms", "foreign form", "form of control characters"},
	"supports": {"Supports asks", "Supports refuses its own", "Supports refuses the malformed", "Supports takes nothing", "Supports takes all",
		"Supports changes its mind", "Supports panics"},
	"hostile": {"Supports panics", "Supports hangs", "Resolve panics", "Resolve hangs", "error of control characters", "endless error",
		"asks after the end", "Fetch panics", "Fetch asks after the end"},
	"resolve": {"neither artifact nor error", "no files", "template first", "model last", "unknown kind", "wrong kind", "a file missing",
		"file without a name", "wrong file name", "digest in capitals", "wrong digest", "wrong size", "size -2", "relative path", "nothing in place",
		"name of dots", "name with a space", "name with a hidden letter", "name of a path", "other name", "no reference", "foreign reference",
		"note of control codes", "note with a secret", "source with a secret"},
	"again":                   {"reference of the newest", "changes with time", "changes with the vendor"},
	"spelling":                {"spelt as another", "spelt anew each time", "spelling asks", "malformed is spelt", "spelt as nobody's"},
	"concurrent resolve":      {"one at a time", "changes with time"},
	"malformed":               {"malformed is unknown", "malformed asks", "malformed has no hint"},
	"unknown":                 {"unknown is unavailable", "unknown has no hint", "unknown is a bare error", "unknown has no operation", "error shows a secret", "cause shows a secret"},
	"denied":                  {"denied has no hint", "denied is unavailable"},
	"whole":                   {"nothing fetched", "wrong bytes", "too many bytes", "too few bytes", "wrong total", "needs an earlier Resolve"},
	"ranges":                  {"range off by one", "end off by one", "whole file only", "bytes of the start", "version changes", "wrong bytes"},
	"beyond the end":          {"zeros beyond the end"},
	"concurrent fetch":        {"one fetch at a time", "wrong bytes"},
	"cancelled before":        {"asks after the end", "Fetch asks after the end", "cancel loses its cause"},
	"cancelled waiting":       {"Resolve ignores its context", "Fetch ignores its context", "cancel loses its cause"},
	"cancelled in the middle": {"Fetch ignores its context", "errors are swallowed"},
	"closed early":            {"Close closes nothing", "Close reads on", "a goroutine is left"},
	"cut off":                 {"errors are swallowed", "errors are final"},
	"busy":                    {"busy loses the wait", "busy is permanent"},
	"gone":                    {"gone is a bare error", "gone is unknown"},
}

// endless are the faults that only a limit finds.
var endless = map[string]bool{"Supports hangs": true, "Resolve hangs": true, "Resolve ignores its context": true, "Fetch ignores its context": true,
	"Close closes nothing": true, "Close reads on": true, "a goroutine is left": true}

// TestBrokenVendors sees every check fail, for each fault, and pass without.
func TestBrokenVendors(t *testing.T) {
	for _, k := range checks() {
		if len(faults[k.name]) == 0 && k.name != "offline" {
			t.Errorf("the check %q has never been seen to fail", k.name)
		}
		for _, fault := range faults[k.name] {
			t.Run(k.name+"/"+fault, func(t *testing.T) {
				c := toyCase(t, fault).complete(t)
				if endless[fault] {
					c.Limit = 300 * time.Millisecond
				}
				got := failures(t, k.name, c)
				if len(got) == 0 || !endless[fault] && strings.Contains(got[0], "does not end within") {
					t.Fatalf("the check %q does not find the fault: %q", k.name, got)
				}
				t.Logf("%.200s", got[0])
			})
		}
	}
}

// offering is a toy with the looks of a vendor that needs no network.
type offering struct {
	vendor.Vendor
	offers []string
}

func (offering) Local()             {}
func (o offering) Offers() []string { return o.offers }

func TestOfflineAndOffers(t *testing.T) {
	for name, tc := range map[string]struct {
		local   bool
		offers  []string
		offline bool
		red     bool
	}{
		"local and offline":        {local: true, offline: true, offers: []string{"toy:small"}},
		"network":                  {},
		"local with a network":     {local: true, red: true},
		"no Local without network": {offline: true, red: true},
		"offers what it has not":   {local: true, offline: true, offers: []string{"toy:unknown"}, red: true},
		"offers a foreign one":     {local: true, offline: true, offers: []string{"boy:small"}, red: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := toyCase(t, "").complete(t)
			inner := c.New
			c.Offline = tc.offline
			c.New = func(t testing.TB) vendor.Vendor {
				if tc.local {
					return offering{inner(t), tc.offers}
				}
				return inner(t)
			}
			if got := failures(t, "offline", c); (len(got) > 0) != tc.red {
				t.Errorf("found: %q", got)
			}
		})
	}
}

// TestRefusedCases has cases that would check less than they seem to.
func TestRefusedCases(t *testing.T) {
	for name, spoil := range map[string]func(c *Case){
		"no New":       func(c *Case) { c.New = nil },
		"no Refs":      func(c *Case) { c.Refs = nil },
		"no NotMine":   func(c *Case) { c.NotMine = nil },
		"no Gate":      func(c *Case) { c.Gate = nil },
		"no files":     func(c *Case) { c.Refs[0].Files = nil },
		"small models": func(c *Case) { c.Refs = c.Refs[:1] },
	} {
		t.Run(name, func(t *testing.T) {
			c := toyCase(t, "")
			spoil(&c)
			r := &recorder{TB: t}
			done := make(chan struct{})
			go func() { defer close(done); c.complete(r) }()
			<-done
			if len(r.failed) != 1 {
				t.Errorf("the case is taken: %q", r.failed)
			}
		})
	}
}
