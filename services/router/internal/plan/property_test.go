package plan_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

var (
	slugs    = []string{"anthropic", "azure", "groq", "openai", "nobody"}
	models   = []string{"anthropic/c", "groq/l", "groq/talks", "openai/m", "openai/dear", "openai/unknown", "azure/openai/m", "nobody/x"}
	patterns = []string{"*", "openai/*", "*/m", "groq/l", "anthropic/c", "*l*"}
	names    = []string{"p0", "p1", "p2", "p3"}
)

func some[T any](t *rapid.T, label string, from []T, most int) []T {
	return rapid.SliceOfN(rapid.SampledFrom(from), 0, most).Draw(t, label)
}

func maybe(t *rapid.T, label string) bool { return rapid.IntRange(0, 3).Draw(t, label) == 0 }

// randomWorld is any configuration: also such that the control plane would refuse.
func randomWorld(t *rapid.T) *world {
	w := &world{
		credentials: map[string][]*completion.Credential{}, out: map[string]string{}, low: map[string]bool{}, latency: map[string]time.Duration{},
		groups: map[string]*plan.Group{"grp_1": {ID: "grp_1", Name: "team", EnforcePolicy: maybe(t, "group enforces")}},
	}
	for _, of := range []string{"", "platform:"} {
		for _, slug := range slugs {
			for i := range rapid.IntRange(0, 3).Draw(t, of+slug) {
				c := randomCredential(t, w, fmt.Sprint(of, slug, i), slug)
				if of != "" {
					c.OrgID = platform
					if c.Next != nil {
						c.Next.OrgID = platform
					}
				}
				w.credentials[of+slug] = append(w.credentials[of+slug], c)
			}
		}
	}
	rules := []plan.PlatformRule{plan.InPolicies, plan.Never, plan.AfterOwn, plan.BeforeOwn}
	w.preferences = plan.Preferences{
		Order: some(t, "order", slugs, 3), Ignore: some(t, "ignore", slugs, 1), Rule: rapid.SampledFrom(rules).Draw(t, "rule"),
		EnforcePolicy: maybe(t, "organization enforces"), Approved: plan.Compile(some(t, "approved", patterns, 3)),
		PolicyID: rapid.SampledFrom([]string{"", "pol_p0", "pol_gone"}).Draw(t, "organization's policy"),
		Rules:    map[string]plan.PlatformRule{rapid.SampledFrom(slugs).Draw(t, "rule of"): rapid.SampledFrom(rules).Draw(t, "its rule")},
	}
	if maybe(t, "group approves") {
		w.groups["grp_1"].Approved = plan.Compile(some(t, "group's approved", patterns, 3))
	}
	for _, name := range names {
		w.policies = append(w.policies, randomPolicy(t, w, name))
	}
	for _, model := range models {
		if maybe(t, "measured") {
			w.latency[model] = time.Duration(rapid.IntRange(1, 1000).Draw(t, model)) * time.Millisecond
		}
	}
	if maybe(t, "drill") {
		w.drills = []completion.Drill{{ID: "drill_1", OrgID: org, APIKeyID: app.APIKeyID, CredentialID: "cred_openai0", Until: now.Add(time.Minute)}}
	}
	return w
}

func randomCredential(t *rapid.T, w *world, id, slug string) *completion.Credential {
	c := cred(id, slug)
	c.Priority, c.Weight = rapid.IntRange(0, 1).Draw(t, "priority"), rapid.IntRange(0, 3).Draw(t, "weight")
	switch rapid.IntRange(0, 9).Draw(t, "state") {
	case 0:
		c.Out = "is disabled"
	case 1:
		c.Expires = now.Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, "expires")) * time.Hour)
	case 2:
		c.Scope = &completion.Scope{Models: some(t, "models", patterns, 2), APIKeys: some(t, "keys", []string{"key_app", "key_b"}, 2), Groups: some(t, "groups", []string{"grp_1", "grp_2"}, 1)}
	case 3:
		w.out[c.ID] = "rests"
	case 4:
		w.low[c.ID] = true
	case 5, 6:
		next := *c
		next.Revision = 2
		c.Next, c.Share = &next, rapid.IntRange(0, 100).Draw(t, "share")
	}
	if slug == "azure" {
		c.Settings.Deployments = []completion.Deployment{{Model: rapid.SampledFrom([]string{"openai/m", "openai/o"}).Draw(t, "deployment")}}
	}
	return c
}

func randomPolicy(t *rapid.T, w *world, name string) *plan.Policy {
	var groups []plan.TargetGroup
	for range rapid.IntRange(0, 3).Draw(t, "groups") {
		g := plan.TargetGroup{Strategy: plan.Strategy(rapid.IntRange(0, 4).Draw(t, "strategy")), StickyBy: rapid.SampledFrom([]string{"", "user", "tag:a"}).Draw(t, "by")}
		for range rapid.IntRange(0, 4).Draw(t, "lines") {
			class := rapid.SampledFrom([]usage.Class{usage.Own, usage.Platform}).Draw(t, "class")
			l := line(rapid.SampledFrom(models).Draw(t, "model"), class)
			if maybe(t, "inner") {
				l = line(plan.PolicyPrefix+rapid.SampledFrom(append([]string{"gone"}, names...)).Draw(t, "inner policy"), usage.ClassUnknown)
			} else if list := w.credentials[l.Provider]; class == usage.Own && len(list) > 0 && maybe(t, "named") {
				l.CredentialID = rapid.SampledFrom(list).Draw(t, "credential").ID
			}
			l.Weight = rapid.IntRange(0, 3).Draw(t, "line's weight")
			g.Lines = append(g.Lines, l)
		}
		if maybe(t, "condition") {
			g.When = &plan.Condition{Models: some(t, "when models", patterns, 2), MaxInput: int64(rapid.IntRange(0, 50).Draw(t, "most")), APIKeys: some(t, "when keys", []string{"key_app", "key_b"}, 2)}
		}
		groups = append(groups, g)
	}
	p := policy(name, groups...)
	p.MaxAttempts = rapid.IntRange(0, 5).Draw(t, "attempts")
	return p
}

func randomRequest(t *rapid.T) (completion.Caller, *completion.Request) {
	caller := app
	caller.EnforcePolicy = maybe(t, "enforced")
	caller.PolicyID = rapid.SampledFrom([]string{"", "pol_p0", "pol_p1"}).Draw(t, "key's policy")
	if maybe(t, "in a group") {
		caller.GroupID = "grp_1"
	}
	named := append([]string{"", "meta/llama", "policy/p0", "policy/p1", "policy/p2", "policy/p3"}, models...)
	req := &completion.Request{
		ID: rapid.StringMatching("req_[a-f0-9]{8}").Draw(t, "id"), Model: rapid.SampledFrom(named).Draw(t, "named"),
		Session: rapid.SampledFrom([]string{"", "s1"}).Draw(t, "session"), User: rapid.SampledFrom([]string{"", "u1"}).Draw(t, "user"),
		InputBytes: rapid.IntRange(0, 400).Draw(t, "bytes"), MaxOutput: int64(rapid.IntRange(0, 100).Draw(t, "tokens")),
		Operation: rapid.SampledFrom([]completion.Operation{"", completion.Chat, completion.Images, completion.CountTokens, completion.Embeddings}).Draw(t, "operation"),
		Routing: completion.Routing{
			Models: some(t, "more models", named[1:], 2), Order: some(t, "wished order", slugs, 2), Ignore: some(t, "wished ignore", slugs, 1),
			Sort: rapid.SampledFrom([]string{"", "price", "latency"}).Draw(t, "sort"), NoFallbacks: maybe(t, "no fallbacks"),
		},
	}
	if maybe(t, "only") {
		req.Routing.Only = some(t, "wished only", slugs, 3)
	}
	if maybe(t, "bounded") {
		req.Routing.MaxInput = new(int64(rapid.IntRange(0, 10).Draw(t, "price")) * 500_000_000)
	}
	return caller, req
}

// TestPlansKeepTheirPromises over random configurations and requests.
func TestPlansKeepTheirPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := randomWorld(t)
		caller, req := randomRequest(t)
		p := planner(w)
		made, err := p.Make(w, caller, req)
		again, errAgain := p.Make(w, caller, req)
		if !reflect.DeepEqual(made, again) || fmt.Sprint(err) != fmt.Sprint(errAgain) {
			t.Fatalf("the same request is planned as %s and as %s", order(made.Targets), order(again.Targets))
		}
		e, explained := p.Explain(w, caller, req)
		if explained == nil && order(e.Plan.Targets) != order(made.Targets) {
			t.Fatalf("Make = %s, Explain = %s", order(made.Targets), order(e.Plan.Targets))
		}
		if (err == nil) != (explained == nil && len(e.Candidates) > 0) {
			t.Fatalf("Make = %v, Explain = %v with %d candidates", err, explained, len(e.Candidates))
		}
		if explained != nil {
			return
		}
		keepsToWhatIsAllowed(t, w, caller, req, made.Targets)
		if len(e.Candidates) != len(made.Targets) {
			t.Fatalf("%d candidates for %d targets", len(e.Candidates), len(made.Targets))
		}
		for i := range e.Candidates {
			if e.Candidates[i].Reason == "" || e.Candidates[i].Target != &e.Plan.Targets[i] {
				t.Fatalf("candidate %d has no reason or another target", i)
			}
		}
		for i := range e.Exclusions {
			if x := &e.Exclusions[i]; x.Reason == "" || x.Words() == "" || x.Words() == string(x.Reason) {
				t.Fatalf("an exclusion of %s has no words", x.Model)
			}
		}
		nothingIsLeftOut(t, w, caller, req, &e)
	})
}

// keepsToWhatIsAllowed: no target outside the allowed class, none twice, and none that something forbids.
func keepsToWhatIsAllowed(t *rapid.T, w *world, caller completion.Caller, req *completion.Request, targets []completion.Target) {
	seen := map[string]bool{}
	for i := range targets {
		x := &targets[i]
		text := order(targets[i : i+1])
		identity := fmt.Sprint(x.Model, x.Credential.ID, x.Credential.Revision)
		switch c := x.Credential; {
		case seen[identity]:
			t.Fatalf("%s comes twice", text)
		case !plan.Allowed(w, caller, x):
			t.Fatalf("%s is not allowed", text)
		case (x.Class == usage.Platform) != (c.OrgID == platform):
			t.Fatalf("%s is of another class than its credential", text)
		case c.Out != "" || w.out[c.ID] != "" || !c.Expires.IsZero() && !now.Before(c.Expires):
			t.Fatalf("%s cannot serve", text)
		case x.Class == usage.Platform && x.PolicyID == "" && w.rule(x.Provider) != plan.AfterOwn && w.rule(x.Provider) != plan.BeforeOwn:
			t.Fatalf("%s is the platform's, without a policy or a rule", text)
		case w.rule(x.Provider) == plan.Never && x.Class == usage.Platform:
			t.Fatalf("%s is the platform's, which never serves", text)
		case len(req.Routing.Only) > 0 && !slices.Contains(req.Routing.Only, x.Provider), slices.Contains(req.Routing.Ignore, x.Provider):
			t.Fatalf("%s is not what the request asks for", text)
		case (x.Drill != nil) != (len(w.drills) > 0 && c.ID == "cred_openai0"):
			t.Fatalf("%s, drill %v", text, x.Drill)
		}
		seen[identity] = true
	}
	if req.Routing.NoFallbacks && len(targets) > 1 {
		t.Fatalf("%d targets without fallbacks", len(targets))
	}
}

func (w *world) rule(provider string) plan.PlatformRule {
	if rule, ok := w.preferences.Rules[provider]; ok {
		return rule
	}
	return w.preferences.Rule
}

// nothingIsLeftOut: each credential of each line of the policy that decides is a candidate, or excluded with a
// reason, by itself or with its line.
func nothingIsLeftOut(t *rapid.T, w *world, caller completion.Caller, req *completion.Request, e *plan.Explanation) {
	if e.Policy == nil {
		return
	}
	for _, g := range e.Policy.Groups {
		for _, l := range g.Lines {
			if l.Policy != "" {
				continue
			}
			orgID := caller.OrgID
			if l.Class == usage.Platform {
				orgID = platform
			}
			list := w.Credentials(orgID, l.Provider)
			if len(list) == 0 && !answered(e, l, nil) {
				t.Fatalf("nothing is said of line %d, which has no credential", l.Index+1)
			}
			for _, c := range list {
				if l.CredentialID != "" && c.ID != l.CredentialID {
					continue
				}
				if !answered(e, l, c) || c.Next != nil && !answered(e, l, c.Next) {
					t.Fatalf("nothing is said of line %d with credential %s", l.Index+1, c.ID)
				}
			}
		}
	}
}

func answered(e *plan.Explanation, l plan.Line, c *completion.Credential) bool {
	for i := range e.Candidates {
		if x := e.Candidates[i].Target; c != nil && x.Line == l.Index && x.PolicyID == e.Policy.ID && x.Model == l.Model && x.Credential == c {
			return true
		}
	}
	for i := range e.Exclusions {
		if x := &e.Exclusions[i]; x.Line == l.Index && x.Model == l.Model && x.Class == l.Class && (x.Credential == nil || x.Credential == c) {
			return true
		}
	}
	return false
}
