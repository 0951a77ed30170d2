package apikey

import (
	"context"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/etag"
	"github.com/claviger/claviger/services/keys/internal/label"
	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/policy"
)

// Edit is the input of Update. Absent fields stay.
type Edit struct {
	ID         string
	Name       *string
	PolicyID   *string
	Enforce    *bool
	GroupID    *string
	Provenance *Provenance
	// ExpiresAt is the zero time for never.
	ExpiresAt *time.Time
	ETag      string
}

// restricted reports whether the edit is more than what a member may change of their own key.
func (e Edit) restricted() bool {
	return e.PolicyID != nil || e.Enforce != nil || e.GroupID != nil || e.ExpiresAt != nil
}

// Update changes what people set of a key that is not revoked. One that has died may live on.
func (s *Service) Update(ctx context.Context, tx Tx, caller member.Caller, in Edit) (Key, error) {
	k, err := tx.APIKey(ctx, in.ID)
	if err != nil {
		return Key{}, err
	}
	if caller.Role == member.Ordinary {
		if k.MemberID != caller.MemberID {
			return Key{}, ErrNotFound // as if it were another organization's
		}
		if in.restricted() {
			return Key{}, ErrRestricted
		}
	}
	if err := etag.Check("API key", k.Version, in.ETag); err != nil {
		return Key{}, err
	}
	if !k.RevokedAt.IsZero() {
		return Key{}, ErrRevoked.Saying("API key %s is revoked", k.Name)
	}
	detail := audit.Detail{"name": k.Name}
	if err := s.apply(&k, in, detail); err != nil {
		return Key{}, err
	}
	if in.restricted() { // what it names may have gone while the key was dead
		if err := named(ctx, tx, k); err != nil {
			return Key{}, err
		}
	}
	k.Version++
	if err := tx.UpdateAPIKey(ctx, k); err != nil {
		return Key{}, err
	}
	return k, tx.Record(ctx, "api_key.update", k.ID, detail)
}

// apply sets the fields of in and notes in detail what changes.
func (s *Service) apply(k *Key, in Edit, detail audit.Detail) error {
	if in.Name != nil && *in.Name != k.Name {
		if err := label.Check("name", *in.Name); err != nil {
			return err
		}
		detail["name"] = audit.Change{From: k.Name, To: *in.Name}
		k.Name = *in.Name
	}
	set(&k.PolicyID, in.PolicyID, "policy_id", detail)
	set(&k.Enforce, in.Enforce, "enforce_policy", detail)
	set(&k.GroupID, in.GroupID, "group_id", detail)
	set(&k.Provenance, in.Provenance, "provenance", detail)
	if in.ExpiresAt != nil && !in.ExpiresAt.Equal(k.ExpiresAt) {
		if !in.ExpiresAt.IsZero() && !in.ExpiresAt.After(s.Now()) {
			return ErrExpiry.Hinting("revoke the key to end it now").Violating(fault.Violation{Field: "expire_time", Description: "must be in the future"})
		}
		detail["expire_time"] = audit.Change{From: never(k.ExpiresAt), To: never(*in.ExpiresAt)}
		k.ExpiresAt = *in.ExpiresAt
	}
	return nil
}

func set[T comparable](field, to *T, name string, detail audit.Detail) {
	if to != nil && *to != *field {
		detail[name] = audit.Change{From: *field, To: *to}
		*field = *to
	}
}

// never is nil for no time.
func never(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// named makes sure that the policy and the group that k names are there, and that the policy can serve.
func named(ctx context.Context, tx Tx, k Key) error {
	if err := policy.CheckDefault(ctx, tx, k.PolicyID, k.Enforce); err != nil {
		return err
	}
	if k.GroupID == "" {
		return nil
	}
	_, err := tx.Group(ctx, k.GroupID)
	return err
}

// ofMember puts a key that a member creates into the group of such keys. A member chooses no group, and no policy
// where the organization or that group enforces one: it would take its place.
func ofMember(ctx context.Context, tx Tx, caller member.Caller, k *Key) error {
	if caller.Role != member.Ordinary {
		return nil
	}
	if k.GroupID != "" {
		return ErrRestricted.Saying("only an owner or admin may choose an API key's group")
	}
	state, err := tx.Routing(ctx)
	if err != nil {
		return err
	}
	enforces := ""
	if state.Preferences.Enforce {
		enforces = "the organization"
	}
	if k.GroupID = state.Preferences.MemberGroupID; k.GroupID != "" {
		g, err := tx.Group(ctx, k.GroupID)
		if err != nil {
			return err
		}
		if g.Enforce {
			enforces = "group " + g.Name
		}
	}
	if k.PolicyID != "" && enforces != "" {
		return ErrRestricted.Saying("%s enforces a policy, so only an owner or admin may choose another for an API key", enforces)
	}
	return nil
}
