package engines

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/rbee-project/rbee/messages"
)

const (
	manifestName   = "manifest.json"
	manifestSchema = 1
	tempPrefix     = ".tmp-"
	lockPoll       = 100 * time.Millisecond
)

// manifest is written last: a folder with one is complete.
type manifest struct {
	Schema      int       `json:"schema"`
	Name        string    `json:"name"`
	Version     string    `json:"version"`
	Source      string    `json:"source"`
	Lib         string    `json:"lib"` // relative to the manifest's folder, with slashes
	SizeBytes   int64     `json:"size_bytes"`
	InstalledAt time.Time `json:"installed_at"`
}

// Store is the engines below one data directory, and those that the vendors find elsewhere. It keeps
// nothing in memory: the disk is the truth.
type Store struct {
	dir     string // <data>/engines
	vendors []Vendor
}

// New returns the store of a data directory; without vendors it has [All]. No I/O happens yet.
func New(dataDir string, vendors ...Vendor) *Store {
	if len(vendors) == 0 {
		vendors = All()
	}
	return &Store{dir: filepath.Join(dataDir, "engines"), vendors: vendors}
}

// List is every usable engine, sorted by name and version: those used in place and those installed,
// whatever their version. What is damaged is left out.
func (s *Store) List() []Installed {
	var out []Installed
	for _, v := range s.vendors {
		if e, ok, err := v.InPlace(LlamaCpp); err == nil && ok {
			out = append(out, Installed{Engine: e})
		}
	}
	names, _ := os.ReadDir(s.dir) // none yet
	for _, n := range names {
		if !n.IsDir() || strings.HasPrefix(n.Name(), ".") {
			continue
		}
		versions, _ := os.ReadDir(filepath.Join(s.dir, n.Name()))
		for _, v := range versions {
			if e, err := s.load(n.Name(), v.Name()); err == nil {
				out = append(out, e)
			}
		}
	}
	slices.SortFunc(out, func(a, b Installed) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Source, b.Source))
	})
	return out
}

// Find is the engine that a worker is to be started with: one that the user has in place, else the
// installed one of the version that this rbee is made for. For [LlamaCpp] that is its best build on this
// machine: [LlamaCppCUDA], else [LlamaCppCUDA12], else [LlamaCppVulkan], else LlamaCpp itself; the name
// of another build means just that. Otherwise the error is [messages.CodeNoEngine] and says what to do.
func (s *Store) Find(name string) (Installed, error) {
	e, ok, err := s.inPlace(name)
	if ok || err != nil {
		return e, err
	}
	e, _, err = s.find(s.best(name))
	return e, err
}

// best is the build to use for an engine. One that is damaged counts: its user would rather know than
// compute on the CPU.
func (s *Store) best(name string) string {
	if name != LlamaCpp {
		return name
	}
	for _, build := range betterBuilds {
		for _, v := range s.vendors {
			version, err := v.Version(build)
			if err != nil {
				continue // none for this system
			}
			if _, err := os.Stat(filepath.Join(s.dir, build, version)); err == nil {
				return build
			}
		}
	}
	return name
}

func (s *Store) inPlace(name string) (e Installed, ok bool, err error) {
	for _, v := range s.vendors {
		e.Engine, ok, err = v.InPlace(name)
		if ok || err != nil {
			return e, ok, err
		}
	}
	return Installed{}, false, nil
}

// find is the engine of just this name, or the vendor to install it from: nil if that would not help.
func (s *Store) find(name string) (Installed, Vendor, error) {
	if e, ok, err := s.inPlace(name); ok || err != nil {
		return e, nil, err
	}
	var from Vendor
	for _, v := range s.vendors {
		if v.Supports(name) {
			from = v // the last one installs
		}
	}
	if from == nil {
		return Installed{}, nil, messages.Errorf(messages.CodeNoEngine, opFind, "there is no engine %q", name).
			WithHint("known: %s, %s", LlamaCpp, strings.Join(betterBuilds, ", "))
	}
	version, err := from.Version(name)
	if err != nil {
		return Installed{}, nil, err
	}
	e, err := s.load(name, version)
	if err == nil {
		return e, nil, nil
	}
	missing := messages.Errorf(messages.CodeNoEngine, opFind, "engine %s %s is damaged: %w", name, version, err)
	if errors.Is(err, fs.ErrNotExist) {
		missing = messages.Errorf(messages.CodeNoEngine, opFind, "engine %s %s is not installed", name, version)
	}
	return Installed{}, from, missing.WithHint("rbee engine install %s", name)
}

func (s *Store) load(name, version string) (Installed, error) {
	dir := filepath.Join(s.dir, name, version)
	b, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return Installed{}, err
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return Installed{}, fmt.Errorf("manifest: %w", err)
	}
	lib := filepath.FromSlash(m.Lib)
	if m.Schema != manifestSchema || m.Name != name || m.Version != version || !filepath.IsLocal(lib) {
		return Installed{}, errors.New("the manifest is not its folder's")
	}
	path := filepath.Join(dir, lib)
	if fi, err := os.Stat(path); err != nil || !fi.IsDir() {
		return Installed{}, errors.New("its libraries are gone")
	}
	if name == LlamaCpp || slices.Contains(betterBuilds, name) {
		if _, err := os.Stat(filepath.Join(path, libraryName())); err != nil {
			return Installed{}, fmt.Errorf("%s is gone", libraryName())
		}
	}
	return Installed{
		Engine: messages.Engine{
			Name: name, Version: version, Path: path, Source: m.Source, SizeBytes: m.SizeBytes,
		},
		InstalledAt: m.InstalledAt,
	}, nil
}

// Install makes the engine of just this name present and returns it; if it is there already, at once. progress is
// called from this goroutine and may be nil. Installs on one data directory wait for each other,
// also those of other processes. Errors: [messages.CodeNoEngine] when it cannot be had,
// [messages.CodeCancelled] when ctx ended first, [messages.CodeInternal] for a failing disk.
func (s *Store) Install(ctx context.Context, name string, progress func(Step)) (Installed, error) {
	if progress == nil {
		progress = func(Step) {}
	}
	e, from, err := s.find(name)
	if err == nil || from == nil {
		return e, err
	}
	unlock, err := s.lock(ctx, progress)
	if err != nil {
		return Installed{}, installError(name, err)
	}
	defer unlock()
	if e, from, err = s.find(name); err == nil || from == nil {
		return e, err // somebody else was faster
	}
	s.sweep()
	if err := s.install(ctx, name, from, progress); err != nil {
		return Installed{}, installError(name, err)
	}
	e, _, err = s.find(name)
	if err == nil {
		progress(Step{Text: "installed " + name + " " + e.Version, Done: e.SizeBytes, Total: e.SizeBytes})
	}
	return e, err
}

func installError(name string, err error) error {
	if isContext(err) {
		return messages.Errorf(messages.CodeCancelled, opInstall, "engine %s is not installed: %w", name, err)
	}
	if _, ok := errors.AsType[*messages.Error](err); ok {
		return err
	}
	return messages.Errorf(messages.CodeInternal, opInstall, "install engine %s: %w", name, err)
}

// lock takes the lock on the folder of engines. A lock dies with its process.
func (s *Store) lock(ctx context.Context, progress func(Step)) (unlock func(), err error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, err
	}
	l := flock.New(filepath.Join(s.dir, ".lock"))
	ok, err := l.TryLock()
	if err == nil && !ok {
		progress(Step{Text: "wait for another installation"})
		_, err = l.TryLockContext(ctx, lockPoll)
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return func() { _ = l.Close() }, nil
}

// sweep removes what killed installs left; only for whoever holds the lock.
func (s *Store) sweep() {
	entries, _ := os.ReadDir(s.dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			os.RemoveAll(filepath.Join(s.dir, e.Name())) // else the next install tries again
		}
	}
}

func (s *Store) install(ctx context.Context, name string, from Vendor, progress func(Step)) error {
	version, err := from.Version(name)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(s.dir, tempPrefix+name+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) // after the rename there is nothing left to remove
	lib, err := from.Install(ctx, name, tmp, progress)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m := manifest{
		Schema: manifestSchema, Name: name, Version: version, Source: from.Name(),
		Lib: filepath.ToSlash(lib), SizeBytes: sizeOf(tmp), InstalledAt: time.Now().UTC().Truncate(time.Second),
	}
	if err := writeManifest(filepath.Join(tmp, manifestName), m); err != nil {
		return err
	}
	dst := filepath.Join(s.dir, name, version)
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := os.RemoveAll(dst); err != nil { // a damaged one
		return err
	}
	return os.Rename(tmp, dst)
}

func writeManifest(path string, m manifest) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}
