package keys_test

import (
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/services/keys"
)

func (p *person) preview(keyID, model string) (*keysv1.PreviewRouteResponse, error) {
	return keysv1connect.NewRouteServiceClient(p.client).PreviewRoute(p.r.t.Context(), &keysv1.PreviewRouteRequest{
		ApiKeyId: keyID, Request: &routerv1.ExplainRouteRequest{Model: model, InputTokens: 1000, Tags: map[string]string{"env": "prod"}},
	})
}

// planner is a router at one replica that answers questions as it is told, and notes them.
type planner struct {
	mu    sync.Mutex
	asked []*keysv1.RouteQuestion
	said  func(*keysv1.RouteQuestion) *keysv1.RouteAnswer
}

func (p *planner) questions() []*keysv1.RouteQuestion {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// plans connects a router to app. Its answers are said's; nil is silence.
func (r *rig) plans(app *keys.App, said func(*keysv1.RouteQuestion) *keysv1.RouteAnswer) *planner {
	r.t.Helper()
	const name = "router-1"
	client := r.internal(app, "router", name)
	stream, err := client.WatchConfig(r.t.Context(), &keysv1.WatchConfigRequest{})
	r.must(err)
	_, err = client.ReportRouterState(r.t.Context(), &keysv1.ReportRouterStateRequest{Router: name, Epoch: "e", AppliedVersion: 1})
	r.must(err)
	p := &planner{said: said}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			msg, err := stream.Receive()
			if err != nil {
				return
			}
			q := msg.GetQuestion()
			if q == nil {
				continue
			}
			p.mu.Lock()
			p.asked = append(p.asked, q)
			p.mu.Unlock()
			if a := p.said(q); a != nil {
				_, _ = client.ReportRouterState(r.t.Context(), &keysv1.ReportRouterStateRequest{Router: name, Epoch: "e", AppliedVersion: 1, RouteAnswers: []*keysv1.RouteAnswer{a}})
			}
		}
	})
	r.t.Cleanup(func() { _ = stream.Close(); running.Wait() })
	eventually(r.t, "the router connected", func() bool { return r.count("router_state WHERE NOT closed") == 1 })
	return p
}

// routed is an answer with one candidate.
func routed(q *keysv1.RouteQuestion) *keysv1.RouteAnswer {
	raw, err := proto.Marshal(&keysv1.PreviewRouteResponse{Route: &routerv1.ExplainRouteResponse{
		ConfigVersion: 5, Candidates: []*routerv1.RouteCandidate{{Provider: "openai", Model: q.GetRequest().GetModel(), CredentialClass: eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN}},
	}})
	if err != nil {
		return nil
	}
	return &keysv1.RouteAnswer{Id: q.GetId(), OrgId: q.GetOrgId(), Route: raw}
}

func TestAConnectedRouterPlansWhatPeopleAsk(t *testing.T) {
	t.Parallel()
	for engine, open := range map[string]func(testing.TB) string{"sqlite": sqltest.SQLite, "postgres": sqltest.Postgres} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			r := newRigOn(t, open(t))
			other := r.replica(sqltest.Open(t, r.url)) // the router is there, the person is not
			router := r.plans(other, routed)
			key := r.owner.apiKey("app", "").GetApiKey()
			audited, version := r.count("audit_event"), r.count("config_change")
			got, err := r.owner.preview(key.GetId(), "openai/gpt-4o")
			if err != nil {
				t.Fatal(err)
			}
			if alias := got.GetRouter(); alias == "" || contains(alias, "router-1") {
				t.Errorf("the router is called %q, want a word that is not its name", alias)
			}
			want := &keysv1.PreviewRouteResponse{Router: got.GetRouter(), Route: &routerv1.ExplainRouteResponse{
				ConfigVersion: 5, Candidates: []*routerv1.RouteCandidate{{Provider: "openai", Model: "openai/gpt-4o", CredentialClass: eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN}},
			}}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("PreviewRoute (-want +got):\n%s", diff)
			}
			asked := router.questions()
			wantAsked := &keysv1.RouteQuestion{
				Id: asked[0].GetId(), OrgId: r.orgID, ApiKeyId: key.GetId(), Detail: keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL,
				Request: &routerv1.ExplainRouteRequest{Model: "openai/gpt-4o", InputTokens: 1000, Tags: map[string]string{"env": "prod"}},
			}
			if diff := cmp.Diff([]*keysv1.RouteQuestion{wantAsked}, asked, protocmp.Transform()); diff != "" {
				t.Errorf("the router was asked (-want +got):\n%s", diff)
			}
			if left := r.count("route_question"); left != 0 {
				t.Errorf("%d questions are kept after their answer, want none", left)
			}
			if a, v := r.count("audit_event"), r.count("config_change"); a != audited || v != version {
				t.Errorf("asking left %d audit events and %d changes of the configuration, want none", a-audited, v-version)
			}
		})
	}
}

func TestAPreviewIsOfKeysThatTheCallerSees(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	router := r.plans(r.app, routed)
	me, watcher, rival := r.add("me", plain), r.add("watcher", viewer), r.other("rival")
	mine, theirs := me.apiKey("mine", "").GetApiKey().GetId(), r.owner.apiKey("theirs", "").GetApiKey().GetId()
	for p, see := range map[*person]map[string]keysv1.ProvenanceLevel{
		me:      {mine: keysv1.ProvenanceLevel_PROVENANCE_LEVEL_UNSPECIFIED},
		watcher: {mine: keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL, theirs: keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL},
		r.owner: {mine: keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL, theirs: keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL},
		rival:   {},
	} {
		for _, id := range []string{mine, theirs, "key_none"} {
			before := len(router.questions())
			_, err := p.preview(id, "openai/gpt-4o")
			asked := router.questions()[before:]
			detail, ok := see[id]
			if !ok {
				refused(t, "a preview of "+id+" by "+p.id, err, connect.CodeNotFound, "API_KEY_NOT_FOUND")
			}
			if ok && (err != nil || len(asked) != 1 || asked[0].GetDetail() != detail) || !ok && len(asked) > 0 {
				t.Errorf("a preview of %s by %s asks %v, %v; want detail %v: %v", id, p.id, asked, err, detail, ok)
			}
		}
	}
	_, err := me.apiKeys.RevokeApiKey(t.Context(), &keysv1.RevokeApiKeyRequest{Id: mine, IdempotencyKey: "1"})
	r.must(err)
	_, err = me.preview(mine, "openai/gpt-4o")
	refused(t, "a preview of a revoked key", err, connect.CodeFailedPrecondition, "API_KEY_REVOKED")
	res, err := r.owner.apiKeys.CreateApiKey(t.Context(), &keysv1.CreateApiKeyRequest{Name: "short", ExpireTime: timestamp(r.clock.Now().Add(time.Second)), IdempotencyKey: "short"})
	r.must(err)
	r.clock.Advance(2 * time.Second)
	_, err = r.owner.preview(res.GetApiKey().GetId(), "openai/gpt-4o")
	refused(t, "a preview of an expired key", err, connect.CodeFailedPrecondition, "API_KEY_EXPIRED")
	suspect := r.add("suspect", plain)
	key := suspect.apiKey("suspect's", "").GetApiKey()
	_, err = r.owner.set(suspect.id, true, false, "disable")
	r.must(err)
	_, err = r.owner.preview(key.GetId(), "openai/gpt-4o")
	refused(t, "a preview of a suspended key", err, connect.CodeFailedPrecondition, "API_KEY_SUSPENDED")
}

func TestWhatARouterRefusesToPlanIsSaidAsItWouldBe(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	key := r.owner.apiKey("app", "").GetApiKey().GetId()
	_, err := r.owner.preview(key, "openai/gpt-4o")
	refused(t, "a preview without a router", err, connect.CodeUnavailable, "NO_ROUTER_CONNECTED")
	r.plans(r.app, func(q *keysv1.RouteQuestion) *keysv1.RouteAnswer {
		refusal := &keysv1.RouteRefusal{Code: int32(connect.CodeNotFound), Reason: "MODEL_UNKNOWN", Message: "no such model", Hint: "name another"}
		if q.GetRequest().GetModel() == "broken" {
			refusal = &keysv1.RouteRefusal{Code: int32(connect.CodeInternal), Reason: "INTERNAL", Message: "what a router says of its own defects"}
		}
		return &keysv1.RouteAnswer{Id: q.GetId(), OrgId: q.GetOrgId(), Refusal: refusal}
	})
	_, err = r.owner.preview(key, "nobody/x")
	refused(t, "a model that nobody knows", err, connect.CodeNotFound, "MODEL_UNKNOWN")
	if got := info(err).GetMetadata()["hint"]; got != "name another" {
		t.Errorf("hint = %q, want the router's", got)
	}
	_, err = r.owner.preview(key, "broken")
	refused(t, "a router's own defect", err, connect.CodeInternal, "INTERNAL")
	if contains(err.Error(), "of its own defects") {
		t.Errorf("a router's defect is shown to people: %v", err)
	}
}
