// Package apikey holds the keys that clients present to the router. Only a keyed hash of a key is
// kept; the key itself is shown once.
package apikey

import (
	"context"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/bound"
	"github.com/claviger/claviger/services/keys/internal/etag"
	"github.com/claviger/claviger/services/keys/internal/group"
	"github.com/claviger/claviger/services/keys/internal/label"
	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/policy"
	"github.com/claviger/claviger/services/keys/internal/routing"
)

// The errors of this package.
var (
	ErrNotFound = fault.New(fault.NotFound, "API_KEY_NOT_FOUND", "API key not found")
	ErrExists   = fault.New(fault.Conflict, "API_KEY_EXISTS", "an API key with this name exists already").Hinting("choose another name or revoke that key")
	ErrExpiry   = fault.New(fault.Invalid, "EXPIRE_TIME_INVALID", "the expire time is not in the future")
	// ErrRevoked means that a key is dead for good.
	ErrRevoked = fault.New(fault.Precondition, "API_KEY_REVOKED", "the API key is revoked").Hinting("create another")
	// ErrSuspended means that a key is refused for now.
	ErrSuspended = fault.New(fault.Precondition, "API_KEY_SUSPENDED", "the API key is suspended: its member is disabled").Hinting("enable the member")
	// ErrRestricted means that a member asked for what owners and admins decide.
	ErrRestricted = fault.New(fault.Denied, "ADMIN_ONLY", "only an owner or admin may choose an API key's policy, group or expiry").
			Hinting("ask an owner or admin of your organization")
	ErrShown = fault.New(fault.Precondition, "SECRET_ALREADY_SHOWN", "this API key was created before and its secret is shown only once").
			Hinting("if the secret is lost, revoke the key and create another with a fresh idempotency key")
)

// Provenance says how much a caller is told of what served a request.
type Provenance string

// The levels.
const (
	None  Provenance = "none"
	Basic Provenance = "basic"
	Full  Provenance = "full"
)

// Key is an API key without its secret.
type Key struct {
	OrgID string
	ID    string
	Name  string
	// PublicID is the readable part.
	PublicID string
	// Hash stands for the whole key.
	Hash     []byte
	MemberID string
	// PolicyID is the default policy, "" for the group's or the organization's; Enforce sends every request
	// through it.
	PolicyID string
	Enforce  bool
	// GroupID is the group that it is in, "" for none.
	GroupID    string
	Provenance Provenance
	CreatedAt  time.Time
	// ExpiresAt and RevokedAt are zero for never.
	ExpiresAt time.Time
	RevokedAt time.Time
	// Version counts the changes, from 1.
	Version int64
	// Suspended says that its member is disabled.
	Suspended bool
	// Cut says that it was revoked or suspended together with the answers that it is being given.
	Cut bool
}

// ETag names the state of k.
func (k Key) ETag() string { return etag.Of(k.Version) }

// Tx is what changes of API keys need from the store.
type Tx interface {
	audit.Recorder
	bound.Counter
	APIKey(ctx context.Context, id string) (Key, error)
	InsertAPIKey(ctx context.Context, k Key) error
	// UpdateAPIKey stores what people set of k.
	UpdateAPIKey(ctx context.Context, k Key) error
	// RevokeAPIKey ends a key; cut also ends the answers that it is being given.
	RevokeAPIKey(ctx context.Context, id string, at time.Time, cut bool) error
	// ForgetAPIKeys removes keys that were revoked before a time, and those beyond the keep that were revoked last;
	// up to limit of them. It returns how many it was.
	ForgetAPIKeys(ctx context.Context, before time.Time, keep, limit int) (int, error)
	policy.Library
	Group(ctx context.Context, id string) (group.Group, error)
	Routing(ctx context.Context) (routing.State, error)
}

// Mint makes a fresh key with its public id and hash. It fails while the pepper cannot be had.
type Mint func(ctx context.Context) (plain secret.Text, publicID string, hash []byte, err error)

// Service changes API keys.
type Service struct {
	Mint Mint
	Now  func() time.Time
}

// New is the input of Draft.
type New struct {
	Name       string
	PolicyID   string
	Enforce    bool
	GroupID    string
	Provenance Provenance
	ExpiresAt  time.Time
}

// Draft makes a key for the caller, outside of a transaction: the pepper may have to be fetched.
func (s *Service) Draft(ctx context.Context, caller member.Caller, in New) (Key, secret.Text, error) {
	if err := label.Check("name", in.Name); err != nil {
		return Key{}, secret.Text{}, err
	}
	now := s.Now()
	if !in.ExpiresAt.IsZero() && !in.ExpiresAt.After(now) {
		return Key{}, secret.Text{}, ErrExpiry.Violating(fault.Violation{Field: "expire_time", Description: "must be in the future"})
	}
	plain, publicID, hash, err := s.Mint(ctx)
	if err != nil {
		return Key{}, secret.Text{}, err
	}
	return Key{
		OrgID: caller.OrgID, ID: id.New("key"), Name: in.Name, PublicID: publicID, Hash: hash, MemberID: caller.MemberID,
		PolicyID: in.PolicyID, Enforce: in.Enforce, GroupID: in.GroupID, Provenance: in.Provenance, CreatedAt: now, ExpiresAt: in.ExpiresAt, Version: 1,
	}, plain, nil
}

// Create adds a drafted key. One that a member creates is in the group that the organization has for those.
func (s *Service) Create(ctx context.Context, tx Tx, caller member.Caller, k Key) (Key, error) {
	if err := ofMember(ctx, tx, caller, &k); err != nil {
		return Key{}, err
	}
	if err := named(ctx, tx, k); err != nil {
		return Key{}, err
	}
	if err := bound.Room(ctx, tx, bound.APIKeys); err != nil {
		return Key{}, err
	}
	if err := tx.InsertAPIKey(ctx, k); err != nil {
		return Key{}, err
	}
	detail := audit.Detail{
		"name": k.Name, "public_id": k.PublicID, "policy_id": k.PolicyID, "enforce_policy": k.Enforce, "group_id": k.GroupID, "provenance": k.Provenance,
	}
	if !k.ExpiresAt.IsZero() {
		detail["expire_time"] = k.ExpiresAt
	}
	return k, tx.Record(ctx, "api_key.create", k.ID, detail)
}

// Revoke ends a key for good, and the answers that it is being given if cut. Revoking a revoked key changes
// nothing else.
func (s *Service) Revoke(ctx context.Context, tx Tx, caller member.Caller, keyID string, cut bool) (Key, error) {
	k, err := tx.APIKey(ctx, keyID)
	if err != nil {
		return Key{}, err
	}
	if caller.Role == member.Ordinary && k.MemberID != caller.MemberID {
		return Key{}, ErrNotFound // as if it were another organization's
	}
	if fresh := k.RevokedAt.IsZero(); fresh || cut && !k.Cut {
		if fresh {
			k.RevokedAt = s.Now()
		}
		k.Cut, k.Version = k.Cut || cut, k.Version+1
		if err := tx.RevokeAPIKey(ctx, k.ID, k.RevokedAt, k.Cut); err != nil {
			return Key{}, err
		}
	}
	return k, tx.Record(ctx, "api_key.revoke", k.ID, audit.Detail{"name": k.Name, "cut_streams": cut})
}
