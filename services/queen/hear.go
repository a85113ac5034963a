package queen

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// listen subscribes what the queen hears and registers what it answers.
func (q *Queen) listen(ctx context.Context) (leave func(), err error) {
	var stops []func()
	leave = func() {
		for i := len(stops) - 1; i >= 0; i-- {
			stops[i]()
		}
	}
	for subject, fn := range map[string]func(bus.Msg){
		messages.HeartbeatWildcard:                          q.hearBeat,
		messages.HiveBeatWildcard:                           q.hearHive,
		messages.WorkerExitWildcard:                         q.hearExit,
		messages.DisconnectSubject:                          q.hearDisconnect,
		messages.PeerCancelSubject:                          q.hearPeerCancel,
		messages.DoSubject("*", messages.OpInferCtl) + ".*": q.relay.control,
	} {
		stop, err := q.conn.Subscribe(subject, fn)
		if err != nil {
			leave()
			return nil, err
		}
		stops = append(stops, stop)
	}
	stops = append(stops, q.conn.OnReconnect(q.registry.Restart))
	svc, err := q.conn.Serve(ctx, "rbee-queen", q.cfg.Version, "orchestrates workers and hives", q.endpoints())
	if err != nil {
		leave()
		return nil, err
	}
	stops = append(stops, func() { svc.Finish(finishFor) })
	return leave, nil
}

// finishFor is how long requests on the bus may go on when the queen stops; by HTTP it is the same.
const finishFor = 5 * time.Second

// maxBeat bounds a worker's or a hive's beat in bytes; as JSON it may be six times as long, and must fit a
// message all the same.
const maxBeat = 128 << 10

// hearBeat takes only a well-formed beat of the subject's own worker, without a reply.
func (q *Queen) hearBeat(m bus.Msg) {
	var b messages.Heartbeat
	id := messages.SubjectToken(m.Subject, 2)
	if m.Reply != "" || len(m.Data) > maxBeat || messages.FormatOf(m.Data) != messages.Msgpack || messages.Decode(m.Data, &b) != nil || b.Check(id) != nil || !shown(&b.Worker) {
		q.dropped.Add(1)
		return
	}
	q.metrics.Beat()
	q.registry.Beat(&b)
}

// shown says whether a worker can be shown: JSON has no NaN, and one worker's long texts must not push
// a list over the limit of a message.
func shown(w *messages.WorkerInfo) bool {
	for _, f := range []float64{w.Progress, w.TokensPerSecond} {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return false
		}
	}
	long := func(m messages.ModelInfo) bool { return len(m.ID) > 512 }
	return max(len(w.Device), len(w.Implementation), len(w.Version), len(w.Status)) <= 256 && !slices.ContainsFunc(w.Models, long)
}

func (q *Queen) hearHive(m bus.Msg) {
	var b messages.HiveBeat
	id := messages.SubjectToken(m.Subject, 2)
	if m.Reply != "" || len(m.Data) > maxBeat || messages.Decode(m.Data, &b) != nil || string(b.Hive.ID) != id || !messages.ValidID(id) {
		q.dropped.Add(1)
		return
	}
	q.registry.HiveBeat(&b)
}

// hearExit believes a hive only about workers of its own.
func (q *Queen) hearExit(m bus.Msg) {
	var e messages.WorkerExited
	hive := messages.HiveID(messages.SubjectToken(m.Subject, 3))
	if m.Reply != "" || len(m.Data) > maxBeat || messages.Decode(m.Data, &e) != nil || e.Hive != hive || !messages.ValidID(string(e.Worker)) ||
		(e.Incarnation != "" && !messages.ValidID(e.Incarnation)) {
		q.dropped.Add(1)
		return
	}
	cause := e.Cause()
	if w, ok := q.registry.Worker(e.Worker); !ok || w.Hive == hive {
		q.registry.Exited(&e, cause)
	}
	q.spawns.exited(&e, cause)
}

// hearDisconnect takes the server's word that a connection has ended.
func (q *Queen) hearDisconnect(m bus.Msg) {
	who, reason, ok := bus.ParseDisconnect(m.Data)
	if !ok {
		return
	}
	switch bus.Role(who.Role()) {
	case bus.RoleWorker:
		q.registry.Disconnected(messages.WorkerID(who.Name()), reason)
	case bus.RoleHive:
		q.registry.HiveDisconnected(messages.HiveID(who.Name()), reason)
	}
}
