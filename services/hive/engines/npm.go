package engines

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rbee-project/rbee/messages"
)

const (
	// npmTimeout bounds one download of 177 MB at most, on a slow line.
	npmTimeout = time.Hour
	// maxPackage bounds the packed package, in bytes.
	maxPackage = 512 << 20
)

var errSlow = fmt.Errorf("no package after %s", npmTimeout)

// npmVendor fetches a pinned package with the user's own npm, so that the user's npm configuration
// (proxy, mirror, credentials) holds.
type npmVendor struct {
	pins         []pin
	goos, goarch string // what to install for
}

func (npmVendor) Name() string { return "npm" }

func (v npmVendor) Supports(engine string) bool {
	return slices.ContainsFunc(v.pins, func(p pin) bool { return p.engine == engine })
}

func (npmVendor) InPlace(string) (messages.Engine, bool, error) {
	return messages.Engine{}, false, nil
}

func (v npmVendor) Version(engine string) (string, error) {
	p, err := v.pinned(engine)
	return p.release, err
}

func (v npmVendor) pinned(engine string) (pin, error) {
	for _, p := range v.pins {
		if p.engine == engine && p.goos == v.goos && p.goarch == v.goarch {
			return p, nil
		}
	}
	return pin{}, messages.Errorf(messages.CodeNoEngine, opInstall,
		"there is no pinned package of %s for %s/%s", engine, v.goos, v.goarch).
		WithHint("set %s to a folder with llama.cpp's shared libraries", LibVar)
}

func (v npmVendor) Install(ctx context.Context, engine, dst string, step func(Step)) (string, error) {
	p, err := v.pinned(engine)
	if err != nil {
		return "", err
	}
	for _, t := range p.parts {
		if err := installPart(ctx, t, filepath.Join(dst, t.into), step); err != nil {
			return "", err
		}
	}
	return p.lib, makeLinks(filepath.Join(dst, filepath.FromSlash(p.lib)), p)
}

// installPart fetches one package and unpacks it into dst, which it makes if need be.
func installPart(ctx context.Context, p part, dst string, step func(Step)) error {
	down := filepath.Join(dst, ".download")
	if err := os.MkdirAll(down, 0o700); err != nil {
		return err
	}
	step(Step{Text: "npm pack " + p.String()})
	tgz, err := fetch(ctx, p, down)
	if err != nil {
		return err
	}
	step(Step{Text: "check " + p.String()})
	if err := checkIntegrity(tgz, p); err != nil {
		return err
	}
	err = unpackFile(ctx, tgz, dst, func(done, total int64) { step(Step{"unpack " + p.String(), done, total}) })
	if err != nil {
		return messages.Errorf(messages.CodeNoEngine, opInstall, "unpack %s: %w", p, err)
	}
	return os.RemoveAll(down)
}

// fetch runs npm in dir and returns the package's file there.
func fetch(ctx context.Context, p part, dir string) (string, error) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", messages.Errorf(messages.CodeNoEngine, opInstall, "npm is not installed: %w", err).
			WithHint("install Node.js, which has npm, or set %s to a folder with llama.cpp's shared libraries", LibVar)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, npmTimeout, errSlow)
	defer cancel()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, npm, "pack", p.String(), "--json", "--ignore-scripts", "--pack-destination=.")
	cmd.Dir = dir
	cmd.Stderr = &limited{w: &said, left: 64 << 10}
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		switch cause := context.Cause(ctx); {
		case errors.Is(cause, errSlow):
			err = errSlow
		case cause != nil:
			return "", ctx.Err()
		}
		return "", messages.Errorf(messages.CodeNoEngine, opInstall, "npm pack %s: %w: %s", p, err, gist(said.String())).
			WithHint("see whether npm works by hand, or set %s to a folder with llama.cpp's shared libraries", LibVar)
	}
	// The name of the file is npm's business, and older versions report another than they write.
	found, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(found) != 1 {
		return "", messages.Errorf(messages.CodeNoEngine, opInstall, "npm pack %s left %d packages, not 1", p, len(found))
	}
	return found[0], nil
}

// checkIntegrity compares the file with the pinned hash. Nothing may be unpacked before.
func checkIntegrity(path string, p part) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha512.New()
	n, err := io.Copy(h, io.LimitReader(f, maxPackage+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	got := "sha512-" + base64.StdEncoding.EncodeToString(h.Sum(nil))
	if n > maxPackage || got != p.integrity {
		return messages.Errorf(messages.CodeNoEngine, opInstall,
			"%s is not the package that was pinned: its integrity is %s, not %s", p, got, p.integrity).
			WithHint("nothing was unpacked; see where npm gets its packages from: npm config get registry")
	}
	return nil
}

// makeLinks gives the libraries the names that they are loaded by. On Windows a symbolic link takes a
// privilege, so there it is a second name of the file; never a copy, which would be a second library with
// a state of its own.
func makeLinks(lib string, p pin) error {
	for _, l := range p.links {
		target := filepath.FromSlash(l.target)
		if _, err := os.Stat(filepath.Join(lib, target)); err != nil {
			return messages.Errorf(messages.CodeNoEngine, opInstall, "%s has no %s", p.parts[0], l.target)
		}
		name := filepath.Join(lib, l.name)
		err := os.Symlink(target, name)
		if err != nil && p.goos == "windows" {
			err = os.Link(filepath.Join(lib, target), name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// gist is the start of what npm said about an error, on one line of at most 300 bytes.
func gist(s string) string {
	var out []string
	for line := range strings.Lines(s) {
		line = strings.TrimPrefix(strings.TrimPrefix(line, "npm error"), "npm ERR!")
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "A complete log") {
			out = append(out, line)
		}
	}
	joined := strings.ToValidUTF8(strings.Join(out, "; "), "?")
	if len(joined) > 300 {
		joined = strings.ToValidUTF8(joined[:300], "") + "..."
	}
	return joined
}

// limited passes on the first left bytes and swallows the rest.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(b []byte) (int, error) {
	keep := b[:min(len(b), l.left)]
	l.left -= len(keep)
	if _, err := l.w.Write(keep); err != nil {
		return 0, err
	}
	return len(b), nil
}

func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
