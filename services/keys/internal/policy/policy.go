// Package policy holds the named, versioned routing rules of an organization.
//
// A policy has one draft at most and published versions, of which the newest serves and the newest hundred
// are kept. Versions never change. What is saved is checked first, and all that is wrong is told at once.
package policy

import (
	"context"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/bound"
	"github.com/claviger/claviger/services/keys/internal/etag"
)

// The errors of this package.
var (
	ErrNotFound = fault.New(fault.NotFound, "POLICY_NOT_FOUND", "policy not found")
	ErrExists   = fault.New(fault.Conflict, "POLICY_EXISTS", "a policy with this name exists already").Hinting("choose another name or update that policy")
	ErrInvalid  = fault.New(fault.Invalid, "POLICY_INVALID", "the policy's lines are not valid").Hinting("mend the lines that are named and save again")
	ErrInUse    = fault.New(fault.Precondition, "POLICY_IN_USE", "the policy is in use").Hinting("take it out of what names it first")
	// ErrVersion means that a policy has no such version.
	ErrVersion = fault.New(fault.NotFound, "POLICY_VERSION_NOT_FOUND", "the policy has no such version")
	// ErrNoDraft means that there is nothing to publish, to discard or to compare with.
	ErrNoDraft = fault.New(fault.Precondition, "POLICY_NO_DRAFT", "the policy has no draft").Hinting("update the policy without publishing to make one")
	// ErrNotPublished means that a policy has no version that could serve.
	ErrNotPublished = fault.New(fault.Precondition, "POLICY_NOT_PUBLISHED", "the policy was never published").Hinting("publish it first")
	// ErrServes means that there is nothing to roll back.
	ErrServes = fault.New(fault.Precondition, "POLICY_VERSION_SERVES", "that version is the one that serves").Hinting("choose another version")
	// ErrOnlyDraft means that a policy would be left with nothing.
	ErrOnlyDraft = fault.New(fault.Precondition, "POLICY_ONLY_DRAFT", "the draft is all that the policy has").Hinting("delete the policy instead")
)

// Policy is a routing rule.
type Policy struct {
	OrgID string
	ID    string
	Name  string
	// Version is the version that serves, from 1; 0 if none was published yet. Spec is its rule.
	Version     int64
	Spec        Spec
	PublishedAt time.Time
	PublishedBy string
	// Draft is the rule that is not published yet; nil if there is none.
	Draft *Spec
	// Revision counts all changes, from 1.
	Revision  int64
	CreatedAt time.Time
	UpdatedAt time.Time
	UpdatedBy string
}

// ETag names the state of p, its draft included.
func (p Policy) ETag() string { return etag.Of(p.Revision) }

// Version is a published rule.
type Version struct {
	Version     int64
	Spec        Spec
	PublishedAt time.Time
	PublishedBy string
	// RolledBackTo is the version that it repeats; 0 if it is new.
	RolledBackTo int64
}

// Tx is what changes of policies need from the store.
type Tx interface {
	audit.Recorder
	bound.Counter
	Facts
	Policy(ctx context.Context, id string) (Policy, error)
	InsertPolicy(ctx context.Context, p Policy) error
	// UpdatePolicy stores all of p. Routers hear of it if Version is another than before.
	UpdatePolicy(ctx context.Context, p Policy) error
	// DeletePolicy also removes its versions.
	DeletePolicy(ctx context.Context, id string) error
	// InsertPolicyVersion adds a version, which never changes. What it names takes the place of what the
	// version before named.
	InsertPolicyVersion(ctx context.Context, policyID string, v Version) error
	PolicyVersion(ctx context.Context, policyID string, version int64) (Version, error)
	// ForgetPolicyVersions removes the versions up to one.
	ForgetPolicyVersions(ctx context.Context, policyID string, upTo int64) error
	// PolicyUsers returns what names a policy, up to limit of each kind.
	PolicyUsers(ctx context.Context, p Policy, at time.Time, limit int) (Users, error)
}

// Users are what names a policy.
type Users struct {
	// APIKeys that can still be used, and Groups, have it as their default, by name; so has the
	// organization if Organization is true.
	APIKeys, Groups []string
	Organization    bool
	// Policies have a line with its name in the version that serves, by name.
	Policies []string
}

// Service changes policies.
type Service struct {
	// Prices is the price book.
	Prices Prices
	Now    func() time.Time
}
