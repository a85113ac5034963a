package queen

import (
	"strings"
	"testing"

	"github.com/rbee-project/rbee/messages"
)

func TestFits(t *testing.T) {
	const gib = 1 << 30
	hives := []messages.HiveInfo{
		{ID: "big", MemoryFreeBytes: 16 * gib, DiskFreeBytes: 100 * gib, Devices: []messages.Device{{ID: "CPU", Kind: "cpu"}, {ID: "CUDA0", Kind: "gpu", MemoryFreeBytes: 4 * gib}}},
		{ID: "small", MemoryFreeBytes: 2 * gib, DiskFreeBytes: 100 * gib, Devices: []messages.Device{{ID: "CPU", Kind: "cpu", MemoryFreeBytes: 64 * gib}}},
		{ID: "full", MemoryFreeBytes: 16 * gib, DiskFreeBytes: gib, Devices: []messages.Device{{ID: "CPU", Kind: "cpu"}}},
		{ID: "mute", DiskFreeBytes: 100 * gib, Devices: []messages.Device{{ID: "CPU", Kind: "cpu"}}},
	}
	p := &messages.PlanReply{TotalBytes: 9 * gib, LeastBytes: 6 * gib, GPUBytes: 5 * gib, DownloadBytes: 5 * gib}
	want := map[string]string{ // "" fits
		"big CPU": "", "big CUDA0": "1024 MiB are missing", "small CPU": "4096 MiB are missing", "full CPU": "does not fit the disk", "mute CPU": "not known",
	}
	got := fits(p, hives, "")
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for _, f := range got {
		why := want[string(f.Hive)+" "+f.Device]
		if f.Fits != (why == "") || !strings.Contains(f.Why, why) {
			t.Errorf("%+v, want %q", f, why)
		}
	}
	if one := fits(p, hives, "full"); len(one) != 1 || one[0].Hive != "full" {
		t.Errorf("of one hive: %+v", one)
	}
	if there := fits(&messages.PlanReply{LeastBytes: gib}, hives, "full"); !there[0].Fits {
		t.Errorf("what is there needs no disk: %+v", there)
	}
}

func TestHas(t *testing.T) {
	h := &messages.HiveInfo{Models: []string{"org/repo:Q4"}, Aliases: map[string]string{"hf:org/repo": "org/repo:Q4"}}
	for ref, want := range map[string]string{"org/repo:Q4": "org/repo:Q4", "hf:org/repo": "org/repo:Q4", "org/repo": ""} {
		if id, ok := has(h, ref); id != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", ref, id, ok)
		}
	}
}
