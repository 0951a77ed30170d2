package seed

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

// policyPrefix begins a line that names another policy.
const policyPrefix = "policy/"

// ParsePolicy reads a file that holds one policy, in the form that it has in a seed file. The name may be
// missing. The error is a FileError if the file has mistakes.
func ParsePolicy(name string, text []byte) (Policy, error) {
	p := &parsing{reader: reader{file: filepath.Base(name), lines: strings.Split(string(text), "\n")}, lookup: os.LookupEnv}
	var policy Policy
	if root := p.parse(text); root != nil {
		policy = p.policy(root, nil)
	}
	if len(p.problems) > 0 {
		return Policy{}, p.sorted()
	}
	return policy, nil
}

// Rule is a rule of one group, whose targets are tried in order.
func Rule(targets ...*keysv1.Target) *keysv1.PolicySpec {
	return &keysv1.PolicySpec{Groups: []*keysv1.TargetGroup{{Targets: targets}}}
}

// Own is a line that any of the organization's own credentials serves.
func Own(model string) *keysv1.Target {
	return &keysv1.Target{Model: model, Use: eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN}
}

// Platform is a line that the operator's credentials serve.
func Platform(model string) *keysv1.Target {
	return &keysv1.Target{Model: model, Use: eventsv1.CredentialClass_CREDENTIAL_CLASS_PLATFORM}
}

// policy reads a policy. Names that are there twice are told by seen; nil is a file that holds one policy, which
// may have none.
func (p *parsing) policy(n ast.Node, seen map[string]bool) Policy {
	policy := Policy{Spec: &keysv1.PolicySpec{}}
	r := &ruleReader{parsing: p, spec: policy.Spec, places: map[string]ast.Node{}}
	places := p.object(n, "a policy", map[string]field{
		"name":         {required: seen != nil, read: p.text(&policy.Name).read},
		"targets":      {read: r.short},
		"groups":       {read: r.groups},
		"max_attempts": p.number(&policy.Spec.MaxAttempts),
		"hedge":        {read: r.hedge},
	})
	if places == nil {
		return policy
	}
	switch {
	case places["targets"] != nil && places["groups"] != nil:
		p.fail(places["targets"], `a policy has "targets" or "groups", not both: "targets" is the short form of one group`)
	case places["targets"] == nil && places["groups"] == nil:
		p.fail(n, `a policy has no "targets" and no "groups"`)
	}
	r.places["name"] = places["name"]
	r.places["spec.max_attempts"] = places["max_attempts"]
	request := &keysv1.CreatePolicyRequest{Name: policy.Name, Spec: policy.Spec}
	if places["name"] == nil {
		request.Name = "none"
	}
	p.check(request, r.places)
	if policy.Name != "" && seen[policy.Name] {
		p.fail(places["name"], "the policy %q is there twice", policy.Name)
	}
	if seen != nil {
		seen[policy.Name] = true
	}
	return policy
}

// ruleReader reads a rule and notes where each of its fields stands.
type ruleReader struct {
	*parsing
	spec   *keysv1.PolicySpec
	places map[string]ast.Node
}

// put notes where the fields of an object stand.
func (r *ruleReader) put(path string, n ast.Node, fields map[string]ast.Node) {
	r.places[path] = n
	for name, place := range fields {
		r.places[path+"."+name] = place
	}
}

// short is a rule of one group.
func (r *ruleReader) short(n ast.Node) {
	group := &keysv1.TargetGroup{}
	r.spec.Groups = append(r.spec.Groups, group)
	r.targets(group, "spec.groups[0]")(n)
	r.places["spec.groups"], r.places["spec.groups[0].targets"] = n, n
}

var strategies = map[string]keysv1.Strategy{
	"fallback":       keysv1.Strategy_STRATEGY_FALLBACK,
	"weighted":       keysv1.Strategy_STRATEGY_WEIGHTED,
	"lowest_latency": keysv1.Strategy_STRATEGY_LOWEST_LATENCY,
	"lowest_cost":    keysv1.Strategy_STRATEGY_LOWEST_COST,
	"sticky":         keysv1.Strategy_STRATEGY_STICKY,
}

func (r *ruleReader) groups(n ast.Node) {
	r.places["spec.groups"] = n
	r.list(n, "groups", func(n ast.Node) {
		path := fmt.Sprintf("spec.groups[%d]", len(r.spec.GetGroups()))
		group := &keysv1.TargetGroup{}
		r.spec.Groups = append(r.spec.Groups, group)
		r.put(path, n, r.object(n, "a group", map[string]field{
			"strategy":  choice(&r.reader, "strategy", &group.Strategy, strategies),
			"sticky_by": r.text(&group.StickyBy),
			"when":      {read: func(n ast.Node) { group.When = r.condition(n, path+".when") }},
			"targets":   {required: true, read: r.targets(group, path)},
		}))
	})
}

func (r *ruleReader) hedge(n ast.Node) {
	h := &keysv1.Hedge{}
	r.spec.Hedge = h
	r.put("spec.hedge", n, r.object(n, "hedge", map[string]field{
		"after":       r.duration(&h.After),
		"max_percent": r.number(&h.MaxPercent),
	}))
}

func (r *ruleReader) condition(n ast.Node, path string) *keysv1.Condition {
	c := &keysv1.Condition{}
	places := r.object(n, "when", map[string]field{
		"tags":             {read: func(n ast.Node) { c.Tags = r.tags(n, path) }},
		"models":           r.texts("models", &c.Models),
		"min_input_tokens": r.count(&c.MinInputTokens),
		"max_input_tokens": r.count(&c.MaxInputTokens),
		"api_keys":         r.texts("api_keys", &c.ApiKeyIds),
		"groups":           r.texts("groups", &c.GroupIds),
	})
	r.put(path, n, places)
	r.name("API key", places["api_keys"], c.GetApiKeyIds()...)
	r.name("group", places["groups"], c.GetGroupIds()...)
	r.places[path+".api_key_ids"], r.places[path+".group_ids"] = places["api_keys"], places["groups"]
	return c
}

// tags reads keys with the values that fit: one, a list, or "*" for any.
func (r *ruleReader) tags(n ast.Node, path string) []*keysv1.TagCondition {
	mapping, ok := n.(ast.MapNode)
	if !ok {
		r.fail(n, `tags must be an object, such as {team: search, env: [prod, staging], trace: "*"}`)
		return nil
	}
	var tags []*keysv1.TagCondition
	for i := mapping.MapRange(); i.Next(); {
		tag := &keysv1.TagCondition{Key: i.Key().GetToken().Value}
		r.places[fmt.Sprintf("%s.tags[%d]", path, len(tags))] = i.Key()
		if empty(i.Value()) {
			r.fail(i.Key(), `%q has no value: "*" is any`, tag.GetKey())
			continue
		}
		r.texts("the values of a tag", &tag.Values).read(i.Value())
		if slices.Contains(tag.GetValues(), "*") {
			tag.Values = nil
		}
		tags = append(tags, tag)
	}
	return tags
}

func (r *ruleReader) targets(group *keysv1.TargetGroup, path string) func(ast.Node) {
	return func(n ast.Node) {
		r.list(n, "targets", func(n ast.Node) {
			group.Targets = append(group.Targets, r.target(n, fmt.Sprintf("%s.targets[%d]", path, len(group.GetTargets()))))
		})
	}
}

func (r *ruleReader) target(n ast.Node, path string) *keysv1.Target {
	t := &keysv1.Target{}
	var weight, retries int32
	places := r.object(n, "a target", map[string]field{
		"model":      required(r.text(&t.Model)),
		"use":        choice(&r.reader, "use", &t.Use, uses),
		"credential": r.text(&t.CredentialId),
		"weight":     r.number(&weight),
		"timeouts":   {read: func(n ast.Node) { t.Timeouts = r.timeouts(n, path+".timeouts") }},
		"retries":    r.number(&retries),
		"backoff":    r.duration(&t.Backoff),
		"move_on":    r.texts("move_on", &t.MoveOn),
		"overrides":  {read: func(n ast.Node) { t.Overrides = r.overrides(n, path+".overrides") }},
	})
	r.put(path, n, places)
	r.places[path+".credential_id"] = places["credential"]
	if places["model"] == nil {
		t.Model = "openai/any" // reported already
	}
	if places["weight"] != nil {
		t.Weight = &weight
	}
	if places["retries"] != nil {
		t.Retries = &retries
	}
	name, isPolicy := strings.CutPrefix(t.GetModel(), policyPrefix)
	switch place := firstOf(places["use"], places["credential"]); {
	case isPolicy && place != nil:
		r.fail(place, "a line that names a policy does not say whose keys serve: the policy's lines do")
	case places["use"] != nil && places["credential"] != nil:
		if t.GetUse() != eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN {
			r.fail(places["use"], "a line that names a credential is served by the organization's own")
		}
		t.Use = 0
	case place == nil && !isPolicy:
		t.Use = eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN
	}
	if isPolicy {
		r.name("policy", places["model"], name)
	}
	r.name("credential", places["credential"], t.GetCredentialId())
	return t
}

// uses are the words for whose keys serve.
var uses = map[string]eventsv1.CredentialClass{
	"own":      eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN,
	"platform": eventsv1.CredentialClass_CREDENTIAL_CLASS_PLATFORM,
}

// firstOf is the first of the nodes that is there.
func firstOf(nodes ...ast.Node) ast.Node {
	for _, n := range nodes {
		if n != nil {
			return n
		}
	}
	return nil
}

func (r *ruleReader) timeouts(n ast.Node, path string) *keysv1.Timeouts {
	t := &keysv1.Timeouts{}
	r.put(path, n, r.object(n, "timeouts", map[string]field{
		"first_byte":     r.duration(&t.FirstByte),
		"between_chunks": r.duration(&t.BetweenChunks),
		"total":          r.duration(&t.Total),
	}))
	return t
}

func (r *ruleReader) overrides(n ast.Node, path string) *keysv1.Overrides {
	o := &keysv1.Overrides{}
	var most int64
	var effort string
	places := r.object(n, "overrides", map[string]field{
		"temperature":       r.decimal(&o.Temperature),
		"top_p":             r.decimal(&o.TopP),
		"max_output_tokens": r.count(&most),
		"reasoning_effort":  r.text(&effort),
	})
	r.put(path, n, places)
	if places["max_output_tokens"] != nil {
		o.MaxOutputTokens = &most
	}
	if places["reasoning_effort"] != nil {
		o.ReasoningEffort = &effort
	}
	return o
}

// wordOf is the word for a value.
func wordOf[E comparable](words map[string]E, value E) string {
	for _, w := range slices.Sorted(maps.Keys(words)) {
		if words[w] == value {
			return w
		}
	}
	return ""
}
