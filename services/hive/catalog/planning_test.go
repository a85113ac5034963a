package catalog

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/peaks"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

func planned(t *testing.T, c *Catalog, p PlanFor) *messages.PlanReply {
	t.Helper()
	out, err := c.Plan(t.Context(), p, Watcher{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A model that is not here is planned by its header, with ranges or without, as it is planned when it is here.
func TestPlanOfRemote(t *testing.T) {
	const size = 40 << 20
	s := newStock()
	w := weights(1, size)
	a := s.put("test:a", "a", w)
	a.Notes, a.License, a.Quantization = []string{"a note"}, "mit", "F32"
	a.Files = append(a.Files, s.file("template", vendor.Template, []byte("x")))
	s.set("test:a", *a)
	c := at(t.TempDir(), s)
	far := planned(t, c, PlanFor{Ref: "test:a"})
	if far.DownloadBytes != int64(len(w))+1 || far.FetchedBytes == 0 || far.FetchedBytes > 4<<20 || s.bytesRead() > far.FetchedBytes ||
		far.WeightsBytes < size || far.TotalBytes < far.WeightsBytes || far.License != "mit" || far.Architecture != "llama" || !slices.Contains(far.Notes, "a note") || far.Model != "a" {
		t.Errorf("%+v, %d bytes read", far, s.bytesRead())
	}
	for _, r := range s.ranges {
		if r.To < 0 || r.To > 4<<20 {
			t.Errorf("range %v was asked for", r)
		}
	}
	if len(blobs(t, c)) != 0 || lstat(filepath.Join(c.dir, partialDir)) || len(c.manifests()) != 0 {
		t.Error("a plan leaves something on the disk")
	}
	s.noRanges = true
	before := s.bytesRead()
	if got := planned(t, c, PlanFor{Ref: "test:a"}); got.TotalBytes != far.TotalBytes || s.bytesRead()-before > 4<<20 {
		t.Errorf("without ranges %+v, %d bytes read", got, s.bytesRead()-before)
	}
	s.noRanges = false
	pull(t, c, Pull{Ref: "test:a"})
	near := planned(t, at(filepath.Dir(c.dir), forbidden{s, t}), PlanFor{Ref: "test:a"})
	if near.DownloadBytes != 0 || near.FetchedBytes != 0 || near.TotalBytes != far.TotalBytes || near.KVBytes != far.KVBytes || near.License != "mit" {
		t.Errorf("here it is %+v, there it was %+v", near, far)
	}
	// What another model has is not downloaded, its header is read from the source still.
	s.set("test:b", *a)
	b := s.artifacts["test:b"]
	b.Name = "b"
	s.set("test:b", b)
	if got := planned(t, c, PlanFor{Ref: "test:b"}); got.DownloadBytes != 0 || got.FetchedBytes == 0 {
		t.Errorf("%+v", got)
	}
	// So is one of this machine that was never pulled.
	path := write(t, filepath.Join(t.TempDir(), "m.gguf"), weights(2, 4096))
	if got := planned(t, at(t.TempDir(), local{}), PlanFor{Ref: path}); got.DownloadBytes != 0 || got.FetchedBytes != 0 || got.Model != "m" {
		t.Errorf("%+v", got)
	}
}

func TestPlanOfSplit(t *testing.T) {
	s := newStock()
	parts := split(1, 3, 1<<20)
	s.put("test:a", "a", parts...)
	c := at(t.TempDir(), s)
	far := planned(t, c, PlanFor{Ref: "test:a"})
	pull(t, c, Pull{Ref: "test:a"})
	if near := planned(t, c, PlanFor{Ref: "a"}); near.WeightsBytes < 3<<20 || near.TotalBytes != far.TotalBytes {
		t.Errorf("here it is %+v, there it was %+v", near, far)
	}
}

func TestPlanErrors(t *testing.T) {
	s := newStock()
	s.put("test:garbage", "garbage", []byte("no model at all, no model at all"))
	s.put("test:a", "a", weights(1, 4096))
	c := at(t.TempDir(), s)
	for ref, want := range map[string]messages.Code{"what": messages.CodeModelUnknown, "test:none": messages.CodeModelUnknown, "test:garbage": messages.CodeBadModel} {
		_, err := c.Plan(t.Context(), PlanFor{Ref: ref}, Watcher{})
		wantError(t, err, want)
	}
	// By its public name alone nobody can bring it: what is wrong is said.
	path := write(t, filepath.Join(t.TempDir(), "m.gguf"), weights(2, 4096))
	lc := at(t.TempDir(), local{})
	pull(t, lc, Pull{Ref: path})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err := lc.Plan(t.Context(), PlanFor{Ref: "m"}, Watcher{})
	wantError(t, err, messages.CodeBadModel, path, "does not exist")
	_, _, err = lc.Needed(messages.Model{Path: path}, 0, 0)
	wantError(t, err, messages.CodeBadModel)
}

// What a worker once took counts where it is more than the sum, for the same model, context, slots and device.
func TestLearntPeaks(t *testing.T) {
	s := newStock()
	s.put("test:a", "a", weights(1, 1<<20))
	s.put("test:b", "b", weights(2, 1<<20))
	c := at(t.TempDir(), s)
	m, b := pull(t, c, Pull{Ref: "test:a"}), pull(t, c, Pull{Ref: "test:b"})
	p := PlanFor{Ref: "a", ContextLength: 1024, Slots: 2}
	before := planned(t, c, p)
	least, sum, err := c.Needed(m, 1024, 2)
	if err != nil || least != before.LeastBytes || before.Learnt {
		t.Fatalf("%d needed, planned %+v, %v", least, before, err)
	}
	record := func(k peaks.Key, n uint64) {
		t.Helper()
		if err := c.Peaks().Record(k, n); err != nil {
			t.Fatal(err)
		}
	}
	key := peaks.Key{Digest: m.Digest, ContextLength: sum.ContextLength, Slots: sum.Slots, Device: CPU}
	record(key, sum.Total()-1) // less: the sum stays
	other := key
	other.Device = "CUDA0"
	record(other, sum.Total()+999)
	other = key
	other.Slots++
	record(other, sum.Total()+999)
	if got := planned(t, c, p); got.Learnt || got.TotalBytes != before.TotalBytes {
		t.Errorf("%+v", got)
	}
	record(key, sum.Total()+1000)
	if got := planned(t, c, p); !got.Learnt || got.TotalBytes != sum.Total()+1000 || got.LeastBytes != before.LeastBytes+1000 || got.WeightsBytes != before.WeightsBytes {
		t.Errorf("%+v", got)
	}
	if got, _, err := c.Needed(m, 1024, 2); err != nil || got != least+1000 {
		t.Errorf("%d needed, not %d: %v", got, least+1000, err)
	}
	if got, _, _ := c.Needed(b, 1024, 2); got != least {
		t.Errorf("another model needs %d", got)
	}
	if got, _, _ := at(filepath.Dir(c.dir), s).Needed(m, 1024, 2); got != least+1000 { // also after a restart
		t.Errorf("%d needed", got)
	}
	// Also for one that is not here.
	remove(t, c, "a")
	p.Ref = "test:a"
	if got := planned(t, c, p); !got.Learnt || got.DownloadBytes == 0 {
		t.Errorf("%+v", got)
	}
}
