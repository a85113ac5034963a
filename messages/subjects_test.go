package messages

import (
	"strings"
	"testing"
)

func TestIDs(t *testing.T) {
	for s, want := range map[string]bool{"w1": true, "A-b_9": true, "": false, "a.b": false, "a*": false, "é": false,
		strings.Repeat("x", 64): true, strings.Repeat("x", 65): false, "a b": false, "a\n": false} {
		if ValidID(s) != want {
			t.Errorf("ValidID(%q) is not %v", s, want)
		}
	}
	for in, want := range map[string]string{"my.host name": "my-host-name", "...": "x", "ok": "ok", strings.Repeat("é", 9): "x"} {
		if got := IDFrom(in, "x"); got != want {
			t.Errorf("IDFrom(%q) = %q, want %q", in, got, want)
		}
	}
	if a, b := NewID("j-"), NewID("j-"); a == b || !ValidID(a) {
		t.Errorf("ids %q %q", a, b)
	}
}

func TestSubjects(t *testing.T) {
	for got, want := range map[string]string{
		HeartbeatSubject("w1"):                        "rbee.heartbeat.w1",
		DoSubject("client-alice", OpSpawn):            "rbee.do.client-alice.worker.spawn",
		WorkerSubject("w1", "i1", OpInfer):            "rbee.worker.w1.i1.infer",
		ReplySubject("queen-q", "w1", "n"):            "rbee.reply.queen-q.w1.n",
		JobSubject("hive-h", "j"):                     "rbee.job.hive-h.j",
		EventSubject("hive", "h", "worker.exited"):    "rbee.event.hive.h.worker.exited",
		SubjectToken("rbee.do.client-alice.infer", 2): "client-alice",
		SubjectToken("rbee", 3):                       "",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for reply, want := range map[string]bool{"_INBOX_client_a.x": true, "rbee.reply.q.w.n": true, "$KV.rbee_workers.w1": false,
		"$JS.API.STREAM.DELETE.X": false, "rbee.heartbeat.w1": false, "": false, "_INBOX.x": false} {
		if ReplyAllowed(reply) != want {
			t.Errorf("ReplyAllowed(%q) is not %v", reply, want)
		}
	}
}

func TestChecks(t *testing.T) {
	good := Heartbeat{Worker: WorkerInfo{ID: "w1", Incarnation: "i1"}}
	if err := good.Check("w1"); err != nil {
		t.Error(err)
	}
	if err := good.Check("w2"); CodeOf(err) != CodeBadRequest {
		t.Errorf("a forged beat passes: %v", err)
	}
	for name, r := range map[string]SpawnRequest{
		"no job":         {Model: "m"},
		"no model":       {Job: "j"},
		"bad worker id":  {Job: "j", Model: "m", ID: "a.b"},
		"too many slots": {Job: "j", Model: "m", Slots: 65},
		"negative ctx":   {Job: "j", Model: "m", ContextLength: -1},
	} {
		if err := r.Check(); CodeOf(err) != CodeBadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	ok := InferRequest{Model: "m", Body: []byte("{}")}
	if err := ok.Check(); err != nil || ok.ID == "" || ok.Task != TaskChat {
		t.Errorf("defaults: %+v %v", ok, err)
	}
	for name, r := range map[string]InferRequest{
		"no model": {Body: []byte("{}")}, "bad body": {Model: "m", Body: []byte("{")}, "no body": {Model: "m"},
		"task": {Model: "m", Task: "paint", Body: []byte("{}")}, "id": {ID: "a.b", Model: "m", Body: []byte("{}")},
	} {
		if err := r.Check(); CodeOf(err) != CodeBadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}
