// Package policy holds the named, versioned routing rules of an organization.
package policy

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/etag"
	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/provider"
)

// The errors of this package.
var (
	ErrNotFound = fault.New(fault.NotFound, "POLICY_NOT_FOUND", "policy not found")
	ErrExists   = fault.New(fault.Conflict, "POLICY_EXISTS", "a policy with this name exists already").Hinting("choose another name or update that policy")
	ErrTargets  = fault.New(fault.Invalid, "POLICY_TARGETS_INVALID", "the policy's lines are not valid")
	ErrInUse    = fault.New(fault.Precondition, "POLICY_IN_USE", "API keys have this policy as their default").Hinting("revoke them first")
)

// Class says whose credentials serve.
type Class string

// The classes.
const (
	Own      Class = "own"
	Platform Class = "platform"
)

// Target is one line.
type Target struct {
	// Model is "provider/model".
	Model string `json:"model"`
	Use   Class  `json:"use"`
}

// Policy is a routing rule.
type Policy struct {
	OrgID string
	ID    string
	Name  string
	// Version counts the changes, from 1.
	Version   int64
	Targets   []Target
	CreatedAt time.Time
	UpdatedAt time.Time
	UpdatedBy string
}

// ETag names the state of p.
func (p Policy) ETag() string { return etag.Of(p.Version) }

// Tx is what changes of policies need from the store.
type Tx interface {
	audit.Recorder
	Policy(ctx context.Context, id string) (Policy, error)
	InsertPolicy(ctx context.Context, p Policy) error
	UpdatePolicy(ctx context.Context, p Policy) error
	DeletePolicy(ctx context.Context, id string) error
	// KeysWithDefault returns the names of up to limit API keys that can still be used and have the
	// policy as their default.
	KeysWithDefault(ctx context.Context, policyID string, at time.Time, limit int) ([]string, error)
}

// Service changes policies.
type Service struct {
	Now func() time.Time
}

// Create adds a policy.
func (s *Service) Create(ctx context.Context, tx Tx, caller member.Caller, name string, targets []Target) (Policy, error) {
	if err := check(targets); err != nil {
		return Policy{}, err
	}
	now := s.Now()
	p := Policy{
		OrgID: caller.OrgID, ID: id.New("pol"), Name: name, Version: 1, Targets: targets,
		CreatedAt: now, UpdatedAt: now, UpdatedBy: caller.MemberID,
	}
	if err := tx.InsertPolicy(ctx, p); err != nil {
		return Policy{}, err
	}
	return p, tx.Record(ctx, "policy.create", p.ID, audit.Detail{"name": p.Name, "targets": p.Targets})
}

// Update replaces the lines of a policy.
func (s *Service) Update(ctx context.Context, tx Tx, caller member.Caller, policyID string, targets []Target, tag string) (Policy, error) {
	if err := check(targets); err != nil {
		return Policy{}, err
	}
	p, err := tx.Policy(ctx, policyID)
	if err != nil {
		return Policy{}, err
	}
	if err := etag.Check("policy", p.Version, tag); err != nil {
		return Policy{}, err
	}
	before := p.Targets
	p.Targets, p.Version, p.UpdatedAt, p.UpdatedBy = targets, p.Version+1, s.Now(), caller.MemberID
	if err := tx.UpdatePolicy(ctx, p); err != nil {
		return Policy{}, err
	}
	return p, tx.Record(ctx, "policy.update", p.ID, audit.Detail{"name": p.Name, "targets": audit.Change{From: before, To: targets}})
}

// Delete removes a policy that no usable API key has as its default.
func (s *Service) Delete(ctx context.Context, tx Tx, policyID string) error {
	p, err := tx.Policy(ctx, policyID)
	if err != nil {
		return err
	}
	const named = 5
	keys, err := tx.KeysWithDefault(ctx, p.ID, s.Now(), named+1)
	if err != nil {
		return err
	}
	if len(keys) > 0 {
		more := ""
		if len(keys) > named {
			keys, more = keys[:named], " and others"
		}
		names := strings.Join(keys, ", ") + more
		return ErrInUse.Saying("policy %s is the default of the API keys %s", p.Name, names).With("api_keys", names)
	}
	if err := tx.DeletePolicy(ctx, p.ID); err != nil {
		return err
	}
	return tx.Record(ctx, "policy.delete", p.ID, audit.Detail{"name": p.Name})
}

// check gathers what is wrong with the lines, so that a client sees all of it at once.
func check(targets []Target) error {
	var broken []fault.Violation
	var words []string
	bad := func(line int, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		broken = append(broken, fault.Violation{Field: fmt.Sprintf("targets[%d]", line), Description: text})
		words = append(words, fmt.Sprintf("line %d: %s", line+1, text))
	}
	first := map[Target]int{}
	for i, t := range targets {
		slug, model, ok := strings.Cut(t.Model, "/")
		if !ok || model == "" {
			bad(i, `%q is not "provider/model"`, t.Model)
			continue
		}
		if err := provider.Check(slug); err != nil {
			bad(i, "%s", err.Error())
		}
		if seen, twice := first[t]; twice {
			bad(i, "the same as line %d", seen+1)
			continue
		}
		first[t] = i
	}
	if len(targets) == 0 {
		words = append(words, "a policy has at least one line")
	}
	if len(words) > 0 {
		return ErrTargets.Saying("%s", strings.Join(words, "; ")).Violating(broken...)
	}
	return nil
}
