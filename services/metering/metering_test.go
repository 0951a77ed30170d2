package metering_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"
	"connectrpc.com/connect/v2/connectproto"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/jetstream/jetstreamtest"
	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	"github.com/claviger/claviger/services/metering"
	"github.com/claviger/claviger/services/metering/internal/follow/followtest"
	"github.com/claviger/claviger/services/metering/internal/ingest"
	"github.com/claviger/claviger/services/metering/internal/spool"
)

// rig is a running service with one organization of two members, another organization, and the
// operator's.
type rig struct {
	t     *testing.T
	keys  *followtest.Keys
	conn  *nats.Conn
	js    js.JetStream
	app   *metering.App
	org   string // "acme"
	other string // "beta"
	op    string // "platform"
	// alice and bob are members of acme with an API key each; carol is one of beta.
	alice, bob, carol person
	frames            int64
	spans             spans
}

// spans are those that are kept, by trace id, of whomever.
type spans map[string][]metering.Span

// Spans returns those of a trace.
func (s spans) Spans(traceID string) []metering.Span { return s[traceID] }

type person struct{ org, member, key, credential string }

func start(t *testing.T, db *sqldb.DB) *rig {
	t.Helper()
	r := &rig{t: t, keys: followtest.Start(t), org: id.New("org"), other: id.New("org"), op: id.New("org"), spans: spans{}}
	r.conn, r.js = jetstreamtest.Start(t).Connect()
	r.configure()
	r.app = r.launch(db)
	return r
}

// launch runs a process of the service.
func (r *rig) launch(db *sqldb.DB) *metering.App {
	r.t.Helper()
	t := r.t
	app, err := metering.Assemble(t.Context(), metering.Deps{
		DB: db, NATS: r.conn, JetStream: r.js, Keys: r.keys.Transport(), ConfigKey: r.keys.Public(),
		Environment: followtest.Environment, DataDir: t.TempDir(), Log: slog.New(slog.DiscardHandler),
		Traces: r.spans, TraceURL: "https://traces.example/{trace_id}",
	}, ingest.Timing{
		Fetch: 20 * time.Millisecond, AckWait: 2 * time.Second, Patience: 300 * time.Millisecond, Beat: 10 * time.Millisecond,
		MaxBackoff: 100 * time.Millisecond, Gaps: spool.DefaultTiming,
	})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := app.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return app
}

func (r *rig) configure() {
	batch := &keysv1.ConfigBatch{Organizations: []*keysv1.OrganizationConfig{
		{Id: r.org, Slug: "acme"}, {Id: r.other, Slug: "beta"}, {Id: r.op, Slug: "platform"},
	}}
	for _, p := range []struct {
		who *person
		org string
	}{{&r.alice, r.org}, {&r.bob, r.org}, {&r.carol, r.other}} {
		*p.who = person{org: p.org, member: id.New("mem"), key: id.New("key"), credential: id.New("cred")}
		batch.Members = append(batch.Members, &keysv1.MemberConfig{OrgId: p.org, Id: p.who.member})
		batch.ApiKeys = append(batch.ApiKeys, &keysv1.ApiKeyConfig{OrgId: p.org, Id: p.who.key, MemberId: p.who.member})
		batch.Credentials = append(batch.Credentials, &keysv1.CredentialConfig{OrgId: p.org, Id: p.who.credential, Provider: "openai"})
	}
	r.keys.Change(batch)
}

// onBoth runs f on both engines, with a service that is ready.
func onBoth(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		r := start(t, open(t))
		r.ready()
		f(t, r)
	})
}

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

func (r *rig) ready() {
	r.t.Helper()
	r.eventually("ready", func() error { return r.app.Ready(r.t.Context()) })
}

func (p person) event(change func(*eventsv1.UsageEvent)) *eventsv1.UsageEvent {
	e := &eventsv1.UsageEvent{
		AttemptId: id.New("att"), RequestId: id.New("req"), AttemptNumber: 1, OrgId: p.org, ApiKeyId: p.key, MemberId: p.member,
		CredentialId: p.credential, CredentialClass: eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN, Provider: "openai", Model: "openai/gpt-4o-mini",
		Operation: "chat", ConfigVersion: 1, StartedTime: timestamppb.New(time.Now().Add(-time.Second).Truncate(time.Microsecond)),
		EndedTime: timestamppb.New(time.Now().Truncate(time.Microsecond)), Outcome: eventsv1.Outcome_OUTCOME_OK,
		UsageSource: eventsv1.UsageSource_USAGE_SOURCE_PROVIDER_FINAL, HttpStatus: 200,
		Tokens: &eventsv1.TokenCounts{InputTotal: 1001, InputUncached: 1, CacheRead: 1000, OutputTotal: 33, Reasoning: 8},
	}
	if change != nil {
		change(e)
	}
	return e
}

// publish sends each event in a frame of its own.
func (r *rig) publish(events ...*eventsv1.UsageEvent) {
	r.t.Helper()
	for _, e := range events {
		r.frames++
		part := jetstream.Partition(e.GetOrgId())
		payload, err := proto.Marshal(&eventsv1.UsageFrame{
			Schema: 1, Router: "r1", Epoch: "e1", Partition: int32(part), Entries: []*eventsv1.UsageEntry{{Sequence: r.frames, Event: e}},
		})
		if err != nil {
			r.t.Fatal(err)
		}
		r.eventually("publish", func() error {
			_, err := r.js.PublishMsg(r.t.Context(), jetstream.NewFrame(part, "r1", fmt.Sprint(r.frames), payload))
			return err
		})
	}
}

// client calls as somebody.
type client struct {
	meteringv1connect.UsageServiceClient
	meteringv1connect.PriceServiceClient
	meteringv1connect.TraceServiceClient
}

func (r *rig) as(token string) client { return asOn(r.app, token) }

// asOn calls one of several processes.
func asOn(app *metering.App, token string) client {
	withToken := func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok && token != "" {
				info.RequestHeader().Set("Authorization", "Bearer "+token)
			}
			stream, err := next(ctx, spec)
			if err != nil {
				return nil, err
			}
			return refusable{stream}, nil
		}
	}
	c := connect.NewClient(connectinprocess.New(app.Public()), withToken)
	return client{meteringv1connect.NewUsageServiceClient(c), meteringv1connect.NewPriceServiceClient(c), meteringv1connect.NewTraceServiceClient(c)}
}

// refusable lets the reason of a refusal come from Receive: in process, Send answers a bare io.EOF.
type refusable struct{ connect.ClientStream }

// Send sends msg.
func (s refusable) Send(msg any) error {
	if err := s.ClientStream.Send(msg); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func (r *rig) member(p person, role authn.Role) client {
	slug := "acme"
	if p.org == r.other {
		slug = "beta"
	}
	return r.as(r.keys.Token(p.org, slug, p.member, role))
}

func (r *rig) operator() client {
	return r.as(r.keys.Token(r.op, "platform", id.New("mem"), authn.Owner))
}

func (r *rig) wait(c client, attempts int64) *meteringv1.QueryUsageResponse {
	r.t.Helper()
	var res *meteringv1.QueryUsageResponse
	r.eventually("usage", func() (err error) {
		res, err = c.QueryUsage(r.t.Context(), &meteringv1.QueryUsageRequest{})
		if err == nil && res.GetTotal().GetAttempts() != attempts {
			err = fmt.Errorf("%d attempts, want %d", res.GetTotal().GetAttempts(), attempts)
		}
		return err
	})
	return res
}

// reason is the stable word of an error.
func reason(err error) string {
	ce, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return ""
	}
	for _, d := range ce.Details() {
		if msg, err := connectproto.UnmarshalErrorDetail(d); err == nil {
			if info, ok := msg.(*errdetails.ErrorInfo); ok {
				return info.GetReason()
			}
		}
	}
	return ce.Message()
}

func TestUsageIsCountedPricedAndShown(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		first := r.alice.event(func(e *eventsv1.UsageEvent) {
			e.Tags = map[string]string{"team": "search"}
			e.TraceId, e.SpanId = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
			e.RequestedModel, e.ResponseModel, e.PolicyVersion, e.TargetIndex = "fast", "gpt-4o-mini-2024-07-18", 4, 2
			e.Dialect, e.Streamed, e.Session, e.User = "openai.chat", true, "s-1", "u-1"
			e.CredentialRevision, e.GroupId, e.CostNanoUsd, e.PriceVersion = 2, id.New("grp"), new(int64(99)), "price_r"
			e.DurationMicros, e.FirstContentMicros, e.FinishReason, e.ProviderRequestId = 1_000_000, 250_000, "stop", "x-1"
		})
		second := r.alice.event(func(e *eventsv1.UsageEvent) {
			e.RequestId, e.AttemptNumber = first.GetRequestId(), 2
			e.Model, e.Outcome = "openai/nobody-knows", eventsv1.Outcome_OUTCOME_BROKEN
			e.UsageSource = eventsv1.UsageSource_USAGE_SOURCE_PROVIDER_PARTIAL
		})
		r.publish(first, second, first)
		owner := r.member(r.alice, authn.Owner)
		res := r.wait(owner, 2)

		// $0.15, $0.075 and $0.60 per million tokens, exactly.
		exact := new(big.Rat).SetFrac64(1*150_000_000+1000*75_000_000+33*600_000_000, 1_000_000)
		if !exact.IsInt() {
			t.Fatal("the example has to be exact")
		}
		want := &meteringv1.UsageTotals{
			Requests: 1, Attempts: 2, Errors: 1, CostNanoUsd: exact.Num().Int64(), UnknownCostAttempts: 1, EstimatedAttempts: 1,
			Tokens: &eventsv1.TokenCounts{InputTotal: 2002, InputUncached: 2, CacheRead: 2000, OutputTotal: 66, Reasoning: 16},
		}
		if diff := cmp.Diff(want, res.GetTotal(), protocmp.Transform()); diff != "" {
			t.Errorf("total (-want +got):\n%s", diff)
		}
		grouped, err := owner.QueryUsage(t.Context(), &meteringv1.QueryUsageRequest{
			GroupBy: []meteringv1.Dimension{meteringv1.Dimension_DIMENSION_TAG, meteringv1.Dimension_DIMENSION_MODEL, meteringv1.Dimension_DIMENSION_CLASS},
			TagKey:  "team", Bucket: meteringv1.TimeBucket_TIME_BUCKET_DAY, StartTime: timestamppb.New(time.Now().Add(-time.Hour)),
		})
		if err != nil {
			t.Fatalf("QueryUsage: %v", err)
		}
		var groups []string
		for _, row := range grouped.GetRows() {
			groups = append(groups, strings.Join(row.GetGroup(), " "))
			if at := row.GetBucketTime().AsTime(); at.Truncate(24*time.Hour) != at {
				t.Errorf("bucket %v is no day", at)
			}
		}
		if diff := cmp.Diff([]string{" openai/nobody-knows own", "search openai/gpt-4o-mini own"}, groups); diff != "" {
			t.Errorf("groups (-want +got):\n%s", diff)
		}

		got, err := owner.GetRequest(t.Context(), &meteringv1.GetRequestRequest{RequestId: first.GetRequestId()})
		if err != nil {
			t.Fatalf("GetRequest: %v", err)
		}
		if got.GetCostKnown() || got.GetCostNanoUsd() != exact.Num().Int64() || len(got.GetAttempts()) != 2 {
			t.Errorf("GetRequest = %d nano-USD, known %v, %d attempts", got.GetCostNanoUsd(), got.GetCostKnown(), len(got.GetAttempts()))
		}
		if diff := cmp.Diff(first, got.GetAttempts()[0].GetEvent(), protocmp.Transform()); diff != "" {
			t.Errorf("event (-sent +shown):\n%s", diff)
		}
		if got.GetAttempts()[1].CostNanoUsd != nil || got.GetAttempts()[0].GetPriceId() == "" {
			t.Errorf("attempts = %v", got.GetAttempts())
		}
		if diff, err := r.app.Verify(t.Context()); err != nil || len(diff) > 0 {
			t.Errorf("Verify = %v, %v", diff, err)
		}
		if err := r.app.Rebuild(t.Context()); err != nil {
			t.Errorf("Rebuild: %v", err)
		}
		r.app.Maintain(t.Context())
		if diff := cmp.Diff(res.GetTotal(), r.wait(owner, 2).GetTotal(), protocmp.Transform()); diff != "" {
			t.Errorf("total after Rebuild (-before +after):\n%s", diff)
		}
	})
}

func TestNobodySeesTheUsageOfOthers(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		a, b, c := r.alice.event(nil), r.bob.event(nil), r.carol.event(nil)
		r.publish(a, b, b, b, c)
		r.publish(r.bob.event(nil))
		for name, q := range map[string]struct {
			client client
			seen   int64
			own    []*eventsv1.UsageEvent
			hidden []*eventsv1.UsageEvent
		}{
			"owner":              {r.member(r.alice, authn.Owner), 3, []*eventsv1.UsageEvent{a, b}, []*eventsv1.UsageEvent{c}},
			"admin":              {r.member(r.bob, authn.Admin), 3, []*eventsv1.UsageEvent{a, b}, []*eventsv1.UsageEvent{c}},
			"viewer":             {r.member(r.alice, authn.Viewer), 3, []*eventsv1.UsageEvent{a, b}, []*eventsv1.UsageEvent{c}},
			"member":             {r.member(r.alice, authn.Member), 1, []*eventsv1.UsageEvent{a}, []*eventsv1.UsageEvent{b, c}},
			"another member":     {r.member(r.bob, authn.Member), 2, []*eventsv1.UsageEvent{b}, []*eventsv1.UsageEvent{a, c}},
			"other organization": {r.member(r.carol, authn.Owner), 1, []*eventsv1.UsageEvent{c}, []*eventsv1.UsageEvent{a, b}},
			"operator":           {r.operator(), 0, nil, []*eventsv1.UsageEvent{a, b, c}},
		} {
			r.wait(q.client, q.seen)
			for _, e := range q.own {
				if _, err := q.client.GetRequest(t.Context(), &meteringv1.GetRequestRequest{RequestId: e.GetRequestId()}); err != nil {
					t.Errorf("%s: GetRequest of their own: %v", name, err)
				}
			}
			for _, e := range q.hidden {
				_, err := q.client.GetRequest(t.Context(), &meteringv1.GetRequestRequest{RequestId: e.GetRequestId()})
				if connect.CodeOf(err) != connect.CodeNotFound || reason(err) != "REQUEST_NOT_FOUND" {
					t.Errorf("%s: GetRequest of another's = %v, want not found", name, err)
				}
			}
			list, err := q.client.ListRequests(t.Context(), &meteringv1.ListRequestsRequest{})
			if err != nil || int64(len(list.GetAttempts())) != q.seen {
				t.Errorf("%s: ListRequests = %d attempts, %v, want %d", name, len(list.GetAttempts()), err, q.seen)
			}
			// Asking for others by name does not help.
			filtered, err := q.client.QueryUsage(t.Context(), &meteringv1.QueryUsageRequest{Filters: []*meteringv1.DimensionFilter{
				{Dimension: meteringv1.Dimension_DIMENSION_MEMBER, Values: []string{r.alice.member, r.bob.member, r.carol.member}},
			}})
			if err != nil || filtered.GetTotal().GetAttempts() != q.seen {
				t.Errorf("%s: filtered total = %v, %v, want %d", name, filtered.GetTotal(), err, q.seen)
			}
		}
	})
}

func TestPagesCoverEverythingOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		const n = 23
		for i := range n {
			r.publish(r.alice.event(func(e *eventsv1.UsageEvent) { e.Model = fmt.Sprintf("openai/m%02d", i%7) }))
		}
		owner := r.member(r.alice, authn.Owner)
		r.wait(owner, n)
		seen := map[string]bool{}
		list := &meteringv1.ListRequestsRequest{PageSize: 4}
		for {
			page, err := owner.ListRequests(t.Context(), list)
			if err != nil {
				t.Fatalf("ListRequests: %v", err)
			}
			for _, a := range page.GetAttempts() {
				if seen[a.GetEvent().GetAttemptId()] {
					t.Fatal("an attempt is on two pages")
				}
				seen[a.GetEvent().GetAttemptId()] = true
			}
			if list.PageToken = page.GetNextPageToken(); list.PageToken == "" {
				break
			}
		}
		if len(seen) != n {
			t.Errorf("pages list %d attempts, want %d", len(seen), n)
		}
		query := &meteringv1.QueryUsageRequest{
			PageSize: 3, GroupBy: []meteringv1.Dimension{meteringv1.Dimension_DIMENSION_MODEL}, Bucket: meteringv1.TimeBucket_TIME_BUCKET_HOUR,
		}
		var sum int64
		var token string
		for {
			page, err := owner.QueryUsage(t.Context(), query)
			if err != nil {
				t.Fatalf("QueryUsage: %v", err)
			}
			for _, row := range page.GetRows() {
				sum += row.GetTotals().GetAttempts()
			}
			if page.GetTotal().GetAttempts() != n {
				t.Errorf("total = %d, want that of all pages", page.GetTotal().GetAttempts())
			}
			if page.GetNextPageToken() == "" {
				break
			}
			token = page.GetNextPageToken()
			query.PageToken = token
		}
		if sum != n {
			t.Errorf("rows of all pages sum to %d, want %d", sum, n)
		}
		// A token is good for its request alone.
		for name, req := range map[string]*meteringv1.QueryUsageRequest{
			"other group":   {PageToken: token, GroupBy: []meteringv1.Dimension{meteringv1.Dimension_DIMENSION_CLASS}, Bucket: query.GetBucket()},
			"other bucket":  {PageToken: token, GroupBy: query.GetGroupBy()},
			"no token":      {PageToken: "x", GroupBy: query.GetGroupBy(), Bucket: query.GetBucket()},
			"half a token":  {PageToken: token[:len(token)/2], GroupBy: query.GetGroupBy(), Bucket: query.GetBucket()},
			"other request": {PageToken: list.GetPageToken() + "AAAA", GroupBy: query.GetGroupBy(), Bucket: query.GetBucket()},
		} {
			if _, err := owner.QueryUsage(t.Context(), req); reason(err) != "PAGE_TOKEN_INVALID" {
				t.Errorf("%s: QueryUsage = %v, want PAGE_TOKEN_INVALID", name, err)
			}
		}
	})
}

func TestBadQuestionsAreRefused(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		owner := r.member(r.alice, authn.Owner)
		now := time.Now()
		ts := timestamppb.New
		tag, model := meteringv1.Dimension_DIMENSION_TAG, meteringv1.Dimension_DIMENSION_MODEL
		for name, c := range map[string]struct {
			req  *meteringv1.QueryUsageRequest
			want string
		}{
			"end before start": {&meteringv1.QueryUsageRequest{StartTime: ts(now), EndTime: ts(now.Add(-time.Second))}, "USAGE_QUERY_INVALID"},
			"too long":         {&meteringv1.QueryUsageRequest{StartTime: ts(now.Add(-401 * 24 * time.Hour)), EndTime: ts(now)}, "USAGE_QUERY_INVALID"},
			"before 1970":      {&meteringv1.QueryUsageRequest{StartTime: ts(time.Unix(-100, 0)), EndTime: ts(time.Unix(100, 0))}, "USAGE_QUERY_INVALID"},
			"tag without key":  {&meteringv1.QueryUsageRequest{GroupBy: []meteringv1.Dimension{tag}}, "USAGE_QUERY_INVALID"},
			"key without tag":  {&meteringv1.QueryUsageRequest{GroupBy: []meteringv1.Dimension{model}, TagKey: "team"}, "USAGE_QUERY_INVALID"},
			"filter key": {&meteringv1.QueryUsageRequest{Filters: []*meteringv1.DimensionFilter{
				{Dimension: model, TagKey: "team", Values: []string{"x"}},
			}}, "USAGE_QUERY_INVALID"},
		} {
			if _, err := owner.QueryUsage(t.Context(), c.req); reason(err) != c.want || connect.CodeOf(err) != connect.CodeInvalidArgument {
				t.Errorf("%s: QueryUsage = %v, want %s", name, err, c.want)
			}
		}
		for name, req := range map[string]*meteringv1.QueryUsageRequest{
			"twice":     {GroupBy: []meteringv1.Dimension{model, model}},
			"five":      {GroupBy: []meteringv1.Dimension{1, 2, 3, 4, 5}},
			"unknown":   {GroupBy: []meteringv1.Dimension{77}},
			"bucket":    {Bucket: 9},
			"no values": {Filters: []*meteringv1.DimensionFilter{{Dimension: model}}},
		} {
			if _, err := owner.QueryUsage(t.Context(), req); connect.CodeOf(err) != connect.CodeInvalidArgument {
				t.Errorf("%s: QueryUsage = %v, want invalid argument", name, err)
			}
		}
		_, get := owner.GetRequest(t.Context(), &meteringv1.GetRequestRequest{RequestId: "a\x00b"})
		_, query := owner.QueryUsage(t.Context(), &meteringv1.QueryUsageRequest{Filters: []*meteringv1.DimensionFilter{
			{Dimension: model, Values: []string{"x", "\x00"}},
		}})
		_, list := owner.ListPrices(t.Context(), &meteringv1.ListPricesRequest{Model: "\x00"})
		for _, err := range []error{get, query, list} {
			if reason(err) != "TEXT_INVALID" {
				t.Errorf("a zero byte: %v, want TEXT_INVALID", err)
			}
		}
	})
}

func TestPricesAreAddedAndNeverChanged(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		op, owner := r.operator(), r.member(r.alice, authn.Owner)
		one, two := int64(1_000_000_000), int64(2_000_000_000)
		request := func(key string, at time.Time, rate *int64) *meteringv1.CreatePriceRequest {
			return &meteringv1.CreatePriceRequest{IdempotencyKey: key, Price: &meteringv1.Price{
				Model: "openai/ours", ValidFrom: timestamppb.New(at), Source: "contract 17",
				Tiers: []*meteringv1.PriceTier{{Input: rate, CacheRead: rate, Output: rate}},
			}}
		}
		model := func(e *eventsv1.UsageEvent) { e.Model = "openai/ours" }
		r.publish(r.alice.event(model))
		if got := r.wait(owner, 1).GetTotal(); got.GetUnknownCostAttempts() != 1 || got.GetCostNanoUsd() != 0 {
			t.Fatalf("total without a price = %v, want an unknown cost", got)
		}
		from := time.Now().Add(-time.Hour)
		for name, c := range map[string]client{"owner of an organization": owner, "member of the operator": r.as(r.keys.Token(r.op, "platform", "mem_x", authn.Member))} {
			if _, err := c.CreatePrice(t.Context(), request("k", from, &one)); connect.CodeOf(err) != connect.CodePermissionDenied {
				t.Errorf("%s: CreatePrice = %v, want denied", name, err)
			}
		}
		created, err := op.CreatePrice(t.Context(), request("k", from, &one))
		if err != nil {
			t.Fatalf("CreatePrice: %v", err)
		}
		if !id.Valid("price", created.GetPrice().GetId()) {
			t.Errorf("id = %q", created.GetPrice().GetId())
		}
		again, err := op.CreatePrice(t.Context(), request("k", from, &one))
		if diff := cmp.Diff(created, again, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("CreatePrice again: %v (-first +again):\n%s", err, diff)
		}
		if _, err := op.CreatePrice(t.Context(), request("k", from, &two)); reason(err) != "IDEMPOTENCY_KEY_REUSED" {
			t.Errorf("CreatePrice with a used key = %v", err)
		}
		if _, err := op.CreatePrice(t.Context(), request("k2", from, &two)); reason(err) != "PRICE_EXISTS" {
			t.Errorf("CreatePrice from the same moment = %v", err)
		}
		for name, change := range map[string]func(*meteringv1.Price){
			"no slug":      func(p *meteringv1.Price) { p.Model = "ours" },
			"no rates":     func(p *meteringv1.Price) { p.Tiers = nil },
			"unit twice":   func(p *meteringv1.Price) { p.Units = []*meteringv1.UnitRate{{Name: "image"}, {Name: "image"}} },
			"no such unit": func(p *meteringv1.Price) { p.Units = []*meteringv1.UnitRate{{Name: "token", NanoUsd: &one}} },
			"first tier":   func(p *meteringv1.Price) { p.Tiers[0].MinInputTokens = 5 },
			"tiers":        func(p *meteringv1.Price) { p.Tiers = append(p.Tiers, p.Tiers[0]) },
			"before 1970":  func(p *meteringv1.Price) { p.ValidFrom = timestamppb.New(time.Unix(-5, 0)) },
			"zero byte":    func(p *meteringv1.Price) { p.Source = "a\x00" },
			"no such time": func(p *meteringv1.Price) { p.ValidFrom = &timestamppb.Timestamp{Seconds: 1 << 60} },
		} {
			req := request("bad "+name, from, &one)
			change(req.GetPrice())
			if _, err := op.CreatePrice(t.Context(), req); connect.CodeOf(err) != connect.CodeInvalidArgument {
				t.Errorf("%s: CreatePrice = %v, want invalid argument", name, err)
			}
		}
		event := r.alice.event(model)
		r.publish(event)
		got := r.wait(owner, 2).GetTotal()
		if got.GetUnknownCostAttempts() != 1 || got.GetCostNanoUsd() != 1034*1000 {
			t.Errorf("total with a price = %v, want the second attempt's cost", got)
		}
		shown, err := owner.GetRequest(t.Context(), &meteringv1.GetRequestRequest{RequestId: event.GetRequestId()})
		if err != nil || shown.GetAttempts()[0].GetPriceId() != created.GetPrice().GetId() {
			t.Errorf("GetRequest = %v, %v, want the price's id", shown, err)
		}
		// The book: ours and the shipped one, page by page.
		count, req := map[string]int{}, &meteringv1.ListPricesRequest{PageSize: 7}
		for {
			page, err := owner.ListPrices(t.Context(), req)
			if err != nil {
				t.Fatalf("ListPrices: %v", err)
			}
			for _, p := range page.GetPrices() {
				count[p.GetId()]++
			}
			if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
				break
			}
		}
		if count[created.GetPrice().GetId()] != 1 || len(count) < 60 {
			t.Errorf("ListPrices = %d versions, ours %d times", len(count), count[created.GetPrice().GetId()])
		}
		dated, err := owner.ListPrices(t.Context(), &meteringv1.ListPricesRequest{Model: "openai/gpt-5.6-sol"})
		if err != nil || len(dated.GetPrices()) != 2 || dated.GetPrices()[0].GetValidFrom().AsTime().Before(dated.GetPrices()[1].GetValidFrom().AsTime()) {
			t.Errorf("ListPrices of one model = %v, %v, want two versions, the newest first", dated.GetPrices(), err)
		}
	})
}

// TestAnOperatorPricesWhatNoBookKnows gives Pollo.AI's credits a worth: what is counted from then on has a
// cost by it, and what the provider says of its own stays beside.
func TestAnOperatorPricesWhatNoBookKnows(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		owner := r.member(r.alice, authn.Owner)
		video := func(said *int64) *eventsv1.UsageEvent {
			return r.alice.event(func(e *eventsv1.UsageEvent) {
				e.Operation, e.Model, e.Tokens = "videos", "openai/clip", nil
				e.Units = []*eventsv1.UnitCount{{Name: "request", Milli: 1000}, {Name: "credit", Milli: 12_500}}
				e.ReportedCostNanoUsd = said
			})
		}
		said := int64(900_000_000)
		r.publish(video(nil), video(&said))
		before := r.wait(owner, 2).GetTotal()
		if before.GetUnknownCostAttempts() != 1 || before.GetCostNanoUsd() != said || before.GetProviderCostNanoUsd() != said {
			t.Errorf("total without a price = %v, want one unknown cost, and one that the provider says", before)
		}
		worth := int64(60_000_000)
		created, err := r.operator().CreatePrice(t.Context(), &meteringv1.CreatePriceRequest{IdempotencyKey: "k", Price: &meteringv1.Price{
			Model: "openai/clip", ValidFrom: timestamppb.New(time.Now().Add(-time.Hour)), Source: "contract 18",
			Units: []*meteringv1.UnitRate{{Name: "credit", NanoUsd: &worth}},
		}})
		if err != nil {
			t.Fatalf("CreatePrice: %v", err)
		}
		listed, err := owner.ListPrices(t.Context(), &meteringv1.ListPricesRequest{Model: "openai/clip"})
		if err != nil || len(listed.GetPrices()) != 1 {
			t.Fatalf("ListPrices = %v, %v", listed, err)
		}
		if diff := cmp.Diff(created.GetPrice(), listed.GetPrices()[0], protocmp.Transform()); diff != "" || len(listed.GetPrices()[0].GetUnits()) != 1 {
			t.Errorf("price (-created +listed):\n%s", diff)
		}
		later := video(&said)
		r.publish(later)
		after := r.wait(owner, 3).GetTotal()
		if got := after.GetCostNanoUsd() - before.GetCostNanoUsd(); got != 750_000_000 || after.GetReportedCostNanoUsd() != 2*said {
			t.Errorf("12.5 credits cost %d, and providers say %d", got, after.GetReportedCostNanoUsd())
		}
		var units []string
		for _, u := range after.GetUnits() {
			units = append(units, fmt.Sprint(u.GetName(), " ", u.GetMilli()))
		}
		if diff := cmp.Diff([]string{"request 3000", "credit 37500"}, units); diff != "" {
			t.Errorf("units (-want +got):\n%s", diff)
		}
		shown, err := owner.GetRequest(t.Context(), &meteringv1.GetRequestRequest{RequestId: later.GetRequestId()})
		if err != nil || shown.GetAttempts()[0].GetCostSource() != meteringv1.CostSource_COST_SOURCE_PRICE || shown.GetAttempts()[0].GetEvent().GetReportedCostNanoUsd() != said {
			t.Errorf("GetRequest = %v, %v, want the price's cost beside what the provider says", shown, err)
		}
		if diff, err := r.app.Verify(t.Context()); err != nil || len(diff) > 0 {
			t.Errorf("Verify = %v, %v", diff, err)
		}
	})
}

func TestEveryMethodAsksWhoIsCalling(t *testing.T) {
	t.Parallel()
	r := start(t, sqltest.Open(t, sqltest.SQLite(t)))
	r.ready()
	methods := 0
	for spec := range r.app.Public().Specs() {
		method, _ := spec.Schema.(protoreflect.MethodDescriptor)
		if intercept.RuleOf(method) == nil {
			t.Errorf("%s has no access rule", spec.Procedure)
		}
		methods++
	}
	if methods != 8 {
		t.Errorf("%d methods are public, want 8", methods)
	}
	for name, token := range map[string]string{
		"nobody": "", "nonsense": "abc", "another installation's": followtest.Start(t).Token(r.org, "acme", r.alice.member, authn.Owner),
	} {
		c := r.as(token)
		_, query := c.QueryUsage(t.Context(), &meteringv1.QueryUsageRequest{})
		_, list := c.ListRequests(t.Context(), &meteringv1.ListRequestsRequest{})
		_, get := c.GetRequest(t.Context(), &meteringv1.GetRequestRequest{RequestId: "req_x"})
		_, prices := c.ListPrices(t.Context(), &meteringv1.ListPricesRequest{})
		_, create := c.CreatePrice(t.Context(), &meteringv1.CreatePriceRequest{})
		_, uses := c.ListLastUses(t.Context(), &meteringv1.ListLastUsesRequest{})
		_, trace := c.GetTrace(t.Context(), &meteringv1.GetTraceRequest{RequestId: "req_x"})
		watch, err := c.WatchRequests(t.Context(), &meteringv1.WatchRequestsRequest{})
		if err == nil {
			_, err = watch.Receive()
		}
		for _, err := range []error{query, list, get, prices, create, uses, trace, err} {
			if connect.CodeOf(err) != connect.CodeUnauthenticated {
				t.Errorf("%s: %v, want unauthenticated", name, err)
			}
		}
	}
}

func TestServiceStartsBeforeItsDatabase(t *testing.T) {
	t.Parallel()
	server := sqltest.Server(t)
	server.Stop()
	r := start(t, sqltest.Open(t, server.URL()))
	if err := r.app.Ready(t.Context()); err == nil {
		t.Error("ready without a database")
	}
	if _, err := r.member(r.alice, authn.Owner).QueryUsage(t.Context(), &meteringv1.QueryUsageRequest{}); reason(err) != "METERING_STARTING" {
		t.Errorf("QueryUsage before anything is there = %v", err)
	}
	server.Start()
	r.ready()
	owner := r.member(r.alice, authn.Owner)
	r.publish(r.alice.event(nil))
	r.wait(owner, 1)
	server.Stop()
	if _, err := owner.QueryUsage(t.Context(), &meteringv1.QueryUsageRequest{}); reason(err) != "DATABASE_UNAVAILABLE" {
		t.Errorf("QueryUsage without a database = %v", err)
	}
	if err := r.app.Ready(t.Context()); err == nil {
		t.Error("ready without a database")
	}
	server.Start()
	r.publish(r.alice.event(nil))
	r.wait(owner, 2)
}
