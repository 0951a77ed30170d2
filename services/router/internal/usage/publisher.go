package usage

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/telemetry"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
)

const (
	frameEvents = 256
	frameBytes  = 256 << 10
	frameDelay  = 100 * time.Millisecond
	inFlight    = 8
	ackTimeout  = 5 * time.Second
	// repairAfter is how long metering may stand still over frames that NATS has acknowledged before
	// they are sent again; it doubles with every repair that does not help.
	repairAfter    = 10 * time.Second
	maxRepairAfter = 5 * time.Minute
	headInterval   = time.Second
	idleHeads      = 5 // an idle router's heartbeat comes every so many intervals
)

// Publisher brings results from the journal to metering. It sends frames until NATS has
// acknowledged them, and again when metering does not get them all the same: NATS is the transport,
// metering's word alone lets the journal forget. Its memory is bounded by the frames in flight.
type Publisher struct {
	journal *Journal
	router  string
	nc      *nats.Conn
	js      natsjs.JetStream
	log     *slog.Logger
	seen    observer

	slots chan struct{}
	group sync.WaitGroup

	mu    sync.Mutex
	lanes map[laneKey]*lane
}

type laneKey struct {
	epoch     string
	partition int
}

// lane is the state of one epoch and partition.
type lane struct {
	acked   int64 // highest sequence that NATS has
	applied int64 // metering has everything up to here
	moved   time.Time
	wait    time.Duration
	repairs int
	missing []gap // what metering asks for by number
}

type gap struct{ first, last int64 }

// NewPublisher returns a publisher of j's results under the router's name.
func NewPublisher(j *Journal, router string, nc *nats.Conn, js natsjs.JetStream, log *slog.Logger, t *telemetry.Telemetry) *Publisher {
	return &Publisher{journal: j, router: router, nc: nc, js: js, log: log, seen: newObserver(t), slots: make(chan struct{}, inFlight), lanes: map[laneKey]*lane{}}
}

// Run publishes until ctx ends. What is not acknowledged then stays in the journal.
func (p *Publisher) Run(ctx context.Context) error {
	sub, err := p.nc.Subscribe(jetstream.AppliedSubject(p.router), p.onFeedback)
	if err != nil {
		return fmt.Errorf("subscribe to feedback: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	p.group.Go(func() { p.heads(ctx) })
	defer p.group.Wait()
	return p.frames(ctx)
}

// frames cuts frames from the journal and sends them.
func (p *Publisher) frames(ctx context.Context) error {
	r := newReader(p.journal)
	defer r.close()
	batches := make(chan []stamped)
	readErr := make(chan error, 1)
	p.group.Go(func() {
		defer close(batches)
		for {
			batch, err := r.next(ctx)
			if err != nil {
				readErr <- err
				return
			}
			select {
			case batches <- batch:
			case <-ctx.Done():
				readErr <- ctx.Err()
				return
			}
		}
	})
	waiting := map[laneKey]*frame{}
	tick := time.NewTicker(frameDelay)
	defer tick.Stop()
	for {
		select {
		case batch, ok := <-batches:
			if !ok {
				if ctx.Err() != nil {
					return nil //nolint:nilerr // told to stop
				}
				return <-readErr
			}
			for _, s := range batch {
				key := laneKey{s.epoch, s.partition}
				f := waiting[key]
				if f == nil {
					f = &frame{key: key}
					waiting[key] = f
				}
				f.entries = append(f.entries, s.entry)
				f.bytes += len(s.entry.event)
				if len(f.entries) >= frameEvents || f.bytes >= frameBytes {
					delete(waiting, key)
					p.send(ctx, f, "")
				}
			}
		case <-tick.C:
			for key, f := range waiting {
				delete(waiting, key)
				p.send(ctx, f, "")
			}
			p.repair(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

type frame struct {
	key     laneKey
	entries []entry
	bytes   int
}

// send publishes f in the background, again and again until NATS has it. It blocks while too many
// frames are in flight.
func (p *Publisher) send(ctx context.Context, f *frame, suffix string) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return
	}
	first, last := f.entries[0].sequence, f.entries[len(f.entries)-1].sequence
	frameID := fmt.Sprintf("%s/%s/%d/%d-%d%s", p.router, f.key.epoch, f.key.partition, first, last, suffix)
	payload := appendFrame(make([]byte, 0, f.bytes+64*len(f.entries)), p.router, f.key.epoch, f.key.partition, f.entries, time.Now())
	ctx, seen := p.seen.frame(ctx, f, p.router)
	p.group.Go(func() {
		defer func() { <-p.slots }()
		for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
			err := p.publish(ctx, frameID, f.key.partition, payload)
			if err == nil {
				p.onAck(f.key, last)
				seen.acknowledged(ctx)
				return
			}
			seen.refused(ctx)
			p.log.DebugContext(ctx, "usage frame not acknowledged", "frame", frameID, "error", err)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				seen.abandoned()
				return
			}
		}
	})
}

func (p *Publisher) publish(ctx context.Context, frameID string, partition int, payload []byte) error {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	msg := jetstream.NewFrame(partition, p.router, frameID, payload)
	telemetry.Inject(ctx, jetstream.Carrier(msg.Header))
	_, err := p.js.PublishMsg(ctx, msg,
		natsjs.WithExpectStream(jetstream.Stream), natsjs.WithRetryAttempts(0))
	if err != nil {
		return fmt.Errorf("publish usage frame: %w", err)
	}
	return nil
}

func (p *Publisher) lane(key laneKey) *lane {
	l := p.lanes[key]
	if l == nil {
		l = &lane{wait: repairAfter, moved: time.Now()}
		p.lanes[key] = l
	}
	return l
}

func (p *Publisher) onAck(key laneKey, last int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lane(key)
	if last > l.acked {
		l.acked, l.moved = last, time.Now()
	}
}

func (p *Publisher) onFeedback(msg *nats.Msg) {
	var feedback eventsv1.SpoolFeedback
	if err := proto.Unmarshal(msg.Data, &feedback); err != nil || feedback.GetRouter() != p.router {
		p.log.Warn("usage feedback cannot be read")
		return
	}
	for _, a := range feedback.GetApplied() {
		partition := int(a.GetPartition())
		p.journal.Applied(a.GetEpoch(), partition, a.GetContiguous())
		p.mu.Lock()
		l := p.lane(laneKey{a.GetEpoch(), partition})
		if a.GetContiguous() > l.applied {
			l.applied, l.moved, l.wait = a.GetContiguous(), time.Now(), repairAfter
		}
		for _, r := range a.GetMissing() {
			l.missing = append(l.missing, gap{r.GetFirst(), r.GetLast()})
		}
		p.mu.Unlock()
	}
}

// repair sends again what metering asks for by number, and what NATS acknowledged and metering did
// not get for a while. The ids differ from the first ones, so that the broker's memory of ids cannot
// suppress a repair; true duplicates die in metering's database.
func (p *Publisher) repair(ctx context.Context) {
	p.mu.Lock()
	stuck := map[laneKey][]gap{}
	for key, l := range p.lanes {
		if l.acked > l.applied && time.Since(l.moved) > l.wait {
			l.wait = min(2*l.wait, maxRepairAfter)
			l.missing = append(l.missing, gap{l.applied + 1, l.acked})
		}
		if len(l.missing) > 0 {
			stuck[key], l.missing = l.missing, nil
			l.moved = time.Now()
			l.repairs++
		}
	}
	p.mu.Unlock()
	for key, gaps := range stuck {
		for _, g := range gaps {
			p.resend(ctx, key, g)
		}
	}
}

func (p *Publisher) resend(ctx context.Context, key laneKey, g gap) {
	p.mu.Lock()
	suffix := fmt.Sprintf("/r%d", p.lanes[key].repairs)
	p.mu.Unlock()
	f := &frame{key: key}
	flush := func() {
		if len(f.entries) > 0 {
			p.send(ctx, f, suffix)
			f = &frame{key: key}
		}
	}
	err := p.journal.find(key.epoch, key.partition, g.first, g.last, func(e entry) {
		f.entries = append(f.entries, e)
		f.bytes += len(e.event)
		if len(f.entries) >= frameEvents || f.bytes >= frameBytes {
			flush()
		}
	})
	flush()
	p.log.WarnContext(ctx, "usage sent again: metering has not applied it", "partition", key.partition, "from", g.first, "to", g.last, "error", err)
}

// heads tells metering how far the journal goes, so that it can say up to when usage is complete.
func (p *Publisher) heads(ctx context.Context) {
	tick := time.NewTicker(headInterval)
	defer tick.Stop()
	last := ""
	for n := 0; ; n++ {
		heads, at := p.journal.Heads()
		if now := fmt.Sprint(heads); now != last || n%idleHeads == 0 || p.behind() {
			p.sendHead(heads, at, false)
			last = now
		}
		select {
		case <-ctx.Done():
			heads, at := p.journal.Heads()
			p.sendHead(heads, at, true)
			return
		case <-tick.C:
		}
	}
}

func (p *Publisher) behind() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lanes {
		if l.acked > l.applied {
			return true
		}
	}
	return false
}

func (p *Publisher) sendHead(heads []Head, at time.Time, closing bool) {
	msg := &eventsv1.SpoolHead{Router: p.router, Time: timestamppb.New(at), Closing: closing}
	for _, h := range heads {
		msg.Heads = append(msg.Heads, &eventsv1.EpochHead{Epoch: h.Epoch, Partition: int32(h.Partition), Sequence: h.Sequence})
	}
	raw, err := proto.Marshal(msg)
	if err == nil {
		err = p.nc.Publish(jetstream.HeadSubject(p.router), raw)
	}
	if err != nil {
		p.log.Debug("usage head not sent", "error", err)
	}
}

// Drained reports whether metering has applied everything that this journal holds.
func (p *Publisher) Drained() bool {
	heads, _ := p.journal.Heads()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range heads {
		l := p.lanes[laneKey{h.Epoch, h.Partition}]
		if l == nil || l.applied < h.Sequence {
			return false
		}
	}
	return true
}
