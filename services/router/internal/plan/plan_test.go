package plan_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

func TestPlansLineByLineAndCredentialByCredential(t *testing.T) {
	t.Parallel()
	w := basic()
	w.policies = []*plan.Policy{policy("main", group(plan.Fallback, own("openai/m")), group(plan.Fallback, shared("anthropic/c"), own("anthropic/c")))}
	for model, want := range map[string]string{
		"policy/main":  "openai/m@1#0 openai/m@2#0 anthropic/c@pa!#1 anthropic/c@a#2",
		"openai/o4":    "openai/o4@1 openai/o4@2",
		"openai/a/b:c": "openai/a/b:c@1 openai/a/b:c@2",
	} {
		if got := planned(t, w, app, &completion.Request{Model: model}); got != want {
			t.Errorf("Make(%q) = %s, want %s", model, got, want)
		}
	}
	w.out = map[string]string{"cred_1": "was refused"}
	if got := planned(t, w, app, &completion.Request{Model: "openai/o4"}); got != "openai/o4@2" {
		t.Errorf("after a refusal: %s", got)
	}
}

// TestTheDefaultPolicyIsTheNearest: of the API key, else of its group, else of the organization.
func TestTheDefaultPolicyIsTheNearest(t *testing.T) {
	t.Parallel()
	const byKey, byGroup, byOrg, named = "openai/key@1#0", "openai/group@1#0", "openai/org@1#0", "openai/m@1"
	for name, test := range map[string]struct {
		key, group, org, enforcedByKey, enforcedByGroup, enforcedByOrg bool
		unnamed, asked                                                 string
	}{
		"key before all":                {key: true, group: true, org: true, unnamed: byKey, asked: named},
		"group before organization":     {group: true, org: true, unnamed: byGroup, asked: named},
		"organization":                  {org: true, unnamed: byOrg, asked: named},
		"enforced by key":               {key: true, org: true, enforcedByKey: true, unnamed: byKey, asked: byKey},
		"enforced by group":             {group: true, org: true, enforcedByGroup: true, unnamed: byGroup, asked: byGroup},
		"enforced by organization":      {org: true, enforcedByOrg: true, unnamed: byOrg, asked: byOrg},
		"a key's own under enforcement": {key: true, org: true, enforcedByOrg: true, unnamed: byKey, asked: byKey},
		"none":                          {unnamed: "MODEL_REQUIRED", asked: named},
		"enforced without any":          {enforcedByOrg: true, unnamed: "POLICY_NOT_FOUND", asked: "POLICY_NOT_FOUND"},
	} {
		w := basic()
		w.credentials["openai"] = w.credentials["openai"][:1]
		for _, level := range []string{"key", "group", "org"} {
			w.policies = append(w.policies, policy(level, group(plan.Fallback, own("openai/"+level))))
		}
		caller := app
		caller.GroupID, w.groups = "grp_1", map[string]*plan.Group{"grp_1": {ID: "grp_1", Name: "team", EnforcePolicy: test.enforcedByGroup}}
		caller.EnforcePolicy, w.preferences.EnforcePolicy = test.enforcedByKey, test.enforcedByOrg
		if test.key {
			caller.PolicyID = "pol_key"
		}
		if test.group {
			w.groups["grp_1"].PolicyID = "pol_group"
		}
		if test.org {
			w.preferences.PolicyID = "pol_org"
		}
		for model, want := range map[string]string{"": test.unnamed, "openai/m": test.asked} {
			got := planned(t, w, caller, &completion.Request{Model: model})
			if got != want && !strings.Contains(got, want) {
				t.Errorf("%s: Make(%q) = %s, want %s", name, model, got, want)
			}
		}
	}
}

func TestAPolicyThatIsGoneIsAnErrorAndNoWayAround(t *testing.T) {
	t.Parallel()
	w := basic()
	caller := app
	caller.PolicyID, caller.EnforcePolicy = "pol_gone", true
	_, err := planner(w).Make(w, caller, &completion.Request{Model: "openai/m"})
	if f, _ := fault.Of(err); !errors.Is(err, completion.ErrPolicyUnknown) || !strings.Contains(f.Message(), `API key "app" is gone`) {
		t.Errorf("Make = %v, want that the API key's policy is gone", err)
	}
}

func TestConditionsDecideWhichGroupsThereAre(t *testing.T) {
	t.Parallel()
	type request = completion.Request
	for name, test := range map[string]struct {
		when plan.Condition
		fits []*request
		not  []*request
	}{
		"a tag with a value": {
			when: plan.Condition{Tags: []plan.TagCondition{{Key: "env", Values: []string{"prod", "stage"}}}},
			fits: []*request{{Tags: map[string]string{"env": "stage"}}},
			not:  []*request{{}, {Tags: map[string]string{"env": "dev"}}, {Tags: map[string]string{"team": "prod"}}},
		},
		"a tag with any value": {
			when: plan.Condition{Tags: []plan.TagCondition{{Key: "env"}}},
			fits: []*request{{Tags: map[string]string{"env": ""}}}, not: []*request{{Tags: map[string]string{"team": "x"}}},
		},
		"all tags": {
			when: plan.Condition{Tags: []plan.TagCondition{{Key: "a"}, {Key: "b"}}},
			fits: []*request{{Tags: map[string]string{"a": "1", "b": "2"}}}, not: []*request{{Tags: map[string]string{"a": "1"}}},
		},
		"the model that was named": {
			when: plan.Condition{Models: []string{"openai/gpt-*", "anthropic/c"}},
			fits: []*request{{Model: "openai/gpt-5"}, {Model: "anthropic/c"}}, not: []*request{{Model: "openai/o4"}, {Model: "x/openai/gpt-5"}, {}},
		},
		"from 100 tokens": {
			when: plan.Condition{MinInput: 100},
			fits: []*request{{InputBytes: 400}, {InputBytes: 4000}}, not: []*request{{InputBytes: 396}, {}},
		},
		"to 100 tokens": {
			when: plan.Condition{MaxInput: 100},
			fits: []*request{{InputBytes: 400}, {}}, not: []*request{{InputBytes: 401}},
		},
		"the API key":     {when: plan.Condition{APIKeys: []string{"key_app"}}, fits: []*request{{}}},
		"another API key": {when: plan.Condition{APIKeys: []string{"key_other"}}, not: []*request{{}}},
		"the group":       {when: plan.Condition{Groups: []string{"grp_1"}}, fits: []*request{{}}},
		"another group":   {when: plan.Condition{Groups: []string{"grp_2"}}, not: []*request{{}}},
		"all of them": {
			when: plan.Condition{APIKeys: []string{"key_app"}, Groups: []string{"grp_1"}, MinInput: 1, Tags: []plan.TagCondition{{Key: "a"}}},
			fits: []*request{{InputBytes: 4, Tags: map[string]string{"a": "x"}}}, not: []*request{{InputBytes: 4}, {Tags: map[string]string{"a": "x"}}},
		},
	} {
		w := basic()
		first := group(plan.Fallback, own("anthropic/c"))
		first.When = &test.when
		w.policies = []*plan.Policy{policy("main", first, group(plan.Fallback, own("groq/l")))}
		w.groups = map[string]*plan.Group{"grp_1": {ID: "grp_1"}}
		caller := app
		caller.PolicyID, caller.EnforcePolicy, caller.GroupID = "pol_main", true, "grp_1"
		for _, req := range test.fits {
			if got := planned(t, w, caller, req); got != "anthropic/c@a#0 groq/l@g#1" {
				t.Errorf("%s: Make(%+v) = %s, want both groups", name, req, got)
			}
		}
		for _, req := range test.not {
			if got := planned(t, w, caller, req); got != "groq/l@g#1" {
				t.Errorf("%s: Make(%+v) = %s, want the second group", name, req, got)
			}
			if got := excluded(t, w, caller, req); !slices.Contains(got, "anthropic/c CONDITION") {
				t.Errorf("%s: Explain(%+v) excludes %v", name, req, got)
			}
		}
	}
}

func TestScopesExpiryAndStateNarrowWhatACredentialServes(t *testing.T) {
	t.Parallel()
	inGroup := app
	inGroup.GroupID = "grp_1"
	for name, test := range map[string]struct {
		change func(c *completion.Credential)
		caller completion.Caller
		want   string // reason, empty for a target
	}{
		"anything": {func(*completion.Credential) {}, app, ""},
		"its models": {func(c *completion.Credential) {
			c.Scope = &completion.Scope{Models: []string{"openai/o*", "anthropic/*"}}
		}, app, ""},
		"other models":      {func(c *completion.Credential) { c.Scope = &completion.Scope{Models: []string{"openai/o4"}} }, app, "SCOPE_MODEL"},
		"its API keys":      {func(c *completion.Credential) { c.Scope = &completion.Scope{APIKeys: []string{"key_app"}} }, app, ""},
		"other API keys":    {func(c *completion.Credential) { c.Scope = &completion.Scope{APIKeys: []string{"key_other"}} }, app, "SCOPE_CALLER"},
		"its groups":        {func(c *completion.Credential) { c.Scope = &completion.Scope{Groups: []string{"grp_1"}} }, inGroup, ""},
		"other groups":      {func(c *completion.Credential) { c.Scope = &completion.Scope{Groups: []string{"grp_2"}} }, inGroup, "SCOPE_CALLER"},
		"a group, and none": {func(c *completion.Credential) { c.Scope = &completion.Scope{Groups: []string{""}} }, app, "SCOPE_CALLER"},
		"other API keys, or group": {func(c *completion.Credential) {
			c.Scope = &completion.Scope{APIKeys: []string{"key_other"}, Groups: []string{"grp_1"}}
		}, inGroup, ""},
		"expires later": {func(c *completion.Credential) { c.Expires = now.Add(time.Nanosecond) }, app, ""},
		"expires now":   {func(c *completion.Credential) { c.Expires = now }, app, "CREDENTIAL_EXPIRED"},
		"out":           {func(c *completion.Credential) { c.Out = "is disabled" }, app, "CREDENTIAL_STATE"},
	} {
		w := basic()
		w.groups = map[string]*plan.Group{"grp_1": {ID: "grp_1", Name: "team"}}
		c := w.credentials["openai"][0]
		w.credentials["openai"] = w.credentials["openai"][:1]
		test.change(c)
		got := planned(t, w, test.caller, &completion.Request{Model: "openai/o1"})
		if test.want == "" {
			if got != "openai/o1@1" {
				t.Errorf("%s: Make = %s, want the credential", name, got)
			}
			continue
		}
		if !strings.Contains(got, "NO_USABLE_CREDENTIAL") || !strings.Contains(got, `"label-1"`) {
			t.Errorf("%s: Make = %s, want that the credential cannot serve", name, got)
		}
		if got := excluded(t, w, test.caller, &completion.Request{Model: "openai/o1"}); !slices.Contains(got, "openai/o1@1 "+test.want) {
			t.Errorf("%s: excludes %v, want %s", name, got, test.want)
		}
	}
}

// TestTheOrganizationsPreferencesHold: whose credentials serve a model without a policy, and what no policy may.
func TestTheOrganizationsPreferencesHold(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		preferences plan.Preferences
		direct      string
		policy      string
	}{
		"nothing said": {direct: "openai/m@1", policy: "openai/m@1#0 openai/m@po!#1 anthropic/c@pa!#2"},
		"never": {
			preferences: plan.Preferences{Rule: plan.Never}, direct: "openai/m@1", policy: "openai/m@1#0",
		},
		"never for one": {
			preferences: plan.Preferences{Rule: plan.AfterOwn, Rules: map[string]plan.PlatformRule{"openai": plan.Never}},
			direct:      "openai/m@1", policy: "openai/m@1#0 anthropic/c@pa!#2",
		},
		"never but for one": {
			preferences: plan.Preferences{Rule: plan.Never, Rules: map[string]plan.PlatformRule{"openai": plan.InPolicies}},
			direct:      "openai/m@1", policy: "openai/m@1#0 openai/m@po!#1",
		},
		"after own": {
			preferences: plan.Preferences{Rule: plan.AfterOwn}, direct: "openai/m@1 openai/m@po!", policy: "openai/m@1#0 openai/m@po!#1 anthropic/c@pa!#2",
		},
		"before own": {
			preferences: plan.Preferences{Rule: plan.BeforeOwn}, direct: "openai/m@po! openai/m@1", policy: "openai/m@1#0 openai/m@po!#1 anthropic/c@pa!#2",
		},
		"ignored": {
			preferences: plan.Preferences{Ignore: []string{"openai"}}, direct: "ROUTE_NOT_ALLOWED", policy: "anthropic/c@pa!#2",
		},
		"approved": {
			preferences: plan.Preferences{Approved: plan.Compile([]string{"openai/*"})}, direct: "openai/m@1", policy: "openai/m@1#0 openai/m@po!#1",
		},
		"not approved": {
			preferences: plan.Preferences{Approved: plan.Compile([]string{"anthropic/c", "groq/*"})}, direct: "ROUTE_NOT_ALLOWED", policy: "anthropic/c@pa!#2",
		},
	} {
		w := basic()
		w.credentials["openai"] = w.credentials["openai"][:1]
		w.preferences = test.preferences
		w.policies = []*plan.Policy{policy("main", group(plan.Fallback, own("openai/m"), shared("openai/m"), shared("anthropic/c")))}
		for model, want := range map[string]string{"openai/m": test.direct, "policy/main": test.policy} {
			if got := planned(t, w, app, &completion.Request{Model: model}); got != want && !strings.HasPrefix(got, want+":") {
				t.Errorf("%s: Make(%q) = %s, want %s", name, model, got, want)
			}
		}
	}
}

func TestAGroupApprovesWithinItsOrganization(t *testing.T) {
	t.Parallel()
	w := basic()
	caller := app
	caller.GroupID = "grp_1"
	w.groups = map[string]*plan.Group{"grp_1": {ID: "grp_1", Name: "team", Approved: plan.Compile([]string{"*/m", "groq/*"})}}
	w.preferences.Approved = plan.Compile([]string{"openai/*", "anthropic/*"})
	for model, want := range map[string]string{"openai/m": "openai/m@1 openai/m@2", "openai/o4": `group "team" has not approved`, "groq/l": "the organization has not approved"} {
		if got := planned(t, w, caller, &completion.Request{Model: model}); !strings.Contains(got, want) {
			t.Errorf("Make(%q) = %s, want %s", model, got, want)
		}
	}
}

// TestAMissingOwnCredentialIsAnErrorAndNoSwitch: neither without a policy nor by a line that says own.
func TestAMissingOwnCredentialIsAnErrorAndNoSwitch(t *testing.T) {
	t.Parallel()
	w := basic()
	gone := own("openai/m")
	gone.CredentialID = "cred_gone"
	foreign := own("openai/m")
	foreign.CredentialID = "cred_a"
	w.policies = []*plan.Policy{policy("own", group(plan.Fallback, own("openai/m"))), policy("gone", group(plan.Fallback, gone)), policy("foreign", group(plan.Fallback, foreign))}
	for _, model := range []string{"policy/gone", "policy/foreign"} {
		if got := planned(t, w, app, &completion.Request{Model: model}); !strings.Contains(got, "is gone, or is no credential for openai") {
			t.Errorf("Make(%q) = %s", model, got)
		}
	}
	delete(w.credentials, "openai")
	for _, model := range []string{"openai/m", "policy/own"} {
		if got := planned(t, w, app, &completion.Request{Model: model}); !strings.Contains(got, "there is no own credential for openai") {
			t.Errorf("Make(%q) = %s", model, got)
		}
	}
	if got := planned(t, w, completion.Caller{OrgID: "org_b"}, &completion.Request{Model: "anthropic/c"}); !strings.Contains(got, "there is no own credential for anthropic") {
		t.Errorf("of another organization: %s", got)
	}
}

func TestALineMayNameOneCredential(t *testing.T) {
	t.Parallel()
	w := basic()
	named := own("openai/m")
	named.CredentialID = "cred_2"
	w.policies = []*plan.Policy{policy("main", group(plan.Fallback, named, own("openai/m")))}
	if got := planned(t, w, app, &completion.Request{Model: "policy/main"}); got != "openai/m@2#0 openai/m@1#1" {
		t.Errorf("Make = %s, want the named one first, and none twice", got)
	}
	if got := excluded(t, w, app, &completion.Request{Model: "policy/main"}); !slices.Contains(got, "openai/m@2 DUPLICATE") {
		t.Errorf("excludes %v", got)
	}
}

// TestPoliciesNestAndUsageNamesTheLineThatWasAsked: a line's candidates stand in its place.
func TestPoliciesNestAndUsageNamesTheLineThatWasAsked(t *testing.T) {
	t.Parallel()
	w := basic()
	w.policies = []*plan.Policy{
		policy("main", group(plan.Fallback, own("groq/l"), line("policy/inner", usage.ClassUnknown), shared("anthropic/c"))),
		policy("inner", group(plan.Fallback, own("openai/m"), shared("openai/m"))),
	}
	p, err := planner(w).Make(w, app, &completion.Request{Model: "policy/main"})
	if err != nil || order(p.Targets) != "groq/l@g#0 openai/m@1#1 openai/m@2#1 openai/m@po!#1 anthropic/c@pa!#2" {
		t.Fatalf("Make = %s, %v", order(p.Targets), err)
	}
	for i := range p.Targets {
		if p.Targets[i].PolicyName != "main" || p.Targets[i].PolicyVersion != 4 || !plan.Allowed(w, app, &p.Targets[i]) {
			t.Errorf("target %d is of %s, allowed: %v", i, p.Targets[i].PolicyName, plan.Allowed(w, app, &p.Targets[i]))
		}
	}
}

func TestLoopsOfPoliciesEnd(t *testing.T) {
	t.Parallel()
	inner := func(name string) plan.Line { return line("policy/"+name, usage.ClassUnknown) }
	w := basic()
	w.policies = []*plan.Policy{
		policy("itself", group(plan.Fallback, inner("itself"), own("groq/l"))),
		policy("a", group(plan.Fallback, inner("b"), own("groq/l"))), policy("b", group(plan.Weighted, inner("a"), own("anthropic/c"))),
		policy("nobody", group(plan.Fallback, inner("gone"), own("groq/l"))),
		policy("endless", group(plan.Fallback, inner("endless"))),
	}
	// Each of 20 policies names the next one 8 times: 8^20 ways without a bound.
	for i := range 20 {
		wide := policy("wide"+string(rune('a'+i)), group(plan.LowestLatency, slices.Repeat([]plan.Line{inner("wide" + string(rune('b'+i)))}, 8)...))
		w.policies = append(w.policies, wide)
	}
	w.policies = append(w.policies, policy("wide"+string(rune('a'+20)), group(plan.Fallback, own("groq/l"))))
	for model, want := range map[string]string{
		"policy/itself": "groq/l@g#1", "policy/a": "anthropic/c@a#0 groq/l@g#1", "policy/nobody": "groq/l@g#1",
		"policy/endless": "leads back to itself", "policy/widea": "name each other more than 8 deep", "policy/widep": "groq/l@g#0",
	} {
		if got := planned(t, w, app, &completion.Request{Model: model}); !strings.Contains(got, want) {
			t.Errorf("Make(%q) = %s, want %s", model, got, want)
		}
	}
}

func TestDrillsAreForOneAPIKeyAndTheirTime(t *testing.T) {
	t.Parallel()
	drill := completion.Drill{ID: "drill_1", OrgID: org, CredentialID: "cred_1", APIKeyID: "key_app", Class: completion.RateLimited, Until: now.Add(time.Second)}
	for name, test := range map[string]struct {
		change func(*completion.Drill)
		want   bool
	}{
		"now":                  {func(*completion.Drill) {}, true},
		"another API key":      {func(d *completion.Drill) { d.APIKeyID = "key_other" }, false},
		"another credential":   {func(d *completion.Drill) { d.CredentialID = "cred_9" }, false},
		"another organization": {func(d *completion.Drill) { d.OrgID = "org_b" }, false},
		"over":                 {func(d *completion.Drill) { d.Until = now }, false},
	} {
		w := basic()
		d := drill
		test.change(&d)
		w.drills = []completion.Drill{d}
		p, err := planner(w).Make(w, app, &completion.Request{Model: "openai/m"})
		if err != nil || len(p.Targets) != 2 || (p.Targets[0].Drill != nil) != test.want || p.Targets[1].Drill != nil {
			t.Errorf("%s: %+v, %v", name, p.Targets, err)
		}
	}
}

// TestWhatIsLowStandsBehindItsEquals, and before what has a lower priority.
func TestWhatIsLowStandsBehindItsEquals(t *testing.T) {
	t.Parallel()
	w := basic()
	third := cred("3", "openai")
	w.credentials["openai"] = []*completion.Credential{w.credentials["openai"][0], third, w.credentials["openai"][1]}
	for low, want := range map[string]string{"cred_1": "openai/m@3 openai/m@1 openai/m@2", "cred_3": "openai/m@1 openai/m@3 openai/m@2"} {
		w.low = map[string]bool{low: true}
		for _, id := range []string{"req_1", "req_2", "req_3", "req_4"} {
			if got := planned(t, w, app, &completion.Request{ID: id, Model: "openai/m"}); got != want {
				t.Errorf("%s is low: Make = %s, want %s", low, got, want)
			}
		}
	}
	w.policies = []*plan.Policy{policy("even", group(plan.Weighted, weighing(own("anthropic/c"), 1000), own("groq/l")))}
	w.low = map[string]bool{"cred_a": true}
	if got := planned(t, w, app, &completion.Request{Model: "policy/even"}); got != "groq/l@g#1 anthropic/c@a#0" {
		t.Errorf("a line that is low: %s", got)
	}
}

func TestThePlanCarriesWhatThePolicySays(t *testing.T) {
	t.Parallel()
	w := basic()
	main := policy("main", group(plan.Fallback, own("groq/l")))
	main.MaxAttempts, main.Hedge = 7, &completion.Hedge{MaxPercent: 3}
	main.Groups[0].Lines[0].Rule = &completion.Rule{Retries: 1}
	w.policies = []*plan.Policy{main}
	p, err := planner(w).Make(w, app, &completion.Request{Model: "policy/main", Routing: completion.Routing{Models: []string{"openai/m"}}})
	if err != nil || p.MaxAttempts != 7 || p.Hedge != main.Hedge || p.ConfigVersion != 3 || p.Targets[0].Rule != main.Groups[0].Lines[0].Rule || p.Targets[1].Rule != nil {
		t.Errorf("%+v, %v", p, err)
	}
}
