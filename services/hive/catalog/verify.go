package catalog

import (
	"context"
	"errors"
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
// another's and stays. [messages.CodeModelUnknown] for a name that is nobody's.
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
	var done, total int64
	for i := range models {
		for _, f := range models[i].Files {
			total += f.SizeBytes
		}
	}
	for i := range models {
		m := &models[i]
		for j := range m.Files {
			f := &m.Files[j]
			v, err := c.verify(ctx, m, f, func(n int) {
				done += int64(n)
				w.step(Step{Text: "read " + m.ID, Done: done, Total: total})
			})
			if err != nil {
				return out, err
			}
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
	v := messages.VerifiedFile{Model: m.ID, Name: f.Name, Digest: f.Digest, State: StateOK}
	path, err := c.path(f)
	var size int64
	if err == nil {
		size, err = fileSize(path)
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
		v.State, v.Text = StateDamaged, err.Error()
	case digest != f.Digest || size != f.SizeBytes:
		v.State, v.Text = StateDamaged, "its digest is "+short(digest)+" now"
	default:
		return v, nil
	}
	if f.InPlace != "" {
		v.Text += "; it is another program's and stays"
		return v, nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		v.Text += "; it cannot be removed: " + err.Error()
	} else {
		v.Text += "; it was removed, rbee model pull brings it anew"
	}
	return v, nil
}
