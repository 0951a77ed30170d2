package policy_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/policy"
)

// facts is an organization.
type facts struct {
	policies    map[string]policy.Policy
	credentials []credential.Credential
	rules       rules
	keys        map[string]policy.KeyFact
	groups      map[string]string
}

type rules struct {
	ignored, forbidden []string
	approved           string // a beginning of models
}

func (r rules) Ignored(p string) bool         { return slices.Contains(r.ignored, p) }
func (r rules) ForbidsPlatform(p string) bool { return slices.Contains(r.forbidden, p) }
func (r rules) Approves(m string) bool        { return strings.HasPrefix(m, r.approved) }

func (f facts) PoliciesByName(_ context.Context, names []string) (out []policy.Policy, err error) {
	for _, n := range names {
		if p, ok := f.policies[n]; ok {
			p.Name = n
			out = append(out, p)
		}
	}
	return out, nil
}

func (f facts) PoliciesNaming(_ context.Context, target string, limit int) (out []string, err error) {
	for name, p := range f.policies {
		if slices.Contains(p.Spec.References(), target) && len(out) < limit {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

func (f facts) CredentialsFor(_ context.Context, providers, ids []string) (out []credential.Credential, err error) {
	for _, c := range f.credentials {
		if slices.Contains(providers, c.Provider) || slices.Contains(ids, c.ID) {
			out = append(out, c)
		}
	}
	return out, nil
}
func (f facts) RoutingRules(context.Context) (policy.Rules, error) { return f.rules, nil }
func (f facts) KeyFacts(context.Context, []string) (map[string]policy.KeyFact, error) {
	return f.keys, nil
}

func (f facts) GroupNames(context.Context, []string) (map[string]string, error) { return f.groups, nil }

// prices is a small book.
type prices []string

func (p prices) Known(model string) bool { return slices.Contains(p, model) }
func (p prices) Offers(model string) []string {
	return map[string][]string{"meta/llama": {"groq/llama", "deepinfra/meta/llama"}, "openai/oss": {"groq/oss"}}[model]
}

func (p prices) Priced(model string) bool {
	return slices.Contains(p, model) && model != "openai/known-only"
}

func (p prices) Models(provider string) []string {
	return slices.DeleteFunc(slices.Clone(p), func(m string) bool { return !strings.HasPrefix(m, provider+"/") })
}

var book = prices{"openai/gpt-4o", "openai/gpt-4o-mini", "openai/known-only", "anthropic/claude-opus-5", "azure/openai/gpt-4o", "groq/llama"}

func published(s policy.Spec) policy.Policy { return policy.Policy{Version: 1, Spec: s} }

// acme has a bit of everything.
func acme() facts {
	return facts{
		policies: map[string]policy.Policy{
			"cheap": published(spec(of(own("groq/llama")...))), "draft": {Draft: &policy.Spec{}},
			"odd": published(spec(of(own("openai/gpt-4o", "openai/known-only")...))),
		},
		credentials: []credential.Credential{
			{ID: "cred_o", Label: "main", Provider: "openai", Sealed: "x", Verdict: credential.Active, Models: []string{"gpt-4o", "gpt-today"}},
			{ID: "cred_x", Label: "off", Provider: "openai", Sealed: "x", Disabled: true},
			{ID: "cred_a", Label: "claude", Provider: "anthropic", Sealed: "x"},
			{ID: "cred_z", Label: "azure", Provider: "azure", Sealed: "x", Settings: keyform.Settings{Deployments: []keyform.Deployment{{ModelSlug: "mine"}}}},
			{ID: "cred_g", Label: "fast", Provider: "groq", Sealed: "x"},
		},
		keys:   map[string]policy.KeyFact{"key_1": {Name: "ci", GroupID: "grp_1", Usable: true}, "key_dead": {Name: "old"}},
		groups: map[string]string{"grp_1": "Search", "grp_2": "Ads"},
	}
}

func when(c policy.Condition, targets ...policy.Target) policy.Group {
	return policy.Group{When: &c, Targets: targets}
}

func by(strategy policy.Strategy, targets ...policy.Target) policy.Group {
	return policy.Group{Strategy: strategy, Targets: targets}
}

func TestEachProblemIsToldWithItsLine(t *testing.T) {
	t.Parallel()
	gpt, claude, llama := policy.Target{Model: "openai/gpt-4o", Use: policy.Own}, policy.Target{Model: "anthropic/claude-opus-5", Use: policy.Own}, policy.Target{Model: "groq/llama", Use: policy.Own}
	with := func(change func(*policy.Target)) policy.Target {
		out := gpt
		change(&out)
		return out
	}
	const warning = "warning "
	for name, c := range map[string]struct {
		spec  policy.Spec
		facts func(*facts)
		want  []string // line, reason, field, and words that have to be there
	}{
		"a good rule": {spec: spec(
			policy.Group{Strategy: policy.Weighted, Targets: []policy.Target{with(func(t *policy.Target) { t.Weight = new(0) }), claude}},
			by(policy.LowestCost, llama, policy.Target{Model: "policy/cheap"}),
		)},
		"unknown provider":       {spec: spec(of(own("acme/x")...)), want: []string{`1 UNKNOWN_PROVIDER groups[0].targets[0].model|unknown provider "acme"`}},
		"a maker's name":         {spec: spec(of(own("meta/llama")...)), want: []string{`1 UNKNOWN_PROVIDER groups[0].targets[0].model|name one who serves it, groq/llama or deepinfra/meta/llama`}},
		"others' model":          {spec: spec(of(own("openai/oss")...)), want: []string{`1 UNKNOWN_MODEL groups[0].targets[0].model|it is served as groq/oss`}},
		"typing mistake":         {spec: spec(of(own("openai/gpt-4p")...)), want: []string{`1 UNKNOWN_MODEL groups[0].targets[0].model|credentials main, off knows openai/gpt-4p: did you mean openai/gpt-4o?`}},
		"came out today":         {spec: spec(of(own("openai/gpt-today")...))},
		"a deployment":           {spec: spec(of(own("azure/mine")...))},
		"no deployment":          {spec: spec(of(own("azure/openai/gpt-4o")...)), want: []string{warning + `1 MODEL_NOT_LISTED groups[0].targets[0].model|no deployment of credential azure carries openai/gpt-4o`}},
		"tests that do not tell": {spec: spec(of(own("anthropic/claude-new")...)), want: []string{warning + `1 UNKNOWN_MODEL groups[0].targets[0].model|only a request can tell`}},
		"no key that could tell": {spec: spec(of(own("mistral/new")...)), want: []string{
			warning + `1 NO_CREDENTIAL groups[0].targets[0].model|no credential for mistral yet`,
			`1 UNKNOWN_MODEL groups[0].targets[0].model|no credential for mistral whose test could tell`,
		}},
		"platform's models": {
			spec: spec(of(policy.Target{Model: "openai/new", Use: policy.Platform})),
			want: []string{warning + `1 UNKNOWN_MODEL groups[0].targets[0].model|platform's keys`},
		},
		"nobody's keys":      {spec: spec(of(policy.Target{Model: "openai/gpt-4o"})), want: []string{`1 USE_MISSING groups[0].targets[0].use|whose keys serve`}},
		"two whose keys":     {spec: spec(of(with(func(t *policy.Target) { t.CredentialID, t.Use = "cred_o", policy.Platform }))), want: []string{`1 USE_MISPLACED groups[0].targets[0].use|not by the platform's`}},
		"missing credential": {spec: spec(of(claude, with(func(t *policy.Target) { t.CredentialID = "cred_?" }))), want: []string{`2 UNKNOWN_CREDENTIAL groups[0].targets[1].credential_id|no credential cred_?`}},
		"another's credential": {
			spec: spec(of(claude, with(func(t *policy.Target) { t.CredentialID = "cred_a" }))),
			want: []string{`2 FOREIGN_CREDENTIAL groups[0].targets[1].credential_id|credential "claude" is for anthropic and the model is one of openai`},
		},
		"disabled credential": {spec: spec(of(with(func(t *policy.Target) { t.CredentialID = "cred_x" }))), want: []string{warning + `1 CREDENTIAL_OUT groups[0].targets[0].credential_id|"off" cannot serve as it is: off is disabled`}},
		"all are disabled": {
			spec: spec(of(gpt)), facts: func(f *facts) { f.credentials[0].Verdict = credential.Rejected },
			want: []string{warning + `1 CREDENTIAL_OUT groups[0].targets[0].model|no credential for openai can serve as it is: main is rejected, off is disabled`},
		},
		"out of a credential's scope": {
			spec: spec(of(with(func(t *policy.Target) { t.CredentialID = "cred_o" }), gpt)), facts: func(f *facts) {
				for i := range f.credentials {
					f.credentials[i].Scope.Models = []string{"*/gpt-5*"}
				}
			},
			want: []string{
				warning + `1 CREDENTIAL_OUT_OF_SCOPE groups[0].targets[0].credential_id|scope of credential "main" leaves openai/gpt-4o out`,
				warning + `2 CREDENTIAL_OUT_OF_SCOPE groups[0].targets[1].model|every credential for openai`,
			},
		},
		"preferences": {
			spec:  spec(of(gpt, policy.Target{Model: "anthropic/claude-opus-5", Use: policy.Platform}, llama)),
			facts: func(f *facts) { f.rules = rules{[]string{"openai"}, []string{"anthropic"}, "anthropic/"} },
			want: []string{
				`1 PROVIDER_IGNORED groups[0].targets[0].model|ignore openai`, `1 MODEL_NOT_APPROVED groups[0].targets[0].model|openai/gpt-4o`,
				`2 PLATFORM_FORBIDDEN groups[0].targets[1].use|forbid the platform's keys for anthropic`, `3 MODEL_NOT_APPROVED groups[0].targets[2].model|groq/llama`,
			},
		},
		"the same twice":                          {spec: spec(of(gpt, claude), of(gpt)), want: []string{`3 UNREACHABLE groups[1].targets[0].model|the same as line 1`}},
		"the same in a drawn group":               {spec: spec(by(policy.Weighted, gpt, gpt)), want: []string{`2 UNREACHABLE groups[0].targets[1].model|the same as line 1`}},
		"the same under a condition":              {spec: spec(when(policy.Condition{MinInput: 5}, gpt), of(gpt))},
		"the same under the same condition":       {spec: spec(when(policy.Condition{MinInput: 5}, gpt), when(policy.Condition{MinInput: 5}, gpt)), want: []string{`2 UNREACHABLE groups[1].targets[0].model|the same as line 1`}},
		"one of those that were tried":            {spec: spec(of(gpt, with(func(t *policy.Target) { t.CredentialID = "cred_o" }))), want: []string{`2 UNREACHABLE groups[0].targets[1].credential_id|line 1 has tried all credentials of openai`}},
		"one of those that are drawn":             {spec: spec(by(policy.Weighted, gpt, with(func(t *policy.Target) { t.CredentialID, t.Weight = "cred_o", new(5) })))},
		"one first and then all":                  {spec: spec(of(with(func(t *policy.Target) { t.CredentialID = "cred_o" }), gpt))},
		"the platform's after all of one's own":   {spec: spec(of(gpt, with(func(t *policy.Target) { t.Use = policy.Platform })))},
		"no prompt is that large and that small":  {spec: spec(when(policy.Condition{MinInput: 6, MaxInput: 5}, gpt)), want: []string{`0 CONDITION_IMPOSSIBLE groups[0].when.max_input_tokens|group 1: no prompt has at least 6 tokens and at most 5`}},
		"two values of a tag":                     {spec: spec(when(policy.Condition{Tags: []policy.Tag{{Key: "env", Values: []string{"a"}}, {Key: "env", Values: []string{"b"}}}}, gpt)), want: []string{`0 CONDITION_IMPOSSIBLE groups[0].when.tags[1]|one value of tag env`}},
		"two lists with a value of a tag":         {spec: spec(when(policy.Condition{Tags: []policy.Tag{{Key: "env", Values: []string{"a", "b"}}, {Key: "env", Values: []string{"b"}}, {Key: "env"}}}, gpt))},
		"keys that are not there":                 {spec: spec(when(policy.Condition{APIKeys: []string{"key_1", "key_?", "key_dead"}}, gpt)), want: []string{`0 UNKNOWN_API_KEY groups[0].when.api_key_ids[1]|no API key key_?`, warning + `0 API_KEY_DEAD groups[0].when.api_key_ids[2]|old is revoked`}},
		"groups that are not there":               {spec: spec(of(claude), when(policy.Condition{Groups: []string{"grp_?"}}, gpt)), want: []string{`0 UNKNOWN_GROUP groups[1].when.group_ids[0]|group 2: there is no group grp_?`}},
		"keys that are in other groups":           {spec: spec(when(policy.Condition{APIKeys: []string{"key_1"}, Groups: []string{"grp_2"}}, gpt)), want: []string{warning + `0 CONDITION_IMPOSSIBLE groups[0].when.group_ids|none of its API keys`}},
		"keys that are in the groups":             {spec: spec(when(policy.Condition{APIKeys: []string{"key_1"}, Groups: []string{"grp_1"}}, gpt))},
		"moves on for next to nothing":            {spec: spec(of(with(func(t *policy.Target) { t.MoveOn = []string{"content_refused"} }), claude)), want: []string{warning + `1 NEVER_MOVES_ON groups[0].targets[0].move_on|after content_refused alone`}},
		"moves on for next to nothing at the end": {spec: spec(of(claude, with(func(t *policy.Target) { t.MoveOn = []string{"content_refused"} })))},
		"needless weight":                         {spec: spec(of(with(func(t *policy.Target) { t.Weight = new(2) }))), want: []string{warning + `1 WEIGHT_NEEDLESS groups[0].targets[0].weight|fallback does not draw`}},
		"needless sticky_by":                      {spec: spec(policy.Group{StickyBy: "user", Targets: []policy.Target{gpt}}), want: []string{warning + `0 STICKY_BY_NEEDLESS groups[0].sticky_by|group 1`}},
		"more time for a part than for the whole": {spec: spec(of(with(func(t *policy.Target) { t.Timeouts = policy.Timeouts{FirstByte: time.Minute, Total: time.Second} }))), want: []string{warning + `1 TIMEOUTS_OVERLAP groups[0].targets[0].timeouts.first_byte|1m0s is longer`}},
		"unknown price":                           {spec: spec(of(claude), by(policy.LowestCost, gpt, policy.Target{Model: "openai/known-only", Use: policy.Own})), want: []string{`3 NO_PRICE groups[1].targets[1].model|price of openai/known-only is unknown`}},
		"unknown price elsewhere":                 {spec: spec(by(policy.LowestCost, policy.Target{Model: "policy/odd"})), want: []string{`1 NO_PRICE groups[0].targets[0].model|price of openai/known-only in policy odd is unknown`}},
		"price that another needs": {
			spec: spec(of(own("openai/gpt-4o", "openai/known-only")...)),
			facts: func(f *facts) {
				f.policies["middle"] = published(spec(of(policy.Target{Model: "policy/fast"})))
				f.policies["top"] = published(spec(of(own("groq/llama")...), by(policy.LowestCost, policy.Target{Model: "policy/middle"})))
			},
			want: []string{`0 NO_PRICE groups|policy top names this one under the strategy lowest_cost, which needs the price of openai/known-only`},
		},
		"unknown policy":                           {spec: spec(of(policy.Target{Model: "policy/none"})), want: []string{`1 UNKNOWN_POLICY groups[0].targets[0].model|no policy "none"`}},
		"unpublished policy":                       {spec: spec(of(policy.Target{Model: "policy/draft"})), want: []string{`1 POLICY_NOT_PUBLISHED groups[0].targets[0].model|policy draft was never published`}},
		"what another policy's lines say for them": {spec: spec(of(policy.Target{Model: "policy/cheap", Use: policy.Own, Retries: new(1)})), want: []string{`1 NESTED_FIELD groups[0].targets[0].use|policy cheap`, `1 NESTED_FIELD groups[0].targets[0].retries|policy cheap`}},
		"itself": {spec: spec(of(gpt, policy.Target{Model: "policy/fast"})), want: []string{`2 LOOP groups[0].targets[1].model|names itself`}},
		"itself, through others": {
			spec: spec(of(policy.Target{Model: "policy/b"})),
			facts: func(f *facts) {
				f.policies["b"] = published(spec(of(policy.Target{Model: "policy/cheap"}, policy.Target{Model: "policy/c"})))
				f.policies["c"] = published(spec(of(policy.Target{Model: "policy/fast"})))
			},
			want: []string{`1 LOOP groups[0].targets[0].model|in a circle: fast → b → c → fast`},
		},
		"too deep": {
			spec: spec(of(policy.Target{Model: "policy/p0"})),
			facts: func(f *facts) {
				for i := range 12 {
					f.policies[fmt.Sprint("p", i)] = published(spec(of(policy.Target{Model: fmt.Sprint("policy/p", i+1)})))
				}
				f.policies["p12"] = published(spec(of(gpt)))
			},
			want: []string{`1 TOO_DEEP groups[0].targets[0].model|more than 7 levels`},
		},
		"too many lines": {
			spec: spec(tenfold("p1")...),
			facts: func(f *facts) {
				f.policies["p1"], f.policies["p2"] = published(spec(tenfold("p2")...)), published(spec(tenfold("cheap")...))
			},
			want: []string{`0 TOO_MANY_LINES groups|more than 512 lines`},
		},
		"too large": {
			spec: func() policy.Spec {
				var tags []policy.Tag
				for i := range 16 {
					tag := policy.Tag{Key: fmt.Sprint("tag", i)}
					for v := range 32 {
						tag.Values = append(tag.Values, strings.Repeat("v", 250)+fmt.Sprint(v))
					}
					tags = append(tags, tag)
				}
				out := spec()
				for i := range 3 {
					out.Groups = append(out.Groups, when(policy.Condition{Tags: tags, MinInput: int64(i + 1)}, gpt))
				}
				return out
			}(),
			want: []string{`0 TOO_LARGE groups|takes 383 KiB to write down, and 256 are the most`},
		},
		"too many lines for another": {
			spec: spec(tenfold("cheap")...),
			facts: func(f *facts) {
				f.policies["p1"], f.policies["p2"] = published(spec(tenfold("p2")...)), published(spec(tenfold("fast")...))
			},
			want: []string{`0 TOO_MANY_LINES groups|policy p1 names this one and would grow too large`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := acme()
			if c.facts != nil {
				c.facts(&f)
			}
			s := &policy.Service{Prices: book, Now: time.Now}
			problems, err := s.Check(t.Context(), f, "fast", c.spec)
			if err != nil {
				t.Fatal(err)
			}
			got, words := make([]string, len(problems)), make([]string, len(problems))
			for i, p := range problems {
				got[i], words[i] = fmt.Sprintf("%d %s %s", p.Line, p.Reason, p.Field), p.Description
				if p.Warning {
					got[i] = warning + got[i]
				}
			}
			want, parts := make([]string, len(c.want)), make([]string, len(c.want))
			for i, w := range c.want {
				want[i], parts[i], _ = strings.Cut(w, "|")
			}
			slices.Sort(want)
			sorted := slices.Sorted(slices.Values(got))
			if diff := cmp.Diff(want, sorted); diff != "" && len(want)+len(got) > 0 {
				t.Fatalf("(-want +got):\n%s\n%s", diff, strings.Join(words, "\n"))
			}
			for _, part := range parts {
				if !strings.Contains(strings.Join(words, "\n"), part) {
					t.Errorf("no problem says %q:\n%s", part, strings.Join(words, "\n"))
				}
			}
			if !slices.IsSortedFunc(problems, func(a, b policy.Problem) int { return a.Line - b.Line }) {
				t.Errorf("not in the order of lines: %v", got)
			}
		})
	}
}

// tenfold are groups that name another policy ten times, each under another condition.
func tenfold(name string) (out []policy.Group) {
	for i := range 10 {
		out = append(out, when(policy.Condition{MinInput: int64(i + 1)}, policy.Target{Model: "policy/" + name}))
	}
	return out
}

func TestAHundredProblemsAreOneErrorOfBoundedSize(t *testing.T) {
	t.Parallel()
	var groups []policy.Group
	for g := range 16 {
		var lines []string
		for i := range 32 {
			lines = append(lines, fmt.Sprintf("acme/m%d-%d", g, i))
		}
		groups = append(groups, of(own(lines...)...))
	}
	s := &policy.Service{Prices: book, Now: time.Now}
	problems, err := s.Check(t.Context(), acme(), "", spec(groups...))
	if err != nil || len(problems) != 512 {
		t.Fatalf("%d problems, %v; want one per line", len(problems), err)
	}
	broken := policy.Invalid(problems)
	if len(broken.Violations()) != 50 || broken.Facts()["problems"] != "512" || !strings.HasSuffix(broken.Message(), "; and 502 more") {
		t.Errorf("%d violations, %s problems, …%s", len(broken.Violations()), broken.Facts()["problems"], broken.Message()[len(broken.Message())-40:])
	}
	if v := broken.Violations()[33]; v.Field != "spec.groups[1].targets[1].model" || !strings.HasPrefix(v.Description, "line 34: unknown provider") {
		t.Errorf("violation = %+v", v)
	}
}
