package rpc

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/token"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/session"
	"github.com/claviger/claviger/services/keys/internal/store"
)

type sessionServer struct{ *API }

var _ keysv1connect.SessionServiceHandler = (*sessionServer)(nil)

// SignIn checks an address and a password and begins a session.
func (s *sessionServer) SignIn(ctx context.Context, req *keysv1.SignInRequest) (*keysv1.SignInResponse, error) {
	proof, err := s.Sessions.Authenticate(ctx, session.SignIn{
		Organization: req.GetOrganization(), Email: req.GetEmail(), Password: secret.New(req.GetPassword()), Peer: peer(ctx),
	})
	if err != nil {
		return nil, err
	}
	cmd := command(ctx)
	cmd.OrgID, cmd.Actor = proof.Organization.ID, proof.Member.ID
	var started session.Session
	var plain secret.Text
	_, _, err = s.Store.Change(ctx, cmd, func(ctx context.Context, tx *store.Tx) (_ []byte, err error) {
		started, plain, err = s.Sessions.Start(ctx, tx, proof)
		return nil, err
	})
	if err != nil {
		return nil, err
	}
	proof.Member.LastSignInAt = started.AuthAt
	access, expires, err := s.accessToken(started, proof.Account)
	return &keysv1.SignInResponse{
		SessionToken: plain.Reveal(), AccessToken: access, AccessExpireTime: timestamp(expires),
		Member: memberToProto(proof.Member), Organization: organizationToProto(proof.Organization),
	}, err
}

// RefreshSession gives a new access token for a session.
func (s *sessionServer) RefreshSession(ctx context.Context, req *keysv1.RefreshSessionRequest) (*keysv1.RefreshSessionResponse, error) {
	found, account, err := s.Sessions.Refresh(ctx, secret.New(req.GetSessionToken()))
	if err != nil {
		return nil, err
	}
	access, expires, err := s.accessToken(found, account)
	return &keysv1.RefreshSessionResponse{AccessToken: access, AccessExpireTime: timestamp(expires)}, err
}

func (s *sessionServer) accessToken(of session.Session, account session.Account) (string, time.Time, error) {
	now := s.Now()
	expires := now.Add(session.AccessLifetime)
	signed, err := s.Tokens.Sign(token.Claims{
		OrgID: account.Organization.ID, OrgSlug: account.Organization.Slug, MemberID: account.Member.ID, Role: roles[account.Member.Role],
		SessionID: of.ID, AuthTime: of.AuthAt, IssuedAt: now, ExpiresAt: expires, Environment: s.Environment,
	})
	return signed, expires, err
}

// SignOut ends the session.
func (s *sessionServer) SignOut(ctx context.Context, _ *keysv1.SignOutRequest) (*keysv1.SignOutResponse, error) {
	cmd := command(ctx)
	ending := cmd.SessionID
	cmd.SessionID = "" // signing out twice is no error
	_, _, err := s.Store.Change(ctx, cmd, func(ctx context.Context, tx *store.Tx) ([]byte, error) {
		return nil, s.Sessions.End(ctx, tx, ending)
	})
	return &keysv1.SignOutResponse{}, err
}

// GetSession says who is signed in.
func (s *sessionServer) GetSession(ctx context.Context, _ *keysv1.GetSessionRequest) (*keysv1.GetSessionResponse, error) {
	return read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (*keysv1.GetSessionResponse, error) {
		m, err := s.self(ctx, tx)
		if err != nil {
			return nil, err
		}
		o, err := tx.Organization(ctx)
		return &keysv1.GetSessionResponse{Member: memberToProto(m), Organization: organizationToProto(o)}, err
	})
}

// self is the member who calls. Their token may outlive them by some minutes.
func (s *sessionServer) self(ctx context.Context, tx *store.Tx) (member.Member, error) {
	m, err := tx.Member(ctx, caller(ctx).MemberID)
	if errors.Is(err, member.ErrNotFound) {
		return m, session.ErrEnded.Because(err)
	}
	return m, err
}

// ChangePassword changes the caller's own password and ends the caller's other sessions.
func (s *sessionServer) ChangePassword(ctx context.Context, req *keysv1.ChangePasswordRequest) (*keysv1.ChangePasswordResponse, error) {
	var checked session.NewPassword
	return answer(change(ctx, s.API, req, steps[*keysv1.ChangePasswordResponse]{
		Prepare: func(ctx context.Context) error {
			m, err := read(ctx, s.API, s.self)
			if err != nil {
				return err
			}
			checked, err = s.Sessions.DraftPassword(ctx, m, authn.FromContext(ctx).SessionID,
				secret.New(req.GetOldPassword()), secret.New(req.GetNewPassword()))
			return err
		},
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.ChangePasswordResponse, error) {
			return &keysv1.ChangePasswordResponse{}, s.Sessions.ChangePassword(ctx, tx, checked)
		},
	}))
}

// peer names the network that failed sign-ins are counted for: an address, or for IPv6 its /64,
// which one household has for itself.
func peer(ctx context.Context) string {
	info, ok := connect.CallInfoForServerContext(ctx)
	if !ok {
		return ""
	}
	at, err := netip.ParseAddrPort(info.PeerAddr)
	if err != nil {
		return ""
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.Is6() {
		prefix, err := addr.Prefix(64)
		if err != nil {
			return ""
		}
		return prefix.String()
	}
	return addr.String()
}
