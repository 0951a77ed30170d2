package plan_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// config is a configuration of two organizations and the platform.
type config struct {
	policies    map[string]*plan.Policy
	credentials map[string][]*completion.Credential // by organization and provider
}

func (c *config) Version() int64        { return 3 }
func (c *config) PlatformOrgID() string { return "org_platform" }

func (c *config) Preferences(string) *plan.Preferences { return &plan.Preferences{} }

func (c *config) Group(string, string) *plan.Group { return nil }

func (c *config) Drills(string) []completion.Drill { return nil }
func (c *config) PolicyByName(orgID, name string) (*plan.Policy, bool) {
	p, ok := c.policies[orgID+"/"+name]
	return p, ok
}

func (c *config) PolicyByID(orgID, policyID string) (*plan.Policy, bool) {
	for key, p := range c.policies {
		if strings.HasPrefix(key, orgID+"/") && p.ID == policyID {
			return p, true
		}
	}
	return nil, false
}

func (c *config) Credentials(orgID, provider string) []*completion.Credential {
	return c.credentials[orgID+"/"+provider]
}

type provider struct{ completion.Provider }

func (provider) Serves(op completion.Operation, _ string, _ *completion.Credential) string {
	if op == completion.Embeddings {
		return "has no embeddings"
	}
	return ""
}

func cred(org, id, provider, out string) *completion.Credential {
	return &completion.Credential{ID: id, OrgID: org, Provider: provider, Label: "label-" + id, Out: out, Revision: 1}
}

func setUp() (*config, *plan.Planner, *plan.Memory) {
	c := &config{
		policies: map[string]*plan.Policy{
			"org_a/main": {ID: "pol_1", Name: "main", Version: 4, Groups: []plan.TargetGroup{{Lines: []plan.Line{
				{Provider: "openai", Model: "openai/m", Name: "m", Class: usage.Own},
				{Provider: "anthropic", Model: "anthropic/c", Name: "c", Class: usage.Platform, Index: 1},
			}}}},
		},
		credentials: map[string][]*completion.Credential{
			"org_a/openai":           {cred("org_a", "cred_1", "openai", ""), cred("org_a", "cred_2", "openai", "is disabled"), cred("org_a", "cred_3", "openai", "")},
			"org_platform/anthropic": {cred("org_platform", "cred_p", "anthropic", "")},
			"org_platform/openai":    {cred("org_platform", "cred_q", "openai", "")},
		},
	}
	memory := plan.NewMemory(time.Now)
	return c, &plan.Planner{Providers: map[string]completion.Provider{"openai": provider{}, "anthropic": provider{}}, Health: memory}, memory
}

func order(p completion.Plan) string {
	var out []string
	for _, t := range p.Targets {
		out = append(out, fmt.Sprintf("%s@%s/%s#%d", t.Model, t.Credential.ID, t.Class, t.Line))
	}
	return strings.Join(out, " ")
}

func TestPlansLineByLineAndCredentialByCredential(t *testing.T) {
	t.Parallel()
	c, p, memory := setUp()
	caller := completion.Caller{OrgID: "org_a", PolicyID: "pol_1"}
	for model, want := range map[string]string{
		"":             "openai/m@cred_1/own#0 openai/m@cred_3/own#0 anthropic/c@cred_p/platform#1",
		"policy/main":  "openai/m@cred_1/own#0 openai/m@cred_3/own#0 anthropic/c@cred_p/platform#1",
		"openai/o4":    "openai/o4@cred_1/own#0 openai/o4@cred_3/own#0",
		"openai/a/b:c": "openai/a/b:c@cred_1/own#0 openai/a/b:c@cred_3/own#0",
	} {
		got, err := p.Make(c, caller, &completion.Request{Model: model})
		if err != nil || order(got) != want {
			t.Errorf("Make(%q) = %s, %v, want %s", model, order(got), err, want)
		}
	}
	memory.Refused(c.credentials["org_a/openai"][0], "was refused")
	got, err := p.Make(c, caller, &completion.Request{Model: "openai/o4"})
	if err != nil || order(got) != "openai/o4@cred_3/own#0" {
		t.Errorf("after a refusal: %s, %v", order(got), err)
	}
}

func TestEveryReasonForNoTargetIsTold(t *testing.T) {
	t.Parallel()
	c, p, memory := setUp()
	memory.Refused(c.credentials["org_a/openai"][0], "was refused by openai just now")
	c.credentials["org_a/openai"][2].Out = "was rejected by openai"
	for _, test := range []struct {
		caller completion.Caller
		model  string
		want   error
		words  []string
	}{
		{completion.Caller{OrgID: "org_a"}, "", completion.ErrModelRequired, nil},
		{completion.Caller{OrgID: "org_a", PolicyID: "pol_gone", KeyName: "app"}, "", completion.ErrPolicyUnknown, []string{`"app"`}},
		{completion.Caller{OrgID: "org_a"}, "policy/other", completion.ErrPolicyUnknown, []string{`"other"`}},
		{completion.Caller{OrgID: "org_b"}, "policy/main", completion.ErrPolicyUnknown, []string{`"main"`}},
		{completion.Caller{OrgID: "org_a"}, "gpt-4o", completion.ErrModelUnknown, []string{"openai/gpt-4o"}},
		{completion.Caller{OrgID: "org_a"}, "nobody/x", completion.ErrModelUnknown, []string{`"nobody"`}},
		{completion.Caller{OrgID: "org_a"}, "openai/a\r\nx-evil: 1", completion.ErrModelUnknown, []string{"control characters"}},
		{completion.Caller{OrgID: "org_a"}, "openai/" + strings.Repeat("m", 300), completion.ErrModelUnknown, []string{"256"}},
		{completion.Caller{OrgID: "org_a"}, "openai/\xff", completion.ErrModelUnknown, nil},
		{completion.Caller{OrgID: "org_a"}, "openai/", completion.ErrModelUnknown, nil},
		{completion.Caller{OrgID: "org_a"}, "openai/o4", completion.ErrNoTarget, []string{`"label-cred_1" was refused`, `"label-cred_2" is disabled`, `"label-cred_3" was rejected`}},
		{completion.Caller{OrgID: "org_b"}, "openai/o4", completion.ErrNoTarget, []string{"no own credential for openai"}},
	} {
		_, err := p.Make(c, test.caller, &completion.Request{Model: test.model})
		if !errors.Is(err, test.want) {
			t.Errorf("Make(%q) = %v, want %v", test.model, err, test.want)
			continue
		}
		f, _ := fault.Of(err)
		for _, w := range test.words {
			if !strings.Contains(f.Message()+f.Hint(), w) {
				t.Errorf("Make(%q) says %q (%s), want it to tell %s", test.model, f.Message(), f.Hint(), w)
			}
		}
	}
}

func TestAModelWithoutPolicyNeverUsesThePlatform(t *testing.T) {
	t.Parallel()
	c, p, _ := setUp()
	delete(c.credentials, "org_a/openai")
	if got, err := p.Make(c, completion.Caller{OrgID: "org_a"}, &completion.Request{Model: "openai/o4"}); !errors.Is(err, completion.ErrNoTarget) {
		t.Fatalf("Make = %s, %v, want ErrNoTarget", order(got), err)
	}
}

func TestPlatformLabelsAreNotTold(t *testing.T) {
	t.Parallel()
	c, p, _ := setUp()
	delete(c.credentials, "org_a/openai")
	c.credentials["org_platform/anthropic"][0].Out = "is disabled"
	_, err := p.Make(c, completion.Caller{OrgID: "org_a"}, &completion.Request{Model: "policy/main"})
	if err == nil || strings.Contains(err.Error(), "label-cred_p") {
		t.Fatalf("Make = %v, want no label of the operator's", err)
	}
}

func TestPlanningAllocatesOnce(t *testing.T) {
	c, p, _ := setUp()
	caller := completion.Caller{OrgID: "org_a"}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := p.Make(c, caller, &completion.Request{Model: "openai/o4"}); err != nil {
			t.Fatal(err)
		}
	}); n > 3 { // the targets, and what the test configuration makes for itself
		t.Fatalf("Make allocates %v times", n)
	}
}

func BenchmarkPlan(b *testing.B) {
	c, p, _ := setUp()
	caller := completion.Caller{OrgID: "org_a", PolicyID: "pol_1"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Make(c, caller, &completion.Request{Model: "policy/main"}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestWhatNoCredentialCouldDoIsTheCallersToMend(t *testing.T) {
	t.Parallel()
	c, p, _ := setUp()
	_, err := p.Make(c, completion.Caller{OrgID: "org_a"}, &completion.Request{Model: "openai/m", Operation: completion.Embeddings})
	if f, ok := fault.Of(err); !ok || !errors.Is(err, completion.ErrUnsupported) || strings.Count(f.Message(), "openai has no embeddings") != 1 || f.Facts()["param"] != "model" {
		t.Errorf("Make(embeddings) = %v, want that openai has none", err)
	}
	c.credentials["org_a/openai"] = nil
	if _, err := p.Make(c, completion.Caller{OrgID: "org_a"}, &completion.Request{Model: "openai/m", Operation: completion.Embeddings}); !errors.Is(err, completion.ErrNoTarget) {
		t.Errorf("Make(embeddings), without a credential = %v, want that there is none", err)
	}
}
