// Package vendortest is the suite that every vendor of models passes: it checks what the comments of
// [vendor.Vendor] promise. See docs/add-a-vendor.md.
package vendortest

import (
	"testing"
	"time"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// Case is a vendor and what is known of its source.
type Case struct {
	// New returns a fresh vendor whose source is running. It is called several times in each check.
	New func(t testing.TB) vendor.Vendor
	// Refs resolve; at least one. With a Gate the largest file has 4 KiB or more, and is more than twice
	// as large as any other answer of the source.
	Refs []Ref
	// NotMine are references that Supports refuses; at least one. The empty one is always tried.
	NotMine []string
	// Malformed look like the vendor's: Supports takes them, Resolve says what is wrong with
	// [messages.CodeBadRequest] and a hint, and asks nobody.
	Malformed []string
	// Unknown is well-formed, and the source has nothing of that name: [messages.CodeModelUnknown] and a
	// hint. "" if the vendor has no such.
	Unknown string
	// Denied exist and may not be had: [messages.CodeDenied] and a hint.
	Denied []string
	// Ranges says that the source gives parts of files; each Fetch must then start where it was asked to.
	Ranges bool
	// Offline says that the vendor needs no network; exactly then it must be a [vendor.Local].
	Offline bool
	// Gate is what stands before the source, if it is an HTTP server: the suite closes it in several
	// ways. nil only for a source that has no network.
	Gate *Gate
	// Secrets must be in no error, name, note or File.Source: tokens, passwords. What stands in a
	// reference itself may be in Artifact.Ref and File.Source.
	Secrets []string
	// Limit is how soon something must end that ends "soon". Default 30 s: no healthy vendor needs it.
	Limit time.Duration
}

// Ref is a reference and what it stands for.
type Ref struct {
	Ref   string
	Name  string // of the artifact; "" if it does not matter
	Files []File // in order, all of them
}

// File is one file that a reference stands for.
type File struct {
	Name    string // "" if it does not matter
	Kind    vendor.Kind
	Content []byte // nil for a [vendor.Projector]: such are never fetched
}

// check is one promise, by the name that its subtest has.
type check struct {
	name string
	run  func(t testing.TB, c Case)
}

// checks is the suite. Each one is seen to fail by the package's own tests.
func checks() []check {
	return []check{
		{"name", checkName},
		{"forms", checkForms},
		{"supports", checkSupports},
		{"hostile", checkHostile},
		{"offline", checkOffline},
		{"resolve", checkResolve},
		{"again", checkAgain},
		{"spelling", checkSpelling},
		{"concurrent resolve", checkConcurrentResolve},
		{"malformed", checkMalformed},
		{"unknown", checkUnknown},
		{"denied", checkDenied},
		{"whole", checkWhole},
		{"ranges", checkRanges},
		{"beyond the end", checkBeyond},
		{"concurrent fetch", checkConcurrentFetch},
		{"cancelled before", checkCancelledBefore},
		{"cancelled waiting", checkCancelledWaiting},
		{"cancelled in the middle", checkCancelledInside},
		{"closed early", checkClosedEarly},
		{"cut off", checkCutOff},
		{"busy", checkBusy},
		{"gone", checkGone},
	}
}

// Run checks that the vendor of c keeps its promises.
func Run(t *testing.T, c Case) {
	t.Helper()
	c = c.complete(t)
	for _, k := range checks() {
		t.Run(k.name, func(t *testing.T) { k.run(t, c) })
	}
}

// complete sets defaults and refuses a case that would check less than it seems to.
func (c Case) complete(t testing.TB) Case {
	t.Helper()
	if c.Limit <= 0 {
		c.Limit = 30 * time.Second
	}
	switch {
	case c.New == nil || len(c.Refs) == 0 || len(c.NotMine) == 0:
		t.Fatal("vendortest: the case has no New, no Refs or no NotMine")
	case c.Gate == nil && !c.Offline:
		t.Fatal("vendortest: a vendor with a network needs a Gate before its source")
	}
	for _, r := range c.Refs {
		if len(r.Files) == 0 {
			t.Fatalf("vendortest: %q has no files", r.Ref)
		}
	}
	if _, f := c.largest(); c.Gate != nil && len(f.Content) < 4<<10 {
		t.Fatalf("vendortest: the largest file has %d bytes, it needs 4096", len(f.Content))
	}
	return c
}

// largest is the reference with the largest file, and that file.
func (c Case) largest() (string, File) {
	var ref string
	var file File
	for _, r := range c.Refs {
		for _, f := range r.Files {
			if len(f.Content) > len(file.Content) {
				ref, file = r.Ref, f
			}
		}
	}
	return ref, file
}
