package ingest

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/claviger/claviger/pkg/telemetry"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	"github.com/claviger/claviger/services/metering/internal/follow"
	"github.com/claviger/claviger/services/metering/internal/spool"
	"github.com/claviger/claviger/services/metering/internal/store"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// builder gathers a batch from frames or from events that waited.
type builder struct {
	view  *follow.View
	book  Book
	batch usage.Batch
	items []item      // where batch.Attempts came from, in the same order
	sent  []time.Time // when the frames were sent
	now   func() time.Time
}

// newBuilder begins a batch under the configuration and the prices of this moment.
func (s *session) newBuilder(ctx context.Context) (*builder, error) {
	if err := s.Book.Refresh(ctx); err != nil {
		return nil, err
	}
	return &builder{
		view: s.Config.View(), book: s.Book, now: s.Now,
		batch: usage.Batch{At: s.Now(), Sequences: map[spool.Key][]spool.Range{}},
	}, nil
}

// message adds a message of the stream.
func (b *builder) message(msg jetstream.Msg) {
	f, r := decodeFrame(msg.Subject(), msg.Headers(), msg.Data())
	if r != nil {
		// Its numbers are not taken as dealt with: if it was damaged on its way, the router sends it again.
		b.batch.Quarantine = append(b.batch.Quarantine, quarantinedMessage(msg.Subject(), msg.Data(), r))
		return
	}
	if !f.sent.IsZero() {
		b.sent = append(b.sent, f.sent)
	}
	for _, entry := range f.entries {
		it := item{subject: f.subject, origin: usage.Origin{Key: f.key(), Sequence: entry.GetSequence()}, entry: entry}
		b.item(it, time.Time{}, false)
	}
}

// item adds an event. since is when it began to wait, if it did; final says that it may wait no longer.
func (b *builder) item(it item, since time.Time, final bool) {
	a, r := decodeEvent(it.entry.GetEvent(), it.origin.Partition, b.batch.At)
	if r == nil {
		unknown := false
		if r, unknown = judge(b.view, &a); unknown && !final && a.ConfigVersion > b.view.Version() {
			b.wait(it, &a, since)
			return
		}
	}
	b.dealtWith(it.origin)
	if r != nil {
		b.batch.Quarantine = append(b.batch.Quarantine, it.quarantined(r))
		return
	}
	b.book.Price(&a)
	b.batch.Attempts = append(b.batch.Attempts, a)
	b.items = append(b.items, it)
}

func (b *builder) wait(it item, a *usage.Attempt, since time.Time) {
	if !since.IsZero() {
		return // it does already
	}
	b.batch.Waiting = append(b.batch.Waiting, usage.Waiting{
		WaitingKey: usage.WaitingKey{OrgID: a.OrgID, AttemptID: a.AttemptID, Revision: a.Revision},
		Origin:     it.origin, Entry: it.encoded(), Since: b.batch.At,
	})
}

// dealtWith notes that a sequence number is applied or quarantined. One that waits is not.
func (b *builder) dealtWith(o usage.Origin) {
	ranges := b.batch.Sequences[o.Key]
	if n := len(ranges); n > 0 && ranges[n-1].Last+1 == o.Sequence {
		ranges[n-1].Last = o.Sequence
	} else {
		ranges = append(ranges, spool.Range{First: o.Sequence, Last: o.Sequence})
	}
	b.batch.Sequences[o.Key] = ranges
}

// apply applies fetched frames in one transaction.
func (s *session) apply(ctx context.Context, msgs []jetstream.Msg) error {
	ctx, span := s.report.batch(ctx, msgs)
	defer span.End()
	b, err := s.newBuilder(ctx)
	if err != nil {
		return err
	}
	position := s.position
	for _, msg := range msgs {
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("read metadata of a frame: %w", err)
		}
		position.Sequence = max(position.Sequence, meta.Sequence.Stream)
		b.message(msg)
	}
	b.batch.Position = &position
	if err := s.commit(ctx, b); err != nil {
		telemetry.Failed(span, "not_applied")
		return err
	}
	s.position = position
	s.waiting = s.waiting || len(b.batch.Waiting) > 0
	return nil
}

// commit applies a batch. If the database refuses a value in it, now and later, the attempts are applied
// one by one, and those that are refused alone go to quarantine with the rest of the batch.
func (s *session) commit(ctx context.Context, b *builder) error {
	begin := time.Now()
	applied, err := s.Store.Apply(ctx, b.batch)
	if store.Refused(err) {
		s.Log.ErrorContext(ctx, "the database refuses a batch, trying its attempts one by one", "error", err)
		if err := s.single(ctx, b); err != nil {
			return err
		}
		applied, err = s.Store.Apply(ctx, b.batch)
	}
	if err != nil {
		return err
	}
	for i := range b.batch.Quarantine {
		q := &b.batch.Quarantine[i]
		s.Log.WarnContext(ctx, "usage quarantined", "reason", string(q.Reason), "detail", q.Detail, "subject", q.Subject,
			"org_id", q.OrgID, "attempt_id", q.AttemptID, "quarantine_id", q.ID)
	}
	s.report.committed(ctx, begin, b, applied)
	s.Counted(applied.Counters)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tracker.Applied(applied.Marks)
	s.Log.DebugContext(ctx, "usage applied", "counted", applied.Counted, "revised", applied.Revised,
		"duplicate", applied.Duplicate, "quarantined", len(b.batch.Quarantine), "waiting", len(b.batch.Waiting))
	return nil
}

// single applies the attempts of a batch one by one and leaves in it only what they do not include.
func (s *session) single(ctx context.Context, b *builder) error {
	for i, a := range b.batch.Attempts {
		begin := time.Now()
		applied, err := s.Store.Apply(ctx, usage.Batch{Attempts: []usage.Attempt{a}, At: b.batch.At})
		if store.Refused(err) {
			b.batch.Quarantine = append(b.batch.Quarantine, b.items[i].quarantined(refuse(usage.ReasonStore, "%s", clip(err.Error(), maxText))))
			continue
		}
		if err != nil {
			return err
		}
		s.report.applied(ctx, begin, b.batch.Attempts[i:i+1], applied)
		s.Counted(applied.Counters)
	}
	b.batch.Attempts = nil
	return nil
}

// maxLook bounds how many waiting events are looked at in one transaction.
const maxLook = 500

// lookAtWaiting judges the events that wait, when the configuration has changed or their time is up.
func (s *session) lookAtWaiting(ctx context.Context) error {
	v := s.Config.View()
	if !s.waiting || v == s.looked && s.Now().Before(s.nextLook) {
		return nil
	}
	rows, err := s.Store.Waiting(ctx, maxLook)
	if err != nil {
		return err
	}
	b, err := s.newBuilder(ctx)
	if err != nil {
		return err
	}
	heard := s.Config.HeardAt()
	s.nextLook = b.batch.At.Add(s.Timing.Patience)
	for _, row := range rows {
		var entry eventsv1.UsageEntry
		if err := proto.Unmarshal(row.Entry, &entry); err != nil {
			return fmt.Errorf("decode waiting event: %w", err) // we encoded it ourselves
		}
		due := row.Since.Add(s.Timing.Patience)
		before := len(b.batch.Attempts) + len(b.batch.Quarantine)
		final := !b.batch.At.Before(due) && !heard.Before(due)
		b.item(item{subject: waitingSubject, origin: row.Origin, entry: &entry}, row.Since, final)
		if len(b.batch.Attempts)+len(b.batch.Quarantine) > before {
			b.batch.Judged = append(b.batch.Judged, row.WaitingKey)
		} else if next := maxTime(due, b.batch.At.Add(s.Timing.Beat)); next.Before(s.nextLook) {
			s.nextLook = next
		}
	}
	if len(b.batch.Judged) > 0 {
		if err := s.commit(ctx, b); err != nil {
			return err
		}
	}
	s.looked = b.view
	s.waiting = len(rows) > 0
	if len(rows) == maxLook && len(b.batch.Judged) > 0 {
		s.nextLook = time.Time{} // there may be more
	}
	return nil
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// waitingSubject stands in quarantine for events that waited; their origin names the router.
const waitingSubject = "waiting"
