// Package vendor is the interface between the catalog and the places where models come from, and what
// vendors share: how a file is asked for over HTTP and how a failure there is told. A vendor says what a
// reference stands for and gives bytes; it writes to no disk. See docs/add-a-vendor.md.
package vendor

import (
	"context"
	"io"
)

// Vendor is where models come from. Its methods may be called by many goroutines; they end soon after
// their context does.
type Vendor interface {
	// Name is short and stable: it is written into manifests and shown to people.
	Name() string
	// Forms are the references that the vendor takes, as people would write them.
	Forms() []string
	// Supports says by the look of a reference alone, without I/O, whether it is this vendor's. A
	// reference that looks like this vendor's and is malformed is: Resolve says what is wrong.
	Supports(ref string) bool
	// Resolve finds out what ref stands for. It downloads no model.
	//
	// Errors: [messages.CodeBadRequest] for a malformed reference, [messages.CodeModelUnknown] if there
	// is nothing of that name, [messages.CodeDenied] if it may not be had without a token or a licence,
	// [messages.CodeUnavailable] when another try may succeed.
	Resolve(ctx context.Context, ref string) (*Artifact, error)
	// Fetch gives r of a file that Resolve returned. A source that cannot give a part gives the whole
	// file: [Body.From] says so. Errors as of Resolve; see [Temporary].
	Fetch(ctx context.Context, f *File, r Range) (*Body, error)
}

// Offerer is a vendor with models that can be had at any time without a network.
type Offerer interface {
	// Offers are their references.
	Offers() []string
}

// Local is a vendor that needs no network: it is asked although the hive is offline.
type Local interface {
	// Local does nothing; that it is there counts.
	Local()
}

// Speller is a vendor whose references can be written in several ways.
type Speller interface {
	// Spell is the one way to write what ref means, without I/O: two references that are spelt alike mean the
	// same. A malformed reference is spelt as it is.
	Spell(ref string) string
}

// Artifact is what a reference stands for.
type Artifact struct {
	// Name is the short public name, which clients ask for over HTTP: "org/repo:Q4_K_M".
	Name string
	// Ref is a full reference that means this artifact and no other, today and later, where the vendor
	// has such: "hf:org/repo/file.gguf@<commit>".
	Ref string
	// Files are what belongs to the model: those of [Model], a split model's in order, then the others.
	Files []File
	// What the source says of the model; empty or 0 where it says nothing. A GGUF's own header wins, but for the
	// quantization: it was chosen by the source's word for it.
	License       string // SPDX, as the source writes it: "apache-2.0"
	Quantization  string // "Q4_K_M"
	Architecture  string // "llama"
	ContextLength int    // trained, tokens
	Revision      string // of the source: a commit, a manifest's digest
	// Notes are for people: what was chosen and why, what was left out, that a repository has moved.
	Notes []string
}

// Kind says what a file of an artifact is for.
type Kind string

// The kinds of files.
const (
	Model      Kind = "model"       // weights; every artifact has at least one
	Template   Kind = "template"    // a chat template in Jinja
	GoTemplate Kind = "go-template" // a chat template in Go's text/template, as Ollama's are
	Params     Kind = "params"      // defaults of sampling, JSON by Ollama's names
	System     Kind = "system"      // a default system message
	License    Kind = "license"     // its text
	Projector  Kind = "projector"   // of pictures or sound (mmproj); listed, never fetched
)

// File is one file of an artifact.
type File struct {
	// Name is what the source calls it. It is shown, and never becomes a path.
	Name string
	Kind Kind
	// SizeBytes is -1 if the source does not say.
	SizeBytes int64
	// Digest is "sha256:" and 64 lower-case hexadecimal digits, or "" if the source does not say. What is
	// fetched and has another one is refused.
	Digest string
	// InPlace is the absolute path of a file that is used where it lies; Fetch is not called for it.
	InPlace string
	// Source is the vendor's own: by it Fetch finds the file, also in a later process. It holds no secret.
	Source string
}

// Range is bytes From to To of a file, To not among them; To < 0 is to the end.
type Range struct{ From, To int64 }

// Whole is every byte.
var Whole = Range{0, -1}

// Body is bytes of a file as they come. Its reader ends with [io.ErrUnexpectedEOF] or another error if
// fewer come than were announced. A source may announce fewer than were asked for, or give more: who reads counts.
type Body struct {
	io.ReadCloser
	// From is the offset of the first byte: the range's, or 0 from a source that gives the whole file only.
	From int64
	// SizeBytes of the whole file; -1 if the source does not say.
	SizeBytes int64
	// Version changes when the file does, such as a strong ETag; "" if the source does not say.
	Version string
	// Undelimited is that only the end of the connection ends the reader: it may be a cut (RFC 9112, 6.3).
	Undelimited bool
}
