package registry

import "github.com/rbee-project/rbee/messages"

// Kinds of [Change], and of the events that the queen makes of them.
const (
	WorkerStarting    = "worker.starting"
	WorkerReady       = "worker.ready"
	WorkerDraining    = "worker.draining"
	WorkerSuspect     = "worker.suspect"     // not picked until it beats or answers
	WorkerUnreachable = "worker.unreachable" // one route to it does not answer
	WorkerReachable   = "worker.reachable"   // it does again
	WorkerLost        = "worker.lost"        // fell silent, or its process ended
	WorkerStopped     = "worker.stopped"     // said goodbye
	HiveUp            = "hive.up"
	HiveSuspect       = "hive.suspect" // the server lost its connection
	HiveLost          = "hive.lost"
	BusSuspect        = "bus.suspect" // too many fell silent at once
	BusBack           = "bus.back"
)

// Loss says why a worker was lost, as few words as a metric's label may have.
type Loss string

// The ways to lose a worker.
const (
	LossExit     Loss = "exit"     // its hive reports the end of its process
	LossGone     Loss = "gone"     // a hive looked, and there is no such process
	LossRefused  Loss = "refused"  // its port refuses and nobody answers for it on the bus
	LossSilence  Loss = "silence"  // no beat for [messages.LostAfter]
	LossReplaced Loss = "replaced" // a new process of the same id beats
)

// Doubt says what made a worker suspect, as few words as a metric's label may have.
type Doubt string

// The ways to become suspect.
const (
	DoubtSilence    Doubt = "silence"
	DoubtDisconnect Doubt = "disconnect" // the server saw its connection end
	DoubtRequest    Doubt = "request"    // it took a request and fell silent
)

// RouteState is what is known of one way to a worker.
type RouteState uint8

// A route is down from its first failure until the worker answers on it.
const (
	RouteUnknown RouteState = iota
	RouteUp
	RouteDown
)

// View is a worker as routing sees it.
type View struct {
	messages.WorkerInfo
	// Suspect says why it is not picked until it beats or answers; "" if it is not.
	Suspect     string
	Bus, Direct RouteState
}

// Change is something that happened to a worker or a hive, with its cause.
type Change struct {
	Kind   string          // "" when only load, bucket or probes are concerned
	Worker View            // for worker kinds; ID is empty for others
	Hive   messages.HiveID // for hive kinds
	// Inventory is set when the hive's KV key should be written.
	Inventory *messages.HiveInfo
	Cause     string
	Loss      Loss  // of WorkerLost
	Doubt     Doubt // of WorkerSuspect
	// Identity is true when address, model, status or process changed: what the KV bucket holds.
	Identity bool
	// Probe is what the worker should be asked now, once; tell [Table.Probed]. nil for nothing.
	Probe *Probe
	// Watch says that the worker's hive should be told to watch its process.
	Watch bool
}

// Probe is one question to one life of a worker, by the routes that are in doubt.
type Probe struct {
	ID          messages.WorkerID
	Incarnation string
	Host        string
	Port        int
	Bus, Direct bool // ask by this route
}

// Reply is what became of a probe by one route.
type Reply uint8

// A reply that came late or not at all says little; a refusal, or another process, much.
const (
	NotAsked Reply = iota
	Answered
	NoReply // nothing within the probe's deadline
	Refused // the system or the server says that nobody is there, or another process answers
)

// Probed is the outcome of a [Probe].
type Probed struct {
	ID          messages.WorkerID
	Incarnation string
	Host        string // that was asked, with Port
	Port        int
	Bus, Direct Reply
}
