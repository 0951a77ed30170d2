package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/jetstream/jetstreamtest"
	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	"github.com/claviger/claviger/pkg/telemetry"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/metering/internal/follow"
	"github.com/claviger/claviger/services/metering/internal/follow/followtest"
	"github.com/claviger/claviger/services/metering/internal/ingest"
	"github.com/claviger/claviger/services/metering/internal/price"
	"github.com/claviger/claviger/services/metering/internal/spool"
	"github.com/claviger/claviger/services/metering/internal/store"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// tenant is an organization with one of everything.
type tenant struct{ org, key, member, credential, policy string }

func newTenant() tenant {
	return tenant{org: id.New("org"), key: id.New("key"), member: id.New("mem"), credential: id.New("cred"), policy: id.New("pol")}
}

func (t tenant) config(slug string) *keysv1.ConfigBatch {
	return &keysv1.ConfigBatch{
		Organizations: []*keysv1.OrganizationConfig{{Id: t.org, Slug: slug}},
		ApiKeys:       []*keysv1.ApiKeyConfig{{OrgId: t.org, Id: t.key, MemberId: t.member}},
		Members:       []*keysv1.MemberConfig{{OrgId: t.org, Id: t.member}},
		Credentials:   []*keysv1.CredentialConfig{{OrgId: t.org, Id: t.credential, Provider: "openai"}},
		Policies:      []*keysv1.PolicyConfig{{OrgId: t.org, Id: t.policy}},
	}
}

// event is a good one; change alters it.
func (t tenant) event(change func(*eventsv1.UsageEvent)) *eventsv1.UsageEvent {
	e := &eventsv1.UsageEvent{
		AttemptId: id.New("att"), RequestId: id.New("req"), AttemptNumber: 1, OrgId: t.org, ApiKeyId: t.key, MemberId: t.member,
		CredentialId: t.credential, CredentialClass: eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN, Provider: "openai", Model: "openai/gpt-4o-mini",
		PolicyId: t.policy, ConfigVersion: 1, Dialect: "openai.chat", Tags: map[string]string{"team": "search"},
		StartedTime: timestamppb.New(time.Now().Add(-time.Second)), EndedTime: timestamppb.Now(),
		Outcome: eventsv1.Outcome_OUTCOME_OK, UsageSource: eventsv1.UsageSource_USAGE_SOURCE_PROVIDER_FINAL, HttpStatus: 200,
		Tokens: &eventsv1.TokenCounts{InputTotal: 1000, InputUncached: 1000, OutputTotal: 100},
	}
	if change != nil {
		change(e)
	}
	return e
}

// costOf an event as above: 1000 × $0.15 + 100 × $0.60 per million.
const costOf = 210_000

type rig struct {
	t      *testing.T
	db     *sqldb.DB
	store  *store.Store
	keys   *followtest.Keys
	nats   *jetstreamtest.Server
	conn   *nats.Conn
	js     js.JetStream
	timing ingest.Timing
	ack    func(context.Context, js.Msg) error
	wrap   func(ingest.Store) ingest.Store
	tel    *telemetry.Telemetry
	a, b   tenant
	op     tenant // the operator's
	frames atomic.Int64
}

func newRig(t *testing.T, db *sqldb.DB) *rig {
	t.Helper()
	r := &rig{
		t: t, db: db, store: store.New(db), keys: followtest.Start(t), nats: jetstreamtest.Start(t),
		a: newTenant(), b: newTenant(), op: newTenant(),
		timing: ingest.Timing{
			Fetch: 20 * time.Millisecond, AckWait: 2 * time.Second, Patience: 300 * time.Millisecond, Beat: 10 * time.Millisecond,
			MaxBackoff: 100 * time.Millisecond,
			Gaps:       spool.Timing{Stall: 50 * time.Millisecond, Backlogged: time.Minute, Repeat: 50 * time.Millisecond},
		},
	}
	r.conn, r.js = r.nats.Connect()
	if err := r.store.Migrate(t.Context()); err != nil {
		t.Fatalf("Migrate: %v", err)
	}
	r.keys.Change(r.a.config("acme"))
	r.keys.Change(r.b.config("beta"))
	r.keys.Change(r.op.config("platform"))
	if err := jetstream.EnsureStream(t.Context(), r.js, 1); err != nil {
		t.Fatalf("EnsureStream: %v", err)
	}
	return r
}

func onBoth(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) { f(t, newRig(t, open(t))) })
}

func onSQLite(t *testing.T) *rig {
	t.Helper()
	return newRig(t, sqltest.Open(t, sqltest.SQLite(t)))
}

// start starts a worker; stop ends it as a crash would, without waiting for anything under way.
func (r *rig) start() (stop func()) {
	r.t.Helper()
	book := price.NewBook(r.store, time.Now)
	if err := book.Seed(r.t.Context()); err != nil {
		r.t.Fatalf("Seed: %v", err)
	}
	follower, err := follow.New(follow.Options{
		Keys: r.keys.Transport(), Key: r.keys.Public(), Environment: followtest.Environment, Dir: r.t.TempDir(), Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		r.t.Fatalf("follow.New: %v", err)
	}
	var s ingest.Store = r.store
	if r.wrap != nil {
		s = r.wrap(s)
	}
	w := ingest.New(ingest.Options{
		Store: s, Book: book, Config: follower, NATS: r.conn, JetStream: r.js, Timing: r.timing,
		Log: slog.New(slog.NewTextHandler(testWriter{r.t}, &slog.HandlerOptions{Level: slog.LevelInfo})), Now: time.Now, Ack: r.ack,
		Telemetry: r.tel,
	})
	ctx, cancel := context.WithCancel(r.t.Context())
	var all sync.WaitGroup
	all.Go(func() { _ = follower.Run(ctx) })
	all.Go(func() { _ = w.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); all.Wait() })
	r.t.Cleanup(stop)
	return stop
}

// testWriter sends log lines to the test's log, which shows them when it fails.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(string(p))
	}
	return len(p), nil
}

func entries(first int64, events ...*eventsv1.UsageEvent) []*eventsv1.UsageEntry {
	out := make([]*eventsv1.UsageEntry, len(events))
	for i, e := range events {
		out[i] = &eventsv1.UsageEntry{Sequence: first + int64(i), Event: e}
	}
	return out
}

// frame is a frame of router r1, epoch e1, in the partition of the first event's organization.
func frame(entries []*eventsv1.UsageEntry, change func(*eventsv1.UsageFrame)) *eventsv1.UsageFrame {
	f := &eventsv1.UsageFrame{Schema: 1, Router: "r1", Epoch: "e1", Entries: entries, SentTime: timestamppb.Now()}
	if len(entries) > 0 {
		f.Partition = int32(jetstream.Partition(entries[0].GetEvent().GetOrgId()))
	}
	if change != nil {
		change(f)
	}
	return f
}

func (r *rig) publish(f *eventsv1.UsageFrame) {
	r.t.Helper()
	payload, err := proto.Marshal(f)
	if err != nil {
		r.t.Fatal(err)
	}
	r.send(jetstream.NewFrame(int(f.GetPartition()), "r1", fmt.Sprint(r.frames.Add(1)), payload))
}

func (r *rig) send(msg *nats.Msg) {
	r.t.Helper()
	r.eventually("the broker takes the frame", func() error {
		_, err := r.js.PublishMsg(r.t.Context(), msg)
		return err
	})
}

// eventually waits until f returns nil.
func (r *rig) eventually(what string, f func() error) {
	r.t.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) { //nolint:forbidigo // polls
		if err = f(); err == nil {
			return
		}
	}
	r.t.Fatalf("%s: %v", what, err)
}

func (r *rig) total(t tenant) usage.Totals {
	r.t.Helper()
	page, err := r.store.QueryUsage(r.t.Context(), usage.Query{
		OrgID: t.org, Start: time.Now().Add(-40 * 24 * time.Hour), End: time.Now().Add(24 * time.Hour), PageSize: 10,
	})
	if err != nil {
		r.t.Fatalf("QueryUsage: %v", err)
	}
	return page.Total
}

// applied waits until the whole stream is applied and acknowledged.
func (r *rig) applied() {
	r.t.Helper()
	r.eventually("the stream is applied", func() error {
		stream, err := r.js.Stream(r.t.Context(), jetstream.Stream)
		if err != nil {
			return err
		}
		info, err := stream.Info(r.t.Context())
		if err != nil {
			return err
		}
		position, _, err := r.store.Position(r.t.Context())
		if err != nil {
			return err
		}
		if position.Sequence < info.State.LastSeq {
			return fmt.Errorf("at %d of %d", position.Sequence, info.State.LastSeq)
		}
		return nil
	})
}

func (r *rig) wantAttempts(t tenant, n int64) {
	r.t.Helper()
	r.eventually("the total", func() error {
		got := r.total(t)
		if got.Attempts != n || got.CostNano != n*costOf {
			return fmt.Errorf("%d attempts of %d nano-USD, want %d of %d", got.Attempts, got.CostNano, n, n*costOf)
		}
		return nil
	})
	r.verify()
}

func (r *rig) verify() {
	r.t.Helper()
	if diff, err := r.store.Verify(r.t.Context()); err != nil || len(diff) > 0 {
		r.t.Fatalf("Verify = %+v, %v, want no difference", diff, err)
	}
}

func (r *rig) reasons() map[usage.Reason]int {
	r.t.Helper()
	rows, err := r.store.Quarantine(r.t.Context(), 1000)
	if err != nil {
		r.t.Fatalf("Quarantine: %v", err)
	}
	out := map[usage.Reason]int{}
	for _, q := range rows {
		out[q.Reason]++
	}
	return out
}

func TestFramesAreCountedOnceInAnyOrder(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		var events []*eventsv1.UsageEvent
		for range 40 {
			events = append(events, r.a.event(nil))
		}
		r.publish(frame(entries(21, events[20:40]...), nil)) // before there is a worker, and out of order
		r.start()
		r.publish(frame(entries(1, events[:20]...), nil))
		r.publish(frame(entries(11, events[10:30]...), nil)) // a repair that overlaps both
		r.publish(frame(append(entries(1, events[3]), entries(2, events[3])...), nil))
		r.applied()
		r.wantAttempts(r.a, 40)
		marks, err := r.store.Marks(t.Context())
		key := spool.Key{Router: "r1", Epoch: "e1", Partition: jetstream.Partition(r.a.org)}
		if diff := cmp.Diff(map[spool.Key]spool.Mark{key: {Contiguous: 40}}, marks); diff != "" || err != nil {
			t.Errorf("marks: %v (-want +got):\n%s", err, diff)
		}
		if got := r.reasons(); len(got) > 0 {
			t.Errorf("quarantined: %v", got)
		}
	})
}

func TestLostAcknowledgementCountsOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		r.timing.AckWait = 100 * time.Millisecond
		var dropped atomic.Int64
		r.ack = func(ctx context.Context, msg js.Msg) error {
			if meta, err := msg.Metadata(); err == nil && meta.NumDelivered < 3 {
				dropped.Add(1)
				return errors.New("the acknowledgement is lost")
			}
			return msg.DoubleAck(ctx)
		}
		stop := r.start()
		for i := range 5 {
			r.publish(frame(entries(int64(i+1), r.a.event(nil)), nil))
		}
		r.eventually("every frame comes three times", func() error {
			if n := dropped.Load(); n < 10 {
				return fmt.Errorf("%d dropped", n)
			}
			return nil
		})
		r.wantAttempts(r.a, 5)
		stop() // with frames that are applied and not acknowledged
		r.start()
		r.publish(frame(entries(6, r.a.event(nil)), nil))
		r.applied()
		r.wantAttempts(r.a, 6)
	})
}

// faulty fails Apply as often as it is told, before or after the commit.
type faulty struct {
	ingest.Store
	before, after atomic.Int64
}

func (f *faulty) Apply(ctx context.Context, b usage.Batch) (usage.Applied, error) {
	if f.before.Add(-1) >= 0 {
		return usage.Applied{}, errors.New("the database is away")
	}
	out, err := f.Store.Apply(ctx, b)
	if err == nil && len(b.Attempts) > 0 && f.after.Add(-1) >= 0 {
		return usage.Applied{}, errors.New("the connection broke after the commit")
	}
	return out, err
}

func TestFailedTransactionsAreRepeatedUntilTheyCount(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		f := &faulty{}
		f.before.Store(3)
		f.after.Store(3)
		r.wrap = func(s ingest.Store) ingest.Store { f.Store = s; return f }
		r.start()
		for i := range 8 {
			r.publish(frame(entries(int64(i+1), r.a.event(nil)), nil))
		}
		r.applied()
		r.wantAttempts(r.a, 8)
		if got := r.reasons(); len(got) > 0 {
			t.Errorf("a database error was taken for poison: %v", got)
		}
	})
}

func TestPoisonNeverBlocks(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		payload, err := proto.Marshal(frame(entries(1, r.a.event(nil)), nil))
		if err != nil {
			t.Fatal(err)
		}
		part := jetstream.Partition(r.a.org)
		damaged := jetstream.NewFrame(part, "r1", "crc", payload)
		damaged.Data = append([]byte(nil), payload...)
		damaged.Data[5] ^= 0x40
		r.send(damaged)
		r.send(jetstream.NewFrame(part, "r1", "decode", []byte{0xff, 0xff, 0xff}))
		r.send(jetstream.NewFrame(part, "r1", "empty", nil))
		bare := nats.NewMsg(jetstream.Subject(part, "r1"))
		bare.Data = payload
		r.send(bare)
		for i, subject := range []string{"usage.v1.99.r1", "usage.v1.1.r1.more", "usage.v1.\xff\xfe.r1"} {
			msg := jetstream.NewFrame(part, "r1", fmt.Sprint("subject", i), payload)
			msg.Subject = subject
			r.send(msg)
		}
		for i, change := range []func(*eventsv1.UsageFrame){
			func(f *eventsv1.UsageFrame) { f.Schema = 2 },
			func(f *eventsv1.UsageFrame) { f.Entries = append(f.Entries, f.Entries[0]) },
			func(f *eventsv1.UsageFrame) { f.Entries[0].Sequence = 0 },
			func(f *eventsv1.UsageFrame) { f.Epoch = "UP/../e" },
		} {
			f, err := proto.Marshal(frame(entries(1, r.a.event(nil)), change))
			if err != nil {
				t.Fatal(err)
			}
			r.send(jetstream.NewFrame(part, "r1", fmt.Sprint("form", i), f))
		}
		r.publish(frame(nil, func(f *eventsv1.UsageFrame) { f.Partition = int32(part) })) // no entries: nothing to do
		r.publish(frame([]*eventsv1.UsageEntry{{Sequence: 1}}, func(f *eventsv1.UsageFrame) { f.Partition = int32(part) }))
		r.publish(frame(entries(2, r.a.event(nil)), nil)) // and one good frame behind all of it
		r.start()
		r.applied()
		r.wantAttempts(r.a, 1)
		want := map[usage.Reason]int{
			usage.ReasonCRC: 2, usage.ReasonDecode: 2, usage.ReasonSubject: 3, usage.ReasonSchema: 2, usage.ReasonSequence: 2, usage.ReasonID: 1,
		}
		if diff := cmp.Diff(want, r.reasons()); diff != "" {
			t.Errorf("quarantined (-want +got):\n%s", diff)
		}
	})
}

func TestForgedEventsChangeNoTotal(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		x := newTenant() // of nobody
		victim := r.b.event(nil)
		forged := []struct {
			reason usage.Reason
			change func(*eventsv1.UsageEvent)
		}{
			{usage.ReasonForeignKey, func(e *eventsv1.UsageEvent) { e.ApiKeyId = r.b.key }},
			{usage.ReasonForeignKey, func(e *eventsv1.UsageEvent) { e.ApiKeyId = x.key }},
			{usage.ReasonForeignKey, func(e *eventsv1.UsageEvent) { e.ApiKeyId = "" }},
			{usage.ReasonForeignKey, func(e *eventsv1.UsageEvent) { e.ApiKeyId = r.a.credential }},
			{usage.ReasonForeignKey, func(e *eventsv1.UsageEvent) { e.ApiKeyId = "\x00'; DROP TABLE usage_event" }},
			{usage.ReasonForeignMember, func(e *eventsv1.UsageEvent) { e.MemberId = r.b.member }},
			{usage.ReasonForeignPolicy, func(e *eventsv1.UsageEvent) { e.PolicyId = r.b.policy }},
			{usage.ReasonForeignCredential, func(e *eventsv1.UsageEvent) { e.CredentialId = r.b.credential }},
			{usage.ReasonForeignCredential, func(e *eventsv1.UsageEvent) { e.CredentialId = x.credential }},
			{usage.ReasonForeignCredential, func(e *eventsv1.UsageEvent) { e.CredentialId = "" }},
			{usage.ReasonForeignCredential, func(e *eventsv1.UsageEvent) { e.CredentialId = r.a.key }},
			{usage.ReasonClassMismatch, func(e *eventsv1.UsageEvent) { e.CredentialId = r.op.credential }},
			{usage.ReasonClassMismatch, func(e *eventsv1.UsageEvent) { e.CredentialClass = eventsv1.CredentialClass_CREDENTIAL_CLASS_PLATFORM }},
			{usage.ReasonClassMismatch, func(e *eventsv1.UsageEvent) { e.CredentialClass = 0 }},
			{usage.ReasonProviderMismatch, func(e *eventsv1.UsageEvent) { e.Provider = "anthropic" }},
			{usage.ReasonCounts, func(e *eventsv1.UsageEvent) { e.Tokens.OutputTotal = 1<<40 + 1 }},
			{usage.ReasonCounts, func(e *eventsv1.UsageEvent) { e.Tokens.CacheRead = -1 }},
			{usage.ReasonCounts, func(e *eventsv1.UsageEvent) { e.Units = []*eventsv1.UnitCount{{Name: "image", Milli: -1}} }},
			{usage.ReasonCounts, func(e *eventsv1.UsageEvent) {
				e.Units = []*eventsv1.UnitCount{{Name: "image", Milli: 1}, {Name: "image", Milli: 1}}
			}},
			{usage.ReasonCounts, func(e *eventsv1.UsageEvent) { e.Units = make([]*eventsv1.UnitCount, 17) }},
			// A later truth of another organization's attempt, and one of one's own under another's credential.
			{usage.ReasonForeignKey, func(e *eventsv1.UsageEvent) { e.AttemptId, e.Revision, e.ApiKeyId = victim.GetAttemptId(), 5, r.b.key }},
			{usage.ReasonForeignCredential, func(e *eventsv1.UsageEvent) {
				e.AttemptId, e.Revision, e.CredentialId = victim.GetAttemptId(), 5, r.b.credential
			}},
			{usage.ReasonLate, func(e *eventsv1.UsageEvent) {
				e.EndedTime = timestamppb.New(time.Now().Add(-35*24*time.Hour - time.Minute))
			}},
			{usage.ReasonTime, func(e *eventsv1.UsageEvent) { e.EndedTime = nil }},
			{usage.ReasonTime, func(e *eventsv1.UsageEvent) { e.EndedTime = &timestamppb.Timestamp{Seconds: -5} }},
			{usage.ReasonID, func(e *eventsv1.UsageEvent) { e.AttemptId = "att_x" }},
			{usage.ReasonID, func(e *eventsv1.UsageEvent) { e.RequestId = "" }},
			{usage.ReasonValue, func(e *eventsv1.UsageEvent) { e.AttemptNumber = 0 }},
			{usage.ReasonValue, func(e *eventsv1.UsageEvent) { e.Revision = -1 }},
			{usage.ReasonValue, func(e *eventsv1.UsageEvent) { e.HttpStatus = 1000 }},
			{usage.ReasonValue, func(e *eventsv1.UsageEvent) { e.CredentialRevision = -1 }},
			{usage.ReasonID, func(e *eventsv1.UsageEvent) { e.GroupId = "grp_' OR 1" }},
			{usage.ReasonValue, func(e *eventsv1.UsageEvent) { e.Model = "" }},
		}
		want := map[usage.Reason]int{}
		var bad []*eventsv1.UsageEvent
		for _, f := range forged {
			bad = append(bad, r.a.event(f.change))
			want[f.reason]++
		}
		good := r.a.event(nil)
		// The good one stands in the middle of the forged ones.
		all := append(append(append([]*eventsv1.UsageEvent{}, bad[:13]...), good), bad[13:]...)
		r.publish(frame(entries(1, all...), nil))
		r.publish(frame(entries(1, all...), nil)) // it comes twice
		r.publish(frame(entries(1, victim), func(f *eventsv1.UsageFrame) {
			f.Epoch, f.Partition = "e2", int32(jetstream.Partition(r.b.org))
		}))
		// An organization of nobody, and a frame whose partition is another.
		r.publish(frame(entries(1, x.event(nil)), nil))
		want[usage.ReasonUnknownOrg]++
		r.publish(frame(entries(100, r.a.event(nil)), func(f *eventsv1.UsageFrame) { f.Partition = (f.Partition + 1) % 16 }))
		want[usage.ReasonPartitionMismatch]++
		// A frame of another router, and of another partition, than its subject says.
		payload, err := proto.Marshal(frame(entries(101, r.a.event(nil)), nil))
		if err != nil {
			t.Fatal(err)
		}
		r.send(jetstream.NewFrame(jetstream.Partition(r.a.org), "r2", "mismatch", payload))
		want[usage.ReasonRouterMismatch]++
		r.send(jetstream.NewFrame((jetstream.Partition(r.a.org)+1)%16, "r1", "partition", payload))
		want[usage.ReasonPartitionMismatch]++
		r.start()
		r.applied()
		r.wantAttempts(r.a, 1)
		r.wantAttempts(r.b, 1)
		if got := r.total(r.b); got.Units != (pricing.Units{}) || got.CostNano != costOf {
			t.Errorf("the total of the attempt that was forged = %+v", got)
		}
		for _, other := range []tenant{r.op, x} {
			if got := r.total(other); !got.IsZero() {
				t.Errorf("a forged event changed another total: %+v", got)
			}
		}
		if diff := cmp.Diff(want, r.reasons()); diff != "" {
			t.Errorf("quarantined (-want +got):\n%s", diff)
		}
		// What was judged is dealt with: the router may forget it.
		marks, err := r.store.Marks(t.Context())
		key := spool.Key{Router: "r1", Epoch: "e1", Partition: jetstream.Partition(r.a.org)}
		if got := marks[key].Contiguous; got != int64(len(all)) || err != nil {
			t.Errorf("contiguous = %d, %v, want %d", got, err, len(all))
		}
	})
}

func TestWhatIsOddIsCountedAndMarked(t *testing.T) {
	t.Parallel()
	r := onSQLite(t)
	long := string(make([]byte, 300))
	for name, c := range map[string]struct {
		change func(*eventsv1.UsageEvent)
		check  func(a usage.Attempt) bool
	}{
		"platform credential": {
			func(e *eventsv1.UsageEvent) {
				e.CredentialId, e.CredentialClass = r.op.credential, eventsv1.CredentialClass_CREDENTIAL_CLASS_PLATFORM
			},
			func(a usage.Attempt) bool { return a.Class == usage.Platform && *a.CostNano == costOf },
		},
		"no price": {
			func(e *eventsv1.UsageEvent) { e.Model = "openai/unheard-of" },
			func(a usage.Attempt) bool { return a.CostNano == nil && a.PriceID == "" && a.Tokens != nil },
		},
		"no rate": {
			func(e *eventsv1.UsageEvent) {
				e.Tokens = &eventsv1.TokenCounts{InputTotal: 5, CacheWrite_1H: 5}
			},
			func(a usage.Attempt) bool { return a.CostNano == nil && a.PriceID != "" },
		},
		"no counts": {
			func(e *eventsv1.UsageEvent) { e.Tokens = nil },
			func(a usage.Attempt) bool { return a.CostNano == nil && a.Tokens == nil },
		},
		"nothing used": {
			func(e *eventsv1.UsageEvent) {
				e.Tokens, e.UsageSource, e.Outcome = nil, eventsv1.UsageSource_USAGE_SOURCE_NONE, eventsv1.Outcome_OUTCOME_NOT_SENT
			},
			func(a usage.Attempt) bool { return a.CostNano != nil && *a.CostNano == 0 && a.Tokens == nil },
		},
		"explicit zero": {
			func(e *eventsv1.UsageEvent) { e.Tokens = &eventsv1.TokenCounts{} },
			func(a usage.Attempt) bool { return a.CostNano != nil && *a.CostNano == 0 && a.Tokens != nil },
		},
		"none with counts": {
			func(e *eventsv1.UsageEvent) { e.UsageSource = eventsv1.UsageSource_USAGE_SOURCE_NONE },
			func(a usage.Attempt) bool { return *a.CostNano == costOf },
		},
		"contradicting counts": {
			func(e *eventsv1.UsageEvent) { e.Tokens.InputUncached = 999 },
			func(a usage.Attempt) bool { return a.CostNano == nil && cmp.Equal(a.Flags, []string{usage.FlagCounts}) },
		},
		"future": {
			func(e *eventsv1.UsageEvent) { e.EndedTime = timestamppb.New(time.Now().Add(time.Hour)) },
			func(a usage.Attempt) bool {
				return cmp.Equal(a.Flags, []string{usage.FlagClockSkew}) && a.Ended.Before(time.Now().Add(time.Minute))
			},
		},
		"a little ahead": {
			func(e *eventsv1.UsageEvent) { e.EndedTime = timestamppb.New(time.Now().Add(4 * time.Minute)) },
			func(a usage.Attempt) bool { return len(a.Flags) == 0 && a.Ended.After(time.Now().Add(time.Minute)) },
		},
		"texts": {
			func(e *eventsv1.UsageEvent) {
				e.Session, e.User, e.Tags = long, "a\x00b", map[string]string{"k\x00": long, "": "e"}
			},
			func(a usage.Attempt) bool {
				return cmp.Equal(a.Flags, []string{usage.FlagTextCut}) && a.User == "a\uFFFDb" && len(a.Session) <= 256 && len(a.Tags) == 2
			},
		},
		"no credential": {
			func(e *eventsv1.UsageEvent) {
				e.CredentialId, e.CredentialClass, e.Tokens = "", 0, nil
				e.UsageSource = eventsv1.UsageSource_USAGE_SOURCE_NONE
			},
			func(a usage.Attempt) bool { return a.Class == usage.NoClass && *a.CostNano == 0 },
		},
		"units": {
			func(e *eventsv1.UsageEvent) {
				e.Operation, e.Model = "images", "openai/unheard-of"
				e.Units = []*eventsv1.UnitCount{{Name: "megapixel", Milli: 1050}, {Name: "image", Milli: 1000}}
			},
			func(a usage.Attempt) bool {
				return a.Operation == "images" && cmp.Equal(a.Units, []pricing.Unit{{Name: "image", Milli: 1000}, {Name: "megapixel", Milli: 1050}})
			},
		},
		"newer units": {
			func(e *eventsv1.UsageEvent) {
				e.Units = []*eventsv1.UnitCount{{Name: "parsec", Milli: 1}, {Name: "image", Milli: 2}}
			},
			func(a usage.Attempt) bool { return len(a.Units) == 1 && cmp.Equal(a.Flags, []string{usage.FlagUnit}) },
		},
		"a reported cost beside the price": {
			func(e *eventsv1.UsageEvent) { e.ReportedCostNanoUsd = new(int64(7)) },
			func(a usage.Attempt) bool {
				return *a.CostNano == costOf && a.CostSource == usage.CostByPrice && *a.ReportedNano == 7
			},
		},
		"a reported cost without a price": {
			func(e *eventsv1.UsageEvent) { e.Model, e.ReportedCostNanoUsd = "openai/unheard-of", new(int64(7)) },
			func(a usage.Attempt) bool { return *a.CostNano == 7 && a.CostSource == usage.CostByProvider },
		},
		"a reported cost that cannot be": {
			func(e *eventsv1.UsageEvent) { e.ReportedCostNanoUsd = new(int64(-7)) },
			func(a usage.Attempt) bool {
				return a.ReportedNano == nil && *a.CostNano == costOf && cmp.Equal(a.Flags, []string{usage.FlagReported})
			},
		},
		"what the router told its caller": {
			func(e *eventsv1.UsageEvent) {
				e.CredentialRevision, e.GroupId, e.CostNanoUsd, e.PriceVersion = 3, "grp_01k9qj4v8r0000000000000000", new(int64(11)), "openai/gpt-4o-mini@r"
			},
			func(a usage.Attempt) bool { // our own price decides
				return a.CredentialRevision == 3 && a.GroupID == "grp_01k9qj4v8r0000000000000000" && *a.ReckonedNano == 11 &&
					a.RouterPrice == "openai/gpt-4o-mini@r" && *a.CostNano == costOf && a.PriceID != a.RouterPrice && len(a.Flags) == 0
			},
		},
		"a reckoned cost that cannot be": {
			func(e *eventsv1.UsageEvent) {
				e.CostNanoUsd, e.PriceVersion = new(int64(usage.MaxCost+1)), strings.Repeat("p", 300)
			},
			func(a usage.Attempt) bool {
				return a.ReckonedNano == nil && *a.CostNano == costOf && len(a.RouterPrice) == 64 &&
					cmp.Equal(a.Flags, []string{usage.FlagTextCut, usage.FlagReckoned})
			},
		},
		"newer enums": {
			func(e *eventsv1.UsageEvent) { e.Outcome, e.UsageSource = 99, 99 },
			func(a usage.Attempt) bool { return a.Outcome == "" && a.Source == "" && *a.CostNano == costOf },
		},
	} {
		e := r.a.event(c.change)
		r.publish(frame(entries(r.frames.Load()+1, e), nil))
		if r.frames.Load() == 1 {
			r.start()
		}
		var got []usage.Attempt
		r.eventually(name, func() (err error) {
			got, err = r.store.AttemptsOfRequest(t.Context(), r.a.org, e.GetRequestId())
			if err == nil && len(got) != 1 {
				err = fmt.Errorf("%d attempts; quarantined: %v", len(got), r.reasons())
			}
			return err
		})
		if !c.check(got[0]) {
			t.Errorf("%s: %+v", name, got[0])
		}
	}
	r.verify()
}

func TestEventsWaitForTheConfiguration(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		r.timing.Patience = 20 * time.Second
		late := newTenant()
		key := spool.Key{Router: "r1", Epoch: "e1", Partition: jetstream.Partition(late.org)}
		newer := func(e *eventsv1.UsageEvent) { e.ConfigVersion = 5 }
		r.publish(frame(entries(1, late.event(newer)), nil))
		r.publish(frame(entries(1, r.a.event(nil)), func(f *eventsv1.UsageFrame) { f.Epoch = "e2" }))
		stop := r.start()
		r.applied()
		r.wantAttempts(r.a, 1) // what waits holds nobody up
		if marks, err := r.store.Marks(t.Context()); err != nil || marks[key].Contiguous != 0 {
			t.Errorf("a number that waits is taken as dealt with: %+v, %v", marks, err)
		}
		stop()
		r.start() // the wait outlives a restart
		r.keys.Change(late.config("late"))
		r.wantAttempts(late, 1)
		r.eventually("nothing waits", func() error {
			waiting, err := r.store.Waiting(t.Context(), 10)
			if err == nil && len(waiting) > 0 {
				err = fmt.Errorf("%d events wait", len(waiting))
			}
			return err
		})
		if marks, err := r.store.Marks(t.Context()); err != nil || marks[key].Contiguous != 1 {
			t.Errorf("marks = %+v, %v, want the number dealt with", marks, err)
		}
		if got := r.reasons(); len(got) > 0 {
			t.Errorf("quarantined: %v", got)
		}
	})
}

func TestEventsWaitNoLongerThanAWhile(t *testing.T) {
	t.Parallel()
	r := onSQLite(t)
	never := newTenant()
	r.publish(frame(entries(1, never.event(func(e *eventsv1.UsageEvent) { e.ConfigVersion = 1 << 60 })), nil))
	foreign := r.a.event(func(e *eventsv1.UsageEvent) { e.ConfigVersion, e.ApiKeyId = 1<<60, r.b.key })
	r.publish(frame(entries(1, foreign), nil)) // known to be another's: nothing to wait for
	r.keys.Mute(true)                          // while keys says nothing it may well know what we do not
	r.start()
	r.eventually("the foreign one is judged", func() error {
		if diff := cmp.Diff(map[usage.Reason]int{usage.ReasonForeignKey: 1}, r.reasons()); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
	r.eventually("its time is up", func() error {
		waiting, err := r.store.Waiting(t.Context(), 10)
		if err == nil && (len(waiting) != 1 || time.Since(waiting[0].Since) < 2*r.timing.Patience) {
			err = fmt.Errorf("waiting %+v", waiting)
		}
		return err
	})
	if got := r.reasons()[usage.ReasonUnknownOrg]; got != 0 {
		t.Fatal("an event was judged for want of configuration while keys was away")
	}
	r.keys.Mute(false)
	r.eventually("quarantine", func() error {
		want := map[usage.Reason]int{usage.ReasonUnknownOrg: 1, usage.ReasonForeignKey: 1}
		if diff := cmp.Diff(want, r.reasons()); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
	if got := r.total(never); !got.IsZero() {
		t.Errorf("total = %+v, want nothing", got)
	}
}

func TestValueThatTheDatabaseRefusesIsQuarantinedAlone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		// Five attempts of 2^60 nano-USD each leave the bounds of a sum; a price of the operator makes them.
		p := store.New(r.db)
		rate := int64(1_000_000_000_000_000)
		dear := price.Version{CreatedBy: "test", CreatedAt: time.Now()}
		dear.ID, dear.Model, dear.Source, dear.ValidFrom = id.New("price"), "openai/dear", "test", time.Unix(0, 0)
		dear.Tiers = append(dear.Tiers, tier(rate))
		if err := p.SeedPrices(t.Context(), []price.Version{dear}); err != nil {
			t.Fatal(err)
		}
		var events []*eventsv1.UsageEvent
		ended := timestamppb.Now()
		for range 6 {
			events = append(events, r.a.event(func(e *eventsv1.UsageEvent) {
				e.Model, e.EndedTime = "openai/dear", ended
				e.Tokens = &eventsv1.TokenCounts{OutputTotal: 1_100_000_000} // 1.1e18 nano-USD
			}))
		}
		events = append(events, r.b.event(nil))
		r.publish(frame(entries(1, events[:6]...), nil))
		r.publish(frame(entries(1, events[6]), func(f *eventsv1.UsageFrame) { f.Epoch = "e2" }))
		r.start()
		r.applied()
		r.wantAttempts(r.b, 1)
		if got := r.total(r.a).Attempts; got != 4 {
			t.Errorf("attempts = %d, want the 4 that fit", got)
		}
		if diff := cmp.Diff(map[usage.Reason]int{usage.ReasonStore: 2}, r.reasons()); diff != "" {
			t.Errorf("quarantined (-want +got):\n%s", diff)
		}
	})
}

func tier(rate int64) (t pricing.Tier) {
	t.Input, t.Output = &rate, &rate
	return t
}
