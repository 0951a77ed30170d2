// Package member holds the people of an organization and their roles.
//
// Accounts belong to one organization. Only owners touch owners, and an organization always has one.
package member

import (
	"context"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/bound"
	"github.com/claviger/claviger/services/keys/internal/etag"
)

// The errors of this package.
var (
	ErrNotFound  = fault.New(fault.NotFound, "MEMBER_NOT_FOUND", "member not found")
	ErrExists    = fault.New(fault.Conflict, "MEMBER_EXISTS", "a member with this address exists already")
	ErrOwnerOnly = fault.New(fault.Denied, "OWNER_ONLY", "only an owner may add, change or remove an owner").Hinting("ask an owner of your organization")
	ErrLastOwner = fault.New(fault.Precondition, "LAST_OWNER", "this is the organization's last owner").Hinting("make another member an owner first")
	ErrPassword  = fault.New(fault.Invalid, "PASSWORD_TOO_SHORT", "a password has 12 to 256 bytes")
)

// Role is a set of permissions.
type Role string

// The roles.
const (
	Owner    Role = "owner"
	Admin    Role = "admin"
	Ordinary Role = "member"
	Viewer   Role = "viewer"
)

// Caller is the member who asks for something.
type Caller struct {
	OrgID    string
	MemberID string
	Role     Role
}

// Member is a person in an organization.
type Member struct {
	OrgID string
	ID    string
	// Email is in lower case.
	Email        string
	Role         Role
	PasswordHash string
	CreatedAt    time.Time
	LastSignInAt time.Time
	// DisabledAt is zero for one who is not disabled.
	DisabledAt time.Time
	Version    int64
}

// ETag names the state of m. Signing in does not change it.
func (m Member) ETag() string { return etag.Of(m.Version) }

// New is the input of Draft.
type New struct {
	OrgID    string
	Email    string
	Role     Role
	Password secret.Text
}

// Tx is what changes of members need from the store, in one organization's transaction. All
// changes of an organization run one after the other.
type Tx interface {
	audit.Recorder
	bound.Counter
	Member(ctx context.Context, id string) (Member, error)
	InsertMember(ctx context.Context, m Member) error
	// UpdateMember stores role, DisabledAt and version, and ends the member's sessions.
	UpdateMember(ctx context.Context, m Member) error
	// SuspendAPIKeys suspends the member's API keys that are not revoked, or ends that, and returns their ids; cut
	// ends the answers that they are being given.
	SuspendAPIKeys(ctx context.Context, memberID string, suspended, cut bool) (ids []string, err error)
	// DeleteMember also ends the member's sessions and revokes their API keys, whose ids it returns; cut ends
	// the answers that those are being given.
	DeleteMember(ctx context.Context, id string, at time.Time, cut bool) (revoked []string, err error)
	// Owners counts the owners who are not disabled.
	Owners(ctx context.Context) (int, error)
}

// Edit is the input of Update.
type Edit struct {
	ID string
	// Role is the new role; empty stays.
	Role Role
	// Disabled is nil where it stays; Cut ends the answers that the API keys of one who is disabled are being given.
	Disabled *bool
	Cut      bool
	ETag     string
}

// Hasher hashes passwords.
type Hasher interface {
	Hash(ctx context.Context, plain secret.Text) (string, error)
}

// Service changes members.
type Service struct {
	Passwords Hasher
	Now       func() time.Time
}

// NormalEmail returns the form of an address that is stored and compared.
func NormalEmail(email string) string { return strings.ToLower(strings.TrimSpace(email)) }

// CheckPassword reports whether a new password is long enough. Longer is better than more kinds of
// characters, so there is no other rule.
func CheckPassword(p secret.Text) error {
	if p.Len() < 12 || p.Len() > 256 {
		return ErrPassword
	}
	return nil
}

// Draft prepares a member outside of a transaction, since hashing the password takes long.
func (s *Service) Draft(ctx context.Context, in New) (Member, error) {
	if err := CheckPassword(in.Password); err != nil {
		return Member{}, err
	}
	hash, err := s.Passwords.Hash(ctx, in.Password)
	if err != nil {
		return Member{}, err
	}
	return Member{
		OrgID: in.OrgID, ID: id.New("mem"), Email: NormalEmail(in.Email), Role: in.Role,
		PasswordHash: hash, CreatedAt: s.Now(), Version: 1,
	}, nil
}

// Create adds a drafted member.
func (s *Service) Create(ctx context.Context, tx Tx, caller Caller, m Member) error {
	if m.Role == Owner && caller.Role != Owner {
		return ErrOwnerOnly
	}
	if err := bound.Room(ctx, tx, bound.Members); err != nil {
		return err
	}
	if err := tx.InsertMember(ctx, m); err != nil {
		return err
	}
	return tx.Record(ctx, "member.create", m.ID, audit.Detail{"email": m.Email, "role": m.Role})
}

// Update gives a member another role, disables or enables them. Their sessions end, so that no token with the old
// role can be renewed. Suspended are the API keys that it has suspended or given back.
func (s *Service) Update(ctx context.Context, tx Tx, caller Caller, edit Edit) (m Member, suspended []string, err error) {
	if m, err = tx.Member(ctx, edit.ID); err != nil {
		return Member{}, nil, err
	}
	before, role := m, m.Role
	if edit.Role != "" {
		role = edit.Role
	}
	if caller.Role != Owner && (m.Role == Owner || role == Owner) {
		return Member{}, nil, ErrOwnerOnly
	}
	if err := etag.Check("member", m.Version, edit.ETag); err != nil {
		return Member{}, nil, err
	}
	disabled := !m.DisabledAt.IsZero()
	if edit.Disabled != nil {
		disabled = *edit.Disabled
	}
	if err := s.notLast(ctx, tx, m, role == Owner && !disabled); err != nil {
		return Member{}, nil, err
	}
	m.Role, m.Version = role, m.Version+1
	switch {
	case !disabled:
		m.DisabledAt = time.Time{}
	case m.DisabledAt.IsZero():
		m.DisabledAt = s.Now()
	}
	if err := tx.UpdateMember(ctx, m); err != nil {
		return Member{}, nil, err
	}
	detail, cut := audit.Detail{}, disabled && edit.Cut
	if m.Role != before.Role || edit.Disabled == nil {
		detail["role"] = audit.Change{From: before.Role, To: m.Role}
	}
	if was := !before.DisabledAt.IsZero(); edit.Disabled != nil && (was != disabled || cut) {
		if suspended, err = tx.SuspendAPIKeys(ctx, m.ID, disabled, cut); err != nil {
			return Member{}, nil, err
		}
		detail["disabled"], detail["api_keys"], detail["cut_streams"] = audit.Change{From: was, To: disabled}, suspended, cut
	}
	return m, suspended, tx.Record(ctx, "member.update", m.ID, detail)
}

// Delete removes a member, their sessions and their API keys, whose ids it returns. Cut ends the answers that
// those are being given.
func (s *Service) Delete(ctx context.Context, tx Tx, caller Caller, memberID string, cut bool) (revoked []string, err error) {
	m, err := tx.Member(ctx, memberID)
	if err != nil {
		return nil, err
	}
	if caller.Role != Owner && m.Role == Owner {
		return nil, ErrOwnerOnly
	}
	if err := s.notLast(ctx, tx, m, false); err != nil {
		return nil, err
	}
	if revoked, err = tx.DeleteMember(ctx, m.ID, s.Now(), cut); err != nil {
		return nil, err
	}
	return revoked, tx.Record(ctx, "member.delete", m.ID, audit.Detail{
		"email": m.Email, "role": m.Role, "revoked_api_keys": revoked, "cut_streams": cut,
	})
}

// notLast refuses to take the only owner who can sign in. Stays says that the member goes on as one.
func (s *Service) notLast(ctx context.Context, tx Tx, m Member, stays bool) error {
	if m.Role != Owner || !m.DisabledAt.IsZero() || stays {
		return nil
	}
	owners, err := tx.Owners(ctx)
	if err != nil {
		return err
	}
	if owners < 2 {
		return ErrLastOwner
	}
	return nil
}
