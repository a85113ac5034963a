package devices

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"go.uber.org/goleak"
)

const roleVar = "DEVICES_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "":
		goleak.VerifyTestMain(m)
	case "good":
		if len(os.Args) < 3 || os.Args[1] != "devices" || os.Args[2] != "--json" {
			os.Exit(3)
		}
		fmt.Println("ggml: chatter on stdout")
		fmt.Println(`{"id":"CPU","description":"A processor","kind":"CPU"}`)
		fmt.Println(`{"id":"CUDA0","description":"NVIDIA X","kind":"gpu","memory_total_bytes":100,"memory_free_bytes":70}`)
	case "fail":
		fmt.Fprintln(os.Stderr, "first\nlibllama.so: cannot open")
		os.Exit(1)
	case "silent":
	case "hang":
		<-time.After(10 * time.Minute)
	case "flood":
		for range 3 << 10 {
			fmt.Println(strings.Repeat("x", 1023))
		}
	}
}

func worker(t *testing.T, role string) Command {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Command{Path: exe, Env: map[string]string{roleVar: role, "GOCOVERDIR": t.TempDir()}}
}

func TestInventory(t *testing.T) {
	info := Inventory(t.Context(), worker(t, "good"), filepath.Join(t.TempDir(), "not", "made", "yet"))
	if info.Note != "" || len(info.Devices) != 2 {
		t.Fatalf("%+v", info)
	}
	if info.MemoryTotalBytes == 0 || info.MemoryFreeBytes == 0 || info.DiskTotalBytes == 0 || info.DiskFreeBytes == 0 ||
		info.Host == "" || info.CPU == "" || info.Cores < 1 || !strings.Contains(info.OS, "/") {
		t.Fatalf("%+v", info)
	}
	if d := info.Devices[0]; d.Kind != "cpu" || d.MemoryTotalBytes != info.MemoryTotalBytes {
		t.Fatalf("CPU: %+v", d)
	}
	want := messages.Device{ID: "CUDA0", Name: "NVIDIA X", Kind: "gpu", MemoryTotalBytes: 100, MemoryFreeBytes: 70}
	if d := info.Devices[1]; d != want {
		t.Fatalf("GPU: %+v", d)
	}
}

func TestInventoryWithoutEngine(t *testing.T) {
	for name, cmd := range map[string]Command{
		"no path": {}, "missing": {Path: "/nowhere/rbee-worker"},
		"fails": worker(t, "fail"), "silent": worker(t, "silent"),
	} {
		t.Run(name, func(t *testing.T) {
			info := Inventory(t.Context(), cmd, t.TempDir())
			if info.Note == "" || len(info.Devices) != 1 || info.Devices[0].ID != "CPU" ||
				info.Devices[0].MemoryTotalBytes != info.MemoryTotalBytes {
				t.Fatalf("%+v", info)
			}
			t.Log(info.Note)
		})
	}
}

func TestProbeErrors(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tc := range map[string]struct {
		ctx   context.Context
		cmd   Command
		limit time.Duration
		want  messages.Code
		says  string
	}{
		"no path":   {t.Context(), Command{}, ProbeTimeout, messages.CodeNoEngine, "rbee-worker"},
		"missing":   {t.Context(), Command{Path: "/nowhere/w"}, ProbeTimeout, messages.CodeNoEngine, "/nowhere/w"},
		"a folder":  {t.Context(), Command{Path: t.TempDir()}, ProbeTimeout, messages.CodeNoEngine, ""},
		"fails":     {t.Context(), worker(t, "fail"), ProbeTimeout, messages.CodeNoEngine, "libllama.so: cannot open"},
		"silent":    {t.Context(), worker(t, "silent"), ProbeTimeout, messages.CodeNoEngine, "no devices"},
		"flood":     {t.Context(), worker(t, "flood"), ProbeTimeout, messages.CodeNoEngine, "no devices"},
		"hangs":     {t.Context(), worker(t, "hang"), 50 * time.Millisecond, messages.CodeTimeout, "50ms"},
		"cancelled": {cancelled, worker(t, "good"), ProbeTimeout, messages.CodeCancelled, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := probe(tc.ctx, tc.cmd, tc.limit)
			if messages.CodeOf(err) != tc.want || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("got %v, want code %s", err, tc.want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	for name, tc := range map[string]struct {
		out  string
		want []messages.Device
	}{
		"nothing":      {"", nil},
		"chatter":      {"hello\n\n[1]\n{broken\nnull\n", nil},
		"no id":        {`{"kind":"gpu"}`, nil},
		"bad id":       {"{\"id\":\"a b\"}\n{\"id\":\"é\"}\n{\"id\":\"" + strings.Repeat("x", 65) + "\"}", nil},
		"wrong types":  {`{"id":7}`, nil},
		"negative":     {`{"id":"G","memory_total_bytes":-1}`, nil},
		"name only":    {`{"id":"G","name":"N","kind":"igpu"}`, []messages.Device{{ID: "G", Name: "N", Kind: "igpu"}}},
		"unknown kind": {`{"id":"NPU0","kind":"npu"}`, []messages.Device{{ID: "NPU0", Kind: "accel"}}},
		"no kind":      {`{"id":"cpu"}`, []messages.Device{{ID: "cpu", Kind: "cpu"}}},
		"twice":        {"{\"id\":\"A\",\"kind\":\"gpu\"}\r\n{\"id\":\"A\"}", []messages.Device{{ID: "A", Kind: "gpu"}}},
		"more free than total": {`{"id":"A","kind":"gpu","memory_total_bytes":1,"memory_free_bytes":5}`,
			[]messages.Device{{ID: "A", Kind: "gpu", MemoryTotalBytes: 1, MemoryFreeBytes: 1}}},
		"unknown fields": {`{"id":"A","kind":"gpu","new":{"x":1}}`, []messages.Device{{ID: "A", Kind: "gpu"}}},
		"a CPU in full": {`{"id":"CPU","name":"AMD EPYC","kind":"cpu","memory_total_bytes":9,"memory_free_bytes":5,"variant":"zen4","features":["AVX2","REPACK"],"cores":2,"threads":1}`,
			[]messages.Device{{ID: "CPU", Name: "AMD EPYC", Kind: "cpu", MemoryTotalBytes: 9, MemoryFreeBytes: 5}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := parse([]byte(tc.out))
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", tc.want) {
				t.Fatalf("got %+v, want %+v", got, tc.want)
			}
		})
	}
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, "{\"id\":\"G%d\"}\n", i)
	}
	if n := len(parse([]byte(many.String()))); n != maxDevices {
		t.Fatalf("%d devices", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"id":"CPU","description":"A","kind":"cpu"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, d := range parse(b) {
			if d.ID == "" || d.Kind == "" || d.MemoryFreeBytes > d.MemoryTotalBytes || len(d.Name) > maxName {
				t.Fatalf("%+v", d)
			}
		}
	})
}
