// Package ingest brings usage from the stream into the database: it pulls frames, checks them against the
// configuration, prices each event at its own time, applies a batch in one transaction, acknowledges
// after the commit, and tells routers what they may forget.
//
// It promises that nothing counts twice and nothing is dropped: what cannot be counted is quarantined in
// the same transaction and never blocks what follows; when the database or the broker is away it waits
// and goes on where the database says it was.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	stream "github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/services/metering/internal/follow"
	"github.com/claviger/claviger/services/metering/internal/spool"
	"github.com/claviger/claviger/services/metering/internal/store"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// Store keeps usage and progress.
type Store interface {
	Apply(ctx context.Context, b usage.Batch) (usage.Applied, error)
	Waiting(ctx context.Context, limit int) ([]usage.Waiting, error)
	// Settle makes good what an older version left out.
	Settle(ctx context.Context) error
	Progress
}

// Progress is how far things are.
type Progress interface {
	Position(ctx context.Context) (usage.Position, bool, error)
	Marks(ctx context.Context) (map[spool.Key]spool.Mark, error)
	Routers(ctx context.Context) ([]spool.Router, error)
	SaveRouters(ctx context.Context, routers []spool.Router) error
	HoldWorker(ctx context.Context, beat time.Duration, work func(ctx context.Context) error) error
}

// Book prices attempts.
type Book interface {
	Refresh(ctx context.Context) error
	Price(a *usage.Attempt)
}

// Config is what keys says exists.
type Config interface {
	View() *follow.View
	Changed() <-chan struct{}
	// HeardAt is when keys was last heard of.
	HeardAt() time.Time
}

// Timing are the waits of the worker.
type Timing struct {
	// Fetch is how long a fetch waits for its first frame.
	Fetch time.Duration
	// AckWait is after how long the broker delivers a frame again that was not acknowledged.
	AckWait time.Duration
	// Patience is how long an event may wait for configuration that is newer than ours. It ends no sooner
	// than keys was heard of again: while keys is away nothing is judged for want of configuration.
	Patience time.Duration
	// Beat is how often the worker's lock is looked after, feedback is sent and progress is stored.
	Beat time.Duration
	// MaxBackoff bounds the wait between tries when something is away.
	MaxBackoff time.Duration
	Gaps       spool.Timing
}

// DefaultTiming is for production.
var DefaultTiming = Timing{
	Fetch: 250 * time.Millisecond, AckWait: time.Minute, Patience: time.Minute, Beat: time.Second,
	MaxBackoff: 10 * time.Second, Gaps: spool.DefaultTiming,
}

const (
	consumerName  = "metering"
	maxAckPending = 64
	maxFetch      = 16
	ackTimeout    = 5 * time.Second
	firstBackoff  = 250 * time.Millisecond
	maintainEvery = time.Hour
)

// Options are what a Worker needs.
type Options struct {
	Store     Store
	Book      Book
	Config    Config
	NATS      *nats.Conn
	JetStream jetstream.JetStream
	Replicas  int
	Timing    Timing
	Log       *slog.Logger
	Now       func() time.Time
	// Maintain is called once an hour while this process is the worker; nil is nothing to do.
	Maintain func(ctx context.Context)
	// Counted is told the highest numbers of organizations of which attempts were applied; nil tells nobody.
	Counted func(counters map[string]int64)
	// Telemetry gets traces and measurements; nil is none.
	Telemetry *telemetry.Telemetry
	// Ack confirms a frame to the broker; nil is a double acknowledgement.
	Ack func(ctx context.Context, msg jetstream.Msg) error
}

// Worker applies usage. Of all processes on one database, one works and the others wait.
type Worker struct {
	Options
	report  *report
	settled bool // of the goroutine that holds the lock
}

// New returns a worker.
func New(o Options) *Worker {
	if o.Ack == nil {
		o.Ack = func(ctx context.Context, msg jetstream.Msg) error { return msg.DoubleAck(ctx) }
	}
	if o.Counted == nil {
		o.Counted = func(map[string]int64) {}
	}
	return &Worker{Options: o, report: newReport(o.Telemetry)}
}

// Run works until ctx ends. Whatever is away, it tries again.
func (w *Worker) Run(ctx context.Context) error {
	backoff := firstBackoff
	for {
		begin := time.Now()
		err := w.Store.HoldWorker(ctx, w.Timing.Beat, w.work)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // an end that was asked for
		}
		if time.Since(begin) > 2*w.Timing.MaxBackoff {
			backoff = firstBackoff // it worked for a while
		}
		if errors.Is(err, store.ErrTaken) {
			w.Log.DebugContext(ctx, "another process applies usage")
			backoff = firstBackoff
		} else {
			w.Log.WarnContext(ctx, "usage is not applied for now", "error", err, "retry_within", backoff)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(backoff/2 + rand.N(backoff/2)): //nolint:gosec // jitter is no secret
		}
		backoff = min(2*backoff, w.Timing.MaxBackoff)
	}
}

// session is one stretch of work: it ends with the first error, and the next one begins from what the
// database says.
type session struct {
	*Worker
	consumer jetstream.Consumer
	position usage.Position
	// delivered is the number of the last delivery. A missing one was lost on its way to us.
	delivered uint64
	// waiting says that events may wait for configuration; nextLook is when to look at the latest.
	waiting  bool
	nextLook time.Time
	looked   *follow.View

	mu      sync.Mutex // guards tracker: frames and heartbeats come on two goroutines
	tracker *spool.Tracker
}

func (w *Worker) work(ctx context.Context) error {
	if !w.settled {
		if err := w.Store.Settle(ctx); err != nil {
			return err
		}
		w.settled = true
	}
	s := &session{Worker: w, waiting: true}
	if err := s.attach(ctx); err != nil {
		return err
	}
	defer s.report.pending.Store(-1) // another process may know
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.listen(ctx) })
	group.Go(func() error { return s.consume(ctx) })
	group.Go(func() error { return s.maintain(ctx) })
	return group.Wait()
}

// maintain does the housekeeping, which may take its time.
func (s *session) maintain(ctx context.Context) error {
	tick := time.NewTicker(maintainEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if s.Maintain != nil {
				s.Maintain(ctx)
			}
		}
	}
}

// attach makes the stream and a consumer that begins where the database says. The database, not the
// broker, knows what is applied: after a restore from backup the stream is read again from there, and
// after the stream was made anew, from its beginning. Routers send again what is in neither.
func (s *session) attach(ctx context.Context) error {
	routers, err := s.Store.Routers(ctx)
	if err != nil {
		return err
	}
	marks, err := s.Store.Marks(ctx)
	if err != nil {
		return err
	}
	s.tracker = spool.NewTracker(s.Timing.Gaps, routers, marks)
	if err := stream.EnsureStream(ctx, s.JetStream, s.Replicas); err != nil {
		return err
	}
	handle, err := s.JetStream.Stream(ctx, stream.Stream)
	if err != nil {
		return fmt.Errorf("open stream: %w", err)
	}
	info := handle.CachedInfo()
	created := info.Created.UTC().Truncate(time.Microsecond)
	position, found, err := s.Store.Position(ctx)
	if err != nil {
		return err
	}
	switch {
	case found && !position.StreamCreated.Equal(created):
		s.Log.WarnContext(ctx, "the stream was made anew, reading from its beginning", "created", created)
		position.Sequence = 0
	case position.Sequence > info.State.LastSeq:
		s.Log.WarnContext(ctx, "the stream was set back, reading from its beginning", "applied", position.Sequence, "last", info.State.LastSeq)
		position.Sequence = 0
	}
	s.position = usage.Position{StreamCreated: created, Sequence: position.Sequence}
	// What the old consumer had handed out and was not acknowledged would come only after AckWait.
	if err := handle.DeleteConsumer(ctx, consumerName); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("remove consumer: %w", err)
	}
	s.consumer, err = handle.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: consumerName, Description: "claviger metering, the one reader of usage",
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: s.position.Sequence + 1,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: s.Timing.AckWait, MaxDeliver: -1, MaxAckPending: maxAckPending,
		FilterSubject: stream.AllFrames,
	})
	if err != nil {
		return fmt.Errorf("make consumer: %w", err)
	}
	s.Log.InfoContext(ctx, "applying usage", "from_sequence", s.position.Sequence+1, "last_sequence", info.State.LastSeq)
	return nil
}

// consume applies frames until something fails.
func (s *session) consume(ctx context.Context) error {
	if err := s.awaitConfig(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := s.lookAtWaiting(ctx); err != nil {
			return err
		}
		msgs, err := s.fetch(ctx)
		if err != nil {
			return err
		}
		s.report.fetched(msgs)
		if len(msgs) == 0 {
			continue
		}
		if err := s.apply(ctx, msgs); err != nil {
			return err
		}
		s.acknowledge(ctx, msgs)
	}
	return ctx.Err()
}

// awaitConfig waits until there is any configuration: without one nothing can be judged.
func (s *session) awaitConfig(ctx context.Context) error {
	for {
		changed := s.Config.Changed()
		if s.Config.View() != nil {
			return nil
		}
		s.Log.InfoContext(ctx, "waiting for the configuration from keys")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (s *session) fetch(ctx context.Context) ([]jetstream.Msg, error) {
	batch, err := s.consumer.Fetch(maxFetch, jetstream.FetchMaxWait(s.Timing.Fetch))
	if err != nil {
		return nil, fmt.Errorf("fetch frames: %w", err)
	}
	var msgs []jetstream.Msg
	for msg := range batch.Messages() {
		meta, err := msg.Metadata()
		if err != nil {
			return nil, fmt.Errorf("read metadata of a frame: %w", err)
		}
		if meta.Sequence.Consumer != s.delivered+1 {
			// Frames were sent to us over a connection that broke. They would come again after AckWait, but
			// what came since must not move the position past them.
			return nil, fmt.Errorf("deliveries %d to %d were lost", s.delivered+1, meta.Sequence.Consumer-1)
		}
		s.delivered = meta.Sequence.Consumer
		msgs = append(msgs, msg)
	}
	if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) {
		return nil, fmt.Errorf("fetch frames: %w", err)
	}
	return msgs, ctx.Err()
}

// acknowledge tells the broker. What fails is delivered again, and found to be there already.
func (s *session) acknowledge(ctx context.Context, msgs []jetstream.Msg) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	var all errgroup.Group
	for _, msg := range msgs {
		all.Go(func() error { return s.Ack(ctx, msg) })
	}
	if err := all.Wait(); err != nil {
		s.Log.WarnContext(ctx, "frames not acknowledged", "error", err)
	}
}
