package plan_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// world is a configuration of one organization and the platform, and what is known of its credentials.
type world struct {
	policies    []*plan.Policy
	credentials map[string][]*completion.Credential // by organization, a slash and the provider
	preferences plan.Preferences
	groups      map[string]*plan.Group
	drills      []completion.Drill

	out     map[string]string // by credential's id
	until   map[string]time.Time
	low     map[string]bool
	latency map[string]time.Duration // of streams, by model
	wholes  map[string]time.Duration // of whole answers
	held    map[string]completion.Hold
}

const (
	org      = "org_a"
	platform = "org_platform"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func (w *world) Version() int64        { return 3 }
func (w *world) PlatformOrgID() string { return platform }

func (w *world) PolicyByName(orgID, name string) (*plan.Policy, bool) {
	for _, p := range w.policies {
		if orgID == org && p.Name == name {
			return p, true
		}
	}
	return nil, false
}

func (w *world) PolicyByID(orgID, policyID string) (*plan.Policy, bool) {
	for _, p := range w.policies {
		if orgID == org && p.ID == policyID {
			return p, true
		}
	}
	return nil, false
}

func (w *world) Credentials(orgID, provider string) []*completion.Credential {
	if orgID == org {
		return w.credentials[provider]
	}
	if orgID == platform {
		return w.credentials["platform:"+provider]
	}
	return nil
}

func (w *world) Preferences(string) *plan.Preferences        { return &w.preferences }
func (w *world) Group(_, groupID string) *plan.Group         { return w.groups[groupID] }
func (w *world) Drills(string) []completion.Drill            { return w.drills }
func (w *world) Low(c *completion.Credential, _ string) bool { return w.low[c.ID] }

func (w *world) Out(c *completion.Credential, _ string) string { return w.out[c.ID] }

func (w *world) Until(c *completion.Credential, _ string) time.Time { return w.until[c.ID] }

func (w *world) Latency(_ *completion.Credential, model string, streams bool) time.Duration {
	if streams {
		return w.latency[model]
	}
	return w.wholes[model]
}

func (w *world) Held(t *completion.Target) completion.Hold { return w.held[t.Credential.ID] }

// Policies and Providers make it a plan.Listed.
func (w *world) Policies(string) []string {
	var out []string
	for _, p := range w.policies {
		out = append(out, p.Name)
	}
	return out
}

func (w *world) Providers(orgID string) []string {
	var out []string
	for _, slug := range []string{"anthropic", "azure", "groq", "openai"} {
		if len(w.Credentials(orgID, slug)) > 0 {
			out = append(out, slug)
		}
	}
	return out
}

// provider has no embeddings, and no place for tools if it is Groq's.
type provider struct {
	completion.Provider
	slug string
}

func (p provider) Serves(op completion.Operation, model string, c *completion.Credential) string {
	if op == completion.Embeddings {
		return "has no embeddings"
	}
	if p.slug != "azure" || c == nil {
		return ""
	}
	for _, d := range c.Settings.Deployments {
		if d.Model == model {
			return ""
		}
	}
	return "has no deployment for this model"
}

func (p provider) Speaks(d completion.Dialect, _ *completion.Target) bool {
	return p.slug == "groq" && d == completion.OpenAIChat
}

func (p provider) Lacks(prompt *completion.Prompt, _ *completion.Target) completion.Feature {
	if p.slug == "groq" && len(prompt.Tools) > 0 {
		return completion.FeatureTools
	}
	return ""
}

func planner(w *world) *plan.Planner {
	providers := map[string]completion.Provider{}
	for _, slug := range []string{"anthropic", "azure", "groq", "openai"} {
		providers[slug] = provider{slug: slug}
	}
	return &plan.Planner{Providers: providers, Health: w, Now: func() time.Time { return now }, Prices: func() *pricing.Table { return book }, Offers: offers}
}

func cred(id, provider string) *completion.Credential {
	return &completion.Credential{ID: "cred_" + id, OrgID: org, Provider: provider, Label: "label-" + id, Revision: 1, Weight: 1}
}

func platformCred(id, provider string) *completion.Credential {
	c := cred(id, provider)
	c.OrgID = platform
	return c
}

// own and shared are lines of a policy for "provider/model".
func own(model string) plan.Line { return line(model, usage.Own) }

func shared(model string) plan.Line { return line(model, usage.Platform) }

func line(model string, class usage.Class) plan.Line {
	l := plan.Line{Model: model, Class: class, Weight: 1}
	if name, ok := strings.CutPrefix(model, plan.PolicyPrefix); ok {
		l.Policy = name
		return l
	}
	l.Provider, l.Name, _ = strings.Cut(model, "/")
	return l
}

// policy is one whose lines are counted.
func policy(name string, groups ...plan.TargetGroup) *plan.Policy {
	p := &plan.Policy{ID: "pol_" + name, Name: name, Version: 4, Groups: groups}
	index := 0
	for i := range p.Groups {
		for j := range p.Groups[i].Lines {
			p.Groups[i].Lines[j].Index = index
			index++
		}
	}
	return p
}

func group(strategy plan.Strategy, lines ...plan.Line) plan.TargetGroup {
	return plan.TargetGroup{Strategy: strategy, Lines: lines}
}

func weighing(l plan.Line, weight int) plan.Line {
	l.Weight = weight
	return l
}

// app is the caller of most tests.
var app = completion.Caller{OrgID: org, APIKeyID: "key_app", KeyName: "app"}

// basic has two own credentials of OpenAI, one of Anthropic, one of Groq, and the platform's of the first two.
func basic() *world {
	second := cred("2", "openai")
	second.Priority = 1
	return &world{credentials: map[string][]*completion.Credential{
		"openai": {cred("1", "openai"), second}, "anthropic": {cred("a", "anthropic")}, "groq": {cred("g", "groq")},
		"platform:openai": {platformCred("po", "openai")}, "platform:anthropic": {platformCred("pa", "anthropic")},
	}}
}

// order writes a plan down: model, credential and revision, the platform's marked, and the line of a policy.
func order(targets []completion.Target) string {
	var out []string
	for i := range targets {
		t := &targets[i]
		text := t.Model + "@" + strings.TrimPrefix(t.Credential.ID, "cred_")
		if t.Credential.Revision != 1 {
			text += fmt.Sprintf(".%d", t.Credential.Revision)
		}
		if t.Class == usage.Platform {
			text += "!"
		}
		if t.PolicyID != "" {
			text += fmt.Sprintf("#%d", t.Line)
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

// planned is the order that Make gives, or the name of the fault.
func planned(t *testing.T, w *world, caller completion.Caller, req *completion.Request) string {
	t.Helper()
	p, err := planner(w).Make(w, caller, req)
	if err != nil {
		f, ok := fault.Of(err)
		if !ok {
			t.Errorf("Make(%q) = %v, which is no fault", req.Model, err)
			return ""
		}
		return f.Reason() + ": " + f.Message()
	}
	for i := range p.Targets {
		if !plan.Allowed(w, caller, &p.Targets[i]) {
			t.Errorf("Allowed(%s) = false for a target of Make", order(p.Targets[i:i+1]))
		}
	}
	return order(p.Targets)
}

// excluded are the reasons that Explain gives, as "model@credential reason".
func excluded(t *testing.T, w *world, caller completion.Caller, req *completion.Request) []string {
	t.Helper()
	e, err := planner(w).Explain(w, caller, req)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range e.Exclusions {
		x := &e.Exclusions[i]
		text := x.Model
		if x.Credential != nil {
			text += "@" + strings.TrimPrefix(x.Credential.ID, "cred_")
		}
		if x.Words() == "" || x.Words() == string(x.Reason) {
			t.Errorf("%s has no words", x.Reason)
		}
		out = append(out, text+" "+string(x.Reason))
	}
	return out
}
