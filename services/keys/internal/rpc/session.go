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
	browser, ok := browserOf(ctx)
	if req.GetCookie() && !ok {
		return nil, ErrNoCookies
	}
	proof, err := s.Sessions.Authenticate(ctx, session.SignIn{
		Organization: req.GetOrganization(), Email: req.GetEmail(), Password: secret.New(req.GetPassword()), Peer: peer(ctx),
	})
	if err != nil {
		return nil, err
	}
	cmd := command(ctx)
	cmd.OrgID, cmd.Actor = proof.Organization.ID, proof.Member.ID
	var before session.Session
	if req.GetCookie() { // the browser forgets the session that the new one takes the place of
		if before, err = s.held(ctx, browser, proof.Organization.Slug, cmd.OrgID); err != nil {
			return nil, err
		}
	}
	var started session.Session
	var plain secret.Text
	_, _, err = s.Store.Change(ctx, cmd, func(ctx context.Context, tx *store.Tx) (_ []byte, err error) {
		if before.ID != "" {
			if err := s.Sessions.End(ctx, tx, before.ID); err != nil {
				return nil, err
			}
		}
		started, plain, err = s.Sessions.Start(ctx, tx, proof)
		return nil, err
	})
	if err != nil {
		return nil, err
	}
	proof.Member.LastSignInAt = started.AuthAt
	access, expires, err := s.accessToken(started, proof.Account)
	if err != nil {
		return nil, err
	}
	res := &keysv1.SignInResponse{
		AccessToken: access, AccessExpireTime: timestamp(expires),
		Member: memberToProto(proof.Member), Organization: organizationToProto(proof.Organization),
	}
	if req.GetCookie() {
		browser.keep(proof.Organization.Slug, plain, started.EndsAt.Sub(s.Now()))
	} else {
		res.SessionToken = plain.Reveal()
	}
	return res, nil
}

// held is the session of an organization that a browser has kept so far, the zero Session if none.
func (s *sessionServer) held(ctx context.Context, b browser, slug, orgID string) (session.Session, error) {
	plain, ok := b.kept(slug)
	if !ok {
		return session.Session{}, nil
	}
	return s.Sessions.Find(ctx, plain, orgID)
}

// RefreshSession gives a new access token for a session.
func (s *sessionServer) RefreshSession(ctx context.Context, req *keysv1.RefreshSessionRequest) (*keysv1.RefreshSessionResponse, error) {
	plain, slug := secret.New(req.GetSessionToken()), ""
	browser, ok := browserOf(ctx)
	if plain.Empty() {
		if slug = req.GetOrganization(); slug == "" {
			return nil, ErrNoSession
		}
		if !ok {
			return nil, ErrNoCookies
		}
		if plain, ok = browser.kept(slug); !ok {
			return nil, session.ErrNobody
		}
	}
	found, account, err := s.Sessions.Refresh(ctx, plain, slug)
	if err != nil {
		if slug != "" && errors.Is(err, session.ErrEnded) {
			browser.forget(slug)
		}
		return nil, err
	}
	access, expires, err := s.accessToken(found, account)
	return &keysv1.RefreshSessionResponse{
		AccessToken: access, AccessExpireTime: timestamp(expires),
		Member: memberToProto(account.Member), Organization: organizationToProto(account.Organization),
	}, err
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

// SignOut ends the session and, in a browser, the one of the same person in its cookie: somebody may
// have signed in again in another window.
func (s *sessionServer) SignOut(ctx context.Context, _ *keysv1.SignOutRequest) (*keysv1.SignOutResponse, error) {
	cmd, who := command(ctx), authn.FromContext(ctx)
	cmd.SessionID = "" // signing out twice is no error
	ending := []string{who.SessionID}
	browser, ok := browserOf(ctx)
	if ok {
		held, err := s.held(ctx, browser, who.OrgSlug, who.OrgID)
		if err != nil {
			return nil, err
		}
		if held.MemberID == who.MemberID && held.ID != who.SessionID {
			ending = append(ending, held.ID)
		}
	}
	_, _, err := s.Store.Change(ctx, cmd, func(ctx context.Context, tx *store.Tx) ([]byte, error) {
		for _, id := range ending {
			if err := s.Sessions.End(ctx, tx, id); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	if err == nil && ok {
		browser.forget(who.OrgSlug)
	}
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
