// Package queen orchestrates: it knows the workers by their beats, brings requests to them, and
// has hives start and stop them. Several queens may run; each hears every beat.
package queen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/queen/gateway"
	"github.com/rbee-project/rbee/services/queen/jobs"
	"github.com/rbee-project/rbee/services/queen/metrics"
	"github.com/rbee-project/rbee/services/queen/registry"
	"github.com/rbee-project/rbee/services/queen/router"
	"golang.org/x/sync/errgroup"
)

// Config of a queen.
type Config struct {
	Name    string // of its credentials
	Version string
	Route   string // router.RouteAuto, …
	// OrphanAfter is how long the workers it has spawned live without a bus; 0: 10 minutes.
	OrphanAfter time.Duration
}

// Queen is a queen that may not have started.
type Queen struct {
	cfg    Config
	conn   *bus.Conn
	realm  *bus.Realm
	ln     net.Listener
	log    *slog.Logger
	id     string // of this process
	began  time.Time
	joined time.Time // when it began to hear beats; set before anything is answered

	registry   *registry.Registry
	dispatcher *router.Dispatcher
	router     *router.Router
	direct     *router.Direct
	gateway    *gateway.Gateway
	workers    *bus.Mirror
	hives      *bus.Mirror
	jobs       *bus.Jobs
	keeper     *jobs.Keeper
	spawns     *spawns
	claims     *claims
	former     former
	relay      relay
	heard      *topic
	metrics    *metrics.Metrics
	probes     pool // of workers
	errands    pool // to hives
	store      troubles
	dropped    atomic.Uint64
	life       context.Context // of Run, for what is asked on its behalf
	ready      chan struct{}
}

// New checks cfg and returns a Queen that has not started. The realm signs workers' keys; ln is its
// HTTP port. Run closes ln.
func New(cfg Config, conn *bus.Conn, realm *bus.Realm, ln net.Listener, log *slog.Logger) (*Queen, error) {
	switch cfg.Route {
	case "":
		cfg.Route = router.RouteAuto
	case router.RouteAuto, router.RouteBus, router.RouteDirect:
	default:
		return nil, messages.Errorf(messages.CodeBadRequest, "queen", "route %q is not auto, bus or direct", cfg.Route)
	}
	q := &Queen{cfg: cfg, conn: conn, realm: realm, ln: ln, log: log, id: messages.NewID("q-"), began: time.Now(), ready: make(chan struct{}),
		direct: router.NewDirect(), spawns: newSpawns(), claims: newClaims(), former: former{known: make(chan struct{})}, heard: newTopic(), life: context.Background()}
	q.metrics = metrics.New(q.counts)
	q.keeper = jobs.NewKeeper(conn, log, q.metrics.JobEnded)
	q.dispatcher = router.NewDispatcher(cfg.Route, conn.Connected, q.metrics.Opened)
	q.registry = registry.New(conn.Connected, q.changed)
	q.router = router.New(router.Config{Dispatcher: q.dispatcher, Bus: router.Bus{Conn: conn}, Direct: q.direct,
		Ensure: q.ensureServed, Suspect: q.suspect, Unreachable: q.unreachable, Metrics: q.metrics, Log: log})
	q.workers = conn.NewMirror(jetstream.KeyValueConfig{Bucket: messages.WorkersBucket, Description: "live workers, written by the queen",
		TTL: 10 * time.Minute, Storage: jetstream.FileStorage}, q.workerSource())
	q.hives = conn.NewMirror(jetstream.KeyValueConfig{Bucket: messages.HivesBucket, Description: "hives, written by the queen",
		TTL: 10 * time.Minute, Storage: jetstream.FileStorage}, q.hiveSource())
	q.gateway = gateway.New(gateway.Config{Infer: named{q}, Models: q.models, Name: q.alias, Health: q.health, Metrics: q.metrics, Log: log})
	return q, nil
}

// Ready is closed when the queen answers on the bus and over HTTP.
func (q *Queen) Ready() <-chan struct{} { return q.ready }

// HTTPAddr is where its HTTP port listens.
func (q *Queen) HTTPAddr() string { return q.ln.Addr().String() }

// Run works until ctx ends; nil after a clean stop. A bus that is not there yet, or has no JetStream,
// is waited for and said.
func (q *Queen) Run(ctx context.Context) error {
	defer q.direct.Close()
	defer q.ln.Close()
	// Stopping goes through the bus, so what carries it outlives ctx.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, gctx := errgroup.WithContext(work)
	q.life = work
	q.jobs = q.conn.NewJobs(work)
	q.jobs.OnStore(q.troubleWith("jobs"))
	defer q.probes.close()
	defer q.errands.close()
	g.Go(func() error { return q.registry.Run(work) })
	g.Go(func() error { return q.keeper.Run(work) })
	port, closePort := context.WithCancel(gctx)
	defer closePort()
	g.Go(func() error { return q.gateway.Serve(port, q.ln) }) // before the bus is there: it says what is missing
	leave, err := q.join(ctx, work, g)
	if err != nil {
		stop()
		err = cmp.Or(g.Wait(), err)
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("start queen: %w", err)
	}
	close(q.ready)
	q.log.Info("queen ready", "http", q.HTTPAddr(), "name", q.cfg.Name)
	select {
	case <-ctx.Done():
	case <-gctx.Done():
	}
	q.jobs.Close() // no spawn outlives this, and none begins
	closePort()    // requests by HTTP and by the bus have the same time to finish
	leave()
	stop()
	err = g.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

// join waits for the bus until ctx ends, then listens. A store that does not work is tried again beside
// the work: without it nothing is kept, and requests are served.
func (q *Queen) join(ctx, work context.Context, g *errgroup.Group) (leave func(), err error) {
	if err := q.waitForBus(ctx); err != nil {
		return nil, err
	}
	q.joined = time.Now()
	g.Go(func() error { q.learnFormer(work); return nil })
	g.Go(func() error { q.keepStreams(work); return nil })
	g.Go(func() error { q.workers.Run(work, q.troubleWith("workers")); return nil })
	g.Go(func() error { q.hives.Run(work, q.troubleWith("hives")); return nil })
	g.Go(func() error { q.prune(work); return nil })
	return q.listen(work)
}

// prune removes from the buckets what an earlier life of a queen left there: who lives has beaten by then.
func (q *Queen) prune(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(messages.LostAfter):
		q.workers.Prune()
		q.hives.Prune()
	}
}
