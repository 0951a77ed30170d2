package rpc_test

import (
	"context"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/pkg/rpcmount"
	"github.com/claviger/claviger/pkg/serve"
	"github.com/claviger/claviger/pkg/telemetry"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/proto/gen/claviger/router/v1/routerv1connect"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
	"github.com/claviger/claviger/services/router/internal/rpc"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// config is a policy of three lines over two own credentials and two of the platform's.
type config struct{ *plan.Policy }

func (config) Version() int64                       { return 7 }
func (config) PlatformOrgID() string                { return "org_p" }
func (config) Preferences(string) *plan.Preferences { return &plan.Preferences{} }
func (config) Group(string, string) *plan.Group     { return nil }
func (config) Drills(string) []completion.Drill     { return nil }

func (c config) PolicyByName(_, name string) (*plan.Policy, bool) {
	return c.Policy, name == c.Name
}

func (c config) PolicyByID(_, id string) (*plan.Policy, bool) { return c.Policy, id == c.ID }

func (config) Credentials(orgID, provider string) []*completion.Credential {
	if orgID == "org_p" {
		return []*completion.Credential{
			{ID: "cred_p1", OrgID: orgID, Provider: provider, Label: "operator's first", Revision: 1},
			{ID: "cred_p2", OrgID: orgID, Provider: provider, Label: "operator's second", Revision: 1, Out: "is disabled"},
			{ID: "cred_p3", OrgID: orgID, Provider: provider, Label: "operator's third", Revision: 1, Out: "is disabled"},
		}
	}
	return []*completion.Credential{
		{ID: "cred_1", OrgID: orgID, Provider: provider, Label: "prod", Revision: 3},
		{ID: "cred_2", OrgID: orgID, Provider: provider, Label: "spare", Revision: 1, Priority: 1, Out: "is disabled"},
	}
}

// known is a provider that serves everything, and what is known of it.
type known struct{ completion.Provider }

func (known) Serves(completion.Operation, string, *completion.Credential) string { return "" }
func (known) Out(*completion.Credential, string) string                          { return "" }
func (known) Low(*completion.Credential, string) bool                            { return false }
func (known) Latency(*completion.Credential, string, bool) time.Duration {
	return 250 * time.Millisecond
}

// known is the book: one model has a price.
func (known) book() *pricing.Table {
	rate := int64(2_000_000)
	return pricing.NewTable([]pricing.Price{{ID: "price_1", Model: "openai/m", Tiers: []pricing.Tier{{Input: &rate, Output: &rate}}}})
}

// explains serves the typed API to callers that are told so much.
func explains(t *testing.T, level completion.Provenance) *connect.Server {
	t.Helper()
	quiet, err := telemetry.Start(t.Context(), telemetry.Options{Service: "router"})
	if err != nil {
		t.Fatal(err)
	}
	planner := &plan.Planner{Providers: map[string]completion.Provider{"openai": known{}}, Health: known{}, Prices: known{}.book}
	lines := []plan.Line{
		{Provider: "openai", Model: "openai/m", Name: "m", Class: usage.Own, Weight: 1},
		{Provider: "openai", Model: "openai/free", Name: "free", Class: usage.Platform, Weight: 1, Index: 1},
		{Provider: "gone", Model: "gone/m", Name: "m", Class: usage.Own, Weight: 1, Index: 2},
	}
	under := config{&plan.Policy{ID: "pol_1", Name: "main", Version: 5, MaxAttempts: 3, Groups: []plan.TargetGroup{{Lines: lines}}}}
	server := connect.NewServer(intercept.Chain(intercept.Options{
		Log: slog.New(slog.DiscardHandler), Authenticate: intercept.Fixed(authn.Principal{Kind: authn.APIKey, OrgID: "org_1", APIKeyID: "key_1"}), Telemetry: quiet,
	})...)
	routerv1connect.RegisterCompletionServiceHandler(server, &rpc.CompletionServer{
		Caller: func(context.Context) completion.Caller {
			return completion.Caller{OrgID: "org_1", APIKeyID: "key_1", Provenance: level}
		},
		Explain: func(caller completion.Caller, req *completion.Request) (plan.Explanation, error) {
			return planner.Explain(under, caller, req)
		},
	})
	return server
}

// clients are one of each protocol: Connect over HTTP, and gRPC to grpc-go.
func clients(t *testing.T, server *connect.Server) map[string]routerv1connect.CompletionServiceClient {
	t.Helper()
	edge := httptest.NewServer(serve.Mux(1<<20, nil, server))
	t.Cleanup(edge.Close)
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stock := serve.GRPC(serve.DefaultMessageBytes, nil, server)
	done := make(chan error, 1)
	go func() { done <- stock.Serve(ln) }()
	t.Cleanup(func() {
		stock.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return map[string]routerv1connect.CompletionServiceClient{
		"Connect": routerv1connect.NewCompletionServiceClient(connect.NewClient(connecthttp.NewTransport(edge.Client(), edge.URL))),
		"gRPC":    routerv1connect.NewCompletionServiceClient(connect.NewClient(rpcmount.NewTransport(conn))),
	}
}

// TestARouteIsExplainedWithoutACall, in each protocol, as far as the API key may see: there is no service behind
// it that could call anybody.
func TestARouteIsExplainedWithoutACall(t *testing.T) {
	t.Parallel()
	const own, platform = eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN, eventsv1.CredentialClass_CREDENTIAL_CLASS_PLATFORM
	full := &routerv1.ExplainRouteResponse{
		ConfigVersion: 7, Policy: "main", PolicyVersion: 5, MaxAttempts: 3,
		Candidates: []*routerv1.RouteCandidate{
			{
				Provider: "openai", Model: "openai/m", CredentialClass: own, CredentialId: "cred_1", Credential: "prod", Revision: 3, Line: 1,
				Reason: "in the order of the lines", EstimatedCostNanoUsd: new(int64(2200)), PriceVersion: "price_1", LatencyMicros: 250_000,
			},
			{Provider: "openai", Model: "openai/free", CredentialClass: platform, Line: 2, Reason: "in the order of the lines", LatencyMicros: 250_000},
		},
		Exclusions: []*routerv1.RouteExclusion{
			{Provider: "openai", Model: "openai/m", CredentialClass: own, CredentialId: "cred_2", Credential: "spare", Line: 1, Reason: "CREDENTIAL_STATE", Description: "the credential is disabled"},
			{Provider: "openai", Model: "openai/free", CredentialClass: platform, Line: 2, Reason: "CREDENTIAL_STATE", Description: "the credential is disabled"},
			{Provider: "gone", Model: "gone/m", CredentialClass: own, Line: 3, Reason: "PROVIDER_UNKNOWN", Description: `there is no provider "gone"`},
		},
	}
	basic := proto.CloneOf(full)
	basic.Candidates[0].CredentialId, basic.Candidates[0].Credential, basic.Candidates[0].Revision = "", "", 0
	basic.Exclusions[0].CredentialId, basic.Exclusions[0].Credential = "", ""
	none := proto.CloneOf(basic)
	none.Policy, none.PolicyVersion = "", 0
	for _, c := range none.Candidates {
		c.CredentialClass = 0
	}
	for _, x := range none.Exclusions {
		x.CredentialClass = 0
	}
	for level, want := range map[completion.Provenance]*routerv1.ExplainRouteResponse{completion.ProvenanceFull: full, completion.ProvenanceBasic: basic, completion.ProvenanceNone: none} {
		for protocol, client := range clients(t, explains(t, level)) {
			got, err := client.ExplainRoute(t.Context(), &routerv1.ExplainRouteRequest{Model: "policy/main", InputTokens: 1000, MaxOutputTokens: 100})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("%s, level %d (-want +got):\n%s", protocol, level, diff)
			}
		}
	}
}

func TestWhatCannotBeExplainedIsNamed(t *testing.T) {
	t.Parallel()
	for protocol, client := range clients(t, explains(t, completion.ProvenanceFull)) {
		for model, want := range map[string]connect.Code{"": connect.CodeInvalidArgument, "policy/other": connect.CodeNotFound, "nobody/x": connect.CodeNotFound} {
			if _, err := client.ExplainRoute(t.Context(), &routerv1.ExplainRouteRequest{Model: model}); connect.CodeOf(err) != want {
				t.Errorf("%s: ExplainRoute(%q) = %v, want %v", protocol, model, err, want)
			}
		}
		got, err := client.ExplainRoute(t.Context(), &routerv1.ExplainRouteRequest{Model: "openai/m", Routing: &routerv1.Routing{Ignore: []string{"openai"}}})
		if err != nil || len(got.GetCandidates()) != 0 || len(got.GetExclusions()) != 1 || got.GetExclusions()[0].GetReason() != "REQUEST_IGNORE" || got.GetExclusions()[0].GetLine() != 0 || got.GetMaxAttempts() != 4 {
			t.Errorf("%s: a route without candidates: %v, %v", protocol, got, err)
		}
		if _, err := client.ExplainRoute(t.Context(), &routerv1.ExplainRouteRequest{Model: "openai/m", Operation: "songs"}); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s: ExplainRoute(songs) = %v", protocol, err)
		}
	}
}

// TestAnExplanationTellsNoClassToWhoIsToldNothing, neither in words nor in reasons: without a policy it is a class that
// puts a candidate where it is, and the organization's rule for the platform's that leaves others out.
func TestAnExplanationTellsNoClassToWhoIsToldNothing(t *testing.T) {
	t.Parallel()
	for level, want := range map[completion.Provenance]bool{completion.ProvenanceNone: false, completion.ProvenanceBasic: true} {
		for protocol, client := range clients(t, explains(t, level)) {
			got, err := client.ExplainRoute(t.Context(), &routerv1.ExplainRouteRequest{Model: "openai/m"})
			if err != nil || len(got.GetCandidates()) == 0 || len(got.GetExclusions()) == 0 {
				t.Fatalf("%s: ExplainRoute = %v, %v; want candidates and exclusions", protocol, got, err)
			}
			var words []string
			for _, c := range got.GetCandidates() {
				words = append(words, c.GetCredentialClass().String(), c.GetReason())
			}
			for _, x := range got.GetExclusions() {
				words = append(words, x.GetCredentialClass().String(), x.GetReason(), x.GetDescription())
			}
			told := strings.ToLower(strings.Join(words, "; "))
			if tells := strings.Contains(told, "platform") || strings.Contains(told, "own "); tells != want {
				t.Errorf("%s, level %d: that it tells classes is %v: %s", protocol, level, tells, told)
			}
		}
	}
}
