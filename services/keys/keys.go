// Package keys is the control plane: organizations, members, sign-in, credentials, policies and API
// keys, and the signed configuration that routers and metering follow. It seals credentials and
// cannot open them.
package keys

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"

	keyformat "github.com/claviger/claviger/pkg/apikey"
	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/pricefeed"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/token"
	"github.com/claviger/claviger/services/keys/internal/apikey"
	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/dispatch"
	"github.com/claviger/claviger/services/keys/internal/drill"
	"github.com/claviger/claviger/services/keys/internal/group"
	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/organization"
	"github.com/claviger/claviger/services/keys/internal/password"
	"github.com/claviger/claviger/services/keys/internal/policy"
	"github.com/claviger/claviger/services/keys/internal/route"
	"github.com/claviger/claviger/services/keys/internal/routerstate"
	"github.com/claviger/claviger/services/keys/internal/routing"
	"github.com/claviger/claviger/services/keys/internal/rpc"
	"github.com/claviger/claviger/services/keys/internal/session"
	"github.com/claviger/claviger/services/keys/internal/snapshot"
	"github.com/claviger/claviger/services/keys/internal/store"
	"github.com/claviger/claviger/services/keys/web"
)

const (
	// actor stands in the audit for what the service does by itself.
	actor = "keys"
	// unaryTimeout is above the ten seconds that TestCredential may wait.
	unaryTimeout = 30 * time.Second
)

// App is the service without its listeners.
type App struct {
	deps     Deps
	now      func() time.Time
	store    *store.Store
	members  *member.Service
	creds    *credential.Service
	news     *snapshot.Feed
	probes   *dispatch.Dispatcher[credential.Probe]
	asked    *dispatch.Dispatcher[route.Question]
	routers  *routerstate.Registry
	feed     *rpc.Feed
	api      *rpc.API
	web      http.Handler
	prices   *pricefeed.Follower
	platform string // id of the operator's organization

	ownKey snapshot.TokenKey
	// followed is the version that follow has seen last; tokenKeys are those of that version.
	followed  int64
	tokenKeys atomic.Pointer[map[string]ed25519.PublicKey]
}

// New migrates the database, makes sure that the operator's organization exists and puts the parts
// together.
func New(ctx context.Context, d Deps) (*App, error) {
	if d.DB == nil || d.Sealer == nil || d.Pepper == nil || d.Guard == nil || len(d.ConfigKey) == 0 || len(d.TokenKey) == 0 || d.Environment == "" || d.Log == nil {
		return nil, errors.New("keys: a dependency is missing")
	}
	a := &App{deps: d, now: clock(d.Now), news: &snapshot.Feed{}}
	d.Now = a.now
	a.prices = openPrices(d)
	a.store = store.New(d.DB, a.now)
	a.probes = dispatch.New("key tests", a.store.ClaimProbes, d.Log)
	a.asked = dispatch.New("questions", a.store.ClaimQuestions, d.Log)
	a.store.Notify(a.news.Advance, a.probes.Kick)
	a.routers = routerstate.New(a.store, a.now, d.Log)
	passwords := password.New(d.PasswordCost)
	a.members = &member.Service{Passwords: passwords, Now: a.now}
	a.creds = &credential.Service{Sealer: shownSealer{d.Sealer}, Endpoints: d.Guard, Environment: d.Environment, Now: a.now}
	a.feed = rpc.NewFeed(rpc.FeedDeps{
		Store: a.store, Credentials: a.creds, News: a.news, Probes: a.probes, Questions: a.asked, Routers: a.routers,
		Key: d.ConfigKey, Environment: d.Environment, Now: a.now, Log: d.Log,
	})
	public, _ := d.TokenKey.Public().(ed25519.PublicKey)
	a.ownKey = snapshot.TokenKey{KeyID: token.KeyID(public), PublicKey: public}
	a.api = &rpc.API{
		Store: a.store, Members: a.members, Credentials: a.creds, Probes: a.probes, Routers: a.routers,
		Organizations: &organization.Service{Now: a.now},
		Sessions:      session.New(a.store, passwords, a.now),
		Policies:      &policy.Service{Prices: book{a.prices, a.now}, Now: a.now},
		Groups:        &group.Service{Now: a.now},
		Routing:       &routing.Service{},
		Routes:        &route.Service{Store: a.store, Routers: a.routers, Questions: a.asked, Now: a.now},
		APIKeys:       &apikey.Service{Mint: minter(d.Pepper), Now: a.now},
		Drills:        &drill.Service{Now: a.now},
		Tokens:        token.NewSigner(a.ownKey.KeyID, d.TokenKey),
		Environment:   d.Environment, Now: a.now,
	}
	var err error
	if a.web, err = web.Handler(); err != nil {
		return nil, err
	}
	if err := a.start(ctx); err != nil {
		return nil, err
	}
	if err := a.reportVersion(); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *App) start(ctx context.Context) error {
	if err := a.store.Migrate(ctx); err != nil {
		return err
	}
	operator, err := a.api.Organizations.Draft(authn.PlatformSlug, "Platform")
	if err != nil {
		return err
	}
	if operator, err = a.store.EnsureOrganization(ctx, operator, actor); err != nil {
		return fmt.Errorf("make the operator's organization: %w", err)
	}
	a.platform, a.api.PlatformOrgID = operator.ID, operator.ID
	if err := a.announce(ctx); err != nil {
		return err
	}
	return a.follow(ctx)
}

// clock returns a clock whose times survive the database: UTC, to the microsecond.
func clock(now func() time.Time) func() time.Time {
	if now == nil {
		now = time.Now
	}
	return func() time.Time { return now().UTC().Truncate(time.Microsecond) }
}

// minter makes API keys. The pepper is kept once it is known.
func minter(pepper func(context.Context) (secret.Text, error)) apikey.Mint {
	var mu sync.Mutex
	var known secret.Text
	return func(ctx context.Context) (secret.Text, string, []byte, error) {
		mu.Lock()
		defer mu.Unlock()
		if known.Empty() {
			var err error
			if known, err = pepper(ctx); err != nil {
				return secret.Text{}, "", nil, err
			}
		}
		plain, publicID := keyformat.Generate()
		return plain, publicID, keyformat.Hash(known, plain.Reveal()), nil
	}
}

// Public returns the server of all public services, which people call with an access token.
func (a *App) Public() *connect.Server {
	verifier := &token.Verifier{Environment: a.deps.Environment, Now: a.now, Keys: func(keyID string) (ed25519.PublicKey, bool) {
		key, ok := (*a.tokenKeys.Load())[keyID]
		return key, ok
	}}
	chain := intercept.Chain(intercept.Options{
		Log: a.deps.Log, Authenticate: intercept.Session(verifier.Verify), UnaryTimeout: unaryTimeout, Telemetry: a.deps.Telemetry,
	})
	server := connect.NewServer(append(chain, preflighted)...)
	a.api.Register(server)
	return server
}

// Internal returns the server of the services for routers and metering. It belongs on the internal
// listener alone.
func (a *App) Internal(authenticate intercept.Authenticate) *connect.Server {
	chain := intercept.Chain(intercept.Options{
		Log: a.deps.Log, Authenticate: authenticate, UnaryTimeout: unaryTimeout, Telemetry: a.deps.Telemetry,
	})
	server := connect.NewServer(append(chain, countWatchers(a.deps.Telemetry))...)
	a.feed.Register(server)
	return server
}

// Ready reports whether the database answers. A sealed Vault does not make the service unready:
// everything but sealing works.
func (a *App) Ready(ctx context.Context) error {
	_, err := a.store.Version(ctx)
	return err
}

// BootstrapOperator makes the first operator: an owner of the organization "platform". Once that
// organization has an owner it does nothing, whatever the address.
func (a *App) BootstrapOperator(ctx context.Context, email string, initial secret.Text) error {
	done := false
	err := a.store.Read(ctx, a.platform, func(ctx context.Context, tx *store.Tx) error {
		owners, err := tx.Owners(ctx)
		done = owners > 0
		return err
	})
	if err != nil || done {
		return err
	}
	first, err := a.members.Draft(ctx, member.New{OrgID: a.platform, Email: email, Role: member.Owner, Password: initial})
	if err != nil {
		return fmt.Errorf("first operator: %w", err)
	}
	_, _, err = a.store.Change(ctx, store.Command{OrgID: a.platform, Actor: actor}, func(ctx context.Context, tx *store.Tx) ([]byte, error) {
		if owners, err := tx.Owners(ctx); err != nil || owners > 0 {
			return nil, err
		}
		return nil, a.members.Create(ctx, tx, member.Caller{OrgID: a.platform, Role: member.Owner}, first)
	})
	return err
}

// VerifyAudit recomputes the audit chain of an organization and returns the number of its events.
func (a *App) VerifyAudit(ctx context.Context, slug string) (events int64, err error) {
	org, err := a.store.OrganizationBySlug(ctx, slug)
	if err != nil {
		return 0, err
	}
	err = a.store.Read(ctx, org.ID, func(ctx context.Context, tx *store.Tx) (err error) {
		events, err = audit.Verify(ctx, tx)
		return err
	})
	return events, err
}
