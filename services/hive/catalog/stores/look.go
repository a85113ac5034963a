package stores

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rbee-project/rbee/gguf"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// The bounds of one look at a store.
const (
	maxEntries  = 100_000 // names in its folders
	maxDepth    = 8       // folders below one that is walked
	maxManifest = 1 << 20 // bytes of a manifest or another file of a program's own
	maxText     = 4 << 20 // bytes of a template and the like
	batch       = 512     // names read at once
)

var (
	errOutside    = errors.New("is a link that leads out of the store")
	errNotRegular = errors.New("is not a regular file")
)

// look is one call of a store's Find.
type look struct {
	ctx   context.Context
	store string
	left  int // names that may still be looked at
	full  bool
	roots []string // that were looked at
	place string   // the root that is looked at
	found []Found
}

// find looks into each of places that is there.
func find(ctx context.Context, store string, places []string, in func(l *look, root string)) ([]Found, error) {
	return findAmong(ctx, maxEntries, store, places, in)
}

// findAmong is find with at most limit names.
func findAmong(ctx context.Context, limit int, store string, places []string, in func(l *look, root string)) ([]Found, error) {
	l := &look{ctx: ctx, store: store, left: limit}
	for _, p := range places {
		if root, ok := l.root(p); ok {
			in(l, root)
		}
	}
	if l.full {
		l.problem("", fmt.Sprintf("holds too much: only the first %d names were looked at", limit))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return l.found, nil
}

// root is the folder behind place, once.
func (l *look) root(place string) (string, bool) {
	l.place = clean(place)
	root, err := filepath.EvalSymlinks(place)
	if errors.Is(err, fs.ErrNotExist) || slices.Contains(l.roots, root) {
		return "", false
	}
	if err != nil {
		l.problem("", why(err))
		return "", false
	}
	l.roots = append(l.roots, root)
	return root, true
}

// problem notes something that cannot be used; name is what it would be, or its path in the store.
func (l *look) problem(name, why string) {
	if name == "" {
		name = l.place
	}
	l.found = append(l.found, Found{Store: l.store, Place: l.place, Artifact: vendor.Artifact{Name: clean(name)}, Problem: why})
}

// dir is what is in a folder, sorted by name; nothing if there is no such folder. It follows no link.
func (l *look) dir(path string) []fs.DirEntry {
	if l.ctx.Err() != nil || l.full {
		return nil
	}
	entries, err := l.read(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.problem(path, why(err))
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries
}

func (l *look) read(path string) (entries []fs.DirEntry, err error) {
	if info, err := os.Lstat(path); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, errors.New("is not a folder")
	}
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for l.ctx.Err() == nil {
		some, err := f.ReadDir(batch)
		if len(some) > l.left {
			some, l.full = some[:l.left], true
		}
		l.left -= len(some)
		entries = append(entries, some...)
		switch {
		case errors.Is(err, io.EOF) || l.full:
			return entries, nil
		case err != nil:
			return entries, err
		}
	}
	return entries, nil
}

// walk calls visit for everything below root but the folders, with its path below root.
func (l *look) walk(root string, visit func(rel string, e fs.DirEntry)) {
	l.walkBelow(root, "", maxDepth, visit)
}

func (l *look) walkBelow(root, rel string, depth int, visit func(rel string, e fs.DirEntry)) {
	for _, e := range l.dir(filepath.Join(root, rel)) {
		sub := filepath.Join(rel, e.Name())
		switch {
		case !e.IsDir():
			visit(sub, e)
		case depth > 1:
			l.walkBelow(root, sub, depth-1, visit)
		}
	}
}

// inside is the regular file at path, which may be a link to it. Both lie in base, which has no link in it.
func inside(base, path string) (target string, size int64, err error) {
	target, err = filepath.EvalSymlinks(path)
	if err != nil {
		return "", 0, err
	}
	if rel, err := filepath.Rel(base, target); err != nil || !filepath.IsLocal(rel) {
		return "", 0, errOutside
	}
	info, err := os.Lstat(target)
	if err != nil {
		return "", 0, err
	}
	if !info.Mode().IsRegular() {
		return "", 0, errNotRegular
	}
	return target, info.Size(), nil
}

// openRegular opens a regular file that has no link in its path. It looks before it opens: to open a
// device may do something.
func openRegular(path string) (*os.File, int64, error) {
	if info, err := os.Lstat(path); err != nil {
		return nil, 0, err
	} else if !info.Mode().IsRegular() {
		return nil, 0, errNotRegular
	}
	f, err := open(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// text is the content of a file of at most limit bytes.
func (l *look) text(path string, limit int64) ([]byte, error) {
	f, _, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		return nil, fmt.Errorf("has more than %d bytes", limit)
	}
	return b, err
}

// header is a GGUF file's header and the file's size.
func (l *look) header(path string) (*gguf.Header, int64, error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	h, err := gguf.ReadHeader(reader{l.ctx, f}, size)
	return h, size, err
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.ReaderAt
}

func (r reader) ReadAt(b []byte, at int64) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.ReadAt(b, at)
}

// why says what is wrong with a file, without its path, which is foreign.
func why(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "is not there"
	case errors.Is(err, fs.ErrPermission):
		return "may not be read by the hive's user"
	case errors.Is(err, gguf.ErrNotGGUF):
		return "is not a GGUF file"
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return "cannot be read: " + clean(e.Err.Error())
	}
	return clean(err.Error())
}
