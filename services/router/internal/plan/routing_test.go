package plan_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// TestARequestChoosesAmongWhatIsAllowed: what the body says of its route, for a model and for a policy.
func TestARequestChoosesAmongWhatIsAllowed(t *testing.T) {
	t.Parallel()
	const (
		direct = "openai/m@1 openai/m@2"
		byLine = "groq/l@g#0 openai/m@1#1 openai/m@2#1 openai/m@po!#2 anthropic/c@a#3"
	)
	price := func(n int64) *int64 { return &n }
	for name, test := range map[string]struct {
		routing        completion.Routing
		direct, policy string
	}{
		"nothing":                {completion.Routing{}, direct, byLine},
		"more models":            {completion.Routing{Models: []string{"groq/l", "policy/small"}}, direct + " groq/l@g anthropic/c@a#0", byLine + " anthropic/c@a#3"},
		"the same again":         {completion.Routing{Models: []string{"openai/m"}}, direct, byLine},
		"only":                   {completion.Routing{Only: []string{"openai"}}, direct, "openai/m@1#1 openai/m@2#1 openai/m@po!#2"},
		"only another":           {completion.Routing{Only: []string{"groq"}}, "NO_ROUTE_LEFT", "groq/l@g#0"},
		"ignore":                 {completion.Routing{Ignore: []string{"openai"}}, "NO_ROUTE_LEFT", "groq/l@g#0 anthropic/c@a#3"},
		"order, classes stay":    {completion.Routing{Order: []string{"anthropic", "openai"}}, direct, "openai/m@1#1 openai/m@2#1 groq/l@g#0 openai/m@po!#2 anthropic/c@a#3"},
		"cheapest":               {completion.Routing{Sort: "price"}, direct, byLine},
		"quickest":               {completion.Routing{Sort: "latency"}, direct, "openai/m@1#1 openai/m@2#1 groq/l@g#0 openai/m@po!#2 anthropic/c@a#3"},
		"order before sort":      {completion.Routing{Order: []string{"groq"}, Sort: "latency"}, direct, byLine},
		"no fallbacks":           {completion.Routing{NoFallbacks: true}, "openai/m@1", "groq/l@g#0"},
		"input at most":          {completion.Routing{MaxInput: price(1_000_000_000)}, direct, "groq/l@g#0 openai/m@1#1 openai/m@2#1 openai/m@po!#2"},
		"output at most":         {completion.Routing{MaxOutput: price(3_999_999_999)}, "NO_ROUTE_LEFT", "groq/l@g#0"},
		"both at most":           {completion.Routing{MaxInput: price(99_999_999), MaxOutput: price(1 << 60)}, "NO_ROUTE_LEFT", "NO_ROUTE_LEFT"},
		"unknown names are told": {completion.Routing{Models: []string{"nobody/x"}}, "MODEL_NOT_FOUND", "MODEL_NOT_FOUND"},
	} {
		w := basic()
		w.latency = map[string]time.Duration{"openai/m": 100 * time.Millisecond, "groq/l": 200 * time.Millisecond}
		w.policies = []*plan.Policy{
			policy("main", group(plan.Fallback, own("groq/l"), own("openai/m"), shared("openai/m"), own("anthropic/c"))),
			policy("small", group(plan.Fallback, own("anthropic/c"))),
		}
		for model, want := range map[string]string{"openai/m": test.direct, "policy/main": test.policy} {
			if name == "more models" && model == "policy/main" {
				want = byLine // groq and anthropic are there already
			}
			got := planned(t, w, app, &completion.Request{Model: model, Routing: test.routing})
			if got != want && !strings.HasPrefix(got, want+":") {
				t.Errorf("%s: Make(%q) = %s, want %s", name, model, got, want)
			}
		}
	}
}

func TestARequestMayNameModelsInAListAlone(t *testing.T) {
	t.Parallel()
	w := basic()
	w.policies = []*plan.Policy{policy("main", group(plan.Fallback, own("groq/l")))}
	caller := app
	caller.PolicyID = "pol_main"
	if got := planned(t, w, caller, &completion.Request{Routing: completion.Routing{Models: []string{"anthropic/c", "openai/m"}}}); got != "anthropic/c@a openai/m@1 openai/m@2" {
		t.Errorf("Make = %s", got)
	}
	caller.EnforcePolicy = true
	req := &completion.Request{Model: "openai/m", Routing: completion.Routing{Models: []string{"anthropic/c"}}}
	if got := planned(t, w, caller, req); got != "groq/l@g#0" {
		t.Errorf("under an enforced policy, Make = %s", got)
	}
	if got := excluded(t, w, caller, req); !slices.Equal(got, []string{"openai/m POLICY_ENFORCED", "anthropic/c POLICY_ENFORCED"}) {
		t.Errorf("under an enforced policy, Explain excludes %v", got)
	}
}

func TestAPriceThatNobodyKnowsIsNotWithinABound(t *testing.T) {
	t.Parallel()
	w := basic()
	req := &completion.Request{Model: "openai/unknown", Routing: completion.Routing{MaxInput: new(int64(1 << 60))}}
	if got := planned(t, w, app, req); !strings.Contains(got, "nobody knows the model's") {
		t.Errorf("Make = %s", got)
	}
}

// TestRequiredParametersPassOverWhoCannotCarryThem, but not over those to whom the body passes as it is.
func TestRequiredParametersPassOverWhoCannotCarryThem(t *testing.T) {
	t.Parallel()
	w := basic()
	w.policies = []*plan.Policy{policy("main", group(plan.Fallback, own("groq/l"), own("anthropic/c")))}
	decode := func() (*completion.Prompt, error) {
		return &completion.Prompt{Tools: []completion.Tool{{Name: "f"}}}, nil
	}
	requires := completion.Routing{RequireParameters: true}
	for name, test := range map[string]struct {
		req  completion.Request
		want string
	}{
		"converted":    {completion.Request{Dialect: completion.AnthropicMessages, Raw: []byte("{}"), Decode: decode, Routing: requires}, "anthropic/c@a#1"},
		"passed on":    {completion.Request{Dialect: completion.OpenAIChat, Raw: []byte("{}"), Decode: decode, Routing: requires}, "groq/l@g#0 anthropic/c@a#1"},
		"typed":        {completion.Request{Dialect: completion.Typed, Decode: decode, Routing: requires}, "anthropic/c@a#1"},
		"not required": {completion.Request{Dialect: completion.Typed, Decode: decode}, "groq/l@g#0 anthropic/c@a#1"},
	} {
		test.req.Model = "policy/main"
		if got := planned(t, w, app, &test.req); got != test.want {
			t.Errorf("%s: Make = %s, want %s", name, got, test.want)
		}
	}
	broken := completion.ErrUnsupported.Saying("there is no such part")
	req := &completion.Request{Model: "policy/main", Routing: requires, Decode: func() (*completion.Prompt, error) { return nil, broken }}
	if got := planned(t, w, app, req); !strings.Contains(got, "there is no such part") {
		t.Errorf("of a prompt that cannot be read, Make = %s", got)
	}
}

// TestOthersThatHaveTheModelServeWhereTheyAreAskedFor: without a policy a model is its provider's, unless the
// name is nobody's, or the organization or the request names others.
func TestOthersThatHaveTheModelServeWhereTheyAreAskedFor(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		model       string
		preferences plan.Preferences
		routing     completion.Routing
		want        string
	}{
		"its provider's alone":     {model: "groq/l", want: "groq/l@g"},
		"the organization's order": {model: "groq/l", preferences: plan.Preferences{Order: []string{"anthropic", "groq"}}, want: "anthropic/l@a groq/l@g"},
		"one in the order":         {model: "groq/l", preferences: plan.Preferences{Order: []string{"anthropic"}}, want: "anthropic/l@a groq/l@g"},
		"the order, but ignored":   {model: "groq/l", preferences: plan.Preferences{Order: []string{"anthropic"}, Ignore: []string{"anthropic"}}, want: "groq/l@g"},
		"the order, not approved":  {model: "groq/l", preferences: plan.Preferences{Order: []string{"anthropic"}, Approved: plan.Compile([]string{"groq/*"})}, want: "groq/l@g"},
		"the request's order":      {model: "groq/l", routing: completion.Routing{Order: []string{"openai", "anthropic"}}, want: "openai/l@1 openai/l@2 anthropic/l@a groq/l@g"},
		"the request's only":       {model: "groq/l", routing: completion.Routing{Only: []string{"anthropic"}}, want: "anthropic/l@a"},
		"sorted by price":          {model: "openai/l", routing: completion.Routing{Sort: "price"}, want: "groq/l@g openai/l@1 openai/l@2 anthropic/l@a"},
		"a name of nobody's":       {model: "meta/llama", want: "groq/l@g openai/l@1 openai/l@2 anthropic/l@a"},
		"nobody's, in an order":    {model: "meta/llama", preferences: plan.Preferences{Order: []string{"anthropic"}}, want: "anthropic/l@a groq/l@g openai/l@1 openai/l@2"},
		"a maker's, not its API's": {model: "openai/llama-open", want: "groq/l@g openai/l@1 openai/l@2 anthropic/l@a"},
		"platform after all own": {
			model: "meta/llama", preferences: plan.Preferences{Rule: plan.AfterOwn},
			want: "groq/l@g openai/l@1 openai/l@2 anthropic/l@a openai/l@po! anthropic/l@pa!",
		},
		"no platform before own by wish": {
			model: "meta/llama", preferences: plan.Preferences{Rule: plan.AfterOwn}, routing: completion.Routing{Order: []string{"anthropic"}},
			want: "anthropic/l@a groq/l@g openai/l@1 openai/l@2 anthropic/l@pa! openai/l@po!",
		},
	} {
		w := basic()
		w.preferences = test.preferences
		if got := planned(t, w, app, &completion.Request{Model: test.model, Routing: test.routing}); got != test.want {
			t.Errorf("%s: Make(%q) = %s, want %s", name, test.model, got, test.want)
		}
	}
	w := basic()
	w.credentials["openai"][1].BaseURL = "https://llm.acme.example/v1"
	if got := planned(t, w, app, &completion.Request{Model: "openai/llama-open"}); got != "openai/llama-open@1 openai/llama-open@2" {
		t.Errorf("where the organization has an address of its own, Make = %s", got)
	}
}

// TestADeploymentThatCarriesTheModelsNameServesIt: behind the provider that the name begins with.
func TestADeploymentThatCarriesTheModelsNameServesIt(t *testing.T) {
	t.Parallel()
	w := basic()
	deployed, other := cred("az", "azure"), cred("az2", "azure")
	deployed.Settings.Deployments = []completion.Deployment{{Model: "openai/m", Name: "d1"}}
	other.Settings.Deployments = []completion.Deployment{{Model: "openai/o4", Name: "d2"}}
	w.credentials["azure"] = []*completion.Credential{other, deployed}
	for model, want := range map[string]string{"openai/m": "openai/m@1 openai/m@2 azure/openai/m@az", "openai/x": "openai/x@1 openai/x@2", "azure/openai/m": "azure/openai/m@az"} {
		if got := planned(t, w, app, &completion.Request{Model: model}); got != want {
			t.Errorf("Make(%q) = %s, want %s", model, got, want)
		}
	}
	w.preferences.Order = []string{"azure"}
	if got := planned(t, w, app, &completion.Request{Model: "openai/m"}); got != "azure/openai/m@az openai/m@1 openai/m@2" {
		t.Errorf("with Azure in the order, Make = %s", got)
	}
	delete(w.credentials, "openai")
	if got := planned(t, w, app, &completion.Request{Model: "openai/m"}); got != "azure/openai/m@az" {
		t.Errorf("with Azure alone, Make = %s", got)
	}
}

// TestAllowedCatchesWhatMakeMustNotGive: each change of a good target is refused where the call is signed.
func TestAllowedCatchesWhatMakeMustNotGive(t *testing.T) {
	t.Parallel()
	named := own("openai/named")
	named.CredentialID = "cred_2"
	fresh := func() *world {
		w := basic()
		w.policies = []*plan.Policy{policy("main", group(plan.Fallback, own("openai/m"), shared("anthropic/c"), named, line("policy/inner", usage.ClassUnknown))), policy("inner", group(plan.Fallback, shared("openai/in"), line("policy/main", usage.ClassUnknown)))}
		return w
	}
	target := func(w *world, model string, at int) completion.Target {
		p, err := planner(w).Make(w, app, &completion.Request{Model: model})
		if err != nil {
			t.Fatal(err)
		}
		return p.Targets[at]
	}
	for name, test := range map[string]struct {
		model string
		at    int
		spoil func(w *world, target *completion.Target)
	}{
		"no credential":          {"openai/m", 0, func(_ *world, x *completion.Target) { x.Credential = nil }},
		"another organization's": {"openai/m", 0, func(w *world, x *completion.Target) { c := *x.Credential; c.OrgID = "org_b"; x.Credential = &c }},
		"the platform's as own":  {"openai/m", 0, func(w *world, x *completion.Target) { x.Credential = w.credentials["platform:openai"][0] }},
		"the platform's without a policy": {"openai/m", 0, func(w *world, x *completion.Target) {
			x.Credential, x.Class = w.credentials["platform:openai"][0], usage.Platform
		}},
		"own as the platform's":         {"openai/m", 0, func(_ *world, x *completion.Target) { x.Class = usage.Platform }},
		"no class":                      {"openai/m", 0, func(_ *world, x *completion.Target) { x.Class = usage.ClassUnknown }},
		"another provider's credential": {"openai/m", 0, func(w *world, x *completion.Target) { x.Credential = w.credentials["groq"][0] }},
		"another model's name":          {"openai/m", 0, func(_ *world, x *completion.Target) { x.Name = "other" }},
		"ignored":                       {"openai/m", 0, func(w *world, _ *completion.Target) { w.preferences.Ignore = []string{"openai"} }},
		"not approved":                  {"openai/m", 0, func(w *world, _ *completion.Target) { w.preferences.Approved = plan.Compile([]string{"groq/*"}) }},
		"out of scope": {"openai/m", 0, func(_ *world, x *completion.Target) {
			x.Credential.Scope = &completion.Scope{APIKeys: []string{"key_b"}}
		}},
		"out of the scope's models": {"openai/m", 0, func(_ *world, x *completion.Target) {
			x.Credential.Scope = &completion.Scope{Models: []string{"openai/z*"}}
		}},
		"never": {"policy/main", 2, func(w *world, _ *completion.Target) { w.preferences.Rule = plan.Never }},
		"never for the provider": {"policy/main", 2, func(w *world, _ *completion.Target) {
			w.preferences.Rules = map[string]plan.PlatformRule{"anthropic": plan.Never}
		}},
		"the platform's on an own line": {"policy/main", 0, func(w *world, x *completion.Target) {
			x.Credential, x.Class = w.credentials["platform:openai"][0], usage.Platform
		}},
		"own on a platform's line":           {"policy/main", 2, func(w *world, x *completion.Target) { x.Credential, x.Class = w.credentials["anthropic"][0], usage.Own }},
		"another model than the line's":      {"policy/main", 0, func(_ *world, x *completion.Target) { x.Model, x.Name = "openai/z", "z" }},
		"another credential than the line's": {"policy/main", 3, func(w *world, x *completion.Target) { x.Credential = w.credentials["openai"][0] }},
		"another line":                       {"policy/main", 0, func(_ *world, x *completion.Target) { x.Line = 1 }},
		"a line that is none":                {"policy/main", 0, func(_ *world, x *completion.Target) { x.Line = 99 }},
		"own for the inner policy's":         {"policy/main", 4, func(w *world, x *completion.Target) { x.Credential, x.Class = w.credentials["openai"][0], usage.Own }},
		"a credential that is gone": {"openai/m", 0, func(w *world, x *completion.Target) {
			w.credentials["openai"] = slices.DeleteFunc(slices.Clone(w.credentials["openai"]), func(c *completion.Credential) bool { return c.ID == x.Credential.ID })
		}},
		"a credential that was switched off since": {"openai/m", 0, func(w *world, x *completion.Target) {
			off := *x.Credential
			off.Out = "is disabled"
			w.credentials["openai"] = []*completion.Credential{&off}
		}},
		"without the policy that is enforced": {"openai/m", 0, func(w *world, _ *completion.Target) {
			w.preferences.EnforcePolicy, w.preferences.PolicyID = true, "pol_main"
		}},
		"by another policy than the one that is enforced": {"policy/main", 0, func(w *world, _ *completion.Target) {
			w.preferences.EnforcePolicy, w.preferences.PolicyID = true, "pol_inner"
		}},
		"a policy that is gone": {"policy/main", 0, func(_ *world, x *completion.Target) { x.PolicyID = "pol_gone" }},
	} {
		w := fresh()
		x := target(w, test.model, test.at)
		if !plan.Allowed(w, app, &x) {
			t.Errorf("%s: %s is not allowed before it is broken", name, order([]completion.Target{x}))
		}
		test.spoil(w, &x)
		if plan.Allowed(w, app, &x) {
			t.Errorf("%s: it is allowed", name)
		}
	}
	w := fresh()
	x := target(w, "policy/main", 0)
	w.policies[0] = policy("main", group(plan.Fallback, own("groq/l")))
	w.policies[0].Version++
	if !plan.Allowed(w, app, &x) {
		t.Error("a newer version of the policy is taken for a mistake of the planner")
	}
}

// TestAGroupThatIsNotKnownAllowsNothing: what it would forbid is unknown.
func TestAGroupThatIsNotKnownAllowsNothing(t *testing.T) {
	t.Parallel()
	w, caller := basic(), app
	w.policies = []*plan.Policy{policy("main", group(plan.Fallback, own("openai/m")))}
	p, err := planner(w).Make(w, caller, &completion.Request{Model: "openai/m"})
	if err != nil {
		t.Fatal(err)
	}
	caller.GroupID = "grp_gone"
	if plan.Allowed(w, caller, &p.Targets[0]) {
		t.Error("a target is allowed")
	}
	for _, model := range []string{"openai/m", "policy/main"} {
		if _, err := planner(w).Make(w, caller, &completion.Request{Model: model}); !errors.Is(err, plan.ErrNotAllowed) {
			t.Errorf("Make(%q) = %v", model, err)
		}
	}
	if got := planner(w).Models(w, caller, nil); len(got) != 0 {
		t.Errorf("Models = %v", got)
	}
}

// TestASecretThatWasReplacedMayFinish: a rotation fails no request that was planned before it.
func TestASecretThatWasReplacedMayFinish(t *testing.T) {
	t.Parallel()
	w := basic()
	p, err := planner(w).Make(w, app, &completion.Request{Model: "openai/m"})
	if err != nil {
		t.Fatal(err)
	}
	promoted := *p.Targets[0].Credential
	promoted.Revision++
	w.credentials["openai"] = []*completion.Credential{&promoted}
	if !plan.Allowed(w, app, &p.Targets[0]) {
		t.Error("the secret before is not allowed")
	}
}
