package seed_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/claviger/claviger/pkg/secret"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/tools/seed"
)

const (
	own      = eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN
	platform = eventsv1.CredentialClass_CREDENTIAL_CLASS_PLATFORM
)

// whole says everything that a policy can say.
const whole = `name: main
max_attempts: 6
hedge: {after: 2s, max_percent: 10}
groups:
  - strategy: weighted
    when: {tags: {env: [prod, "2"], team: [search], trace: "*"}, models: ["openai/*"], min_input_tokens: 100, max_input_tokens: 5000, api_keys: [app], groups: [research]}
    targets:
      - {model: openai/gpt-4o, use: own, weight: 0, timeouts: {first_byte: 5s, between_chunks: 1m30s, total: 10m}, retries: 0, backoff: 250ms, move_on: [rate_limited, content_refused], overrides: {temperature: 0.2, top_p: 1, max_output_tokens: 500, reasoning_effort: low}}
      - {model: "openai/gpt-4o:fine", credential: spare}
  - strategy: sticky
    sticky_by: "tag:user-id"
    targets:
      - {model: policy/other}
  - strategy: lowest_cost
    targets:
      - {model: "vertex/claude-opus-4-5@20251101", use: platform, retries: 5}
`

func wholeSpec() *keysv1.PolicySpec {
	return &keysv1.PolicySpec{
		MaxAttempts: 6, Hedge: &keysv1.Hedge{After: durationpb.New(2 * time.Second), MaxPercent: 10},
		Groups: []*keysv1.TargetGroup{
			{
				Strategy: keysv1.Strategy_STRATEGY_WEIGHTED,
				When: &keysv1.Condition{
					Tags:   []*keysv1.TagCondition{{Key: "env", Values: []string{"prod", "2"}}, {Key: "team", Values: []string{"search"}}, {Key: "trace"}},
					Models: []string{"openai/*"}, MinInputTokens: 100, MaxInputTokens: 5000, ApiKeyIds: []string{"app"}, GroupIds: []string{"research"},
				},
				Targets: []*keysv1.Target{
					{
						Model: "openai/gpt-4o", Use: own, Weight: new(int32(0)), Retries: new(int32(0)), Backoff: durationpb.New(250 * time.Millisecond),
						Timeouts: &keysv1.Timeouts{FirstByte: durationpb.New(5 * time.Second), BetweenChunks: durationpb.New(90 * time.Second), Total: durationpb.New(10 * time.Minute)},
						MoveOn:   []string{"rate_limited", "content_refused"},
						Overrides: &keysv1.Overrides{
							Temperature: new(0.2), TopP: new(1.0), MaxOutputTokens: new(int64(500)), ReasoningEffort: new("low"),
						},
					},
					{Model: "openai/gpt-4o:fine", CredentialId: "spare"},
				},
			},
			{Strategy: keysv1.Strategy_STRATEGY_STICKY, StickyBy: "tag:user-id", Targets: []*keysv1.Target{{Model: "policy/other"}}},
			{Strategy: keysv1.Strategy_STRATEGY_LOWEST_COST, Targets: []*keysv1.Target{{Model: "vertex/claude-opus-4-5@20251101", Use: platform, Retries: new(int32(5))}}},
		},
	}
}

func TestAPolicyFileSaysAllThatAPolicyCan(t *testing.T) {
	t.Parallel()
	got, err := seed.ParsePolicy("policy.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(seed.Policy{Name: "main", Spec: wholeSpec()}, got, protocmp.Transform()); diff != "" {
		t.Errorf("ParsePolicy (-want +got):\n%s", diff)
	}
	// What is not there is not left out unseen: a new field of the contract needs a place in the file.
	set := map[string]bool{}
	fields(wholeSpec(), set)
	for _, name := range []string{"PolicySpec", "Hedge", "TargetGroup", "Condition", "TagCondition", "Target", "Timeouts", "Overrides"} {
		d := keysv1.File_claviger_keys_v1_policy_proto.Messages()
		for i := range d.Len() {
			if string(d.Get(i).Name()) != name {
				continue
			}
			for j := range d.Get(i).Fields().Len() {
				if f := string(d.Get(i).Fields().Get(j).FullName()); !set[f] {
					t.Errorf("the file has no word for %s", f)
				}
			}
		}
	}
}

// fields gathers the names of the fields that are set in m or inside it.
func fields(m proto.Message, set map[string]bool) {
	walk(m.ProtoReflect(), set)
}

func TestAPolicyIsWrittenAsItIsRead(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]seed.Policy{
		"whole":                            {Name: "main", Spec: wholeSpec()},
		"short":                            {Name: "main", Spec: seed.Rule(&keysv1.Target{Model: "openai/gpt-4o", Use: own}, &keysv1.Target{Model: "policy/x"})},
		"words that YAML takes for others": {Name: "true", Spec: seed.Rule(&keysv1.Target{Model: "openai/gpt-4o", CredentialId: "no"}, &keysv1.Target{Model: "openai/1", CredentialId: "0x10: #"})},
		"strange tags": {Name: "1", Spec: &keysv1.PolicySpec{Groups: []*keysv1.TargetGroup{{
			Strategy: keysv1.Strategy_STRATEGY_FALLBACK,
			When:     &keysv1.Condition{Tags: []*keysv1.TagCondition{{Key: "null", Values: []string{"a: b", "\"", "é", "~"}}}},
			Targets:  []*keysv1.Target{{Model: "openai/a", Use: own}},
		}}}},
		"empty parts": {Name: "main", Spec: &keysv1.PolicySpec{Hedge: &keysv1.Hedge{}, Groups: []*keysv1.TargetGroup{{
			Targets: []*keysv1.Target{{Model: "openai/a", Use: own, Timeouts: &keysv1.Timeouts{}, Overrides: &keysv1.Overrides{}}},
		}}}},
	} {
		text := seed.FormatPolicy(policy)
		got, err := seed.ParsePolicy("policy.yaml", text)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
			continue
		}
		if diff := cmp.Diff(policy, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s\n%s", name, diff, text)
		}
	}
	if got := string(seed.FormatPolicy(seed.Policy{Name: "main", Spec: wholeSpec()})); got != whole {
		t.Errorf("the whole policy is written as\n%s", cmp.Diff(whole, got))
	}
}

func TestEveryMistakeOfARuleIsShownWhereItStands(t *testing.T) {
	t.Parallel()
	const text = `max_attempts: 99
hedge: {after: soon, max_percent: 101}
groups:
  - strategy: cheapest
    sticky_by: colour
    when: {tags: [a], min_input_tokens: many, models: [""], api_keys: 7x}
    targets:
      - {model: gpt, use: own}
      - {model: policy/other, use: own}
      - {model: openai/gpt-4o, use: platform, credential: main}
      - {model: openai/gpt-4o, weight: -1, retries: 9, backoff: 1h, move_on: [sunday], overrides: {temperature: 3, top_p: hot, effort: low}, timeouts: {total: 2h}}
  - {strategy: fallback, targets: []}
`
	_, err := seed.ParsePolicy("dir/policy.yaml", []byte(text))
	if _, ok := errors.AsType[seed.FileError](err); !ok {
		t.Fatalf("ParsePolicy = %v, want a FileError", err)
	}
	for _, want := range []string{
		"policy.yaml:1:15: max_attempts",
		`policy.yaml:2:16: this must be a time span`,
		"policy.yaml:2:35: max_percent",
		`policy.yaml:4:15: strategy must be "fallback", "lowest_cost", "lowest_latency", "sticky" or "weighted"`,
		"policy.yaml:5:16: sticky_by",
		"policy.yaml:6:18: tags must be an object",
		"policy.yaml:6:41: this must be a whole number",
		"policy.yaml:6:55: models",
		"policy.yaml:8:17: model",
		"policy.yaml:9:36: a line that names a policy does not say whose keys serve",
		"policy.yaml:10:37: a line that names a credential is served by the organization's own",
		"policy.yaml:11:40: weight",
		"policy.yaml:11:53: retries",
		"policy.yaml:11:65: backoff",
		"policy.yaml:11:78: move_on",
		"policy.yaml:11:113: temperature",
		"policy.yaml:11:123: this must be a number",
		`unknown key "effort" in overrides`,
		"policy.yaml:11:160: total",
		"policy.yaml:12:35: targets",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not hold %q", want)
		}
	}
	if t.Failed() {
		t.Logf("the error is\n%v", err)
	}
	for _, text := range []string{"targets: []", "name: x", "targets: [{model: openai/a}]\ngroups: []", "[]", ""} {
		if _, err := seed.ParsePolicy("x", []byte(text)); err == nil {
			t.Errorf("%q is taken for a policy", text)
		}
	}
}

// full is a seed file in which objects name each other in circles.
const full = `
organization: {slug: acme}
owner: {email: owner@acme.example, password: {env: OWNER_PASSWORD}}
credentials:
  - {provider: openai, label: main, secret: {env: UPSTREAM_KEY}, weight: 3, expires: 2027-12-31, scope: {models: ["openai/gpt-4o*"], api_keys: [batch], groups: [research]}}
groups:
  - {name: research, policy: main, enforce: true, approved_models: ["openai/*", "anthropic/*"]}
policies:
  - name: main
    groups:
      - {strategy: weighted, when: {groups: [research], api_keys: batch}, targets: [{model: openai/gpt-4o, credential: main, weight: 2}, {model: openai/gpt-4o-mini}]}
      - targets: [{model: policy/spare}]
  - {name: spare, targets: [{model: anthropic/claude-haiku-4-5, use: platform}]}
api_keys:
  - {name: app, policy: main, group: research, provenance: full, write_to: app.key}
  - {name: batch, policy: spare, enforce: true, write_to: batch.key}
approved_models: ["openai/*", "anthropic/*"]
preferences: {order: [openai, anthropic], ignore: [fal], platform: after_own, providers: {anthropic: before_own, openai: never}, policy: spare}
`

func TestGroupsAndPreferencesAreRead(t *testing.T) {
	t.Parallel()
	got, _, err := seed.Parse("seed.yaml", []byte(full), lookup)
	if err != nil {
		t.Fatal(err)
	}
	want := &seed.Document{
		Organization: seed.Organization{Slug: "acme", Name: "acme"},
		Owner:        seed.Owner{Email: "owner@acme.example", Password: secret.New("correct horse battery")},
		Credentials: []seed.Credential{{
			Provider: "openai", Label: "main", Secret: secret.New(canary), Weight: 3, Expires: time.Date(2027, 12, 31, 0, 0, 0, 0, time.UTC),
			Scope: seed.Scope{Models: []string{"openai/gpt-4o*"}, APIKeys: []string{"batch"}, Groups: []string{"research"}},
		}},
		Groups: []seed.Group{{Name: "research", Policy: "main", Enforce: true, ApprovedModels: []string{"openai/*", "anthropic/*"}}},
		// A policy stands behind those that it names.
		Policies: []seed.Policy{
			{Name: "spare", Spec: seed.Rule(&keysv1.Target{Model: "anthropic/claude-haiku-4-5", Use: platform})},
			{Name: "main", Spec: &keysv1.PolicySpec{Groups: []*keysv1.TargetGroup{
				{
					Strategy: keysv1.Strategy_STRATEGY_WEIGHTED, When: &keysv1.Condition{GroupIds: []string{"research"}, ApiKeyIds: []string{"batch"}},
					Targets: []*keysv1.Target{{Model: "openai/gpt-4o", CredentialId: "main", Weight: new(int32(2))}, {Model: "openai/gpt-4o-mini", Use: own}},
				},
				{Targets: []*keysv1.Target{{Model: "policy/spare"}}},
			}}},
		},
		APIKeys: []seed.APIKey{
			{Name: "app", Policy: "main", Group: "research", Provenance: keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL, WriteTo: "app.key"},
			{Name: "batch", Policy: "spare", Enforce: true, WriteTo: "batch.key"},
		},
		ApprovedModels: &[]string{"openai/*", "anthropic/*"},
		Preferences: &seed.Preferences{
			Order: []string{"openai", "anthropic"}, Ignore: []string{"fal"}, Platform: keysv1.PlatformRule_PLATFORM_RULE_AFTER_OWN, Policy: "spare",
			Providers: map[string]keysv1.PlatformRule{"anthropic": keysv1.PlatformRule_PLATFORM_RULE_BEFORE_OWN, "openai": keysv1.PlatformRule_PLATFORM_RULE_NEVER},
		},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Fatalf("Parse (-want +got):\n%s", diff)
	}
}

func TestNamesOfAFileMustBeInIt(t *testing.T) {
	t.Parallel()
	text := strings.NewReplacer(
		"credential: main", "credential: nobody", "policy/spare", "policy/nowhere", "groups: [research], api_keys: batch", "groups: [none], api_keys: nokey",
		"group: research", "group: nogroup", "enforce: true, write_to", "enforce: yes, write_to", "policy: spare}", "enforce: true}",
		"anthropic: before_own", "anthropic: sometimes", "2027-12-31", "soon",
	).Replace(full)
	_, _, err := seed.Parse("seed.yaml", []byte(text), lookup)
	if err == nil {
		t.Fatal("Parse found no mistake")
	}
	for _, want := range []string{
		`seed.yaml:11:116: the credential "nobody" is not in the file`, `the policy "nowhere" is not in the file`,
		`the group "none" is not in the file`, `the API key "nokey" is not in the file`, `the group "nogroup" is not in the file`,
		"this must be true or false", "there is no policy here that could be enforced",
		`the rule of a provider must be "after_own", "before_own", "never" or "policies"`, "this must be a date",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not hold %q", want)
		}
	}
	if t.Failed() {
		t.Logf("the error is\n%v", err)
	}
	_, _, err = seed.Parse("seed.yaml", []byte(strings.Replace(full, "model: anthropic/claude-haiku-4-5, use: platform", "model: policy/main", 1)), lookup)
	if err == nil || !strings.Contains(err.Error(), "names itself in the end") {
		t.Errorf("two policies that name each other: %v", err)
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("targets: [{model: openai/a, use: platform}]"))
	f.Add([]byte("groups: [{when: {tags: {a: null}}, targets: [{}]}]"))
	f.Add([]byte("groups: [{when: {tags: {<<: &a {b: c}}}, targets: [*a]}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		policy, err := seed.ParsePolicy("policy.yaml", text)
		if err != nil {
			return
		}
		again, err := seed.ParsePolicy("policy.yaml", seed.FormatPolicy(policy))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, seed.FormatPolicy(policy))
		}
		if diff := cmp.Diff(seed.FormatPolicy(policy), seed.FormatPolicy(again)); diff != "" {
			t.Fatalf("written and read again (-want +got):\n%s", diff)
		}
	})
}

func walk(m protoreflect.Message, set map[string]bool) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		set[string(f.FullName())] = true
		switch {
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				walk(v.List().Get(i).Message(), set)
			}
		case f.Message() != nil && !f.IsMap():
			walk(v.Message(), set)
		}
		return true
	})
}
