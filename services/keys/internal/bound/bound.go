// Package bound says how much one organization may have.
//
// The configuration of all organizations is in the memory of every router, so nothing in it may grow without
// end. The bounds lie where nobody comes who does not mean to. What is above one already may stay and shrink.
package bound

import (
	"context"
	"strconv"

	"github.com/claviger/claviger/pkg/fault"
)

// Bound is the most that one organization may have of something.
type Bound struct {
	// What is counted, for people: "policies".
	What string
	Most int64
	// Of narrows it, to a provider; empty is all.
	Of  string
	err *fault.Error
}

// The bounds. Bytes are of what is written down.
var (
	Policies = of(1000, "policies", "TOO_MANY_POLICIES", "delete policies that nothing names; drafts count, too")
	// PolicyLines are those of the versions that serve.
	PolicyLines = of(20_000, "lines in all policies together", "TOO_MANY_POLICY_LINES",
		"take lines out, delete policies, or name one policy in others instead of repeating its lines")
	// PolicyBytes are those of the versions that serve and of the drafts.
	PolicyBytes = of(8<<20, "bytes of rules in all policies and drafts together", "POLICIES_TOO_LARGE",
		"delete policies, discard drafts or shorten conditions")
	Groups     = of(1000, "groups", "TOO_MANY_GROUPS", "delete groups that nothing names")
	GroupBytes = of(4<<20, "bytes of approved models in all groups together", "GROUPS_TOO_LARGE",
		"name patterns such as openai/* instead of single models, or delete groups")
	Credentials = of(1000, "credentials", "TOO_MANY_CREDENTIALS", "delete credentials that do not serve any more")
	ScopeBytes  = of(4<<20, "bytes of scopes in all credentials together", "SCOPES_TOO_LARGE",
		"name groups instead of single API keys, and patterns such as openai/* instead of single models")
	Members = of(100_000, "members", "TOO_MANY_MEMBERS", "remove members who have left")
	APIKeys = of(100_000, "API keys that are not revoked", "TOO_MANY_API_KEYS", "revoke API keys that nobody uses; expired ones count until they are revoked")

	ofProvider = of(500, "credentials", "TOO_MANY_CREDENTIALS_OF_PROVIDER", "delete credentials of this provider that do not serve any more")
)

// CredentialsOf is of one provider: each request for one of its models looks at all of them.
func CredentialsOf(provider string) Bound {
	b := ofProvider
	b.What, b.Of = "credentials for "+provider, provider
	return b
}

// All are the bounds, that of one provider without it.
func All() []Bound {
	return []Bound{Policies, PolicyLines, PolicyBytes, Groups, GroupBytes, Credentials, ofProvider, ScopeBytes, Members, APIKeys}
}

func of(most int64, what, reason, hint string) Bound {
	return Bound{What: what, Most: most, err: fault.New(fault.Precondition, reason, "the organization has as many "+what+" as it may").Hinting(hint)}
}

// Err is the error of whoever goes beyond b.
func (b Bound) Err() *fault.Error { return b.err }

// Check refuses what makes more than there may be, and more than there was.
func (b Bound) Check(before, after int64) error {
	if after <= b.Most || after <= before {
		return nil
	}
	return b.err.Saying("the organization would have %d %s, and %d are the most", after, b.What, b.Most).With("bound", strconv.FormatInt(b.Most, 10))
}

// Counter tells how much the organization at hand has of what a bound bounds.
type Counter interface {
	Have(ctx context.Context, b Bound) (int64, error)
}

// Room refuses to add one more of each.
func Room(ctx context.Context, c Counter, bounds ...Bound) error {
	for _, b := range bounds {
		have, err := c.Have(ctx, b)
		if err != nil {
			return err
		}
		if err := b.Check(have, have+1); err != nil {
			return err
		}
	}
	return nil
}

// Keep makes a change, and refuses it if too much is there then: its transaction must not be committed.
func Keep(ctx context.Context, c Counter, change func() error, bounds ...Bound) error {
	before := make([]int64, len(bounds))
	for i, b := range bounds {
		var err error
		if before[i], err = c.Have(ctx, b); err != nil {
			return err
		}
	}
	if err := change(); err != nil {
		return err
	}
	for i, b := range bounds {
		after, err := c.Have(ctx, b)
		if err != nil {
			return err
		}
		if err := b.Check(before[i], after); err != nil {
			return err
		}
	}
	return nil
}
