package keys_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"
	"connectrpc.com/connect/v2/connectproto"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/egress"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/pkg/transit"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	optionsv1 "github.com/claviger/claviger/proto/gen/claviger/options/v1"
	"github.com/claviger/claviger/services/keys"
	"github.com/claviger/claviger/services/keys/internal/password"
	"github.com/claviger/claviger/services/keys/internal/store/storetest"
)

const (
	environment = "test"
	passphrase  = "correct horse battery"
	pepper      = "0123456789abcdef0123456789abcdef"
)

// rig is the whole service on a fresh database, with the organization "acme".
type rig struct {
	t         testing.TB
	url       string
	db        *sqldb.DB
	clock     *storetest.Clock
	keyset    *transit.Keyset
	sealer    *vault
	configKey ed25519.PrivateKey
	tokenKey  ed25519.PrivateKey
	app       *keys.App
	log       *lockedBuffer
	metering  connect.Transport    // of replicas that are started from now on
	tel       *telemetry.Telemetry // of replicas that are started from now on
	owner     *person              // of acme
	operator  *person
	orgID     string
}

// vault is a Sealer that can be sealed, and counts.
type vault struct {
	transit.Sealer
	down  atomic.Bool
	calls atomic.Int32
}

func (v *vault) Seal(ctx context.Context, plain secret.Text, bound transit.Context) (string, error) {
	v.calls.Add(1)
	if v.down.Load() {
		return "", transit.ErrSealed
	}
	return v.Sealer.Seal(ctx, plain, bound)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigOn(t, sqltest.SQLite(t))
}

func newRigOn(t testing.TB, url string) *rig {
	t.Helper()
	r := &rig{t: t, url: url, clock: storetest.NewClock(), log: &lockedBuffer{}}
	var err error
	r.keyset, err = transit.OpenKeyset(filepath.Join(t.TempDir(), "keyset"), true)
	r.must(err)
	r.sealer = &vault{Sealer: r.keyset.Sealer()}
	_, r.configKey, err = ed25519.GenerateKey(nil)
	r.must(err)
	_, r.tokenKey, err = ed25519.GenerateKey(nil)
	r.must(err)
	r.db = sqltest.Open(t, url)
	r.app = r.replica(r.db)
	r.must(r.app.BootstrapOperator(t.Context(), "Operator@Example.com", secret.New(passphrase)))
	r.operator = r.signIn("platform", "operator@example.com")
	created, err := r.operator.orgs.CreateOrganization(t.Context(), &keysv1.CreateOrganizationRequest{
		Slug: "acme", Name: "Acme", OwnerEmail: "owner@acme.example", OwnerPassword: passphrase, IdempotencyKey: "acme",
	})
	r.must(err)
	r.orgID = created.GetOrganization().GetId()
	r.owner = r.signIn("acme", "owner@acme.example")
	return r
}

// replica starts another instance of the service on db and lets it work until the test ends.
func (r *rig) replica(db *sqldb.DB) *keys.App {
	r.t.Helper()
	app := r.idle(db)
	ctx, stop := context.WithCancel(context.WithoutCancel(r.t.Context()))
	var running sync.WaitGroup
	running.Go(func() { _ = app.Run(ctx) })
	r.t.Cleanup(func() { stop(); running.Wait() })
	return app
}

// idle starts another instance without its background work.
func (r *rig) idle(db *sqldb.DB) *keys.App {
	r.t.Helper()
	guard, err := egress.New(egress.Options{Allow: []string{"10.0.0.0/8:8000"}})
	r.must(err)
	app, err := keys.New(r.t.Context(), keys.Deps{
		DB: db, Sealer: r.sealer, Guard: guard, ConfigKey: r.configKey, TokenKey: r.tokenKey, Environment: environment,
		Pepper: func(context.Context) (secret.Text, error) {
			if r.sealer.down.Load() {
				return secret.Text{}, transit.ErrSealed
			}
			return secret.New(pepper), nil
		},
		Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Now: r.clock.Now,
		PasswordCost: password.Params{MemoryKiB: 64, Time: 1, Threads: 1}, Telemetry: r.tel, Metering: r.metering,
	})
	r.must(err)
	return app
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// person is a signed-in member with clients of all public services.
type person struct {
	r           *rig
	id, session string
	token       atomic.Value
	client      *connect.Client
	orgs        keysv1connect.OrganizationServiceClient
	members     keysv1connect.MemberServiceClient
	sessions    keysv1connect.SessionServiceClient
	creds       keysv1connect.CredentialServiceClient
	policies    keysv1connect.PolicyServiceClient
	apiKeys     keysv1connect.ApiKeyServiceClient
	groups      keysv1connect.GroupServiceClient
	routing     keysv1connect.RoutingServiceClient
	models      keysv1connect.ModelServiceClient
}

// anonymous has clients and is nobody.
func (r *rig) anonymous() *person {
	p := &person{r: r}
	p.token.Store("")
	p.client = connect.NewClient(connectinprocess.New(r.app.Public()), func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok && p.access() != "" {
				info.RequestHeader().Set("Authorization", "Bearer "+p.access())
			}
			return next(ctx, spec)
		}
	})
	p.orgs, p.members = keysv1connect.NewOrganizationServiceClient(p.client), keysv1connect.NewMemberServiceClient(p.client)
	p.sessions, p.creds = keysv1connect.NewSessionServiceClient(p.client), keysv1connect.NewCredentialServiceClient(p.client)
	p.policies, p.apiKeys = keysv1connect.NewPolicyServiceClient(p.client), keysv1connect.NewApiKeyServiceClient(p.client)
	p.groups, p.routing = keysv1connect.NewGroupServiceClient(p.client), keysv1connect.NewRoutingServiceClient(p.client)
	p.models = keysv1connect.NewModelServiceClient(p.client)
	return p
}

// access is the person's access token.
func (p *person) access() string {
	token, _ := p.token.Load().(string)
	return token
}

func (r *rig) signIn(org, email string) *person {
	r.t.Helper()
	p := r.anonymous()
	in, err := p.sessions.SignIn(r.t.Context(), &keysv1.SignInRequest{Organization: org, Email: email, Password: passphrase})
	r.must(err)
	p.id, p.session = in.GetMember().GetId(), in.GetSessionToken()
	p.token.Store(in.GetAccessToken())
	return p
}

// add makes a member of acme and signs them in.
func (r *rig) add(name string, role optionsv1.Role) *person {
	r.t.Helper()
	_, err := r.owner.members.CreateMember(r.t.Context(), &keysv1.CreateMemberRequest{
		Email: name + "@acme.example", Role: role, Password: passphrase, IdempotencyKey: "member " + name,
	})
	r.must(err)
	return r.signIn("acme", name+"@acme.example")
}

// other makes another organization and signs its owner in.
func (r *rig) other(slug string) *person {
	r.t.Helper()
	_, err := r.operator.orgs.CreateOrganization(r.t.Context(), &keysv1.CreateOrganizationRequest{
		Slug: slug, Name: slug, OwnerEmail: "owner@" + slug + ".example", OwnerPassword: passphrase, IdempotencyKey: slug,
	})
	r.must(err)
	return r.signIn(slug, "owner@"+slug+".example")
}

func (p *person) credential(label string) *keysv1.Credential {
	p.r.t.Helper()
	res, err := p.creds.CreateCredential(p.r.t.Context(), &keysv1.CreateCredentialRequest{
		Provider: "openai", Label: label, Secret: "sk-test-0123456789abcdef", AcceptTerms: true, IdempotencyKey: "credential " + label,
	})
	p.r.must(err)
	return res.GetCredential()
}

func (p *person) policy(name string) *keysv1.Policy {
	p.r.t.Helper()
	res, err := p.policies.CreatePolicy(p.r.t.Context(), &keysv1.CreatePolicyRequest{
		Name: name, Publish: true, Spec: rule(&keysv1.Target{Model: "openai/gpt-4o", Use: 1}), IdempotencyKey: "policy " + name,
	})
	p.r.must(err)
	return res.GetPolicy()
}

// draft makes a policy that is not published.
func (p *person) draft(name string) *keysv1.Policy {
	p.r.t.Helper()
	res, err := p.policies.CreatePolicy(p.r.t.Context(), &keysv1.CreatePolicyRequest{
		Name: name, Spec: rule(&keysv1.Target{Model: "openai/gpt-4o", Use: 1}), IdempotencyKey: "draft " + name,
	})
	p.r.must(err)
	return res.GetPolicy()
}

// update replaces a policy's lines by one with another model.
func (p *person) update(was *keysv1.Policy, publish bool, model string) *keysv1.Policy {
	p.r.t.Helper()
	res, err := p.policies.UpdatePolicy(p.r.t.Context(), &keysv1.UpdatePolicyRequest{
		Id: was.GetId(), Publish: publish, Spec: rule(&keysv1.Target{Model: model, Use: 1}), Etag: was.GetEtag(), IdempotencyKey: was.GetId() + was.GetEtag(),
	})
	p.r.must(err)
	return res.GetPolicy()
}

func (p *person) group(name string) *keysv1.Group {
	p.r.t.Helper()
	res, err := p.groups.CreateGroup(p.r.t.Context(), &keysv1.CreateGroupRequest{Name: name, IdempotencyKey: "group " + name})
	p.r.must(err)
	return res.GetGroup()
}

func (p *person) apiKey(name, policyID string) *keysv1.CreateApiKeyResponse {
	p.r.t.Helper()
	res, err := p.apiKeys.CreateApiKey(p.r.t.Context(), &keysv1.CreateApiKeyRequest{Name: name, PolicyId: policyID, IdempotencyKey: "key " + name})
	p.r.must(err)
	return res
}

// editKey changes an API key.
func (p *person) editKey(req *keysv1.UpdateApiKeyRequest) *keysv1.ApiKey {
	p.r.t.Helper()
	req.IdempotencyKey = req.GetId() + req.GetEtag()
	res, err := p.apiKeys.UpdateApiKey(p.r.t.Context(), req)
	p.r.must(err)
	return res.GetApiKey()
}

// internal is the transport of one of our services. In-process transports answer a call that was
// rejected before its request was read with a bare EOF; real ones do not, and neither does this.
func (r *rig) internal(app *keys.App, service, instance string) keysv1connect.ConfigServiceClient {
	as := authn.Principal{Kind: authn.Service, Service: service, Instance: instance}
	transport := connectinprocess.New(app.Internal(intercept.Fixed(as)))
	return keysv1connect.NewConfigServiceClient(connect.NewClient(transport, func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			stream, err := next(ctx, spec)
			return lateError{stream}, err
		}
	}))
}

type lateError struct{ connect.ClientStream }

func (s lateError) Send(msg any) error {
	err := s.ClientStream.Send(msg)
	if err == io.EOF { //nolint:errorlint // the reason comes with the first Receive
		return nil
	}
	return err
}

// info returns the reason and the facts of an error.
func info(err error) *errdetails.ErrorInfo {
	ce, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return &errdetails.ErrorInfo{Reason: fmt.Sprint(err)}
	}
	for _, d := range ce.Details() {
		if msg, err := connectproto.UnmarshalErrorDetail(d); err == nil {
			if info, ok := msg.(*errdetails.ErrorInfo); ok {
				return info
			}
		}
	}
	return &errdetails.ErrorInfo{Reason: ce.Error()}
}

// refused checks that err has a code and a reason.
func refused(t *testing.T, what string, err error, code connect.Code, reason string) {
	t.Helper()
	if got := info(err).GetReason(); connect.CodeOf(err) != code || got != reason {
		t.Errorf("%s: error = %v %s (%v), want %v %s", what, connect.CodeOf(err), got, err, code, reason)
	}
}

// eventually polls until ok is true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("test ended: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func contains(s, part string) bool { return strings.Contains(s, part) }

func holdsNone(t testing.TB, what, text string, secrets []string) {
	t.Helper()
	for i, s := range secrets {
		if strings.Contains(text, s) {
			t.Errorf("%s holds secret number %d", what, i)
		}
	}
}

func timestamp(at time.Time) *timestamppb.Timestamp { return timestamppb.New(at) }

// rule is a policy of one group.
func rule(targets ...*keysv1.Target) *keysv1.PolicySpec {
	return &keysv1.PolicySpec{Groups: []*keysv1.TargetGroup{{Targets: targets}}}
}
