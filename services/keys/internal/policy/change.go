package policy

import (
	"context"
	"fmt"
	"strings"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/etag"
	"github.com/claviger/claviger/services/keys/internal/member"
)

// Create adds a policy: as a draft, or published. The problems are warnings.
func (s *Service) Create(ctx context.Context, tx Tx, caller member.Caller, name string, spec Spec, publish bool) (Policy, []Problem, error) {
	warnings, err := s.checked(ctx, tx, name, spec, publish)
	if err != nil {
		return Policy{}, nil, err
	}
	now := s.Now()
	p := Policy{OrgID: caller.OrgID, ID: id.New("pol"), Name: name, Revision: 1, CreatedAt: now, UpdatedAt: now, UpdatedBy: caller.MemberID}
	detail := audit.Detail{"name": p.Name, "spec": spec}
	var v Version
	if publish {
		v = s.version(&p, caller, spec)
		detail["version"] = p.Version
	} else {
		p.Draft = &spec
	}
	if err := kept(ctx, tx, func() error { return tx.InsertPolicy(ctx, p) }); err != nil {
		return Policy{}, nil, err
	}
	if publish {
		if err := tx.InsertPolicyVersion(ctx, p.ID, v); err != nil {
			return Policy{}, nil, err
		}
	}
	return p, warnings, tx.Record(ctx, "policy.create", p.ID, detail)
}

// version makes spec the version of p that serves.
func (s *Service) version(p *Policy, caller member.Caller, spec Spec) Version {
	p.Version, p.Spec, p.PublishedAt, p.PublishedBy = p.Version+1, spec, s.Now(), caller.MemberID
	return Version{Version: p.Version, Spec: spec, PublishedAt: p.PublishedAt, PublishedBy: p.PublishedBy}
}

// open reads a policy that the caller has read with the given etag.
func (s *Service) open(ctx context.Context, tx Tx, policyID, tag string) (Policy, error) {
	p, err := tx.Policy(ctx, policyID)
	if err != nil {
		return Policy{}, err
	}
	return p, etag.Check("policy", p.Revision, tag)
}

// save stores a changed policy.
func (s *Service) save(ctx context.Context, tx Tx, caller member.Caller, p *Policy) error {
	p.Revision, p.UpdatedAt, p.UpdatedBy = p.Revision+1, s.Now(), caller.MemberID
	return kept(ctx, tx, func() error { return tx.UpdatePolicy(ctx, *p) })
}

// publish makes spec the next version that serves, and tells in the audit how it differs from the one
// before. The oldest is forgotten where there are more than are kept.
func (s *Service) publish(ctx context.Context, tx Tx, caller member.Caller, p *Policy, spec Spec, rolledBackTo int64, action string) error {
	detail := audit.Detail{"name": p.Name, "version": audit.Change{From: p.Version, To: p.Version + 1}, "changes": Summary(Diff(p.Spec, spec, nil))}
	if p.Version == 0 {
		detail["version"], detail["spec"] = p.Version+1, spec
		delete(detail, "changes")
	}
	v := s.version(p, caller, spec)
	if v.RolledBackTo = rolledBackTo; rolledBackTo > 0 {
		detail["rolled_back_to"] = rolledBackTo
	}
	if err := s.save(ctx, tx, caller, p); err != nil {
		return err
	}
	if err := tx.InsertPolicyVersion(ctx, p.ID, v); err != nil {
		return err
	}
	if err := tx.ForgetPolicyVersions(ctx, p.ID, p.Version-KeptVersions); err != nil {
		return err
	}
	return tx.Record(ctx, action, p.ID, detail)
}

// Update replaces the draft of a policy, or publishes the rule at once; then there is no draft any more.
func (s *Service) Update(ctx context.Context, tx Tx, caller member.Caller, policyID string, spec Spec, publish bool, tag string) (Policy, []Problem, error) {
	p, err := s.open(ctx, tx, policyID, tag)
	if err != nil {
		return Policy{}, nil, err
	}
	warnings, err := s.checked(ctx, tx, p.Name, spec, publish)
	if err != nil {
		return Policy{}, nil, err
	}
	if publish {
		p.Draft = nil
		err = s.publish(ctx, tx, caller, &p, spec, 0, "policy.update")
		return p, warnings, err
	}
	before := p.Spec
	if p.Draft != nil {
		before = *p.Draft
	}
	p.Draft = &spec
	if err := s.save(ctx, tx, caller, &p); err != nil {
		return Policy{}, nil, err
	}
	return p, warnings, tx.Record(ctx, "policy.update", p.ID, audit.Detail{"name": p.Name, "draft": true, "changes": Summary(Diff(before, spec, nil))})
}

// Publish makes the draft the next version. It is checked again: what it names may have changed since
// it was saved.
func (s *Service) Publish(ctx context.Context, tx Tx, caller member.Caller, policyID, tag string) (Policy, []Problem, error) {
	p, err := s.open(ctx, tx, policyID, tag)
	if err != nil {
		return Policy{}, nil, err
	}
	if p.Draft == nil {
		return Policy{}, nil, ErrNoDraft.Saying("policy %s has no draft to publish", p.Name)
	}
	spec := *p.Draft
	warnings, err := s.checked(ctx, tx, p.Name, spec, true)
	if err != nil {
		return Policy{}, nil, err
	}
	p.Draft = nil
	err = s.publish(ctx, tx, caller, &p, spec, 0, "policy.publish")
	return p, warnings, err
}

// Discard forgets the draft.
func (s *Service) Discard(ctx context.Context, tx Tx, caller member.Caller, policyID, tag string) (Policy, error) {
	p, err := s.open(ctx, tx, policyID, tag)
	switch {
	case err != nil:
		return Policy{}, err
	case p.Draft == nil:
		return Policy{}, ErrNoDraft.Saying("policy %s has no draft to discard", p.Name)
	case p.Version == 0:
		return Policy{}, ErrOnlyDraft.Saying("policy %s was never published: its draft is all that it has", p.Name)
	}
	forgotten := Summary(Diff(p.Spec, *p.Draft, nil))
	p.Draft = nil
	if err := s.save(ctx, tx, caller, &p); err != nil {
		return Policy{}, err
	}
	return p, tx.Record(ctx, "policy.discard_draft", p.ID, audit.Detail{"name": p.Name, "changes": forgotten})
}

// RollBack publishes an older version again, as the next one. The draft stays. The version is checked
// as a new one is: what it names may be gone.
func (s *Service) RollBack(ctx context.Context, tx Tx, caller member.Caller, policyID string, version int64, tag string) (Policy, []Problem, error) {
	p, err := s.open(ctx, tx, policyID, tag)
	if err != nil {
		return Policy{}, nil, err
	}
	old, err := at(ctx, tx, p, version)
	if err != nil {
		return Policy{}, nil, err
	}
	if old.Version == p.Version {
		return Policy{}, nil, ErrServes.Saying("version %d of policy %s is the one that serves", old.Version, p.Name)
	}
	warnings, err := s.checked(ctx, tx, p.Name, old.Spec, true)
	if err != nil {
		return Policy{}, nil, err
	}
	err = s.publish(ctx, tx, caller, &p, old.Spec, old.Version, "policy.roll_back")
	return p, warnings, err
}

// Comparison is how two versions of a policy differ.
type Comparison struct {
	Changes []Change
	// From and To are the versions; To is 0 for the draft.
	From, To int64
}

// Compare tells how two versions differ. From 0 is the version that serves, and nothing if there is none;
// to 0 is the draft.
func (s *Service) Compare(ctx context.Context, tx Tx, policyID string, from, to int64) (Comparison, error) {
	p, err := tx.Policy(ctx, policyID)
	if err != nil {
		return Comparison{}, err
	}
	out := Comparison{From: from, To: to}
	older, newer := p.Spec, Spec{}
	if from == 0 {
		out.From = p.Version
	} else {
		v, err := at(ctx, tx, p, from)
		if err != nil {
			return Comparison{}, err
		}
		older = v.Spec
	}
	switch {
	case to != 0:
		v, err := at(ctx, tx, p, to)
		if err != nil {
			return Comparison{}, err
		}
		newer = v.Spec
	case p.Draft == nil:
		return Comparison{}, ErrNoDraft.Saying("policy %s has no draft to compare with", p.Name)
	default:
		newer = *p.Draft
	}
	names, err := namesOf(ctx, tx, &older, &newer)
	if err != nil {
		return Comparison{}, err
	}
	out.Changes = Diff(older, newer, names)
	return out, nil
}

// namesOf finds the names of what the rules name by id.
func namesOf(ctx context.Context, facts Facts, specs ...*Spec) (map[string]string, error) {
	var credentials, keys, groups []string
	for _, spec := range specs {
		for _, l := range spec.lines() {
			if l.CredentialID != "" {
				credentials = append(credentials, l.CredentialID)
			}
		}
		for _, g := range spec.Groups {
			if g.When != nil {
				keys, groups = append(keys, g.When.APIKeys...), append(groups, g.When.Groups...)
			}
		}
	}
	out, err := facts.GroupNames(ctx, groups)
	if err != nil {
		return nil, err
	}
	if out == nil {
		out = map[string]string{}
	}
	known, err := facts.KeyFacts(ctx, keys)
	if err != nil {
		return nil, err
	}
	for id, key := range known {
		out[id] = key.Name
	}
	found, err := facts.CredentialsFor(ctx, nil, credentials)
	for _, c := range found {
		out[c.ID] = c.Label
	}
	return out, err
}

// Delete removes a policy that is nobody's default and that no other policy names.
func (s *Service) Delete(ctx context.Context, tx Tx, policyID string) error {
	p, err := tx.Policy(ctx, policyID)
	if err != nil {
		return err
	}
	users, err := tx.PolicyUsers(ctx, p, s.Now(), named+1)
	if err != nil {
		return err
	}
	if err := users.inUse(p.Name); err != nil {
		return err
	}
	if err := tx.DeletePolicy(ctx, p.ID); err != nil {
		return err
	}
	return tx.Record(ctx, "policy.delete", p.ID, audit.Detail{"name": p.Name, "version": p.Version, "spec": p.Spec})
}

// named is how many of each kind an error names.
const named = 5

// Names lists names for people, the first few of them.
func Names(all []string) string {
	if len(all) > named {
		return strings.Join(all[:named], ", ") + " and others"
	}
	return strings.Join(all, ", ")
}

// inUse says who needs the policy, nil if nobody does.
func (u Users) inUse(name string) error {
	var why []string
	out := ErrInUse
	if u.Organization {
		why = append(why, "it is the organization's default")
		out = out.With("organization", "default")
	}
	for _, kind := range []struct {
		fact, words string
		names       []string
	}{
		{"groups", "it is the default of the groups %s", u.Groups},
		{"api_keys", "it is the default of the API keys %s", u.APIKeys},
		{"policies", "the policies %s name it", u.Policies},
	} {
		if len(kind.names) > 0 {
			why = append(why, fmt.Sprintf(kind.words, Names(kind.names)))
			out = out.With(kind.fact, Names(kind.names))
		}
	}
	if len(why) == 0 {
		return nil
	}
	return out.Saying("policy %s is in use: %s", name, strings.Join(why, "; "))
}
