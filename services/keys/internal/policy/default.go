package policy

import (
	"context"
	"fmt"

	"github.com/claviger/claviger/pkg/fault"
)

// ErrEnforce means that a policy was to be enforced where none is named.
var ErrEnforce = fault.New(fault.Invalid, "ENFORCE_WITHOUT_POLICY", "no policy is named that could be enforced").
	Hinting("name a policy, or leave enforce_policy out")

// Library reads policies.
type Library interface {
	Policy(ctx context.Context, id string) (Policy, error)
	// Policies lists up to limit policies after an id.
	Policies(ctx context.Context, after string, limit int) ([]Policy, error)
}

// CheckDefault reports whether a policy may be the default of an API key, a group or the organization,
// and be enforced there. An empty id is no default.
func CheckDefault(ctx context.Context, tx Library, policyID string, enforce bool) error {
	if policyID == "" {
		if enforce {
			return ErrEnforce.Violating(fault.Violation{Field: "policy_id", Description: "must be set if enforce_policy is"})
		}
		return nil
	}
	p, err := tx.Policy(ctx, policyID)
	if err != nil {
		return err
	}
	if p.Version == 0 {
		return ErrNotPublished.Saying("policy %s was never published, so it cannot be a default", p.Name)
	}
	return nil
}

// Loss is a line of a published policy that does not serve any more.
type Loss struct {
	PolicyID, PolicyName string
	Problem              Problem
}

// maxLosses is how many lines are told of one by one.
const maxLosses = 100

// Losses finds the lines of published policies that could serve under the rules of before and cannot
// under those of after, the first hundred of them. It reads every policy, a page at a time: a thousand of
// twenty lines take some 60 ms on a busy machine, and rules change seldom.
func Losses(ctx context.Context, tx Library, before, after Rules) ([]Loss, error) {
	const size = 100
	var out []Loss
	for last := ""; ; {
		page, err := tx.Policies(ctx, last, size)
		if err != nil {
			return nil, err
		}
		for i := range page {
			if out = append(out, page[i].Losses(before, after)...); len(out) >= maxLosses {
				return out[:maxLosses], nil
			}
		}
		if len(page) < size {
			return out, nil
		}
		last = page[size-1].ID
	}
}

// Losses finds the lines of the version that serves which could serve under the rules of before, nil for none,
// and cannot under those of after.
func (p *Policy) Losses(before, after Rules) []Loss {
	var out []Loss
	for _, l := range p.Spec.lines() {
		reason, why := lost(l, after)
		if reason == "" {
			continue
		}
		if before != nil {
			if was, _ := lost(l, before); was != "" {
				continue
			}
		}
		out = append(out, Loss{p.ID, p.Name, Problem{Line: l.number, Field: l.field("model"), Reason: reason, Description: why, Warning: true}})
	}
	return out
}

// lost says why a line cannot serve under the rules, nothing if it can.
func lost(l line, rules Rules) (reason, why string) {
	switch {
	case l.Policy() != "":
		return "", ""
	case rules.Ignored(l.Provider()):
		return ProviderIgnored, fmt.Sprintf("the organization's preferences ignore %s, so this line never serves", l.Provider())
	case l.class() == Platform && rules.ForbidsPlatform(l.Provider()):
		return PlatformForbidden, fmt.Sprintf("the organization's preferences forbid the platform's keys for %s, so this line never serves", l.Provider())
	case !rules.Approves(l.Model):
		return NotApproved, fmt.Sprintf("%s is not among the approved models, so this line never serves", l.Model)
	}
	return "", ""
}
