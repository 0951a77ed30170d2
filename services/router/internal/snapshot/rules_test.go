package snapshot

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

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

// TestWhatGroupsAndKeysChooseArrives: their default policies, which a request that names no model is served by, what
// they enforce and approve, and to whom a credential is open.
func TestWhatGroupsAndKeysChooseArrives(t *testing.T) {
	t.Parallel()
	s := newSigner()
	f := s.follower(t, t.TempDir())
	pieces, _ := s.base(1)
	end := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := apply(f, append(pieces, s.sign(&keysv1.ConfigBatch{
		FromVersion: 1, ToVersion: 2, Last: true,
		Groups:  []*keysv1.GroupConfig{{OrgId: "org_a", Id: "grp_1", Name: "team", PolicyId: "pol_1", EnforcePolicy: true, ApprovedModels: []string{"openai/*"}}},
		ApiKeys: []*keysv1.ApiKeyConfig{{OrgId: "org_a", Id: "key_2", PublicId: "two", GroupId: "grp_1", PolicyId: "pol_2", EnforcePolicy: true}},
		Credentials: []*keysv1.CredentialConfig{{
			OrgId: "org_a", Id: "cred_3", Provider: "groq", Sealed: "s", Priority: 4, Weight: 5, ExpireTime: timestamppb.New(end),
			Scope: &keysv1.CredentialScope{Models: []string{"groq/*"}, ApiKeyIds: []string{"key_2"}, GroupIds: []string{"grp_1"}},
		}},
	}))...); err != nil {
		t.Fatal(err)
	}
	state, err := f.State()
	if err != nil {
		t.Fatal(err)
	}
	g := state.Group("org_a", "grp_1")
	if g == nil || g.Name != "team" || g.PolicyID != "pol_1" || !g.EnforcePolicy || !g.Approved.Fit("openai/m") || g.Approved.Fit("groq/l") {
		t.Errorf("group %+v", g)
	}
	if state.Group("org_p", "grp_1") != nil {
		t.Error("another organization has the group too")
	}
	if k := f.ByID("key_2"); k.GroupID != "grp_1" || k.PolicyID != "pol_2" || !k.EnforcePolicy {
		t.Errorf("API key %+v", k)
	}
	c := state.Credentials("org_a", "groq")[0]
	want := &completion.Scope{Models: []string{"groq/*"}, APIKeys: []string{"key_2"}, Groups: []string{"grp_1"}}
	if diff := cmp.Diff(want, c.Scope); diff != "" || c.Priority != 4 || c.Weight != 5 || !c.Expires.Equal(end) {
		t.Errorf("credential %+v; scope (-want +got):\n%s", c, diff)
	}
}

// TestDrillsArriveWithWhatTheyPretend: one that is new here pretends nothing by accident.
func TestDrillsArriveWithWhatTheyPretend(t *testing.T) {
	t.Parallel()
	end := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for n, name := range keysv1.DrillFault_name {
		fault := keysv1.DrillFault(n)
		want := completion.Drill{
			ID: "drill_1", OrgID: "org_a", CredentialID: "cred_1", APIKeyID: "key_1", Until: end, Class: map[keysv1.DrillFault]completion.Class{
				keysv1.DrillFault_DRILL_FAULT_RATE_LIMITED: completion.RateLimited, keysv1.DrillFault_DRILL_FAULT_UNAUTHORIZED: completion.AuthInvalid,
				keysv1.DrillFault_DRILL_FAULT_SLOW: completion.TimedOut,
			}[fault],
		}
		if (want.Class == "") != (fault == keysv1.DrillFault_DRILL_FAULT_UNSPECIFIED) {
			t.Errorf("nothing is said of %s", name)
		}
		got := drillOf(&keysv1.DrillConfig{OrgId: "org_a", Id: "drill_1", CredentialId: "cred_1", ApiKeyId: "key_1", Fault: fault, EndTime: timestamppb.New(end)})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
