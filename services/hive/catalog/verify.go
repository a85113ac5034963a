package catalog

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// The states of a file that was read again.
const (
	StateOK       = "ok"
	StateDamaged  = "damaged"
	StateMissing  = "missing"
	StateUnhashed = "unhashed"
)

// Verify reads the files of the named models, or of all, again and compares them with their digests. A
// damaged file of ours is removed, so that nobody serves it and the next pull brings it anew; one in place is
// another's and stays. A file that several models need is read once. [messages.CodeModelUnknown] for a name that
// is nobody's.
func (c *Catalog) Verify(ctx context.Context, names []string, w Watcher) (messages.VerifyReply, error) {
	var out messages.VerifyReply
	models := c.manifests()
	if len(names) > 0 {
		models = nil
		for _, n := range names {
			m, ok := c.lookup(n)
			if !ok {
				return out, messages.Errorf(messages.CodeModelUnknown, messages.OpModelCheck, "no model %q on this machine", n).WithHint("rbee model list")
			}
			models = append(models, m)
		}
	}
	type which struct{ digest, inPlace string }
	read := map[which]messages.VerifiedFile{}
	var done, total int64
	for i := range models {
		for _, f := range models[i].Files {
			if _, known := read[which{f.Digest, f.InPlace}]; !known {
				read[which{f.Digest, f.InPlace}] = messages.VerifiedFile{}
				total += f.SizeBytes
			}
		}
	}
	for i := range models {
		m := &models[i]
		for j := range m.Files {
			f := &m.Files[j]
			v := read[which{f.Digest, f.InPlace}]
			if v.State == "" {
				var err error
				if v, err = c.verify(ctx, m, f, func(n int) {
					done += int64(n)
					w.step(Step{Text: "read " + m.ID, Done: done, Total: total})
				}); err != nil {
					return out, err
				}
				read[which{f.Digest, f.InPlace}] = v
			}
			v.Model, v.Name = m.ID, f.Name
			if v.State == StateDamaged || v.State == StateMissing {
				out.Damaged++
				w.say("%s: %s is %s", m.ID, f.Name, v.State)
			}
			out.Files = append(out.Files, v)
		}
	}
	return out, nil
}

// verify reads one file again. Its error is ctx's alone.
func (c *Catalog) verify(ctx context.Context, m *manifest, f *file, note func(int)) (messages.VerifiedFile, error) {
	v := messages.VerifiedFile{Digest: f.Digest, State: StateOK}
	path, err := c.path(f)
	var fi fs.FileInfo
	if err == nil {
		fi, err = fileInfo(path)
	}
	if err != nil {
		v.State, v.Text = StateMissing, err.Error()
		return v, nil
	}
	if f.Digest == "" {
		v.State = StateUnhashed
		if f.Kind == vendor.Model {
			if _, err := openHeader(path); err != nil {
				v.State, v.Text = StateDamaged, err.Error()
			}
		}
		return v, nil
	}
	digest, err := digestOf(ctx, path, note)
	switch {
	case err != nil && ctx.Err() != nil:
		return v, ctx.Err()
	case err != nil:
		v.Text = err.Error()
	case digest != f.Digest:
		v.Text = "its digest is " + short(digest) + " now"
	default:
		return v, nil
	}
	v.State = StateDamaged
	if !c.own(m, f) {
		v.Text += "; it is another program's and stays"
		return v, nil
	}
	switch gone, err := c.discard(ctx, path, fi); {
	case err != nil && ctx.Err() != nil:
		return v, ctx.Err()
	case err != nil:
		v.Text += "; it cannot be removed: " + err.Error()
	case gone:
		v.Text += "; it was removed, rbee model pull brings it anew"
	default:
		return c.verify(ctx, m, f, note) // somebody brought it anew meanwhile
	}
	return v, nil
}

// discard removes the file at path if it is still the one that was found damaged.
func (c *Catalog) discard(ctx context.Context, path string, damaged fs.FileInfo) (bool, error) {
	leave, err := c.changing(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	now, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil || !os.SameFile(damaged, now) || !now.ModTime().Equal(damaged.ModTime()) {
		return false, err
	}
	return true, os.Remove(path)
}
