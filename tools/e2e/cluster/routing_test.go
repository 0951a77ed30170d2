package cluster_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/claviger/claviger/pkg/secret"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/tools/e2e/cluster"
	"github.com/claviger/claviger/tools/seed"
)

func own(model string) *keysv1.Target {
	return &keysv1.Target{Model: model, Use: eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN}
}

func dial(t *testing.T, router *cluster.Service, key secret.Text) (context.Context, routerv1.CompletionServiceClient) {
	t.Helper()
	conn, err := grpc.NewClient(router.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+key.Reveal()), routerv1.NewCompletionServiceClient(conn)
}

func saying(model, text string) *routerv1.CompletionInput {
	return &routerv1.CompletionInput{Model: model, Messages: []*routerv1.Message{{
		Role: routerv1.MessageRole_MESSAGE_ROLE_USER, Parts: []*routerv1.Part{{Content: &routerv1.Part_Text{Text: text}}},
	}}}
}

// TestAChangedPolicyReachesEveryRouter: a draft reaches none, a published version and a roll-back reach all,
// and what they plan is what they say they would.
func TestAChangedPolicyReachesEveryRouter(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Routers: 2})
	org := c.NewOrganization("acme", map[string]secret.Text{"openai": secret.New(providerKey), "anthropic": secret.New(providerKey)}, own("openai/gpt-4o-mini"))
	policies := keysv1connect.NewPolicyServiceClient(org.Session.Keys)

	served := func(what, model string, version int64) {
		t.Helper()
		for _, router := range c.Routers {
			ctx, client := dial(t, router, org.APIKey)
			cluster.Eventually(t, 15*time.Second, what+": "+router.Name, func() error {
				answer, err := client.Complete(ctx, &routerv1.CompleteRequest{Input: saying("policy/main", "Hello")})
				if err != nil {
					return err
				}
				if p := answer.GetProvenance(); p.GetModel() != model || p.GetPolicyVersion() != version || p.GetPolicy() != "main" {
					return fmt.Errorf("served by %s under version %d, want %s under %d", p.GetModel(), p.GetPolicyVersion(), model, version)
				}
				return nil
			})
			calls := len(c.Provider.Ledger())
			plan, err := client.ExplainRoute(ctx, &routerv1.ExplainRouteRequest{Model: "policy/main", InputTokens: 1000, MaxOutputTokens: 100})
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if len(plan.GetCandidates()) != 1 || plan.GetCandidates()[0].GetModel() != model || plan.GetPolicyVersion() != version || plan.GetCandidates()[0].EstimatedCostNanoUsd == nil {
				t.Errorf("%s: %s would try %v, want %s alone, with a cost", what, router.Name, plan, model)
			}
			if got := len(c.Provider.Ledger()); got != calls {
				t.Errorf("%s: ExplainRoute made %d calls", what, got-calls)
			}
		}
	}
	served("the first version", "openai/gpt-4o-mini", 1)

	read, err := policies.GetPolicy(t.Context(), &keysv1.GetPolicyRequest{Id: org.PolicyID})
	must(t, err)
	draft, err := policies.UpdatePolicy(t.Context(), &keysv1.UpdatePolicyRequest{
		Id: org.PolicyID, Spec: seed.Rule(own("anthropic/claude-haiku-4-5")), Etag: read.GetPolicy().GetEtag(), IdempotencyKey: rand.Text(),
	})
	must(t, err)
	served("with a draft beside it", "openai/gpt-4o-mini", 1)

	published, err := policies.PublishPolicy(t.Context(), &keysv1.PublishPolicyRequest{Id: org.PolicyID, Etag: draft.GetPolicy().GetEtag(), IdempotencyKey: rand.Text()})
	must(t, err)
	served("the second version", "anthropic/claude-haiku-4-5", 2)

	_, err = policies.RollBackPolicy(t.Context(), &keysv1.RollBackPolicyRequest{
		Id: org.PolicyID, Version: 1, Etag: published.GetPolicy().GetEtag(), IdempotencyKey: rand.Text(),
	})
	must(t, err)
	served("rolled back", "openai/gpt-4o-mini", 3)
}

// TestWhatIsSwitchedOffIsRefusedOnEveryRouterThatConfirms: the receipt names how many routers have confirmed,
// and from then on none of them serves; running answers end with an error if that was asked for.
func TestWhatIsSwitchedOffIsRefusedOnEveryRouterThatConfirms(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Routers: 2})
	org := c.NewOrganization("acme", map[string]secret.Text{"openai": secret.New(providerKey)}, own("openai/gpt-4o-mini"))
	keys := keysv1connect.NewApiKeyServiceClient(org.Session.Keys)
	var took []time.Duration
	for i := range 20 {
		made, err := keys.CreateApiKey(t.Context(), &keysv1.CreateApiKeyRequest{Name: fmt.Sprint("key ", i), PolicyId: org.PolicyID, IdempotencyKey: rand.Text()})
		must(t, err)
		key := secret.New(made.GetSecret())
		for _, router := range c.Routers {
			cluster.Eventually(t, 15*time.Second, router.Name+" answers", func() error { return ask(t.Context(), router, key) })
		}
		answer, err := keys.RevokeApiKey(t.Context(), &keysv1.RevokeApiKeyRequest{Id: made.GetApiKey().GetId(), IdempotencyKey: rand.Text()})
		must(t, err)
		confirmed(t, answer.GetReceipt(), 2)
		took = append(took, answer.GetReceipt().GetElapsed().AsDuration())
		for _, router := range c.Routers {
			if err := ask(t.Context(), router, key); status.Code(err) != codes.Unauthenticated {
				t.Errorf("%s has confirmed and says %v, want that the key was revoked", router.Name, err)
			}
		}
	}
	slices.Sort(took)
	t.Logf("receipts of %d revocations: median %s, longest %s", len(took), took[len(took)/2], took[len(took)-1])
	if most := took[len(took)-2]; most > 2*time.Second { // one of twenty may meet a busy machine; none takes five seconds
		t.Errorf("receipts took up to %s, want two seconds", most)
	}

	// A router that is away holds nobody up for longer than its lease, and is not counted.
	c.Routers[1].Stop()
	cluster.Eventually(t, 30*time.Second, "the stopped router is not waited for", func() error {
		made, err := keys.CreateApiKey(t.Context(), &keysv1.CreateApiKeyRequest{Name: rand.Text(), PolicyId: org.PolicyID, IdempotencyKey: rand.Text()})
		must(t, err)
		answer, err := keys.RevokeApiKey(t.Context(), &keysv1.RevokeApiKeyRequest{Id: made.GetApiKey().GetId(), IdempotencyKey: rand.Text()})
		must(t, err)
		if r := answer.GetReceipt(); r.GetConnected() != 1 || r.GetConfirmed() != 1 {
			return fmt.Errorf("%d connected, %d confirmed, want one", r.GetConnected(), r.GetConfirmed())
		}
		return nil
	})
	c.Routers[1].Start()

	// Running answers are cut if asked for, with an error inside, and what they took is counted.
	credentials := keysv1connect.NewCredentialServiceClient(org.Session.Keys)
	list, err := credentials.ListCredentials(t.Context(), &keysv1.ListCredentialsRequest{})
	must(t, err)
	for _, router := range c.Routers {
		cluster.Eventually(t, 30*time.Second, router.Name+" answers", func() error { return ask(t.Context(), router, org.APIKey) })
	}
	ends := make(chan error, len(c.Routers))
	for _, router := range c.Routers {
		ctx, client := dial(t, router, org.APIKey)
		stream, err := client.StreamCompletion(ctx, &routerv1.StreamCompletionRequest{Input: saying("", "script:tokens=6000,delay=10ms Hello")})
		must(t, err)
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				if _, err := stream.Recv(); err != nil {
					ends <- err
					return
				}
			}
		}()
	}
	cut, err := credentials.UpdateCredential(t.Context(), &keysv1.UpdateCredentialRequest{
		Id: list.GetCredentials()[0].GetId(), Etag: list.GetCredentials()[0].GetEtag(), Disabled: new(true), CutStreams: true, IdempotencyKey: rand.Text(),
	})
	must(t, err)
	confirmed(t, cut.GetReceipt(), 2)
	if got := cut.GetReceipt().GetStreamsCut(); got != 2 {
		t.Errorf("the receipt tells of %d streams that were cut, want 2", got)
	}
	for range c.Routers {
		if err := <-ends; errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "disabled") && !strings.Contains(err.Error(), "switched off") {
			t.Errorf("a cut stream ends with %v, want an error that says why", err)
		}
	}
	for _, router := range c.Routers {
		if err := ask(t.Context(), router, org.APIKey); err == nil || !strings.Contains(err.Error(), "is disabled") {
			t.Errorf("%s, afterwards: %v, want that the credential is disabled", router.Name, err)
		}
	}
	cluster.Eventually(t, 60*time.Second, "what was cut is counted", func() error {
		got, err := requests(t, org)
		if want := int64(len(c.Provider.Ledger())); err == nil && got != want {
			err = fmt.Errorf("%d requests are counted, want %d", got, want)
		}
		return err
	})
}

func confirmed(t *testing.T, r *keysv1.Receipt, routers int32) {
	t.Helper()
	if r.GetConnected() != routers || r.GetConfirmed() != routers || len(r.GetMissing()) > 0 || r.GetConfigVersion() == 0 || r.GetElapsed().AsDuration() > 5*time.Second {
		t.Errorf("the receipt says %v, want that %d of %d routers have confirmed", r, routers, routers)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
