package messages

// Party is who answers an operation.
type Party string

// The parties that answer.
const (
	QueenReads Party = "queen reads" // on [QueenSubject]
	QueenDoes  Party = "queen does"  // on [DoSubject]
	HiveDoes   Party = "hive"        // on [HiveSubject]
	WorkerDoes Party = "worker"      // on [WorkerSubject]; the reply comes on [ReplySubject]
)

// Operation is one request and its reply: zero values of the payloads, nil for none.
type Operation struct {
	Op             string
	Party          Party
	Request, Reply any
	Text           string
}

// Operations is every request that somebody answers: endpoints, their schemas and docs/asyncapi.yaml
// are made from it.
func Operations() []Operation {
	return append(queenOperations(), append(hiveOperations(), workerOperations()...)...)
}

func queenOperations() []Operation {
	return []Operation{
		{OpStatus, QueenReads, Versioned{}, StatusReply{}, "the queen at a glance"},
		{OpWorkerList, QueenReads, WorkerListRequest{}, WorkerListReply{}, "a page of the live workers"},
		{OpWorkerGet, QueenReads, WorkerRef{}, WorkerView{}, "one worker"},
		{OpHiveList, QueenReads, Versioned{}, HiveListReply{}, "the hives that beat"},
		{OpHiveGet, QueenReads, HiveRef{}, HiveInfo{}, "one hive"},
		{OpModelList, QueenReads, ModelListRequest{}, ModelListReply{}, "a page of the models on the hives' disks"},
		{OpModelGet, QueenReads, ModelRef{}, Model{}, "one model of a hive, with its files"},
		{OpJobList, QueenReads, Versioned{}, JobListReply{}, "open jobs and the last that ended"},
		{OpJobGet, QueenReads, JobRef{}, JobInfo{}, "one job"},
		{OpJobEvents, QueenReads, JobRef{}, JobEventsReply{}, "a job's history"},
		{OpEventList, QueenReads, EventListRequest{}, EventListReply{}, "a page of what happened"},
		{OpSpawn, QueenDoes, SpawnRequest{}, Accepted{}, "start a worker; a job"},
		{OpEnsure, QueenDoes, EnsureRequest{}, Accepted{}, "have a model served; a job"},
		{OpStop, QueenDoes, StopRequest{}, StopReply{}, "drain a worker and end it"},
		{OpDelete, QueenDoes, StopRequest{}, StopReply{}, "worker.stop by its other name"},
		{OpDrainAt, QueenDoes, WorkerRef{}, WorkerInfo{}, "have a worker take nothing new"},
		{OpUndrainAt, QueenDoes, WorkerRef{}, WorkerInfo{}, "have a drained worker take requests again"},
		{OpModelPull, QueenDoes, PullRequest{}, Accepted{}, "bring a model to a hive's disk; a job of the hive"},
		{OpModelRm, QueenDoes, RemoveRequest{}, Accepted{}, "remove a model from a hive's disk; a job, refused while a worker serves it"},
		{OpModelCheck, QueenDoes, VerifyRequest{}, Accepted{}, "read models again and compare digests; a job of the hive"},
		{OpModelGC, QueenDoes, GCRequest{}, Accepted{}, "remove what no model needs; a job of the hive"},
		{OpModelFind, QueenDoes, ImportRequest{}, Accepted{}, "register what other programs have on a hive's machine; a job of the hive"},
		{OpModelPlan, QueenDoes, PlanRequest{}, Accepted{}, "what a model takes, and where it fits; a job"},
		{OpLocate, QueenDoes, LocateRequest{}, LocateReply{}, "hives only: who has a file, or may I fetch it from outside"},
		{OpLogs, QueenDoes, LogsRequest{}, LogsReply{}, "a piece of a worker's log"},
		{OpSign, QueenDoes, SignRequest{}, SignReply{}, "hives only: sign the key of a worker that is being spawned"},
		{OpRenew, QueenDoes, SignRequest{}, SignReply{}, "workers only: sign one's own key again"},
		{OpJobCancel, QueenDoes, JobRef{}, Done{}, "end a job, whoever executes it"},
		{OpCancel, QueenDoes, CancelRequest{}, Done{}, "end a request of one's own"},
		{OpInfer, QueenDoes, InferRequest{}, nil, "answer a prompt; the reply is a stream of frames"},
	}
}

func hiveOperations() []Operation {
	return []Operation{
		{OpSpawn, HiveDoes, SpawnRequest{}, SpawnResult{}, "start a worker process"},
		{OpKill, HiveDoes, KillRequest{}, Done{}, "end a process, if pid and start time match"},
		{OpWatch, HiveDoes, WatchRequest{}, Done{}, "report the end of a process that an earlier life of the hive spawned"},
		{OpLogs, HiveDoes, LogsRequest{}, LogsReply{}, "a piece of a worker's log"},
		{OpModelList, HiveDoes, ModelListRequest{}, ModelListReply{}, "a page of the models on the disk"},
		{OpModelPull, HiveDoes, PullRequest{}, Accepted{}, "bring a model to the disk; a job"},
		{OpModelGet, HiveDoes, ModelRef{}, Model{}, "one model, with its files"},
		{OpModelRm, HiveDoes, RemoveRequest{}, Accepted{}, "remove a model; a job"},
		{OpModelCheck, HiveDoes, VerifyRequest{}, Accepted{}, "read models again and compare digests; a job"},
		{OpModelGC, HiveDoes, GCRequest{}, Accepted{}, "remove what no model needs; a job"},
		{OpModelFind, HiveDoes, ImportRequest{}, Accepted{}, "register what other programs have; a job"},
		{OpModelPlan, HiveDoes, PlanRequest{}, Accepted{}, "what a model takes; a job"},
		{OpOffer, HiveDoes, OfferRequest{}, OfferReply{}, "have you this file, and a ticket for another hive"},
		{OpRead, HiveDoes, ReadRequest{}, ReadReply{}, "a piece of a file for another hive, with a ticket"},
		{OpEngineList, HiveDoes, Versioned{}, EngineListReply{}, "the installed engines"},
		{OpEngineInst, HiveDoes, EngineRequest{}, Accepted{}, "install an engine; a job"},
		{OpJobCancel, HiveDoes, JobRef{}, Done{}, "end a job of this hive"},
	}
}

func workerOperations() []Operation {
	return []Operation{
		{OpInfer, WorkerDoes, InferRequest{}, nil, "answer a prompt; the reply is a stream of frames"},
		{OpInfo, WorkerDoes, Versioned{}, WorkerInfo{}, "what the worker is and does now; the queen's probe"},
		{OpDrain, WorkerDoes, Versioned{}, WorkerInfo{}, "take nothing new"},
		{OpUndrain, WorkerDoes, Versioned{}, WorkerInfo{}, "take requests again"},
		{OpWorkerStop, WorkerDoes, Versioned{}, WorkerInfo{}, "drain, then exit"},
	}
}

// Channel is a kind of message that nobody answers. Subject names its tokens in braces, as AsyncAPI
// does.
type Channel struct {
	Subject string
	Payload any    // zero value; nil for what has no schema of ours
	JSON    bool   // else msgpack
	From    string // who publishes
	To      string // who listens
	Text    string
}

// Channels is every subject beside those of [Operations].
func Channels() []Channel {
	return []Channel{
		{"rbee.heartbeat.{worker}", Heartbeat{}, false, "worker", "queens", "every 5 s, and at once when something changes"},
		{"rbee.hive.{hive}.beat", HiveBeat{}, false, "hive", "queens", "every 5 s: what the machine has"},
		{"rbee.event.hive.{hive}.worker.exited", WorkerExited{}, true, "hive", "queens", "a process has ended; kept in RBEE_EVENTS"},
		{"rbee.event.queen.{queen}.{what}.{kind}", Event{}, true, "queen", "whoever wants to know", "what happened to a worker, a hive or the bus; kept in RBEE_EVENTS"},
		{"rbee.job.{executor}.{job}", JobEvent{}, true, "queen or hive", "whoever watches", "the start, the steps and the one end of a job; kept in RBEE_JOBS"},
		{"rbee.tick.{executor}.{job}", JobTick{}, true, "queen or hive", "whoever watches", "a job's progress, every 2 s at least; kept nowhere"},
		{"rbee.reply.{requester}.{worker}.{nonce}", nil, false, "worker", "queen", "what a worker answers: frames of a token stream, or the reply of an operation"},
		{"rbee.worker.{worker}.{incarnation}.ctl.{request}", nil, false, "queen", "worker", "\"cancel\" ends a request; an empty message asks whether the worker is there"},
		{"rbee.do.{caller}.infer.ctl.{request}", nil, false, "client", "queen", "the same, of a request on the bus"},
		{PeerCancelSubject, PeerCancel{}, false, "queen", "the other queens", "cancel what the sender does not have"},
		{DisconnectSubject, nil, true, "the NATS server", "queens", "a connection of this account has ended: io.nats.server.advisory.v1.client_disconnect"},
	}
}

// Subject is where the operation is asked for, its tokens in braces.
func (o Operation) Subject() string {
	switch o.Party {
	case QueenReads:
		return QueenSubject(o.Op)
	case QueenDoes:
		return DoSubject("{caller}", o.Op)
	case HiveDoes:
		return HiveSubject("{hive}", o.Op)
	default:
		return WorkerSubject("{worker}", "{incarnation}", o.Op)
	}
}
