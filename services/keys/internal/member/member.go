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
	Version      int64
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
	// UpdateRole stores role and version, and ends the member's sessions.
	UpdateRole(ctx context.Context, m Member) error
	// DeleteMember also ends the member's sessions and revokes their API keys, whose ids it returns; cut ends
	// the answers that those are being given.
	DeleteMember(ctx context.Context, id string, at time.Time, cut bool) (revoked []string, err error)
	Owners(ctx context.Context) (int, error)
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

// SetRole gives a member another role. Their sessions end, so that no token with the old role can
// be renewed.
func (s *Service) SetRole(ctx context.Context, tx Tx, caller Caller, memberID string, role Role, tag string) (Member, error) {
	m, err := tx.Member(ctx, memberID)
	if err != nil {
		return Member{}, err
	}
	if caller.Role != Owner && (m.Role == Owner || role == Owner) {
		return Member{}, ErrOwnerOnly
	}
	if err := etag.Check("member", m.Version, tag); err != nil {
		return Member{}, err
	}
	if err := s.notLast(ctx, tx, m, role); err != nil {
		return Member{}, err
	}
	before := m.Role
	m.Role, m.Version = role, m.Version+1
	if err := tx.UpdateRole(ctx, m); err != nil {
		return Member{}, err
	}
	return m, tx.Record(ctx, "member.update", m.ID, audit.Detail{"role": audit.Change{From: before, To: role}})
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
	if err := s.notLast(ctx, tx, m, ""); err != nil {
		return nil, err
	}
	if revoked, err = tx.DeleteMember(ctx, m.ID, s.Now(), cut); err != nil {
		return nil, err
	}
	return revoked, tx.Record(ctx, "member.delete", m.ID, audit.Detail{
		"email": m.Email, "role": m.Role, "revoked_api_keys": revoked, "cut_streams": cut,
	})
}

// notLast refuses to take the role of owner from the only one who has it.
func (s *Service) notLast(ctx context.Context, tx Tx, m Member, role Role) error {
	if m.Role != Owner || role == Owner {
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
