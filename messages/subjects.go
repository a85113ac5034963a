package messages

import "strings"

// Wildcards that the services subscribe, and the limits that hold on every subject.
const (
	// MaxPayload is the largest message in bytes: NATS's own default, everywhere.
	MaxPayload = 1 << 20

	HeartbeatWildcard  = "rbee.heartbeat.*"                // every worker's beats
	HiveBeatWildcard   = "rbee.hive.*.beat"                // every hive's inventory
	WorkerExitWildcard = "rbee.event.hive.*.worker.exited" // every hive's exit reports
	EventWildcard      = "rbee.event.>"                    // stream [EventsStream]
	JobWildcard        = "rbee.job.>"                      // stream [JobsStream]
	DisconnectSubject  = "rbee.bus.disconnect"             // the server's own disconnect events
	WorkersBucket      = "rbee_workers"                    // KV: worker id -> WorkerInfo, JSON
	HivesBucket        = "rbee_hives"                      // KV: hive id -> HiveInfo, JSON
	JobsStream         = "RBEE_JOBS"                       // steps and terminal events of jobs
	EventsStream       = "RBEE_EVENTS"                     // what happened
	QueenQueue         = "queen"                           // queue group of the queens' endpoints
	HiveReadWildcard   = "rbee.hive.*.model.read"          // a hive asks another for a piece of a file
	PeerCancelSubject  = "rbee.peer.cancel"                // a queen asks the others to cancel what is not its own
)

// Operations: the last tokens of a request's subject. [Operations] says who answers which.
const (
	OpStatus     = "status"
	OpWorkerList = "worker.list"
	OpWorkerGet  = "worker.get"
	OpHiveList   = "hive.list"
	OpHiveGet    = "hive.get"
	OpJobList    = "job.list"
	OpJobGet     = "job.get"
	OpJobEvents  = "job.events"
	OpEventList  = "event.list"
	OpSpawn      = "worker.spawn"
	OpDelete     = "worker.delete"
	OpStop       = "worker.stop" // the same by its other name
	OpDrainAt    = "worker.drain"
	OpUndrainAt  = "worker.undrain"
	OpEnsure     = "model.ensure"
	OpLogs       = "worker.logs"
	OpSign       = "worker.sign"
	OpRenew      = "worker.renew"
	OpInfer      = "infer"
	OpCancel     = "infer.cancel"
	OpInferCtl   = "infer.ctl" // what the reader of a relayed answer sends back
	OpKill       = "worker.kill"
	OpWatch      = "worker.watch"
	OpModelList  = "model.list"
	OpModelPull  = "model.pull"
	OpModelGet   = "model.get"
	OpModelRm    = "model.rm"
	OpModelCheck = "model.verify"
	OpModelGC    = "model.gc"
	OpModelFind  = "model.import"
	OpModelPlan  = "model.plan"
	OpLocate     = "model.locate" // hive -> queen: who has a file, or may I fetch it
	OpOffer      = "model.offer"  // queen -> hive: have you this file, and here is a ticket for it
	OpRead       = "model.read"   // hive -> hive: a piece of a file, with a ticket
	OpEngineInst = "engine.install"
	OpEngineList = "engine.list"
	OpJobCancel  = "job.cancel"
	OpDrain      = "drain"   // worker: take nothing new
	OpUndrain    = "undrain" // worker: take requests again
	OpWorkerStop = "stop"    // worker: drain, then exit
	OpInfo       = "info"    // worker: -> WorkerInfo
	OpCtl        = "ctl"     // worker: ctl.<request>, cancel or ping
)

// HeartbeatSubject is where worker id reports. It matches [HeartbeatWildcard].
func HeartbeatSubject(id WorkerID) string { return "rbee.heartbeat." + string(id) }

// HiveBeatSubject is where hive id reports its inventory. It matches [HiveBeatWildcard].
func HiveBeatSubject(id HiveID) string { return "rbee.hive." + string(id) + ".beat" }

// QueenSubject is where a queen answers op, which only reads.
func QueenSubject(op string) string { return "rbee.queen." + op }

// DoSubject is where caller asks a queen for op, which changes something. "*" stands for any caller.
func DoSubject(caller Caller, op string) string { return "rbee.do." + string(caller) + "." + op }

// HiveSubject is where hive id takes op.
func HiveSubject(id HiveID, op string) string { return "rbee.hive." + string(id) + "." + op }

// WorkerSubject is where one life of a worker takes op. A dead incarnation answers nothing, so the
// server says "no responders" at once.
func WorkerSubject(id WorkerID, incarnation, op string) string {
	return "rbee.worker." + string(id) + "." + incarnation + "." + op
}

// ReplySubject is where worker answers requester's request nonce: a static grant of the worker.
func ReplySubject(requester string, worker WorkerID, nonce string) string {
	return "rbee.reply." + requester + "." + string(worker) + "." + nonce
}

// JobSubject carries the steps and the one terminal event of a job.
func JobSubject(executor Caller, job JobID) string {
	return "rbee.job." + string(executor) + "." + string(job)
}

// TickSubject carries a job's progress numbers and keep-alives; nothing keeps them.
func TickSubject(executor Caller, job JobID) string {
	return "rbee.tick." + string(executor) + "." + string(job)
}

// EventSubject carries what happened to id: kind is "worker.exited", "worker.ready" and the like.
func EventSubject(role, id, kind string) string {
	return "rbee.event." + role + "." + id + "." + kind
}

// InboxPrefix is the prefix of the private inboxes of a connection. The role is part of it: with
// the name alone a worker that called itself "queen" would read the queen's replies.
func InboxPrefix(role, name string) string { return "_INBOX_" + role + "_" + name }

// SubjectToken is the n-th token of subject, counted from 0, or "".
func SubjectToken(subject string, n int) string {
	for range n {
		_, rest, ok := strings.Cut(subject, ".")
		if !ok {
			return ""
		}
		subject = rest
	}
	tok, _, _ := strings.Cut(subject, ".")
	return tok
}

// ReplyAllowed says whether a request may ask for its answer at reply. NATS never checks a reply
// subject, so a request whose reply is "$KV.…" would have us write there; only inboxes and
// [ReplySubject] are answered.
func ReplyAllowed(reply string) bool {
	return strings.HasPrefix(reply, "_INBOX_") || strings.HasPrefix(reply, "rbee.reply.")
}
