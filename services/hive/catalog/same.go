package catalog

import (
	"slices"
	"strings"

	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

func sameWeights(a, b []file) bool {
	return slices.EqualFunc(a, b, func(x, y file) bool {
		return x.Digest != "" && x.Digest == y.Digest || x.InPlace != "" && x.InPlace == y.InPlace
	})
}

// mayBe compares with what a vendor knows before the fetch; what it does not know may be the same.
func mayBe(old, now []file) bool {
	return slices.EqualFunc(old, now, func(x, y file) bool {
		return y.Digest == "" && y.InPlace == "" || x.Digest != "" && x.Digest == y.Digest || x.InPlace != "" && x.InPlace == y.InPlace
	})
}

// sameManners compares what a model does besides its weights: with another template, or other parameters, it is
// another model. What is not known yet may be the same.
func sameManners(a, b []file) bool {
	ofManner := func(files []file) (out []file) {
		for _, f := range files {
			switch f.Kind {
			case vendor.Template, vendor.GoTemplate, vendor.Params, vendor.System:
				out = append(out, f)
			}
		}
		return out
	}
	return slices.EqualFunc(ofManner(a), ofManner(b), func(x, y file) bool {
		return x.Kind == y.Kind && (x.Digest == y.Digest || x.Digest == "" || y.Digest == "")
	})
}

// grewInto says that m is what old has become at its source, although ref is another spelling: their full
// references differ in the revision alone, and it was not one revision that was asked for.
func (c *Catalog) grewInto(old, m *manifest, ref string) bool {
	was, ok1 := strings.CutSuffix(old.Full, "@"+old.Revision)
	is, ok2 := strings.CutSuffix(m.Full, "@"+m.Revision)
	return ok1 && ok2 && was == is && old.Vendor == m.Vendor && !c.pinned(ref) &&
		slices.ContainsFunc(old.Refs, func(r string) bool { return !c.pinned(r) })
}

// knowUnchanged gives a file whose source tells no digest the one it had when it was pulled from there, if it is here
// and the source names the same version as then.
func (c *Catalog) knowUnchanged(v vendor.Vendor, a *vendor.Artifact) {
	if a.Revision == "" || len(a.Files) != 1 { // it is the version of one file
		return
	}
	f := &a.Files[0]
	if f.Digest != "" || f.InPlace != "" || f.SizeBytes < 0 {
		return
	}
	for _, m := range c.manifests() {
		if m.Vendor != v.Name() || m.Full != a.Ref || m.Revision != a.Revision || len(m.Files) != 1 {
			continue
		}
		if known := (&vendor.File{Digest: m.Files[0].Digest, SizeBytes: f.SizeBytes}); c.has(known) {
			f.Digest = known.Digest
			return
		}
	}
}
