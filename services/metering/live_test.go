package metering_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	"github.com/claviger/claviger/services/metering"
)

// watch is an open stream and what it has said.
type watch struct {
	t      *testing.T
	stream meteringv1connect.UsageServiceWatchRequestsClientStream
	cancel context.CancelFunc
	token  string
	seen   []string // attempt ids
}

func open(t *testing.T, c client, req *meteringv1.WatchRequestsRequest) *watch {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	stream, err := c.WatchRequests(ctx, req)
	if err != nil {
		t.Fatalf("WatchRequests: %v", err)
	}
	w := &watch{t: t, stream: stream, cancel: cancel}
	if err := w.next(); err != nil || len(w.seen) > 0 || w.token == "" {
		t.Fatalf("the first message: %v, %d attempts, token %q, want a sign of life with a token", err, len(w.seen), w.token)
	}
	return w
}

func (w *watch) next() error {
	res, err := w.stream.Receive()
	if err != nil {
		return err
	}
	w.token = res.GetResumeToken()
	for _, a := range res.GetAttempts() {
		w.seen = append(w.seen, a.GetEvent().GetAttemptId())
	}
	return nil
}

// until reads until n attempts have come.
func (w *watch) until(n int) []string {
	w.t.Helper()
	for len(w.seen) < n {
		if err := w.next(); err != nil {
			w.t.Fatalf("after %d attempts, want %d: %v", len(w.seen), n, err)
		}
	}
	return w.seen
}

func ids(events ...*eventsv1.UsageEvent) (all []string) {
	for _, e := range events {
		all = append(all, e.GetAttemptId())
	}
	return all
}

func TestRequestsAppearAsTheyAreCounted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		owner := r.member(r.alice, authn.Owner)
		r.publish(r.alice.event(nil))
		r.wait(owner, 1)
		failed := func(e *eventsv1.UsageEvent) { e.Outcome = eventsv1.Outcome_OUTCOME_ERROR }
		all := open(t, owner, &meteringv1.WatchRequestsRequest{})
		errorsOnly := open(t, owner, &meteringv1.WatchRequestsRequest{ErrorsOnly: true, Filters: []*meteringv1.DimensionFilter{
			{Dimension: meteringv1.Dimension_DIMENSION_API_KEY, Values: []string{r.alice.key}},
		}})
		member := open(t, r.member(r.bob, authn.Member), &meteringv1.WatchRequestsRequest{})
		nosy := open(t, r.member(r.bob, authn.Member), &meteringv1.WatchRequestsRequest{Filters: []*meteringv1.DimensionFilter{
			{Dimension: meteringv1.Dimension_DIMENSION_MEMBER, Values: []string{r.alice.member, r.bob.member}},
		}})
		foreign := open(t, r.member(r.carol, authn.Owner), &meteringv1.WatchRequestsRequest{})

		a, b, c, d := r.alice.event(nil), r.bob.event(failed), r.carol.event(nil), r.alice.event(failed)
		r.publish(a, b, c, d, a)
		for name, w := range map[string]struct {
			watch *watch
			want  []string
		}{
			"owner": {all, ids(a, b, d)}, "errors of a key": {errorsOnly, ids(d)}, "member": {member, ids(b)},
			"member who asks for others": {nosy, ids(b)}, "other organization": {foreign, ids(c)},
		} {
			if diff := cmp.Diff(w.want, w.watch.until(len(w.want))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
		// One that was cut goes on where it was, on another connection.
		all.cancel()
		e, f := r.bob.event(nil), r.alice.event(nil)
		r.publish(e, f)
		r.wait(owner, 6)
		again := open(t, owner, &meteringv1.WatchRequestsRequest{ResumeToken: all.token})
		g := r.alice.event(nil)
		r.publish(g)
		if diff := cmp.Diff(ids(e, f, g), again.until(3)); diff != "" {
			t.Errorf("resumed (-want +got):\n%s", diff)
		}
		// A token is good for its organization and its filters alone.
		for name, c := range map[string]struct {
			client client
			req    *meteringv1.WatchRequestsRequest
		}{
			"other organization": {r.member(r.carol, authn.Owner), &meteringv1.WatchRequestsRequest{ResumeToken: again.token}},
			"other filters":      {owner, &meteringv1.WatchRequestsRequest{ResumeToken: again.token, ErrorsOnly: true}},
			"half a token":       {owner, &meteringv1.WatchRequestsRequest{ResumeToken: again.token[:len(again.token)/2]}},
			"no token":           {owner, &meteringv1.WatchRequestsRequest{ResumeToken: "x"}},
		} {
			stream, err := c.client.WatchRequests(t.Context(), c.req)
			if err == nil {
				_, err = stream.Receive()
			}
			if reason(err) != "RESUME_TOKEN_INVALID" || connect.CodeOf(err) != connect.CodeInvalidArgument {
				t.Errorf("%s: %v, want RESUME_TOKEN_INVALID", name, err)
			}
		}
		r.app.Drain()
		var err error
		for err == nil {
			err = again.next()
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("a watch ends with %v when the process drains, want a clean end", err)
		}
	})
}

// TestALaterTruthTakesThePlaceOfTheFirst has a video whose cost is known after it was shown: the feed tells
// of it again, and lists, details and sums say the newest alone.
func TestALaterTruthTakesThePlaceOfTheFirst(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		owner := r.member(r.alice, authn.Owner)
		w := open(t, owner, &meteringv1.WatchRequestsRequest{})
		cost := int64(1_250_000_000)
		first := r.alice.event(func(e *eventsv1.UsageEvent) {
			e.Operation, e.Model, e.Tokens, e.UsageSource = "videos", "openai/clip", nil, eventsv1.UsageSource_USAGE_SOURCE_ESTIMATED
		})
		later := proto.CloneOf(first)
		later.Revision, later.Outcome, later.UsageSource = 1, eventsv1.Outcome_OUTCOME_ERROR, eventsv1.UsageSource_USAGE_SOURCE_PROVIDER_FINAL
		later.Units, later.ReportedCostNanoUsd = []*eventsv1.UnitCount{{Name: "second", Milli: 5040}}, &cost
		r.publish(first)
		r.wait(owner, 1)
		r.publish(later, first, later)
		marker := r.alice.event(nil)
		r.publish(marker)
		if diff := cmp.Diff(ids(first, later, marker), w.until(3)); diff != "" {
			t.Errorf("watched (-want +got):\n%s", diff)
		}
		total := r.wait(owner, 2).GetTotal()
		if total.GetErrors() != 1 || total.GetReportedCostNanoUsd() != cost || total.GetProviderCostNanoUsd() != cost || total.GetUnknownCostAttempts() != 0 ||
			total.GetEstimatedAttempts() != 0 || len(total.GetUnits()) != 1 || total.GetUnits()[0].GetMilli() != 5040 {
			t.Errorf("total = %v, want the later truth's alone", total)
		}
		detail, err := owner.GetRequest(t.Context(), &meteringv1.GetRequestRequest{RequestId: first.GetRequestId()})
		if err != nil || len(detail.GetAttempts()) != 1 {
			t.Fatalf("GetRequest = %v, %v", detail, err)
		}
		shown := detail.GetAttempts()[0]
		if diff := cmp.Diff(later, shown.GetEvent(), protocmp.Transform()); diff != "" || shown.GetCostNanoUsd() != cost || shown.GetCostSource() != meteringv1.CostSource_COST_SOURCE_PROVIDER {
			t.Errorf("shown at %d from %v (-later truth +shown):\n%s", shown.GetCostNanoUsd(), shown.GetCostSource(), diff)
		}
		list, err := owner.ListRequests(t.Context(), &meteringv1.ListRequestsRequest{ErrorsOnly: true})
		if err != nil || len(list.GetAttempts()) != 1 || list.GetAttempts()[0].GetEvent().GetRevision() != 1 {
			t.Errorf("ListRequests = %v, %v, want the later truth", list.GetAttempts(), err)
		}
	})
}

// TestAnotherProcessShowsWhatThisOneCounts has three processes on one database: one applies usage, and the
// watches of all see all of it, once and in one order, while they end and are resumed on another process.
func TestAnotherProcessShowsWhatThisOneCounts(t *testing.T) {
	t.Parallel()
	url := sqltest.Postgres(t)
	r := start(t, sqltest.Open(t, url))
	apps := []*metering.App{r.app, r.launch(sqltest.Open(t, url)), r.launch(sqltest.Open(t, url))}
	token := r.keys.Token(r.org, "acme", r.alice.member, authn.Owner)
	for _, app := range apps {
		r.eventually("ready", func() error { return app.Ready(t.Context()) })
	}
	watches := make([]*watch, len(apps))
	for i, app := range apps {
		watches[i] = open(t, asOn(app, token), &meteringv1.WatchRequestsRequest{})
	}
	const rounds, each = 4, 25
	var sent []string
	got := make([][]string, len(apps))
	for round := range rounds {
		for range each {
			e := []person{r.alice, r.bob, r.carol}[len(sent)%2].event(nil)
			r.publish(e)
			sent = append(sent, e.GetAttemptId())
		}
		for i, w := range watches {
			got[i] = append(got[i], w.until(each)...)
			w.cancel()
			watches[i] = open(t, asOn(apps[(i+round)%len(apps)], token), &meteringv1.WatchRequestsRequest{ResumeToken: w.token})
		}
	}
	for i := range apps {
		if diff := cmp.Diff(got[0], got[i]); diff != "" {
			t.Errorf("watch %d differs from the first (-first +this):\n%s", i, diff)
		}
		if diff := cmp.Diff(slices.Sorted(slices.Values(sent)), slices.Sorted(slices.Values(got[i]))); diff != "" {
			t.Errorf("watch %d (-sent +seen):\n%s", i, diff)
		}
	}
}

func TestAWatchEndsBeforeItsToken(t *testing.T) {
	t.Parallel()
	r := start(t, sqltest.Open(t, sqltest.SQLite(t)))
	r.ready()
	as := func(life time.Duration) client {
		return r.as(r.keys.TokenFor(life, r.org, "acme", r.alice.member, authn.Owner))
	}
	begin := time.Now()
	w := open(t, as(12*time.Second), &meteringv1.WatchRequestsRequest{})
	err := w.next()
	if took := time.Since(begin); !errors.Is(err, io.EOF) || took > 6*time.Second {
		t.Errorf("ended with %v after %v, want a clean end some ten seconds before the token", err, took)
	}
	stream, err := as(5*time.Second).WatchRequests(t.Context(), &meteringv1.WatchRequestsRequest{})
	if err == nil {
		_, err = stream.Receive()
	}
	if reason(err) != "TOKEN_EXPIRED" || connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("a token that is about to expire: %v, want TOKEN_EXPIRED", err)
	}
}

func TestListsKeepWhatTheFiltersSay(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		owner := r.member(r.alice, authn.Owner)
		a := r.alice.event(nil)
		b := r.bob.event(func(e *eventsv1.UsageEvent) { e.Outcome = eventsv1.Outcome_OUTCOME_ERROR })
		c := r.alice.event(func(e *eventsv1.UsageEvent) {
			e.Outcome, e.Model, e.Tags = eventsv1.Outcome_OUTCOME_BROKEN, "openai/x", map[string]string{"team": "search"}
		})
		r.publish(a, b, c)
		r.wait(owner, 3)
		key := &meteringv1.DimensionFilter{Dimension: meteringv1.Dimension_DIMENSION_API_KEY, Values: []string{r.alice.key}}
		both := &meteringv1.DimensionFilter{Dimension: meteringv1.Dimension_DIMENSION_API_KEY, Values: []string{r.alice.key, r.bob.key}}
		for name, q := range map[string]struct {
			client client
			req    *meteringv1.ListRequestsRequest
			want   []string
		}{
			"errors":      {owner, &meteringv1.ListRequestsRequest{ErrorsOnly: true}, ids(b, c)},
			"key":         {owner, &meteringv1.ListRequestsRequest{Filters: []*meteringv1.DimensionFilter{key}}, ids(a, c)},
			"key, errors": {owner, &meteringv1.ListRequestsRequest{ErrorsOnly: true, Filters: []*meteringv1.DimensionFilter{key}}, ids(c)},
			"tag": {owner, &meteringv1.ListRequestsRequest{Filters: []*meteringv1.DimensionFilter{
				{Dimension: meteringv1.Dimension_DIMENSION_TAG, TagKey: "team", Values: []string{"search"}},
			}}, ids(c)},
			"member": {r.member(r.bob, authn.Member), &meteringv1.ListRequestsRequest{Filters: []*meteringv1.DimensionFilter{both}}, ids(b)},
			"others": {r.member(r.carol, authn.Owner), &meteringv1.ListRequestsRequest{Filters: []*meteringv1.DimensionFilter{both}}, nil},
		} {
			res, err := q.client.ListRequests(t.Context(), q.req)
			if err != nil {
				t.Fatalf("%s: ListRequests: %v", name, err)
			}
			var got []string
			for _, a := range res.GetAttempts() {
				got = append(got, a.GetEvent().GetAttemptId())
			}
			slices.Sort(got)
			if diff := cmp.Diff(slices.Sorted(slices.Values(q.want)), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
		page, err := owner.ListRequests(t.Context(), &meteringv1.ListRequestsRequest{PageSize: 1, ErrorsOnly: true})
		if err != nil || page.GetNextPageToken() == "" {
			t.Fatalf("a page of one: %v, %v", page, err)
		}
		_, err = owner.ListRequests(t.Context(), &meteringv1.ListRequestsRequest{PageSize: 1, PageToken: page.GetNextPageToken()})
		if reason(err) != "PAGE_TOKEN_INVALID" {
			t.Errorf("the token with other filters: %v", err)
		}
		_, err = owner.ListRequests(t.Context(), &meteringv1.ListRequestsRequest{Filters: []*meteringv1.DimensionFilter{
			{Dimension: meteringv1.Dimension_DIMENSION_MODEL, TagKey: "team", Values: []string{"x"}},
		}})
		if reason(err) != "USAGE_QUERY_INVALID" {
			t.Errorf("a filter that is none: %v", err)
		}
	})
}

func TestLastUsesAreSeenByWhomTheyConcern(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		now := time.Now().UTC().Truncate(time.Microsecond)
		at := func(ago time.Duration, credential string) func(*eventsv1.UsageEvent) {
			return func(e *eventsv1.UsageEvent) {
				e.EndedTime = timestamppb.New(now.Add(-ago))
				if credential != "" {
					e.CredentialId = credential
				}
			}
		}
		r.publish(r.alice.event(at(time.Hour, "")), r.alice.event(at(2*time.Hour, "")), r.bob.event(at(time.Minute, r.alice.credential)), r.carol.event(at(time.Second, "")))
		r.wait(r.member(r.alice, authn.Owner), 3)
		r.wait(r.member(r.carol, authn.Owner), 1)
		key, credential := meteringv1.Dimension_DIMENSION_API_KEY, meteringv1.Dimension_DIMENSION_CREDENTIAL
		for name, c := range map[string]struct {
			client    client
			dimension meteringv1.Dimension
			want      map[string]time.Duration
		}{
			"owner, keys":         {r.member(r.alice, authn.Owner), key, map[string]time.Duration{r.alice.key: time.Hour, r.bob.key: time.Minute}},
			"owner, credentials":  {r.member(r.alice, authn.Owner), credential, map[string]time.Duration{r.alice.credential: time.Minute}},
			"member, keys":        {r.member(r.alice, authn.Member), key, map[string]time.Duration{r.alice.key: time.Hour}},
			"member, credentials": {r.member(r.alice, authn.Member), credential, map[string]time.Duration{r.alice.credential: time.Hour}},
			"others":              {r.member(r.carol, authn.Owner), key, map[string]time.Duration{r.carol.key: time.Second}},
			"operator":            {r.operator(), credential, map[string]time.Duration{}},
		} {
			res, err := c.client.ListLastUses(t.Context(), &meteringv1.ListLastUsesRequest{Dimension: c.dimension, Ids: []string{
				r.alice.key, r.bob.key, r.carol.key, r.alice.credential, r.bob.credential, r.carol.credential, "key_never",
			}})
			if err != nil {
				t.Fatalf("%s: ListLastUses: %v", name, err)
			}
			got := map[string]time.Duration{}
			for _, u := range res.GetLastUses() {
				got[u.GetId()] = now.Sub(u.GetLastTime().AsTime())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
		owner := r.member(r.alice, authn.Owner)
		for name, req := range map[string]*meteringv1.ListLastUsesRequest{
			"dimension": {Dimension: meteringv1.Dimension_DIMENSION_MODEL, Ids: []string{"x"}}, "no ids": {Dimension: key},
			"zero byte": {Dimension: key, Ids: []string{"a\x00"}}, "too many": {Dimension: key, Ids: slices.Repeat([]string{"x"}, 501)},
		} {
			if _, err := owner.ListLastUses(t.Context(), req); connect.CodeOf(err) != connect.CodeInvalidArgument {
				t.Errorf("%s: ListLastUses = %v, want invalid argument", name, err)
			}
		}
	})
}

func TestATraceShowsTheCallersOwnSpansAlone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		const traceID = "0af7651916cd43dd8448eb211c80319c"
		traced := func(n int) func(*eventsv1.UsageEvent) {
			return func(e *eventsv1.UsageEvent) { e.TraceId, e.SpanId = traceID, fmt.Sprintf("%016x", n) }
		}
		// Carol calls with the trace of Alice's request, which she has heard of.
		a, b, c, untraced := r.alice.event(traced(1)), r.bob.event(traced(2)), r.carol.event(traced(3)), r.alice.event(nil)
		begin := time.Now().UTC().Truncate(time.Microsecond)
		for i, e := range []*eventsv1.UsageEvent{a, b, c} {
			edge := fmt.Sprintf("%016x", 100+i)
			r.spans[traceID] = append(r.spans[traceID],
				metering.Span{SpanID: edge, Name: "edge", Service: "router", Start: begin, Duration: 1500 * time.Microsecond, Attributes: map[string]string{
					"claviger.org_id": e.GetOrgId(), "claviger.request_id": e.GetRequestId(), "user.agent": e.GetMemberId(),
				}},
				metering.Span{
					SpanID: e.GetSpanId(), ParentID: edge, Name: "attempt", Service: "router", Start: begin.Add(time.Millisecond), Error: true,
					Attributes: map[string]string{"claviger.org_id": e.GetOrgId()},
				})
		}
		r.publish(a, b, c, untraced)
		r.wait(r.member(r.alice, authn.Owner), 3)
		r.wait(r.member(r.carol, authn.Owner), 1)
		for name, q := range map[string]struct {
			client client
			event  *eventsv1.UsageEvent
		}{
			"owner":              {r.member(r.alice, authn.Owner), a},
			"owner, of a member": {r.member(r.alice, authn.Owner), b},
			"member":             {r.member(r.bob, authn.Member), b},
			"other organization": {r.member(r.carol, authn.Owner), c},
		} {
			res, err := q.client.GetTrace(t.Context(), &meteringv1.GetTraceRequest{RequestId: q.event.GetRequestId()})
			if err != nil {
				t.Fatalf("%s: GetTrace: %v", name, err)
			}
			if res.GetTraceId() != traceID || res.GetLink() != "https://traces.example/"+traceID || len(res.GetSpans()) != 2 {
				t.Fatalf("%s: GetTrace = %v", name, res)
			}
			edge, attempt := res.GetSpans()[0], res.GetSpans()[1]
			if edge.GetAttributes()["user.agent"] != q.event.GetMemberId() || attempt.GetSpanId() != q.event.GetSpanId() ||
				attempt.GetParentSpanId() != edge.GetSpanId() || !attempt.GetError() || edge.GetDurationMicros() != 1500 ||
				edge.GetService() != "router" || !edge.GetStartTime().AsTime().Equal(begin) {
				t.Errorf("%s: spans = %v", name, res.GetSpans())
			}
		}
		for name, q := range map[string]struct {
			client client
			event  *eventsv1.UsageEvent
		}{
			"another organization's": {r.member(r.carol, authn.Owner), a},
			"another member's":       {r.member(r.bob, authn.Member), a},
			"operator":               {r.operator(), a},
		} {
			_, err := q.client.GetTrace(t.Context(), &meteringv1.GetTraceRequest{RequestId: q.event.GetRequestId()})
			if reason(err) != "REQUEST_NOT_FOUND" || connect.CodeOf(err) != connect.CodeNotFound {
				t.Errorf("%s: GetTrace = %v, want not found", name, err)
			}
		}
		res, err := r.member(r.alice, authn.Owner).GetTrace(t.Context(), &meteringv1.GetTraceRequest{RequestId: untraced.GetRequestId()})
		if err != nil || res.GetTraceId() != "" || res.GetLink() != "" || len(res.GetSpans()) > 0 {
			t.Errorf("a request without a trace: %v, %v", res, err)
		}
	})
}
