package snapshot

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"

	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

func TestAPolicyArrivesWithAllThatItSays(t *testing.T) {
	t.Parallel()
	const own, platform = eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN, eventsv1.CredentialClass_CREDENTIAL_CLASS_PLATFORM
	got := policyOf(&keysv1.PolicyConfig{Id: "pol_1", Name: "main", Version: 3, Spec: &keysv1.PolicySpec{
		MaxAttempts: 6, Hedge: &keysv1.Hedge{After: durationpb.New(time.Second)},
		Groups: []*keysv1.TargetGroup{
			{
				Strategy: keysv1.Strategy_STRATEGY_STICKY, StickyBy: "tag:tenant",
				When: &keysv1.Condition{
					Tags: []*keysv1.TagCondition{{Key: "env", Values: []string{"prod"}}}, Models: []string{"openai/*"},
					MinInputTokens: 1, MaxInputTokens: 9, ApiKeyIds: []string{"key_1"}, GroupIds: []string{"grp_1"},
				},
				Targets: []*keysv1.Target{
					{Model: "openai/gpt-x/y", Use: own},
					{Model: "openai/m", CredentialId: "cred_1", Weight: new(int32(0))},
				},
			},
			{Targets: []*keysv1.Target{
				{Model: "policy/other", Weight: new(int32(7))},
				{
					Model: "anthropic/c", Use: platform, Retries: new(int32(0)), Backoff: durationpb.New(time.Minute), MoveOn: []string{"timeout"},
					Timeouts:  &keysv1.Timeouts{FirstByte: durationpb.New(1), BetweenChunks: durationpb.New(2), Total: durationpb.New(3)},
					Overrides: &keysv1.Overrides{Temperature: new(0.5), MaxOutputTokens: new(int64(100))},
				},
			}},
		},
	}})
	plain := &completion.Rule{Retries: -1}
	want := &plan.Policy{ID: "pol_1", Name: "main", Version: 3, MaxAttempts: 6, Hedge: &completion.Hedge{After: time.Second, MaxPercent: 5}, Groups: []plan.TargetGroup{
		{
			Strategy: plan.Sticky, StickyBy: "tag:tenant",
			When: &plan.Condition{
				Tags: []plan.TagCondition{{Key: "env", Values: []string{"prod"}}}, Models: []string{"openai/*"}, MinInput: 1, MaxInput: 9,
				APIKeys: []string{"key_1"}, Groups: []string{"grp_1"},
			},
			Lines: []plan.Line{
				{Provider: "openai", Model: "openai/gpt-x/y", Name: "gpt-x/y", Class: usage.Own, Weight: 1, Rule: plain},
				{Provider: "openai", Model: "openai/m", Name: "m", Class: usage.Own, CredentialID: "cred_1", Index: 1, Rule: plain},
			},
		},
		{Lines: []plan.Line{
			{Model: "policy/other", Policy: "other", Class: usage.Own, Weight: 7, Index: 2, Rule: plain},
			{Provider: "anthropic", Model: "anthropic/c", Name: "c", Class: usage.Platform, Weight: 1, Index: 3, Rule: &completion.Rule{
				FirstByte: 1, Idle: 2, Total: 3, Backoff: time.Minute, MoveOn: []completion.Class{completion.TimedOut},
				Overrides: &completion.Overrides{Temperature: new(0.5), MaxOutputTokens: new(int64(100))},
			}},
		}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStrategiesArriveAsTheyAreNamed(t *testing.T) {
	t.Parallel()
	for number := range keysv1.Strategy_name {
		want := map[keysv1.Strategy]plan.Strategy{
			keysv1.Strategy_STRATEGY_UNSPECIFIED: plan.Fallback, keysv1.Strategy_STRATEGY_FALLBACK: plan.Fallback, keysv1.Strategy_STRATEGY_WEIGHTED: plan.Weighted,
			keysv1.Strategy_STRATEGY_LOWEST_LATENCY: plan.LowestLatency, keysv1.Strategy_STRATEGY_LOWEST_COST: plan.LowestCost, keysv1.Strategy_STRATEGY_STICKY: plan.Sticky,
		}
		strategy := keysv1.Strategy(number)
		if _, known := want[strategy]; !known {
			t.Errorf("nothing is said of %v", strategy)
		}
		got := policyOf(&keysv1.PolicyConfig{Spec: &keysv1.PolicySpec{Groups: []*keysv1.TargetGroup{{Strategy: strategy}}}})
		if got.Groups[0].Strategy != want[strategy] {
			t.Errorf("%v arrives as %v", strategy, got.Groups[0].Strategy)
		}
	}
}

// TestPreferencesArriveAndWhatIsUnsaidWidensNothing: a provider's rule that says nothing leaves the rule of all.
func TestPreferencesArriveAndWhatIsUnsaidWidensNothing(t *testing.T) {
	t.Parallel()
	got := preferencesOf(&keysv1.OrganizationConfig{
		ApprovedModels: []string{"openai/*"},
		Preferences: &keysv1.RoutingPreferences{
			Order: []string{"azure"}, Ignore: []string{"groq"}, Platform: keysv1.PlatformRule_PLATFORM_RULE_NEVER, PolicyId: "pol_1", EnforcePolicy: true,
			Providers: []*keysv1.ProviderRule{
				{Provider: "openai"},
				{Provider: "anthropic", Platform: keysv1.PlatformRule_PLATFORM_RULE_AFTER_OWN},
				{Provider: "xai", Platform: keysv1.PlatformRule_PLATFORM_RULE_BEFORE_OWN},
				{Provider: "mistral", Platform: keysv1.PlatformRule_PLATFORM_RULE_POLICIES},
			},
		},
	})
	approved := got.Approved
	got.Approved = nil
	want := &plan.Preferences{
		Order: []string{"azure"}, Ignore: []string{"groq"}, Rule: plan.Never, PolicyID: "pol_1", EnforcePolicy: true,
		Rules: map[string]plan.PlatformRule{"anthropic": plan.AfterOwn, "xai": plan.BeforeOwn, "mistral": plan.InPolicies},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !approved.Fit("openai/m") || approved.Fit("azure/openai/m") {
		t.Error("the approved models do not arrive")
	}
	if none := preferencesOf(&keysv1.OrganizationConfig{}); none.Rule != plan.InPolicies || none.Approved != nil {
		t.Errorf("an organization that says nothing: %+v", none)
	}
}

func TestASecondSecretArrivesWithItsShare(t *testing.T) {
	t.Parallel()
	c := credentialOf(&keysv1.CredentialConfig{
		Id: "cred_1", Provider: "openai", Revision: 1, Scope: &keysv1.CredentialScope{Models: []string{"openai/*"}},
		Next: &keysv1.NextSecret{Revision: 2, Sealed: "s2", SharePercent: 10},
	})
	if c.Share != 10 || c.Weight != 1 || c.Next == nil || c.Next.Revision != 2 || c.Next.Sealed != "s2" || c.Next.Next != nil || c.Next.Scope != c.Scope {
		t.Errorf("%+v, next %+v", c, c.Next)
	}
}
