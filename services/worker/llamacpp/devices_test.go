package llamacpp

import (
	"encoding/json"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rbee-project/rbee/messages"
)

func TestDevicesInFull(t *testing.T) {
	all, err := Devices(libDir(t))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(d Device) bool { return d.Kind == "CPU" })
	if i < 0 || all[i].CPU == nil {
		t.Fatalf("no CPU: %+v", all)
	}
	d := all[i]
	if d.CPU.Cores < 1 || d.CPU.Threads < 1 || len(d.CPU.Features) == 0 || d.FreeBytes == 0 || d.FreeBytes > d.TotalBytes {
		t.Errorf("%+v %+v", d, *d.CPU)
	}
	if runtime.GOOS == "linux" && (d.FreeBytes == d.TotalBytes || d.CPU.Variant == "") { // ggml says that all is free
		t.Errorf("%+v %+v", d, *d.CPU)
	}
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", b)
	var line struct {
		messages.Device
		Variant string `json:"variant"`
		Threads int    `json:"threads"`
	}
	if err := json.Unmarshal(b, &line); err != nil {
		t.Fatal(err)
	}
	if line.ID != d.Name || line.Kind != "cpu" || line.MemoryTotalBytes != d.TotalBytes || line.Variant != d.CPU.Variant || line.Threads != d.CPU.Threads {
		t.Errorf("%+v", line)
	}
	if len(Unusable(libDir(t), all)) != 0 {
		t.Errorf("the CPU's build has no GPU library: %q", Unusable(libDir(t), all))
	}
}

func TestVariant(t *testing.T) {
	for maps, want := range map[string]string{
		"": "",
		"7f00-7f01 r-xp 00000000 fd:00 1 /e/libggml-base.so\n7f02-7f03 r--p 00000000 fd:00 2   /e f/libggml-cpu-zen4.so\n": "zen4",
		"7f02-7f03 r--p 00000000 fd:00 2   /e/libggml-cpu-armv8.2_1.so":                                                    "armv8.2_1",
		"7f02-7f03 r--p 00000000 fd:00 2   /e/libggml-cpu-zen4.so (deleted)":                                               "",
		"/libggml-cpu-x64.so.old": "",
	} {
		if got := variantIn(maps); got != want {
			t.Errorf("%q: %q, want %q", maps, got, want)
		}
	}
}

func TestFeatures(t *testing.T) {
	for info, want := range map[string]string{
		"": "",
		"CPU : AVX2 = 1 | NEON = 0 | OPENMP = 1 | ":                                    "AVX2 OPENMP",
		"CUDA : ARCHS = 500,610 | USE_GRAPHS = 1 | CPU : SVE_CNT = 16 | REPACK = 1 | ": "SVE_CNT=16 REPACK",
		"CPU : AVX = 1 | CUDA : F16 = 1 | ":                                            "AVX",
		"no such form":                                                                 "",
	} {
		if got := strings.Join(featuresIn(info), " "); got != want {
			t.Errorf("%q: %q, want %q", info, got, want)
		}
	}
}

func TestThreads(t *testing.T) {
	for name, tc := range map[string]struct{ cores, granted, want int }{
		"a laptop":                       {8, 16, 7},
		"one core":                       {1, 1, 1},
		"two cores":                      {2, 2, 1},
		"2 CPUs of a large host":         {64, 2, 1},
		"half a CPU, which Go rounds up": {64, 2, 1},
		"8 CPUs of a large host":         {64, 8, 7},
		"nobody knows the cores":         {0, 4, 1},
	} {
		if got := threadsFor(tc.cores, tc.granted); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

func TestRelease(t *testing.T) {
	for version, ok := range map[string]bool{
		"0.5.0-dev": true, "0.5.0": true, "v0.4.0": true, "0.4.1-dev": true,
		"0.3.0": false, "0.6.0-dev": false, "0.50": false, "unknown": false, "": false,
	} {
		err := checkRelease(version, "/some/folder")
		if (err == nil) != ok {
			t.Errorf("%q: %v", version, err)
		}
		if err != nil && (messages.CodeOf(err) != messages.CodeNoEngine || !strings.Contains(err.Error(), "/some/folder") || !strings.Contains(err.Error(), "0.5.0")) {
			t.Errorf("%q: %v", version, err)
		}
	}
}

func TestMachineMemory(t *testing.T) {
	const info = "MemTotal:       1000 kB\nMemFree:  1 kB\nMemAvailable:    600 kB\nHugePages_Total:       0\n"
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for name, tc := range map[string]struct {
		files       map[string]string
		free, total uint64 // KiB
		unknown     bool
	}{
		"not Linux": {nil, 0, 0, true},
		"no cgroup": {map[string]string{"proc/meminfo": info}, 600, 1000, false},
		"no limit": {map[string]string{"proc/meminfo": info, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n",
			"sys/fs/cgroup/memory.current": "5\n"}, 600, 1000, false},
		"a container": {map[string]string{"proc/meminfo": info, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "409600\n",
			"sys/fs/cgroup/memory.current": "204800\n", "sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 102400\n"}, 300, 400, false},
		"a parent's limit": {map[string]string{"proc/meminfo": info, "proc/self/cgroup": "1:name=systemd:/a\n0::/a/b\n", "sys/fs/cgroup/a/memory.max": "204800\n",
			"sys/fs/cgroup/a/memory.current": "102400\n", "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/b/memory.current": "1\n"}, 100, 200, false},
		"version 1": {map[string]string{"proc/meminfo": info, "proc/self/cgroup": "4:memory:/a\n0::/\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "204800",
			"sys/fs/cgroup/memory/a/memory.usage_in_bytes": "102400", "sys/fs/cgroup/memory/a/memory.stat": "total_inactive_file 51200\n"}, 150, 200, false},
		"over its limit": {map[string]string{"proc/meminfo": info, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1024\n",
			"sys/fs/cgroup/memory.current": "4096\n"}, 0, 1, false},
		"outside": {map[string]string{"proc/meminfo": info, "proc/self/cgroup": "0::/../../../x\ngarbage\n9\n"}, 600, 1000, false},
	} {
		t.Run(name, func(t *testing.T) {
			root := fstest.MapFS{}
			for path, text := range tc.files {
				root[path] = file(text)
			}
			free, total, ok := memoryIn(root)
			if ok == tc.unknown || free != tc.free<<10 || total != tc.total<<10 {
				t.Errorf("%d of %d, %v", free, total, ok)
			}
		})
	}
}
