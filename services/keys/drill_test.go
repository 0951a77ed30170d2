package keys_test

import (
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
)

func (p *person) drills() keysv1connect.DrillServiceClient {
	return keysv1connect.NewDrillServiceClient(p.client)
}

// drillRequest asks for a drill of a fresh credential and API key.
func (p *person) drillRequest(name string) *keysv1.StartDrillRequest {
	p.r.t.Helper()
	return &keysv1.StartDrillRequest{
		CredentialId: p.credential(name).GetId(), ApiKeyId: p.apiKey(name, "").GetApiKey().GetId(),
		Fault: keysv1.DrillFault_DRILL_FAULT_RATE_LIMITED, IdempotencyKey: name,
	}
}

func (p *person) drill(name string) *keysv1.Drill {
	p.r.t.Helper()
	res, err := p.drills().StartDrill(p.r.t.Context(), p.drillRequest(name))
	p.r.must(err)
	return res.GetDrill()
}

// org is the person's organization.
func (p *person) org() string {
	p.r.t.Helper()
	res, err := p.orgs.GetOrganization(p.r.t.Context(), &keysv1.GetOrganizationRequest{})
	p.r.must(err)
	return res.GetOrganization().GetId()
}

func (p *person) credentialNow(id string) *keysv1.Credential {
	p.r.t.Helper()
	res, err := p.creds.GetCredential(p.r.t.Context(), &keysv1.GetCredentialRequest{Id: id})
	p.r.must(err)
	return res.GetCredential()
}

func (p *person) drillNow(id string) *keysv1.Drill {
	p.r.t.Helper()
	res, err := p.drills().GetDrill(p.r.t.Context(), &keysv1.GetDrillRequest{Id: id})
	p.r.must(err)
	return res.GetDrill()
}

func (w *watching) drill(id string) *keysv1.DrillConfig {
	d, _ := w.config[id].(*keysv1.DrillConfig)
	return d
}

func TestADrillReachesRoutersUntilItIsStoppedOrOver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	router, metering := r.watch(r.app, "router", 0), r.watch(r.app, "metering", 0)
	stopped := r.owner.drill("stopped")
	if got := stopped.GetEndTime().AsTime().Sub(stopped.GetStartTime().AsTime()); got != time.Minute {
		t.Errorf("a drill of no duration takes %s, want a minute", got)
	}
	router.until("the drill", func() bool { return router.drill(stopped.GetId()) != nil })
	want := &keysv1.DrillConfig{
		OrgId: r.orgID, Id: stopped.GetId(), CredentialId: stopped.GetCredentialId(), ApiKeyId: stopped.GetApiKeyId(),
		Fault: keysv1.DrillFault_DRILL_FAULT_RATE_LIMITED, EndTime: stopped.GetEndTime(),
	}
	if diff := cmp.Diff(want, router.drill(stopped.GetId()), protocmp.Transform()); diff != "" {
		t.Errorf("routers are told (-want +got):\n%s", diff)
	}
	fresh := r.watch(r.app, "router", 0)
	fresh.until("the drill, for a router that begins now", func() bool { return fresh.drill(stopped.GetId()) != nil })
	r.clock.Advance(10 * time.Second)
	res, err := r.owner.drills().StopDrill(t.Context(), &keysv1.StopDrillRequest{Id: stopped.GetId(), IdempotencyKey: "1"})
	r.must(err)
	if end := res.GetDrill().GetEndTime().AsTime(); !end.Equal(r.clock.Now()) {
		t.Errorf("a stopped drill ends at %s, want now, %s", end, r.clock.Now())
	}
	router.until("the drill gone", func() bool { return router.drill(stopped.GetId()) == nil })
	over := r.owner.drill("over")
	router.until("another drill", func() bool { return router.drill(over.GetId()) != nil })
	metering.until("everything", func() bool { return metering.version >= router.version })
	if metering.config[over.GetId()] != nil {
		t.Error("metering is told of drills")
	}
	r.clock.Advance(2 * time.Minute)
	again, err := r.owner.drills().StartDrill(t.Context(), &keysv1.StartDrillRequest{
		CredentialId: over.GetCredentialId(), ApiKeyId: over.GetApiKeyId(), Fault: keysv1.DrillFault_DRILL_FAULT_SLOW,
		Duration: durationpb.New(5 * time.Minute), IdempotencyKey: "again",
	})
	r.must(err) // its time was over, though nobody has told routers
	router.until("the one gone and the other there", func() bool {
		return router.drill(over.GetId()) == nil && router.drill(again.GetDrill().GetId()) != nil
	})
	if got := r.owner.drillNow(over.GetId()); !got.GetEndTime().AsTime().Equal(over.GetEndTime().AsTime()) {
		t.Errorf("a drill that was over ends at %s, want %s as before", got.GetEndTime().AsTime(), over.GetEndTime().AsTime())
	}
}

func TestADrillThatIsOverLeavesTheConfiguration(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.owner.drill("main")
	r.clock.Advance(time.Minute)
	app := r.replica(r.db) // it looks at once
	eventually(t, "none runs", func() bool { return r.count("drill WHERE running") == 0 })
	w := r.watch(app, "router", 0)
	w.until("the configuration", func() bool { return w.version > 0 })
	if w.drill(d.GetId()) != nil {
		t.Error("a router that begins now is told of it")
	}
}

func TestDrillsAreRefusedWhereTheyMakeNoSense(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	rival := r.other("rival")
	req := r.owner.drillRequest("main")
	start := func(what, reason string, code connect.Code, change func(*keysv1.StartDrillRequest)) {
		t.Helper()
		other := proto.CloneOf(req)
		other.IdempotencyKey = what
		change(other)
		_, err := r.owner.drills().StartDrill(t.Context(), other)
		refused(t, what, err, code, reason)
	}
	theirs, platforms := rival.credential("theirs"), r.operator.credential("platform's")
	start("another organization's credential", "CREDENTIAL_NOT_FOUND", connect.CodeNotFound, func(q *keysv1.StartDrillRequest) { q.CredentialId = theirs.GetId() })
	start("the platform's credential", "CREDENTIAL_NOT_FOUND", connect.CodeNotFound, func(q *keysv1.StartDrillRequest) { q.CredentialId = platforms.GetId() })
	foreign := rival.apiKey("theirs", "").GetApiKey()
	start("another organization's key", "API_KEY_NOT_FOUND", connect.CodeNotFound, func(q *keysv1.StartDrillRequest) { q.ApiKeyId = foreign.GetId() })
	gone := r.owner.apiKey("gone", "").GetApiKey()
	_, err := r.owner.apiKeys.RevokeApiKey(t.Context(), &keysv1.RevokeApiKeyRequest{Id: gone.GetId(), IdempotencyKey: "gone"})
	r.must(err)
	start("a revoked key", "API_KEY_REVOKED", connect.CodeFailedPrecondition, func(q *keysv1.StartDrillRequest) { q.ApiKeyId = gone.GetId() })
	start("more than five minutes", "FIELDS_INVALID", connect.CodeInvalidArgument, func(q *keysv1.StartDrillRequest) {
		q.Duration = durationpb.New(5*time.Minute + time.Second)
	})
	_, err = r.owner.drills().StartDrill(t.Context(), req)
	r.must(err)
	start("a second one at once", "DRILL_RUNNING", connect.CodeAborted, func(*keysv1.StartDrillRequest) {})
	for i := range 19 {
		k := r.owner.apiKey("more "+string(rune('a'+i)), "").GetApiKey()
		_, err := r.owner.drills().StartDrill(t.Context(), &keysv1.StartDrillRequest{
			CredentialId: req.GetCredentialId(), ApiKeyId: k.GetId(), Fault: keysv1.DrillFault_DRILL_FAULT_SLOW, IdempotencyKey: k.GetId(),
		})
		r.must(err)
	}
	last := r.owner.apiKey("last", "").GetApiKey()
	start("number 21", "TOO_MANY_DRILLS", connect.CodeFailedPrecondition, func(q *keysv1.StartDrillRequest) { q.ApiKeyId = last.GetId() })
	list, err := r.owner.drills().ListDrills(t.Context(), &keysv1.ListDrillsRequest{PageSize: 12})
	r.must(err)
	rest, err := r.owner.drills().ListDrills(t.Context(), &keysv1.ListDrillsRequest{PageSize: 12, PageToken: list.GetNextPageToken()})
	r.must(err)
	all := append(list.GetDrills(), rest.GetDrills()...)
	if len(all) != 20 || rest.GetNextPageToken() != "" {
		t.Fatalf("pages have %d drills, want 20", len(all))
	}
	for i := range all[1:] {
		if all[i].GetId() < all[i+1].GetId() {
			t.Error("drills are not listed newest first")
		}
	}
	if list, err := rival.drills().ListDrills(t.Context(), &keysv1.ListDrillsRequest{}); err != nil || len(list.GetDrills()) != 0 {
		t.Errorf("the other organization sees %d drills, %v", len(list.GetDrills()), err)
	}
}

// progress is a router's word on a drill.
func progress(orgID, drillID string, requests, failed, unserved int64, served ...*keysv1.DrillServed) *keysv1.DrillProgress {
	return &keysv1.DrillProgress{OrgId: orgID, DrillId: drillID, Report: &keysv1.DrillReport{
		Requests: requests, FailedCalls: failed, Unserved: unserved, Served: served,
	}}
}

func TestWhatRoutersTellOfADrillIsCountedOnce(t *testing.T) {
	t.Parallel()
	for engine, open := range map[string]func(testing.TB) string{"sqlite": sqltest.SQLite, "postgres": sqltest.Postgres} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			r := newRigOn(t, open(t))
			rival := r.other("rival")
			d := r.owner.drill("main")
			before := r.owner.credentialNow(d.GetCredentialId())
			tell := func(router, epoch string, told ...*keysv1.DrillProgress) {
				t.Helper()
				_, err := r.internal(r.app, "router", router).ReportRouterState(t.Context(), &keysv1.ReportRouterStateRequest{
					Router: router, Epoch: epoch, Closing: true, Drills: told,
				})
				r.must(err)
			}
			a := func(n int64) *keysv1.DrillServed {
				return &keysv1.DrillServed{Model: "openai/gpt-4o", CredentialId: "cred_a", PolicyId: "pol_a", Line: 2, Requests: n}
			}
			b := func(n int64) *keysv1.DrillServed { return &keysv1.DrillServed{Model: "anthropic/claude", Requests: n} }
			tell("router-1", "e1", progress(r.orgID, d.GetId(), 3, 4, 1, a(2)))
			tell("router-1", "e1", progress(r.orgID, d.GetId(), 5, 6, 2, a(2), b(1))) // again, counted from its beginning
			tell("router-1", "e1", progress(r.orgID, d.GetId(), 3, 4, 1, a(2)))       // overtaken
			tell("router-1", "e2", progress(r.orgID, d.GetId(), 1, 1, 0, a(1)))       // after a restart
			tell("router-2", "e1", progress(r.orgID, d.GetId(), 10, 10, 0, a(10)))
			tell("router-2", "e1", progress("org_forged", d.GetId(), 99, 99, 0), progress(rival.org(), d.GetId(), 99, 99, 0), progress(r.orgID, "drill_forged", 99, 99, 0))
			want := &keysv1.DrillReport{Requests: 16, FailedCalls: 17, Unserved: 2, Served: []*keysv1.DrillServed{a(13), b(1)}}
			if diff := cmp.Diff(want, r.owner.drillNow(d.GetId()).GetReport(), protocmp.Transform()); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
			r.clock.Advance(30 * time.Minute) // the last streams end late
			tell("router-2", "e1", progress(r.orgID, d.GetId(), 11, 11, 0, a(11)))
			r.clock.Advance(time.Hour)
			r.owner = r.signIn("acme", "owner@acme.example")
			tell("router-2", "e1", progress(r.orgID, d.GetId(), 12, 12, 0, a(12)))
			if got := r.owner.drillNow(d.GetId()).GetReport().GetRequests(); got != 17 {
				t.Errorf("the report has %d requests, want 17: what comes in time and nothing later", got)
			}
			if diff := cmp.Diff(before, r.owner.credentialNow(d.GetCredentialId()), protocmp.Transform()); diff != "" {
				t.Errorf("the drill changed its credential (-before +after):\n%s", diff)
			}
		})
	}
}
