package messages

import (
	"bytes"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// payloads is one of each message that travels on its own.
func payloads() []any {
	w := WorkerInfo{ID: "w1", Incarnation: "i1", Models: []ModelInfo{{ID: "m", Loaded: true, Slots: 4}}, ModelID: "m", PID: 7}
	return []any{
		&Heartbeat{Worker: w, Seq: 3, SentAt: time.Unix(5, 6).UTC()},
		&HiveBeat{Hive: HiveInfo{ID: "h", Devices: []Device{{ID: "CPU"}}, Engines: []Engine{}, Models: []string{"m"}}},
		&WorkerExited{Worker: "w1", Code: -1, Signal: "SIGKILL"},
		&SpawnRequest{Job: "j", Model: "m"}, &SpawnResult{WorkerID: "w1", PID: 7, Port: 8},
		&EnsureRequest{SpawnRequest{Job: "j", Model: "m"}}, &Accepted{Job: "j"}, &WorkerRef{ID: "w"}, &HiveRef{ID: "h"},
		&JobRef{Job: "j"}, &StopRequest{ID: "w"}, &StopReply{ID: "w"}, &KillRequest{Worker: "w"}, &WatchRequest{Worker: "w"},
		&Done{OK: true}, &SignRequest{Worker: "w"}, &SignReply{JWT: "t"}, &LogsRequest{ID: "w"}, &LogsReply{Text: "t"},
		&EngineRequest{Job: "j"}, &PullRequest{Job: "j"}, &WorkerListReply{Workers: []WorkerView{{WorkerInfo: w, Suspect: "s", Bus: "up"}}}, &HiveListReply{Hives: []HiveInfo{}},
		&ModelListReply{Models: []Model{{ID: "m", Refs: []string{"r"}}}}, &EngineListReply{Engines: []Engine{}}, &StatusReply{Health: "ok"},
		&JobEvent{Job: "j", State: JobFailed, Error: Errorf(CodeBusy, "op", "no slot").WithHint("wait")},
		&JobTick{Job: "j", Done: 1, Total: 2}, &JobListReply{Jobs: []JobInfo{{Job: "j"}}}, &WorkerListRequest{After: "w"}, &ModelListRequest{After: "h/m"},
		&Event{Kind: "worker.lost", Info: &w}, &EventListRequest{Kind: "worker.*"}, &PeerCancel{From: "q", Job: "j"},
		&EventListReply{Events: []StoredEvent{{Seq: 1, Subject: "s", Event: []byte(`{"a":1}`)}}}, &JobEventsReply{Events: []JobEvent{}},
		&InferRequest{ID: "r", Model: "m", Body: []byte(`{"a":1}`)}, &CancelRequest{ID: "r"}, &StreamEnd{Frames: 2},
	}
}

func TestEveryPayloadSurvivesBothFormats(t *testing.T) {
	for _, p := range payloads() {
		for _, f := range []Format{Msgpack, JSON} {
			data, err := Encode(f, p)
			if err != nil {
				t.Fatalf("%T: %v", p, err)
			}
			if FormatOf(data) != f {
				t.Errorf("%T: FormatOf %q is not %d", p, data, f)
			}
			got := reflect.New(reflect.TypeOf(p).Elem()).Interface()
			if err := Decode(data, got); err != nil {
				t.Fatalf("%T: %v", p, err)
			}
			again, _ := Encode(f, got)
			if !bytes.Equal(data, again) {
				t.Errorf("%T changed on the way:\n%q\n%q", p, data, again)
			}
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		data string
		want Code
	}{
		"newer major, JSON":      {`{"v":2}`, CodeWrongVersion},
		"newer major, msgpack":   {"\x81\xa1v\x02", CodeWrongVersion},
		"unknown field":          {`{"v":1,"later":true}`, ""},
		"empty":                  {"", ""},
		"no version":             {`{"id":"w1"}`, ""},
		"broken JSON":            {`{"id":`, CodeBadRequest},
		"wrong type":             {`{"id":7}`, CodeBadRequest},
		"map beyond the end":     {"\xdf\xff\xff\xff\xff", CodeBadRequest},
		"array beyond the end":   {"\x81\xa1x\xdd\x7f\xff\xff\xff", CodeBadRequest},
		"string beyond the end":  {"\xdb\xff\xff\xff\xffab", CodeBadRequest},
		"nested too deeply":      {strings.Repeat("\x91", 100) + "\xc0", CodeBadRequest},
		"more behind it":         {"\x80\x80", CodeBadRequest},
		"never used byte":        {"\x81\xa1x\xc1", CodeBadRequest},
		"larger than a message ": {"{" + strings.Repeat(" ", MaxPayload) + "}", CodeBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			if err := Decode([]byte(tc.data), &WorkerRef{}); CodeOf(err) != tc.want {
				t.Errorf("got %v, want code %q", err, tc.want)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, p := range payloads() {
		for _, format := range []Format{Msgpack, JSON} {
			data, _ := Encode(format, p)
			f.Add(data)
		}
	}
	f.Add([]byte("\xdf\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for _, p := range []any{&Heartbeat{}, &HiveBeat{}, &InferRequest{}, &JobEvent{}, &ModelListReply{}, &SpawnRequest{}} {
			_ = Decode(data, p)
		}
		runtime.ReadMemStats(&after)
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(1<<20+2000*len(data)); got > limit {
			t.Errorf("%d bytes of input made Decode allocate %d, over %d", len(data), got, limit)
		}
	})
}

func FuzzFrame(f *testing.F) {
	f.Add(AppendFrame(nil, Frame{Kind: FrameData, Seq: 1, Payload: AppendObject(nil, []byte("{}"))}))
	f.Fuzz(func(t *testing.T, data []byte) {
		fr, err := DecodeFrame(data)
		if err != nil {
			return
		}
		if got := AppendFrame(nil, fr); !bytes.Equal(got, data) {
			t.Errorf("frame changed: %q to %q", data, got)
		}
		_ = Objects(fr.Payload, func([]byte) error { return nil })
	})
}

func TestObjects(t *testing.T) {
	p := AppendObject(AppendObject(nil, []byte("one")), []byte(""))
	var got []string
	if err := Objects(p, func(o []byte) error { got = append(got, string(o)); return nil }); err != nil || !reflect.DeepEqual(got, []string{"one", ""}) {
		t.Errorf("got %q, %v", got, err)
	}
	if err := Objects(p[:2], func([]byte) error { return nil }); CodeOf(err) != CodeBadRequest {
		t.Errorf("a cut payload gives %v", err)
	}
	stop := errors.New("stop")
	if err := Objects(p, func([]byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("fn's error is lost: %v", err)
	}
}

func TestErrorTravels(t *testing.T) {
	in := Errorf(CodeNoMemory, "worker.spawn", "needs %d", 5).WithHint("use --force")
	b, _ := msgpack.Marshal(in)
	var out Error
	if err := msgpack.Unmarshal(b, &out); err != nil || out.Error() != in.Error() || out.Code != in.Code {
		t.Errorf("got %v %v", out, err)
	}
	cause := errors.New("cause")
	if e := Errorf(CodeInternal, "op", "step: %w", cause); !errors.Is(e, cause) {
		t.Error("the cause is lost")
	}
	if CodeOf(errors.New("x")) != CodeInternal || CodeOf(nil) != "" {
		t.Error("CodeOf of foreign and nil")
	}
}
