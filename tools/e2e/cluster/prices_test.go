package cluster_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/tools/e2e/cluster"
)

// The sizes of each call, which the scripted provider counts and ExplainRoute is asked about.
const (
	sizedPrompt  = "script:text=hi,in=120,out=30 go"
	sizeIn       = 120
	sizeOut      = 30
	contractRate = int64(90_000_000_123) // nano-USD per million tokens: dearer than anything, and no round figure
	contractCost = int64(13_500_000)     // of such a call: 150 tokens at that rate, rounded half to even
)

// TestAnOperatorsPriceHoldsEverywhereWithoutARestart: once the operator has added a version, the answer, the end of
// a stream, ExplainRoute, the order of a lowest_cost policy and metering name it and the same cost. It holds with
// metering away, also for a router that starts then.
func TestAnOperatorsPriceHoldsEverywhereWithoutARestart(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Routers: 2})
	const mini, claude = "openai/gpt-4o-mini", "anthropic/claude-haiku-4-5"
	org := c.NewOrganization("acme", map[string]secret.Text{"openai": secret.New(providerKey), "anthropic": secret.New(providerKey)}, own(mini))
	_, err := keysv1connect.NewPolicyServiceClient(org.Session.Keys).CreatePolicy(t.Context(), &keysv1.CreatePolicyRequest{
		Name: "cheap", Publish: true, IdempotencyKey: rand.Text(), Spec: &keysv1.PolicySpec{Groups: []*keysv1.TargetGroup{{
			Strategy: keysv1.Strategy_STRATEGY_LOWEST_COST, Targets: []*keysv1.Target{own(claude), own(mini)},
		}}},
	})
	must(t, err)

	var shipped string // the version that ships
	first := func(router *cluster.Service, want, other string) error {
		ctx, client := dial(t, router, org.APIKey)
		plan, err := client.ExplainRoute(ctx, &routerv1.ExplainRouteRequest{Model: "policy/cheap", InputTokens: sizeIn, MaxOutputTokens: sizeOut})
		if err != nil {
			return err
		}
		if got := plan.GetCandidates(); len(got) != 2 || got[0].GetModel() != want || got[1].GetModel() != other {
			return fmt.Errorf("it would try %v, want %s before %s", got, want, other)
		}
		return nil
	}
	for _, router := range c.Routers {
		cluster.Eventually(t, 30*time.Second, router.Name+" begins with the cheaper one", func() error { return first(router, mini, claude) })
		ctx, client := dial(t, router, org.APIKey)
		answer, err := client.Complete(ctx, &routerv1.CompleteRequest{Input: saying(mini, sizedPrompt)})
		must(t, err)
		shipped = answer.GetProvenance().GetPriceVersion()
		if shipped == "" || answer.GetProvenance().GetCostNanoUsd() == contractCost {
			t.Fatalf("before there is another price: %v", answer.GetProvenance())
		}
	}

	operator := c.SignIn(authn.PlatformSlug, c.Operator)
	created, err := meteringv1connect.NewPriceServiceClient(operator.Metering).CreatePrice(t.Context(), &meteringv1.CreatePriceRequest{
		IdempotencyKey: rand.Text(), Price: &meteringv1.Price{
			Model: mini, ValidFrom: timestamppb.New(time.Now().Add(-time.Minute)), Source: "contract",
			Tiers: []*meteringv1.PriceTier{{Input: new(contractRate), Output: new(contractRate)}},
		},
	})
	must(t, err)
	version := created.GetPrice().GetId()
	began := time.Now()
	for _, router := range c.Routers {
		cluster.Eventually(t, 15*time.Second, router.Name+" has the new price", func() error { return first(router, claude, mini) })
	}
	t.Logf("%d routers had the new price %s after the operator's answer", len(c.Routers), time.Since(began))

	var asked []string // requests that the new version has to have priced
	agree := func(what string, router *cluster.Service) {
		t.Helper()
		ctx, client := dial(t, router, org.APIKey)
		tells := func(face string, p *routerv1.Provenance) {
			t.Helper()
			if p.CostNanoUsd == nil || p.GetCostNanoUsd() != contractCost || p.GetPriceVersion() != version {
				t.Errorf("%s, %s: %s tells of %d nano-USD by %q, want %d by %q", what, router.Name, face, p.GetCostNanoUsd(), p.GetPriceVersion(), contractCost, version)
			}
		}
		answer, err := client.Complete(ctx, &routerv1.CompleteRequest{Input: saying(mini, sizedPrompt)})
		must(t, err)
		tells("a whole answer", answer.GetProvenance())
		stream, err := client.StreamCompletion(ctx, &routerv1.StreamCompletionRequest{Input: saying(mini, sizedPrompt)})
		must(t, err)
		var last *routerv1.StreamCompletionResponse
		var streamed string // its id
		for {
			event, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			must(t, err)
			last = event
			if event.GetStarted() != nil {
				streamed = event.GetStarted().GetRequestId()
			}
		}
		tells("the last event of a stream", last.GetFinished().GetProvenance())
		plan, err := client.ExplainRoute(ctx, &routerv1.ExplainRouteRequest{Model: mini, InputTokens: sizeIn, MaxOutputTokens: sizeOut})
		must(t, err)
		for _, candidate := range plan.GetCandidates() {
			if candidate.GetEstimatedCostNanoUsd() != contractCost || candidate.GetPriceVersion() != version {
				t.Errorf("%s, %s: ExplainRoute tells of %d nano-USD by %q", what, router.Name, candidate.GetEstimatedCostNanoUsd(), candidate.GetPriceVersion())
			}
		}
		must(t, first(router, claude, mini))
		asked = append(asked, answer.GetRequestId(), streamed)
	}
	for _, router := range c.Routers {
		agree("with metering", router)
	}
	c.Metering.Kill()
	agree("with metering away", c.Routers[0])
	c.Routers[1].Stop()
	c.Routers[1].Start()
	cluster.Eventually(t, 30*time.Second, "the router that started serves", func() error { return ask(t.Context(), c.Routers[1], org.APIKey) })
	agree("started while metering is away", c.Routers[1])

	c.Metering.Start()
	usage := meteringv1connect.NewUsageServiceClient(org.Session.Metering)
	for _, requestID := range asked {
		cluster.Eventually(t, 60*time.Second, "request "+requestID+" is counted", func() error {
			counted, err := usage.GetRequest(t.Context(), &meteringv1.GetRequestRequest{RequestId: requestID})
			if err != nil {
				return err
			}
			for _, a := range counted.GetAttempts() {
				if a.GetCostNanoUsd() != contractCost || a.GetPriceId() != version || a.GetEvent().GetCostNanoUsd() != contractCost || a.GetEvent().GetPriceVersion() != version {
					t.Errorf("request %s: metering reckons %d by %s, the router told of %d by %s, want %d by %s", requestID,
						a.GetCostNanoUsd(), a.GetPriceId(), a.GetEvent().GetCostNanoUsd(), a.GetEvent().GetPriceVersion(), contractCost, version)
				}
			}
			return nil
		})
	}
	for _, router := range c.Routers {
		agree("with metering back", router)
	}
}
