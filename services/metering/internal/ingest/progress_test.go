package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/uptrace/bun"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/jetstream/jetstreamtest"
	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	"github.com/claviger/claviger/services/metering/internal/ingest"
	"github.com/claviger/claviger/services/metering/internal/spool"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// router is the other end: it says how far it is and hears what is applied.
type router struct {
	r        *rig
	name     string
	feedback *nats.Subscription
}

func (r *rig) router(name string) *router {
	r.t.Helper()
	sub, err := r.conn.SubscribeSync(jetstream.AppliedSubject(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return &router{r: r, name: name, feedback: sub}
}

func (o *router) head(at time.Time, closing bool, heads ...*eventsv1.EpochHead) {
	o.r.t.Helper()
	data, err := proto.Marshal(&eventsv1.SpoolHead{Router: o.name, Time: timestamppb.New(at), Heads: heads, Closing: closing})
	if err != nil {
		o.r.t.Fatal(err)
	}
	if err := o.r.conn.Publish(jetstream.HeadSubject(o.name), data); err != nil {
		o.r.t.Fatal(err)
	}
}

// hears says heads until feedback comes that f likes.
func (o *router) hears(what string, say func(), f func(*eventsv1.SpoolFeedback) error) {
	o.r.t.Helper()
	say()
	o.r.eventually(what, func() error {
		msg, err := o.feedback.NextMsg(50 * time.Millisecond)
		if err != nil {
			say() // nobody was listening yet
			return err
		}
		var feedback eventsv1.SpoolFeedback
		if err := proto.Unmarshal(msg.Data, &feedback); err != nil {
			return err
		}
		return f(&feedback)
	})
}

func (r *rig) complete() spool.Completeness {
	r.t.Helper()
	routers, err := r.store.Routers(r.t.Context())
	if err != nil {
		r.t.Fatalf("Routers: %v", err)
	}
	return spool.Complete(routers, time.Now())
}

func (r *rig) wantThrough(want time.Time) {
	r.t.Helper()
	r.eventually("complete through", func() error {
		if got := r.complete().Through; !got.Equal(want.Truncate(time.Microsecond)) {
			return fmt.Errorf("complete through %v, want %v", got, want)
		}
		return nil
	})
}

func TestGapsAreAskedFor(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		var events []*eventsv1.UsageEvent
		for range 10 {
			events = append(events, r.a.event(nil))
		}
		part := int32(jetstream.Partition(r.a.org))
		o := r.router("r1")
		r.publish(frame(entries(1, events[0:2]...), nil))
		r.publish(frame(entries(5, events[4:7]...), nil)) // 3, 4 and 8 to 10 are lost on the way
		stop := r.start()
		moment := time.Now().UTC()
		say := func() { o.head(moment, false, &eventsv1.EpochHead{Epoch: "e1", Partition: part, Sequence: 10}) }
		o.hears("the gaps", say, func(f *eventsv1.SpoolFeedback) error {
			want := &eventsv1.SpoolFeedback{Router: "r1", Applied: []*eventsv1.AppliedRange{{
				Epoch: "e1", Partition: part, Contiguous: 2, Missing: []*eventsv1.SequenceRange{{First: 3, Last: 4}, {First: 8, Last: 10}},
			}}}
			if diff := cmp.Diff(want, f, protocmp.Transform()); diff != "" {
				return errors.New(diff)
			}
			return nil
		})
		if got := r.complete().Through; !got.IsZero() {
			t.Errorf("complete through %v with a gap", got)
		}
		stop()
		r.start() // a restart knows the router without hearing it
		r.publish(frame(entries(3, events[2:4]...), nil))
		r.publish(frame(entries(8, events[7:]...), nil))
		o.hears("all is applied", func() {}, func(f *eventsv1.SpoolFeedback) error {
			if len(f.GetApplied()) != 1 || f.GetApplied()[0].GetContiguous() != 10 {
				say()
				return fmt.Errorf("feedback %v", f.GetApplied())
			}
			return nil
		})
		r.wantAttempts(r.a, 10)
		r.wantThrough(moment)
	})
}

func TestCompletenessWaitsForAllRouters(t *testing.T) {
	t.Parallel()
	r := onSQLite(t)
	r.start()
	early, later := time.Now().UTC().Add(-time.Hour), time.Now().UTC().Add(-time.Minute)
	one, two := r.router("r1"), r.router("r2")
	part := int32(jetstream.Partition(r.a.org))
	settled := func(f *eventsv1.SpoolFeedback) error { return nil }
	one.hears("the first router", func() { one.head(early, false) }, settled)
	two.hears("the second router", func() { two.head(later, false) }, settled)
	r.wantThrough(early)
	one.head(later, true, &eventsv1.EpochHead{Epoch: "e1", Partition: part, Sequence: 1})
	r.eventually("the closing head is stored", func() error {
		routers, err := r.store.Routers(t.Context())
		if err == nil && (len(routers) != 2 || !routers[0].Head.Closing) {
			err = fmt.Errorf("routers %+v", routers)
		}
		return err
	})
	r.wantThrough(early) // it goes away, but something of it is missing
	r.publish(frame(entries(1, r.a.event(nil)), nil))
	r.wantThrough(later)
	two.head(later.Add(30*time.Second), false)
	r.wantThrough(later.Add(30 * time.Second)) // the closed one holds nothing back
}

func TestHeartbeatsOfOthersAreNotTaken(t *testing.T) {
	t.Parallel()
	r := onSQLite(t)
	r.start()
	send := func(subject string, h *eventsv1.SpoolHead) {
		data, err := proto.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.conn.Publish(subject, data); err != nil {
			t.Fatal(err)
		}
	}
	now := timestamppb.Now()
	for range 3 {
		send(jetstream.HeadSubject("evil"), &eventsv1.SpoolHead{Router: "r1", Time: now})
		send(jetstream.HeadSubject("evil"), &eventsv1.SpoolHead{Router: "evil"})
		send(jetstream.HeadSubject("evil"), &eventsv1.SpoolHead{Router: "evil", Time: now, Heads: []*eventsv1.EpochHead{{Epoch: "e", Partition: 16}}})
		send(jetstream.HeadSubject("evil"), &eventsv1.SpoolHead{Router: "evil", Time: now, Heads: []*eventsv1.EpochHead{{Epoch: "e\x00"}}})
		_ = r.conn.Publish(jetstream.HeadSubject("evil"), []byte{0xff})
	}
	o := r.router("good")
	o.hears("a good router", func() { o.head(time.Now(), false) }, func(*eventsv1.SpoolFeedback) error { return nil })
	r.eventually("the good router is stored", func() error {
		routers, err := r.store.Routers(t.Context())
		if err == nil && (len(routers) != 1 || routers[0].Name != "good") {
			err = fmt.Errorf("routers %+v", routers)
		}
		return err
	})
}

func TestRestoredDatabaseReadsTheStreamAgain(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		stop := r.start()
		for i := range 6 {
			r.publish(frame(entries(int64(i+1), r.a.event(nil)), nil))
		}
		r.applied()
		r.wantAttempts(r.a, 6)
		stop()
		// The database is restored from a backup: the last three frames are gone from it.
		position, _, err := r.store.Position(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.exec("DELETE FROM usage_event WHERE attempt_id IN (SELECT attempt_id FROM usage_event ORDER BY attempt_id DESC LIMIT 3)")
		r.exec(fmt.Sprintf("UPDATE stream_position SET sequence = %d", position.Sequence-3))
		r.exec("UPDATE spool_mark SET contiguous = 3")
		if err := r.store.Rebuild(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.start()
		r.applied()
		r.wantAttempts(r.a, 6)
	})
}

func TestStreamThatWasMadeAnewIsReadFromItsBeginning(t *testing.T) {
	t.Parallel()
	r := onSQLite(t)
	part := int32(jetstream.Partition(r.a.org))
	events := []*eventsv1.UsageEvent{r.a.event(nil), r.a.event(nil), r.a.event(nil)}
	stop := r.start()
	r.publish(frame(entries(1, events[0]), nil))
	r.publish(frame(entries(2, events[1]), nil))
	r.applied()
	stop()
	// A frame that was acknowledged by the broker and not read yet is lost with the stream.
	r.publish(frame(entries(3, events[2]), nil))
	if err := r.js.DeleteStream(t.Context(), jetstream.Stream); err != nil {
		t.Fatal(err)
	}
	r.start()
	o := r.router("r1")
	say := func() {
		o.head(time.Now(), false, &eventsv1.EpochHead{Epoch: "e1", Partition: part, Sequence: 3})
	}
	o.hears("the lost frame is asked for", say, func(f *eventsv1.SpoolFeedback) error {
		for _, a := range f.GetApplied() {
			if len(a.GetMissing()) == 1 && a.GetMissing()[0].GetFirst() == 3 {
				return nil
			}
		}
		return fmt.Errorf("feedback %v", f.GetApplied())
	})
	r.publish(frame(entries(3, events[2]), nil))
	r.wantAttempts(r.a, 3)
	// While it works, too.
	if err := r.js.DeleteStream(t.Context(), jetstream.Stream); err != nil {
		t.Fatal(err)
	}
	r.publish(frame(entries(4, r.a.event(nil)), nil))
	r.wantAttempts(r.a, 4)
}

func (r *rig) exec(statement string) {
	r.t.Helper()
	if err := r.db.InTx(r.t.Context(), func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.ExecContext(ctx, statement)
		return err
	}); err != nil {
		r.t.Fatalf("%s: %v", statement, err)
	}
}

func TestPostgresMayStopAndStart(t *testing.T) {
	t.Parallel()
	server := sqltest.Server(t)
	r := newRig(t, sqltest.Open(t, server.URL()))
	r.start()
	next := int64(1)
	publish := func(n int) {
		for range n {
			r.publish(frame(entries(next, r.a.event(nil)), nil))
			next++
		}
	}
	publish(5)
	r.wantAttempts(r.a, 5)
	for _, end := range []func(){server.Stop, server.Kill} {
		publish(2)
		end()
		publish(5)
		server.Start()
		publish(3)
		r.eventually("the total after an outage", func() error {
			page, err := r.store.QueryUsage(t.Context(), usage.Query{
				OrgID: r.a.org, Start: time.Now().Add(-time.Hour), End: time.Now().Add(time.Hour), PageSize: 10,
			})
			if err == nil && page.Total.Attempts != next-1 {
				err = fmt.Errorf("%d attempts, want %d", page.Total.Attempts, next-1)
			}
			return err
		})
		r.wantAttempts(r.a, next-1)
	}
	if got := r.reasons(); len(got) > 0 {
		t.Errorf("an outage was taken for poison: %v", got)
	}
}

func TestBrokerMayDieAndComeBack(t *testing.T) {
	t.Parallel()
	r := onSQLite(t)
	process := jetstreamtest.StartProcess(t)
	r.conn, r.js = process.Connect()
	r.start()
	next := int64(1)
	publish := func() {
		r.publish(frame(entries(next, r.a.event(nil)), nil))
		next++
	}
	r.eventually("the stream is made", func() error {
		_, err := r.js.Stream(t.Context(), jetstream.Stream)
		return err
	})
	publish()
	r.wantAttempts(r.a, 1)
	for _, end := range []func(){process.Kill, process.Stop} {
		publish()
		end()
		process.Start()
		publish()
		r.wantAttempts(r.a, next-1)
	}
}

func TestOnlyOneWorkerWorks(t *testing.T) {
	t.Parallel()
	r := newRig(t, sqltest.Open(t, sqltest.Postgres(t)))
	working := make(chan string, 100)
	r.wrap = func(s ingest.Store) ingest.Store { return &named{Store: s, name: "one", working: working} }
	stop := r.start()
	if got := <-working; got != "one" {
		t.Fatalf("%s works", got)
	}
	r.wrap = func(s ingest.Store) ingest.Store { return &named{Store: s, name: "two", working: working} }
	r.start()
	for i := range 20 {
		r.publish(frame(entries(int64(i+1), r.a.event(nil)), nil))
	}
	r.applied()
	r.wantAttempts(r.a, 20)
	if len(working) > 0 {
		t.Fatalf("%s works too", <-working)
	}
	stop()
	if got := <-working; got != "two" {
		t.Fatalf("%s takes over", got)
	}
	r.publish(frame(entries(21, r.a.event(nil)), nil))
	r.wantAttempts(r.a, 21)
}

// named says when it begins to work.
type named struct {
	ingest.Store
	name    string
	working chan string
}

func (n *named) Marks(ctx context.Context) (map[spool.Key]spool.Mark, error) {
	n.working <- n.name
	return n.Store.Marks(ctx)
}
