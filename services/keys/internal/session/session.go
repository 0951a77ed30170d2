// Package session signs people in and out.
//
// A session is a random token that is stored hashed; it ends after 12 hours without use, after
// seven days, when its person signs out, changes the password elsewhere, gets another role, is
// disabled or is removed. A session gives access tokens of five minutes, which every service verifies offline:
// reads trust such a token until it expires, and keys itself refuses changes from a session that
// has ended.
package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/organization"
)

// AccessLifetime is how long an access token lives.
const AccessLifetime = 5 * time.Minute

const (
	idleLifetime  = 12 * time.Hour
	totalLifetime = 7 * 24 * time.Hour
	// A session's last use is stored at most this often.
	touchEvery  = time.Minute
	tokenPrefix = "cls_"
	tokenBytes  = 32
)

// The errors of this package.
var (
	ErrSignIn = fault.New(fault.Unauthenticated, "SIGN_IN_FAILED", "organization, address or password is wrong")
	// ErrDisabled is told to who has proven the password alone.
	ErrDisabled = fault.New(fault.Denied, "MEMBER_DISABLED", "this member is disabled").Hinting("an owner or admin of your organization can enable them again")
	ErrEnded    = fault.New(fault.Unauthenticated, "SESSION_ENDED", "the session has ended").Hinting("sign in again")
	ErrNobody   = fault.New(fault.Unauthenticated, "NOT_SIGNED_IN", "this browser is not signed in to that organization").
			Hinting("sign in; browsers keep the sign-in over https only, or on the machine itself")
	ErrWrong = fault.New(fault.Denied, "PASSWORD_WRONG", "the old password is wrong")
	ErrSame  = fault.New(fault.Invalid, "PASSWORD_UNCHANGED", "the new password is the old one")
)

// Session is what the store knows of a signed-in person.
type Session struct {
	OrgID     string
	ID        string
	MemberID  string
	TokenHash string
	// AuthAt is when the password was checked.
	AuthAt time.Time
	UsedAt time.Time
	EndsAt time.Time
}

// Account is a person where they can sign in.
type Account struct {
	Organization organization.Organization
	Member       member.Member
}

// Store finds accounts and sessions, across organizations: nobody has signed in yet.
type Store interface {
	// Account returns the zero Account if organization or address are unknown.
	Account(ctx context.Context, slug, email string) (Account, error)
	// SessionByToken returns ErrEnded if there is no such session or its member is gone.
	SessionByToken(ctx context.Context, hash string) (Session, Account, error)
	// TouchSession stores UsedAt.
	TouchSession(ctx context.Context, s Session) error
}

// Tx is what changes of sessions need from the store.
type Tx interface {
	audit.Recorder
	Member(ctx context.Context, id string) (member.Member, error)
	// SignedIn stores a session and the member's last sign-in and, if not empty, a new password hash.
	SignedIn(ctx context.Context, s Session, hash string) error
	UpdatePassword(ctx context.Context, memberID, hash string) error
	EndSession(ctx context.Context, id string) error
	// EndSessions ends the member's sessions, except one if it is not empty.
	EndSessions(ctx context.Context, memberID, except string) error
}

// Passwords makes and checks hashes. Verify takes the same time for an empty hash, and is false.
type Passwords interface {
	Hash(ctx context.Context, plain secret.Text) (string, error)
	Verify(ctx context.Context, hash string, plain secret.Text) (ok, outdated bool, err error)
}

// Service signs people in and out.
type Service struct {
	store     Store
	passwords Passwords
	limits    *limiter
	now       func() time.Time
}

// New returns a Service.
func New(store Store, passwords Passwords, now func() time.Time) *Service {
	return &Service{store: store, passwords: passwords, limits: newLimiter(now), now: now}
}

// SignIn is the input of Authenticate.
type SignIn struct {
	Organization string
	Email        string
	Password     secret.Text
	// Peer is the network address that failures are counted for; "" if there is none.
	Peer string
}

// Proof is an account whose password was right.
type Proof struct {
	Account
	rehashed string
}

// Authenticate checks a password. Whatever is wrong, the answer and the work are the same.
func (s *Service) Authenticate(ctx context.Context, in SignIn) (Proof, error) {
	email := member.NormalEmail(in.Email)
	guard := s.limits.guard(in.Organization+"\x00"+email, in.Peer)
	if err := guard.allow(); err != nil {
		return Proof{}, err
	}
	account, err := s.store.Account(ctx, in.Organization, email)
	if err != nil {
		return Proof{}, err
	}
	ok, outdated, err := s.passwords.Verify(ctx, account.Member.PasswordHash, in.Password)
	if err != nil {
		return Proof{}, err
	}
	if !ok {
		guard.failed()
		return Proof{}, ErrSignIn
	}
	guard.succeeded()
	if !account.Member.DisabledAt.IsZero() {
		return Proof{}, ErrDisabled
	}
	proof := Proof{Account: account}
	if outdated {
		if proof.rehashed, err = s.passwords.Hash(ctx, in.Password); err != nil {
			return Proof{}, err
		}
	}
	return proof, nil
}

// Start begins a session under a new id and returns its token, which is stored nowhere.
func (s *Service) Start(ctx context.Context, tx Tx, proof Proof) (Session, secret.Text, error) {
	m, err := tx.Member(ctx, proof.Member.ID)
	if err != nil || m.PasswordHash != proof.Member.PasswordHash { // removed or changed since it was checked
		return Session{}, secret.Text{}, ErrSignIn.Because(err)
	}
	if !m.DisabledAt.IsZero() {
		return Session{}, secret.Text{}, ErrDisabled
	}
	raw := make([]byte, tokenBytes)
	_, _ = rand.Read(raw) // never fails, as documented
	token := secret.New(tokenPrefix + base64.RawURLEncoding.EncodeToString(raw))
	now := s.now()
	started := Session{
		OrgID: m.OrgID, ID: id.New("ses"), MemberID: m.ID, TokenHash: hash(token),
		AuthAt: now, UsedAt: now, EndsAt: now.Add(totalLifetime),
	}
	if err := tx.SignedIn(ctx, started, proof.rehashed); err != nil {
		return Session{}, secret.Text{}, err
	}
	return started, token, tx.Record(ctx, "session.start", started.ID, nil)
}

// Find returns the session of a token if it belongs to an organization, and the zero Session if not.
func (s *Service) Find(ctx context.Context, token secret.Text, orgID string) (Session, error) {
	found, _, err := s.store.SessionByToken(ctx, hash(token))
	if errors.Is(err, ErrEnded) {
		return Session{}, nil
	}
	if err != nil || found.OrgID != orgID {
		return Session{}, err
	}
	return found, nil
}

// Refresh returns the session of a token, with its account as it is now. With a slug the session has
// to be one of that organization.
func (s *Service) Refresh(ctx context.Context, token secret.Text, slug string) (Session, Account, error) {
	found, account, err := s.store.SessionByToken(ctx, hash(token))
	if err != nil {
		return Session{}, Account{}, err
	}
	if slug != "" && account.Organization.Slug != slug {
		return Session{}, Account{}, ErrEnded
	}
	now := s.now()
	if !now.Before(found.EndsAt) || now.Sub(found.UsedAt) >= idleLifetime {
		return Session{}, Account{}, ErrEnded
	}
	if now.Sub(found.UsedAt) >= touchEvery {
		found.UsedAt = now
		if err := s.store.TouchSession(ctx, found); err != nil {
			return Session{}, Account{}, err
		}
	}
	return found, account, nil
}

// End signs out. Ending a session that has ended is no error.
func (s *Service) End(ctx context.Context, tx Tx, sessionID string) error {
	if err := tx.EndSession(ctx, sessionID); err != nil {
		return err
	}
	return tx.Record(ctx, "session.end", sessionID, nil)
}

// NewPassword is a checked change of a password.
type NewPassword struct {
	memberID, sessionID string
	oldHash, newHash    string
}

// DraftPassword checks the old password of m and hashes the new one, outside of a transaction.
func (s *Service) DraftPassword(ctx context.Context, m member.Member, sessionID string, oldPlain, newPlain secret.Text) (NewPassword, error) {
	guard := s.limits.guard(m.OrgID+"\x00"+m.ID, "")
	if err := guard.allow(); err != nil {
		return NewPassword{}, err
	}
	if err := member.CheckPassword(newPlain); err != nil {
		return NewPassword{}, err
	}
	ok, _, err := s.passwords.Verify(ctx, m.PasswordHash, oldPlain)
	if err != nil {
		return NewPassword{}, err
	}
	if !ok {
		guard.failed()
		return NewPassword{}, ErrWrong
	}
	guard.succeeded()
	if oldPlain.Equal(newPlain) {
		return NewPassword{}, ErrSame
	}
	fresh, err := s.passwords.Hash(ctx, newPlain)
	if err != nil {
		return NewPassword{}, err
	}
	return NewPassword{memberID: m.ID, sessionID: sessionID, oldHash: m.PasswordHash, newHash: fresh}, nil
}

// ChangePassword stores a new password and ends the member's other sessions.
func (s *Service) ChangePassword(ctx context.Context, tx Tx, p NewPassword) error {
	m, err := tx.Member(ctx, p.memberID)
	if err != nil {
		return err
	}
	if m.PasswordHash != p.oldHash {
		return ErrWrong
	}
	if err := tx.UpdatePassword(ctx, m.ID, p.newHash); err != nil {
		return err
	}
	if err := tx.EndSessions(ctx, m.ID, p.sessionID); err != nil {
		return err
	}
	return tx.Record(ctx, "member.change_password", m.ID, nil)
}

// IdleSince returns the time of last use before which a session has ended at now.
func IdleSince(now time.Time) time.Time { return now.Add(-idleLifetime) }

func hash(token secret.Text) string {
	sum := sha256.Sum256([]byte(token.Reveal()))
	return hex.EncodeToString(sum[:])
}
