package cluster_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/tools/e2e/cluster"
	"github.com/claviger/claviger/tools/seed"
)

const (
	house     = "sk-house-0123456789"
	exhausted = "sk-wary-own-0123456789"
)

// platformByItsWordAlone: under the rule "never" the platform's key is not called, not even for a policy's line that
// says so, and not when the own one fails; under "after own" it is, and everything that tells of it says so.
func platformByItsWordAlone(t *testing.T, p *pair, org *cluster.Organization) {
	limited, err := llmtest.ParseScript("script:error=rate_limit,retry=5m")
	must(t, err)
	for _, model := range []string{"gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano"} {
		p.Provider.Control(model, exhausted, -1, limited)
	}
	operator, credentials := p.SignIn(authn.PlatformSlug, p.Operator), keysv1connect.NewCredentialServiceClient(org.Session.Keys)
	_, err = keysv1connect.NewCredentialServiceClient(operator.Keys).CreateCredential(t.Context(), &keysv1.CreateCredentialRequest{
		Provider: "openai", Label: "house", Secret: house, AcceptTerms: true, IdempotencyKey: rand.Text(),
	})
	must(t, err)
	for name, lines := range map[string][]*keysv1.Target{
		"house": {seed.Platform("openai/gpt-4o-mini")}, "either": {own("openai/gpt-4.1"), seed.Platform("openai/gpt-4.1")},
	} {
		_, err := keysv1connect.NewPolicyServiceClient(org.Session.Keys).CreatePolicy(t.Context(), &keysv1.CreatePolicyRequest{
			Name: name, Spec: seed.Rule(lines...), Publish: true, IdempotencyKey: rand.Text(),
		})
		must(t, err)
	}
	for _, router := range p.Routers { // else what follows would show nothing
		cluster.Eventually(t, 30*time.Second, router.Name+" serves the line of the policy", func() error {
			if got := p.chat(t, router, org.APIKey, "policy/house"); got.status != 200 || got.header.Get("x-claviger-class") != "platform" {
				return errors.New(got.body)
			}
			return nil
		})
	}

	p.rule(t, org, keysv1.PlatformRule_PLATFORM_RULE_NEVER)
	for _, router := range p.Routers {
		for _, model := range []string{"policy/house", "openai/gpt-4o-mini"} {
			cluster.Eventually(t, 30*time.Second, router.Name+" explains "+model, func() error {
				plan := p.explain(t, router, org.APIKey, model)
				if len(plan.GetCandidates()) > 0 || !slices.ContainsFunc(plan.GetExclusions(), func(e *routerv1.RouteExclusion) bool {
					return e.GetReason() == "PLATFORM_NEVER" && e.GetCredentialClass() == eventsv1.CredentialClass_CREDENTIAL_CLASS_PLATFORM && e.GetDescription() != ""
				}) {
					return fmt.Errorf("the plan is %v", plan)
				}
				return nil
			})
		}
	}
	called := len(p.calls(house))
	for _, router := range p.Routers {
		for model, want := range map[string]string{"policy/house": "route_not_allowed", "openai/gpt-4o-mini": "no_usable_credential"} {
			got := p.chat(t, router, org.APIKey, model)
			if code, message := got.failure(); got.status < 400 || got.status > 499 || code != want || !strings.Contains(message, "the organization never uses the platform's credentials for openai") {
				t.Errorf("%s says %d %s of %s, want %s and whose rule it is", router.Name, got.status, got.body, model, want)
			}
		}
	}
	_, err = credentials.CreateCredential(t.Context(), &keysv1.CreateCredentialRequest{
		Provider: "openai", Label: "own", Secret: exhausted, AcceptTerms: true, IdempotencyKey: rand.Text(),
	})
	must(t, err)
	for _, router := range p.Routers {
		cluster.Eventually(t, 30*time.Second, router.Name+" knows the own credential", func() error {
			if got := p.chat(t, router, org.APIKey, "openai/gpt-4o-mini"); got.status != 200 || got.header.Get("x-claviger-class") != "own" {
				return errors.New(got.body)
			}
			return nil
		})
		for _, model := range []string{"policy/either", "openai/gpt-4.1-mini"} {
			if got := p.chat(t, router, org.APIKey, model); got.status != 429 {
				t.Errorf("%s answers %s with %d %s, want the own credential's limit", router.Name, model, got.status, got.body)
			}
		}
	}
	if n := len(p.calls(house)); n != called {
		t.Errorf("the platform's key was called %d times against the organization's rule", n-called)
	}
	p.noViolations(t)

	p.rule(t, org, keysv1.PlatformRule_PLATFORM_RULE_AFTER_OWN)
	for _, router := range p.Routers {
		cluster.Eventually(t, 30*time.Second, router.Name+" explains the new rule", func() error {
			plan := p.explain(t, router, org.APIKey, "openai/gpt-4.1-nano")
			if c := plan.GetCandidates(); len(c) != 2 || c[0].GetCredentialClass() != eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN ||
				c[1].GetCredentialClass() != eventsv1.CredentialClass_CREDENTIAL_CLASS_PLATFORM {
				return fmt.Errorf("the plan is %v", plan)
			}
			return nil
		})
		got := p.chat(t, router, org.APIKey, "openai/gpt-4.1-nano")
		tried := got.header.Values("x-claviger-attempt")
		if got.status != 200 || got.header.Get("x-claviger-class") != "platform" || got.header.Get("x-claviger-credential") != "" || len(tried) != 2 ||
			!strings.Contains(tried[0], `class="own"`) || !strings.Contains(tried[0], `error="rate_limited"`) ||
			!strings.Contains(tried[1], `class="platform"`) || strings.Contains(tried[1], "error=") {
			t.Errorf("%s answers %d, tells class %q, tried %q: %s", router.Name, got.status, got.header.Get("x-claviger-class"), tried, got.body)
		}
		events := attempts(t, org, got.header.Get("x-request-id"), 2)
		if first := events[0]; first.GetCredentialClass() != eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN || first.GetErrorClass() != "rate_limited" {
			t.Errorf("%s: the first usage event is %v, %q", router.Name, first.GetCredentialClass(), first.GetErrorClass())
		}
		if last := events[1]; last.GetCredentialClass() != eventsv1.CredentialClass_CREDENTIAL_CLASS_PLATFORM || last.GetOutcome() != eventsv1.Outcome_OUTCOME_OK {
			t.Errorf("%s: the usage event of what served is %v, %v", router.Name, last.GetCredentialClass(), last.GetOutcome())
		}
	}
	if n := len(p.calls(house)); n != called+len(p.Routers) {
		t.Errorf("the platform's key was called %d times, want once at each router", n-called)
	}
	p.noViolations(t)
}

// rule sets the organization's rule for the platform's keys.
func (p *pair) rule(t *testing.T, org *cluster.Organization, rule keysv1.PlatformRule) {
	t.Helper()
	p.prefer(t, org, func(r *keysv1.RoutingPreferences) { r.Platform = rule })
}

// prefer changes the organization's preferences.
func (p *pair) prefer(t *testing.T, org *cluster.Organization, change func(*keysv1.RoutingPreferences)) {
	t.Helper()
	routing := keysv1connect.NewRoutingServiceClient(org.Session.Keys)
	now, err := routing.GetRoutingPreferences(t.Context(), &keysv1.GetRoutingPreferencesRequest{})
	must(t, err)
	change(now.GetPreferences())
	_, err = routing.UpdateRoutingPreferences(t.Context(), &keysv1.UpdateRoutingPreferencesRequest{
		Preferences: now.GetPreferences(), Etag: now.GetEtag(), IdempotencyKey: rand.Text(),
	})
	must(t, err)
}

// explain is the plan of a router for an API key.
func (p *pair) explain(t *testing.T, router *cluster.Service, key secret.Text, model string) *routerv1.ExplainRouteResponse {
	t.Helper()
	ctx, client := dial(t, router, key)
	plan, err := client.ExplainRoute(ctx, &routerv1.ExplainRouteRequest{Model: model})
	must(t, err)
	return plan
}

// noViolations reads the counter that must stay 0 where operators read it.
func (p *pair) noViolations(t *testing.T) {
	t.Helper()
	for _, router := range p.Routers {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, router.OpsURL()+"/metrics", http.NoBody)
		must(t, err)
		res, err := p.client.Do(req)
		must(t, err)
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		must(t, err)
		found := false
		for line := range strings.SplitSeq(string(text), "\n") {
			if value, ok := strings.CutPrefix(line, "claviger_router_class_violations_total"); ok {
				found = true
				if !strings.HasSuffix(value, " 0") {
					t.Errorf("%s counts violations: %s", router.Name, line)
				}
			}
		}
		if !found {
			t.Errorf("%s does not count violations", router.Name)
		}
	}
}
