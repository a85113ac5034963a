package catalog

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/stores"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// The states of a model that another program has.
const (
	StateImported = "imported"
	StateThere    = "there"
	StateFound    = "found"
	StateProblem  = "problem"
)

// Import registers models that other programs hold on this machine where they lie: nothing is copied, and
// nothing of theirs is changed. storeNames and names choose; none is all. [messages.CodeBadRequest] for a
// store that there is not, [messages.CodeModelUnknown] for a name that no store has.
func (c *Catalog) Import(ctx context.Context, from []stores.Store, storeNames, names []string, dryRun bool, w Watcher) (messages.ImportReply, error) {
	out := messages.ImportReply{Models: []messages.ImportedModel{}}
	var known []string
	for _, s := range from {
		known = append(known, s.Name())
	}
	for _, n := range storeNames {
		if !slices.Contains(known, n) {
			return out, messages.Errorf(messages.CodeBadRequest, messages.OpModelFind, "no store is called %q", n).WithHint("there are %s", strings.Join(known, ", "))
		}
	}
	asked := map[string]bool{}
	for _, s := range from {
		if len(storeNames) > 0 && !slices.Contains(storeNames, s.Name()) {
			continue
		}
		w.step(Step{Text: "look for models of " + s.Name()})
		found, err := s.Find(ctx)
		if err != nil {
			return out, err
		}
		for i := range found {
			f := &found[i]
			if name, ok := chosen(f, names); ok {
				asked[name] = true
				out.Models = append(out.Models, c.importOne(ctx, f, dryRun, w))
			}
		}
	}
	for _, n := range names {
		if !asked[n] {
			return out, messages.Errorf(messages.CodeModelUnknown, messages.OpModelFind, "no store on this machine has %q", n).
				WithHint("rbee model import --dry-run shows what there is")
		}
	}
	return out, nil
}

// chosen says whether names has one that means f, and which.
func chosen(f *stores.Found, names []string) (string, bool) {
	if len(names) == 0 {
		return "", true
	}
	var means []string
	for _, ref := range append([]string{f.Name}, f.Refs...) {
		means = append(means, spellings(ref)...)
	}
	i := slices.IndexFunc(names, func(n string) bool { return slices.Contains(means, n) })
	if i < 0 {
		return "", false
	}
	return names[i], true
}

func (c *Catalog) importOne(ctx context.Context, f *stores.Found, dryRun bool, w Watcher) messages.ImportedModel {
	out := messages.ImportedModel{Store: f.Store, Model: f.Name, State: StateProblem, Text: f.Problem}
	m := newManifest(f.Store, &f.Artifact)
	m.Refs = slices.Clone(f.Refs)
	for i := range f.Files {
		v := &f.Files[i]
		if v.Kind == vendor.Projector {
			continue
		}
		one := file{Name: v.Name, Kind: v.Kind, SizeBytes: v.SizeBytes, Digest: v.Digest, InPlace: v.InPlace}
		if info, err := os.Stat(v.InPlace); err == nil {
			one.SizeBytes, one.ModTime = info.Size(), info.ModTime().UTC()
		}
		if one.Digest == "" && v.Kind == vendor.Model {
			one.Digest = c.hashedBefore(&one)
		}
		if v.Kind == vendor.Model {
			out.SizeBytes += one.SizeBytes
			if out.Path == "" {
				out.Path = v.InPlace
			}
		}
		m.Files = append(m.Files, one)
	}
	if f.Problem != "" {
		return out
	}
	if err := checkName(m.ID); err != nil {
		out.Text = err.Error()
		return out
	}
	if old, ok := c.lookup(m.ID); ok && old.ID == m.ID && sameWeights(old.weights(), m.weights()) {
		if there, err := c.present(&old); err == nil && (there.Digest != "" || m.digest() == "") {
			out.State = StateThere
			return out
		}
	}
	ref := m.ID
	if len(m.Refs) > 0 {
		ref = m.Refs[0]
	}
	err := c.conflict(&m, &f.Artifact, ref, false)
	if err == nil && !dryRun {
		_, err = c.register(ctx, &m, ref, w)
	}
	switch {
	case messages.CodeOf(err) == messages.CodeConflict: // not its hint: an import gives no names
		out.Text = messages.AsError(err, opResolve).Message + "; rbee model rm that one first"
	case err != nil:
		out.Text = err.Error()
	case dryRun:
		out.State = StateFound
	default:
		out.State = StateImported
	}
	return out
}
