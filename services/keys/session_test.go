package keys_test

import (
	"crypto/ed25519"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/claviger/claviger/pkg/serve"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
)

func (r *rig) trySignIn(org, email, password string) error {
	_, err := r.anonymous().sessions.SignIn(r.t.Context(), &keysv1.SignInRequest{Organization: org, Email: email, Password: password})
	return err
}

func (p *person) refresh() error {
	res, err := p.sessions.RefreshSession(p.r.t.Context(), &keysv1.RefreshSessionRequest{SessionToken: p.session})
	if err == nil {
		p.token.Store(res.GetAccessToken())
	}
	return err
}

func (p *person) whoAmI() error {
	_, err := p.sessions.GetSession(p.r.t.Context(), &keysv1.GetSessionRequest{})
	return err
}

func TestSignInSaysTheSameForEveryMistake(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.other("rival")
	messages := map[string]bool{}
	for name, c := range map[string][3]string{
		"wrong password":               {"acme", "owner@acme.example", "wrong password"},
		"unknown address":              {"acme", "nobody@acme.example", passphrase},
		"unknown organization":         {"nowhere", "owner@acme.example", passphrase},
		"another organization's owner": {"rival", "owner@acme.example", passphrase},
	} {
		err := r.trySignIn(c[0], c[1], c[2])
		refused(t, name, err, connect.CodeUnauthenticated, "SIGN_IN_FAILED")
		messages[err.Error()] = true
	}
	if len(messages) != 1 {
		t.Errorf("answers differ: %v", messages)
	}
	if err := r.trySignIn("acme", " Owner@Acme.EXAMPLE ", passphrase); err != nil {
		t.Errorf("sign-in with another spelling of the address: %v", err)
	}
}

func TestFailedSignInsAreLimited(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add("other", viewer)
	for _, email := range []string{"owner@acme.example", "nobody@acme.example"} { // both alike
		for i := range 10 {
			refused(t, fmt.Sprint(email, " ", i), r.trySignIn("acme", email, "wrong password"), connect.CodeUnauthenticated, "SIGN_IN_FAILED")
		}
		err := r.trySignIn("acme", email, passphrase)
		refused(t, email+" after ten failures", err, connect.CodeResourceExhausted, "SIGN_IN_LIMIT")
	}
	r.must(r.trySignIn("acme", "other@acme.example", passphrase)) // nobody else is affected
	r.clock.Advance(31 * time.Second)
	r.must(r.trySignIn("acme", "owner@acme.example", passphrase))
	for range 9 { // success has forgiven the account's failures
		refused(t, "again", r.trySignIn("acme", "owner@acme.example", "wrong password"), connect.CodeUnauthenticated, "SIGN_IN_FAILED")
	}
	r.must(r.trySignIn("acme", "owner@acme.example", passphrase))
}

func TestFailedSignInsAreLimitedPerAddress(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	server := httptest.NewServer(serve.Mux(serve.DefaultMessageBytes, nil, r.app.Public()))
	defer server.Close()
	client := keysv1connect.NewSessionServiceClient(connect.NewClient(connecthttp.NewTransport(server.Client(), server.URL)))
	try := func(i int) error {
		_, err := client.SignIn(t.Context(), &keysv1.SignInRequest{Organization: "acme", Email: fmt.Sprint("x", i, "@acme.example"), Password: "wrong password"})
		return err
	}
	for i := range 100 { // another address each time: an account's own limit never applies
		refused(t, fmt.Sprint("failure ", i), try(i), connect.CodeUnauthenticated, "SIGN_IN_FAILED")
	}
	refused(t, "after a hundred failures", try(100), connect.CodeResourceExhausted, "SIGN_IN_LIMIT")
	r.must(r.trySignIn("acme", "owner@acme.example", passphrase)) // from elsewhere
}

func TestSignInsAtOnceAllSucceed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			if err := r.trySignIn("acme", "owner@acme.example", passphrase); err != nil {
				t.Errorf("SignIn: %v", err)
			}
		})
	}
	all.Wait()
}

func TestSessionEndsWhenIdleOrOld(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if !strings.HasPrefix(r.owner.session, "cls_") || len(r.owner.session) != 4+43 {
		t.Errorf("session token has %d characters, want cls_ and 256 bits", len(r.owner.session))
	}
	p := r.signIn("acme", "owner@acme.example")
	r.clock.Advance(5*time.Minute + 31*time.Second) // a token's life and what clocks may differ by
	refused(t, "old access token", p.whoAmI(), connect.CodeUnauthenticated, "TOKEN_EXPIRED")
	r.must(p.refresh())
	r.must(p.whoAmI())
	r.clock.Advance(12*time.Hour - time.Second)
	r.must(p.refresh()) // used just in time, and so good for another twelve hours
	r.clock.Advance(12 * time.Hour)
	refused(t, "idle session", p.refresh(), connect.CodeUnauthenticated, "SESSION_ENDED")

	p = r.signIn("acme", "owner@acme.example")
	for range 14 {
		r.clock.Advance(11 * time.Hour)
		r.must(p.refresh())
	}
	r.clock.Advance(14 * time.Hour) // 168 hours in all
	refused(t, "session of seven days", p.refresh(), connect.CodeUnauthenticated, "SESSION_ENDED")
	p.session = "cls_0000000000000000000000000000000000000000000"
	refused(t, "invented session", p.refresh(), connect.CodeUnauthenticated, "SESSION_ENDED")
}

func TestEndedSessionCannotBeRefreshedAndChangesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	for name, end := range map[string]func(p *person) error{
		"signed out": func(p *person) error {
			_, err := p.sessions.SignOut(ctx, &keysv1.SignOutRequest{})
			return err
		},
		"another role": func(p *person) error {
			_, err := r.owner.members.UpdateMember(ctx, &keysv1.UpdateMemberRequest{Id: p.id, Role: viewer, Etag: "1", IdempotencyKey: p.id})
			return err
		},
		"disabled": func(p *person) error {
			_, err := r.owner.members.UpdateMember(ctx, &keysv1.UpdateMemberRequest{Id: p.id, Disabled: new(true), Etag: "1", IdempotencyKey: p.id})
			return err
		},
		"removed": func(p *person) error {
			_, err := r.owner.members.DeleteMember(ctx, &keysv1.DeleteMemberRequest{Id: p.id, IdempotencyKey: p.id})
			return err
		},
		"password changed elsewhere": func(p *person) error {
			elsewhere := r.signIn("acme", strings.ReplaceAll("password changed elsewhere", " ", "-")+"@acme.example")
			_, err := elsewhere.sessions.ChangePassword(ctx, &keysv1.ChangePasswordRequest{OldPassword: passphrase, NewPassword: "a wholly new password", IdempotencyKey: p.id})
			if err == nil {
				err = elsewhere.refresh() // the session that changed it goes on
			}
			return err
		},
	} {
		p := r.add(strings.ReplaceAll(name, " ", "-"), admin)
		r.must(p.refresh())
		r.must(end(p))
		refused(t, name+": refresh", p.refresh(), connect.CodeUnauthenticated, "SESSION_ENDED")
		_, err := p.policies.CreatePolicy(ctx, &keysv1.CreatePolicyRequest{Name: "p", Publish: true, Spec: rule(&keysv1.Target{Model: "openai/x", Use: 1}), IdempotencyKey: p.id})
		refused(t, name+": change", err, connect.CodeUnauthenticated, "SESSION_ENDED")
	}
}

func TestSigningOutTwiceIsNoError(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.signIn("acme", "owner@acme.example")
	for range 2 {
		_, err := p.sessions.SignOut(t.Context(), &keysv1.SignOutRequest{})
		r.must(err)
	}
	r.must(r.owner.refresh()) // the other session of the same person goes on
}

func TestChangingThePassword(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	change := func(before, after, key string) error {
		_, err := r.owner.sessions.ChangePassword(t.Context(), &keysv1.ChangePasswordRequest{OldPassword: before, NewPassword: after, IdempotencyKey: key})
		return err
	}
	refused(t, "wrong old password", change("wrong password", "a wholly new password", "1"), connect.CodePermissionDenied, "PASSWORD_WRONG")
	refused(t, "same password", change(passphrase, passphrase, "2"), connect.CodeInvalidArgument, "PASSWORD_UNCHANGED")
	r.must(change(passphrase, "a wholly new password", "3"))
	refused(t, "old password", r.trySignIn("acme", "owner@acme.example", passphrase), connect.CodeUnauthenticated, "SIGN_IN_FAILED")
	r.must(r.trySignIn("acme", "owner@acme.example", "a wholly new password"))
}

func TestTokensOfAnotherReplicaAreAccepted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, next, err := ed25519.GenerateKey(nil)
	r.must(err)
	first := r.app
	r.tokenKey = next
	r.app = r.replica(r.db) // has the next signing key already
	other := r.anonymous()
	other.token.Store(r.owner.token.Load())
	r.must(other.whoAmI())

	fresh := r.signIn("acme", "owner@acme.example")
	r.app = first
	other = r.anonymous()
	other.token.Store(fresh.token.Load())
	eventually(t, "the first replica knows the key of the second", func() bool { return other.whoAmI() == nil })
}
