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
		{OpModelList, QueenReads, Versioned{}, ModelListReply{}, "the models on the hives' disks"},
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
		{OpModelList, HiveDoes, Versioned{}, ModelListReply{}, "the models on the disk"},
		{OpModelPull, HiveDoes, PullRequest{}, Accepted{}, "bring a model to the disk; a job"},
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
