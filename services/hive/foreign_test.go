package hive

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rbee-project/rbee/messages"
)

// Whatever comes, the hive answers with an error of the caller's and does nothing.
func TestForeignBytesDoNothing(t *testing.T) {
	f := start(t, "serves", true)
	refused := []messages.Code{messages.CodeBadRequest, messages.CodeNotFound, messages.CodeWrongVersion, messages.CodeConflict}
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, op := range []string{messages.OpSpawn, messages.OpKill, messages.OpWatch, messages.OpLogs, messages.OpModelList,
		messages.OpModelPull, messages.OpEngineList, messages.OpEngineInst, messages.OpJobCancel} {
		inputs := []string{"\xdd\xff\xff\xff\xff", "\xdb\xff\xff\xff\xffx", strings.Repeat("\x91", 1000), `{"v":"x"}`, `{"v":2}`, "[]", "{{"}
		for range 50 {
			b := []byte{0xc1 - byte(rnd.IntN(0x40))} // no number alone, which is a whole message
			for range rnd.IntN(64) {
				b = append(b, byte(rnd.Uint32()))
			}
			inputs = append(inputs, string(b)+"\xc1")
		}
		for _, data := range inputs {
			if _, err := f.queen.RequestRaw(within(t), messages.HiveSubject("h1", op), []byte(data)); !slices.Contains(refused, messages.CodeOf(err)) {
				t.Errorf("%s answers %q with %v", op, data, err)
			}
		}
	}
	self := uint64(os.Getpid())
	for name, tc := range map[string]struct {
		op  string
		req any
	}{
		"spawn ../x":          {messages.OpSpawn, &messages.SpawnRequest{Job: "j", ID: "../x", Model: "builtin:bee-tiny"}},
		"spawn no id":         {messages.OpSpawn, &messages.SpawnRequest{Job: "j", Model: "builtin:bee-tiny"}},
		"spawn slots":         {messages.OpSpawn, &messages.SpawnRequest{Job: "j", ID: "w1", Model: "builtin:bee-tiny", Slots: math.MaxInt}},
		"spawn negative":      {messages.OpSpawn, &messages.SpawnRequest{Job: "j", ID: "w1", Model: "builtin:bee-tiny", OrphanAfterMillis: -1}},
		"kill pid 0":          {messages.OpKill, &messages.KillRequest{Worker: "w1"}},
		"kill a group":        {messages.OpKill, &messages.KillRequest{Worker: "w1", PID: -1, StartTime: self}},
		"kill us by pid only": {messages.OpKill, &messages.KillRequest{Worker: "w1", PID: int(self), StartTime: 1, GraceMillis: math.MinInt64}},
		"watch ../x":          {messages.OpWatch, &messages.WatchRequest{Worker: "../x", PID: int(self)}},
		"watch pid -1":        {messages.OpWatch, &messages.WatchRequest{Worker: "w1", PID: -1}},
		"logs ../x":           {messages.OpLogs, &messages.LogsRequest{ID: "../x"}},
		"pull job ../x":       {messages.OpModelPull, &messages.PullRequest{Job: "../x", Model: "builtin:bee-tiny"}},
		"install job a.b":     {messages.OpEngineInst, &messages.EngineRequest{Job: "a.b", Name: "llama-cpp"}},
	} {
		if err := f.ask(t, tc.op, tc.req, nil); !slices.Contains(refused, messages.CodeOf(err)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"tries", "workers", "logs"} {
		if _, err := os.Stat(filepath.Join(f.dir, name)); err == nil {
			t.Errorf("%s is there", name)
		}
	}
}
