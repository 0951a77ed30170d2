package rpc

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/keys/internal/policy"
)

var classes = map[policy.Class]eventsv1.CredentialClass{
	policy.Own: eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN, policy.Platform: eventsv1.CredentialClass_CREDENTIAL_CLASS_PLATFORM,
}

var strategies = map[policy.Strategy]keysv1.Strategy{
	policy.Fallback:      keysv1.Strategy_STRATEGY_FALLBACK,
	policy.Weighted:      keysv1.Strategy_STRATEGY_WEIGHTED,
	policy.LowestLatency: keysv1.Strategy_STRATEGY_LOWEST_LATENCY,
	policy.LowestCost:    keysv1.Strategy_STRATEGY_LOWEST_COST,
	policy.Sticky:        keysv1.Strategy_STRATEGY_STICKY,
}

func fromSpec(in *keysv1.PolicySpec) policy.Spec {
	out := policy.Spec{MaxAttempts: int(in.GetMaxAttempts()), Groups: each(in.GetGroups(), fromTargetGroup)}
	if h := in.GetHedge(); h != nil {
		out.Hedge = &policy.Hedge{After: h.GetAfter().AsDuration(), MaxPercent: int(h.GetMaxPercent())}
	}
	return out
}

func fromTargetGroup(g *keysv1.TargetGroup) policy.Group {
	return policy.Group{
		Strategy: from(strategies, g.GetStrategy(), ""), Targets: each(g.GetTargets(), fromTarget), When: fromCondition(g.GetWhen()),
		StickyBy: g.GetStickyBy(),
	}
}

// fromCondition returns nil for one that every request meets.
func fromCondition(c *keysv1.Condition) *policy.Condition {
	out := &policy.Condition{
		Models: c.GetModels(), MinInput: c.GetMinInputTokens(), MaxInput: c.GetMaxInputTokens(), APIKeys: c.GetApiKeyIds(), Groups: c.GetGroupIds(),
	}
	for _, t := range c.GetTags() {
		out.Tags = append(out.Tags, policy.Tag{Key: t.GetKey(), Values: t.GetValues()})
	}
	if out.None() {
		return nil
	}
	return out
}

func fromTarget(t *keysv1.Target) policy.Target {
	out := policy.Target{
		Model: t.GetModel(), Use: from(classes, t.GetUse(), ""), CredentialID: t.GetCredentialId(),
		Weight: number[int32, int](t.Weight), Retries: number[int32, int](t.Retries), MoveOn: t.GetMoveOn(),
		Timeouts: policy.Timeouts{
			FirstByte: t.GetTimeouts().GetFirstByte().AsDuration(), BetweenChunks: t.GetTimeouts().GetBetweenChunks().AsDuration(),
			Total: t.GetTimeouts().GetTotal().AsDuration(),
		},
	}
	if t.GetBackoff() != nil {
		out.Backoff = new(t.GetBackoff().AsDuration())
	}
	if o := t.GetOverrides(); o != nil && (o.Temperature != nil || o.TopP != nil || o.MaxOutputTokens != nil || o.ReasoningEffort != nil) {
		out.Overrides = &policy.Overrides{Temperature: o.Temperature, TopP: o.TopP, MaxOutputTokens: o.MaxOutputTokens, ReasoningEffort: o.ReasoningEffort}
	}
	return out
}

// number keeps whether a number is there.
func number[A, B int | int32](n *A) *B {
	if n == nil {
		return nil
	}
	return new(B(*n))
}

func specToProto(s policy.Spec) *keysv1.PolicySpec {
	out := &keysv1.PolicySpec{MaxAttempts: int32(s.MaxAttempts), Groups: each(s.Groups, targetGroupToProto)}
	if s.Hedge != nil {
		out.Hedge = &keysv1.Hedge{After: duration(s.Hedge.After), MaxPercent: int32(s.Hedge.MaxPercent)}
	}
	return out
}

func targetGroupToProto(g policy.Group) *keysv1.TargetGroup {
	return &keysv1.TargetGroup{
		Strategy: strategies[g.Strategy], Targets: each(g.Targets, targetToProto), When: conditionToProto(g.When), StickyBy: g.StickyBy,
	}
}

func conditionToProto(c *policy.Condition) *keysv1.Condition {
	if c == nil {
		return nil
	}
	out := &keysv1.Condition{Models: c.Models, MinInputTokens: c.MinInput, MaxInputTokens: c.MaxInput, ApiKeyIds: c.APIKeys, GroupIds: c.Groups}
	for _, t := range c.Tags {
		out.Tags = append(out.Tags, &keysv1.TagCondition{Key: t.Key, Values: t.Values})
	}
	return out
}

func targetToProto(t policy.Target) *keysv1.Target {
	out := &keysv1.Target{
		Model: t.Model, Use: classes[t.Use], CredentialId: t.CredentialID, Weight: number[int, int32](t.Weight), Retries: number[int, int32](t.Retries),
		MoveOn: t.MoveOn,
	}
	if t.Timeouts != (policy.Timeouts{}) {
		out.Timeouts = &keysv1.Timeouts{
			FirstByte: duration(t.Timeouts.FirstByte), BetweenChunks: duration(t.Timeouts.BetweenChunks), Total: duration(t.Timeouts.Total),
		}
	}
	if t.Backoff != nil {
		out.Backoff = durationpb.New(*t.Backoff)
	}
	if o := t.Overrides; o != nil {
		out.Overrides = &keysv1.Overrides{Temperature: o.Temperature, TopP: o.TopP, MaxOutputTokens: o.MaxOutputTokens, ReasoningEffort: o.ReasoningEffort}
	}
	return out
}

// duration returns nil for none.
func duration(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

func policyToProto(p policy.Policy) *keysv1.Policy {
	out := &keysv1.Policy{
		Id: p.ID, Name: p.Name, Version: p.Version, CreateTime: timestamp(p.CreatedAt), UpdateTime: timestamp(p.UpdatedAt), UpdatedBy: p.UpdatedBy,
		PublishTime: timestamp(p.PublishedAt), PublishedBy: p.PublishedBy, Etag: p.ETag(),
	}
	if p.Version > 0 {
		out.Spec = specToProto(p.Spec)
	}
	if p.Draft != nil {
		out.Draft = specToProto(*p.Draft)
	}
	return out
}

func policyVersionToProto(v policy.Version) *keysv1.PolicyVersion {
	return &keysv1.PolicyVersion{
		Version: v.Version, Spec: specToProto(v.Spec), PublishTime: timestamp(v.PublishedAt), PublishedBy: v.PublishedBy, RolledBackTo: v.RolledBackTo,
	}
}

func problemToProto(p policy.Problem) *keysv1.PolicyProblem {
	return &keysv1.PolicyProblem{Line: int32(p.Line), Field: p.Field, Reason: p.Reason, Description: p.Description, Warning: p.Warning}
}

func lossToProto(l policy.Loss) *keysv1.PolicyWarning {
	return &keysv1.PolicyWarning{PolicyId: l.PolicyID, PolicyName: l.PolicyName, Problem: problemToProto(l.Problem)}
}
