package ingest

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	stream "github.com/claviger/claviger/pkg/jetstream"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	"github.com/claviger/claviger/services/metering/internal/spool"
)

// listen takes heartbeats of routers, answers them, and keeps what is known of routers in the store.
func (s *session) listen(ctx context.Context) error {
	heads := make(chan *nats.Msg, 1024) // beyond it the client drops; the next heartbeat says it all again
	sub, err := s.NATS.ChanSubscribe(stream.AllHeads, heads)
	if err != nil {
		return fmt.Errorf("listen to routers: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	beat := time.NewTicker(s.Timing.Beat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case msg := <-heads:
			s.heard(ctx, msg)
		case <-beat.C:
			s.answerUnsettled(ctx)
			s.saveRouters(ctx)
		}
	}
}

// heard takes a heartbeat and answers it.
func (s *session) heard(ctx context.Context, msg *nats.Msg) {
	head, ok := decodeHead(msg)
	if !ok {
		s.Log.WarnContext(ctx, "heartbeat cannot be understood", "subject", msg.Subject)
		return
	}
	s.mu.Lock()
	lost := s.tracker.Heard(head, s.Now())
	answer := s.tracker.Feedback(head.Router, false, s.Now())
	s.mu.Unlock()
	for key, ranges := range lost {
		for _, r := range ranges {
			s.Log.ErrorContext(ctx, "a router has lost usage", "router", key.Router, "epoch", key.Epoch,
				"partition", key.Partition, "first", r.First, "last", r.Last)
		}
	}
	s.send(ctx, head.Router, answer)
}

func decodeHead(msg *nats.Msg) (spool.Head, bool) {
	var h eventsv1.SpoolHead
	if err := proto.Unmarshal(msg.Data, &h); err != nil {
		return spool.Head{}, false
	}
	// The broker lets each router publish under its own name only.
	if !stream.ValidRouter(h.GetRouter()) || msg.Subject != stream.HeadSubject(h.GetRouter()) || h.GetTime().CheckValid() != nil {
		return spool.Head{}, false
	}
	head := spool.Head{
		Router: h.GetRouter(), Time: h.GetTime().AsTime().Truncate(time.Microsecond), Closing: h.GetClosing(),
		Sequences: make(map[spool.Key]int64, len(h.GetHeads())),
	}
	for _, e := range h.GetHeads() {
		if !validEpoch(e.GetEpoch()) || e.GetPartition() < 0 || e.GetPartition() >= stream.Partitions || e.GetSequence() < 0 {
			return spool.Head{}, false
		}
		head.Sequences[spool.Key{Router: h.GetRouter(), Epoch: e.GetEpoch(), Partition: int(e.GetPartition())}] = e.GetSequence()
	}
	return head, true
}

// answerUnsettled tells routers of which something is not applied yet how far they are, and what is
// missing. Nothing is missing for sure while frames wait in the stream.
func (s *session) answerUnsettled(ctx context.Context) {
	s.mu.Lock()
	names := s.tracker.Unsettled()
	s.mu.Unlock()
	if len(names) == 0 {
		return
	}
	drained := s.drained(ctx)
	for _, name := range names {
		s.mu.Lock()
		answer := s.tracker.Feedback(name, drained, s.Now())
		s.mu.Unlock()
		s.send(ctx, name, answer)
	}
}

// drained reports whether nothing waits in the stream.
func (s *session) drained(ctx context.Context) bool {
	info, err := s.consumer.Info(ctx)
	return err == nil && info.NumPending == 0 && info.NumAckPending == 0
}

func (s *session) send(ctx context.Context, router string, applied []spool.Applied) {
	feedback := &eventsv1.SpoolFeedback{Router: router}
	for _, a := range applied {
		r := &eventsv1.AppliedRange{Epoch: a.Key.Epoch, Partition: int32(a.Key.Partition), Contiguous: a.Contiguous}
		for _, m := range a.Missing {
			r.Missing = append(r.Missing, &eventsv1.SequenceRange{First: m.First, Last: m.Last})
		}
		if len(a.Missing) > 0 {
			s.Log.WarnContext(ctx, "asking a router to send usage again", "router", router, "epoch", a.Key.Epoch,
				"partition", a.Key.Partition, "from", a.Missing[0].First, "to", a.Missing[len(a.Missing)-1].Last, "gaps", len(a.Missing))
		}
		feedback.Applied = append(feedback.Applied, r)
	}
	data, err := proto.Marshal(feedback)
	if err == nil {
		err = s.NATS.Publish(stream.AppliedSubject(router), data)
	}
	if err != nil { // the next one says it again
		s.Log.DebugContext(ctx, "feedback not sent", "router", router, "error", err)
	}
}

func (s *session) saveRouters(ctx context.Context) {
	s.mu.Lock()
	changed := s.tracker.Changed()
	s.mu.Unlock()
	if err := s.Store.SaveRouters(ctx, changed); err != nil {
		s.mu.Lock()
		s.tracker.Restore(changed)
		s.mu.Unlock()
		s.Log.WarnContext(ctx, "routers not stored", "error", err)
	}
}
