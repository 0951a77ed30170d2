package keys

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/claviger/claviger/pkg/config"
	"github.com/claviger/claviger/pkg/egress"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/serve"
	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/pkg/transit"
	settingsv1 "github.com/claviger/claviger/proto/gen/claviger/settings/v1"
)

const (
	// drain is how long calls may go on after a stop signal. Watchers are sent away at once.
	drain             = 15 * time.Second
	defaultPepperPath = "secret/data/claviger/api-key-pepper"
)

// Run is `claviger keys`: it opens everything that the settings name, serves until ctx ends, and
// drains.
func Run(ctx context.Context, s *settingsv1.Keys, log *slog.Logger) (err error) {
	tel, err := telemetry.Start(ctx, telemetry.Options{Service: "keys", Environment: s.GetEnvironment(), Log: log})
	if err != nil {
		return config.UsageError{Err: err}
	}
	defer tel.Shutdown(ctx) // last of all, so that the end is seen, too
	log = tel.Logger(log)
	identity, err := config.TLS(s.GetTls().GetCertFile(), s.GetTls().GetKeyFile(), s.GetTls().GetCaFile())
	if err != nil {
		return err
	}
	deps := Deps{Environment: s.GetEnvironment(), Log: log, Telemetry: tel, DataDir: s.GetDataDir()}
	var hangUp func()
	if deps.Metering, hangUp, err = dialMetering(s, identity, tel); err != nil {
		return err
	}
	defer hangUp()
	if deps.ConfigKey, err = config.LoadEd25519(s.GetConfigSigningKeyFile()); err != nil {
		return err
	}
	if deps.TokenKey, err = config.LoadEd25519(s.GetTokenSigningKeyFile()); err != nil {
		return err
	}
	if deps.Guard, err = newGuard(s); err != nil {
		return err
	}
	proxies, err := proxiesOf(s.GetTrustedProxies())
	if err != nil {
		return config.UsageError{Err: err}
	}
	vault, err := openVault(ctx, s, log)
	if err != nil {
		return err
	}
	defer vault.Close()
	deps.Sealer, deps.SealerReady = vault.Sealer(), vault.Ready
	pepperPath := s.GetVault().GetPepperPath()
	if pepperPath == "" {
		pepperPath = defaultPepperPath
	}
	deps.Pepper = func(ctx context.Context) (secret.Text, error) { return vault.ReadPepper(ctx, pepperPath) }
	if deps.DB, err = sqldb.Open(ctx, s.GetDatabase().GetUrl(), int(s.GetDatabase().GetMaxConnections())); err != nil {
		return err
	}
	defer func() {
		if closing := deps.DB.Close(); err == nil && closing != nil {
			err = fmt.Errorf("close database: %w", closing)
		}
	}()
	app, err := New(ctx, deps)
	if err != nil {
		return err
	}
	if s.GetOperatorEmail() != "" {
		if err := app.BootstrapOperator(ctx, s.GetOperatorEmail(), secret.New(s.GetOperatorPassword())); err != nil {
			return err
		}
	}
	return app.listen(ctx, s, identity, proxies)
}

func openVault(ctx context.Context, s *settingsv1.Keys, log *slog.Logger) (*transit.Vault, error) {
	v := s.GetVault()
	key := v.GetTransitKey()
	if key == "" {
		key = "claviger-" + s.GetEnvironment()
	}
	return transit.NewVault(ctx, transit.VaultOptions{
		Address: v.GetAddress(), CAFile: v.GetCaFile(), RoleID: v.GetRoleId(), SecretID: secret.New(v.GetSecretId()),
		Token: secret.New(v.GetToken()), Mount: v.GetTransitMount(), Key: key, Log: log,
	})
}

// newGuard keeps our own listeners from being somebody's base URL, whatever is allowed. Keys calls no
// base URL; routers judge them again when they dial.
func newGuard(s *settingsv1.Keys) (*egress.Guard, error) {
	var own []netip.AddrPort
	for _, listen := range []string{s.GetHttpListen(), s.GetInternalListen(), s.GetOpsListen()} {
		if strings.HasPrefix(listen, ":") {
			listen = "[::]" + listen
		}
		if addr, err := netip.ParseAddrPort(listen); err == nil && addr.Port() != 0 {
			own = append(own, addr)
		}
	}
	return egress.New(egress.Options{Allow: s.GetEgress().GetAllow(), Deny: own})
}

// listen serves until ctx ends. Then watchers are sent to other replicas, calls go on for a while,
// and only after them the work in the background stops.
func (a *App) listen(ctx context.Context, s *settingsv1.Keys, identity *config.Identity, proxies []netip.Prefix) error {
	public, err := serve.Listen(ctx, "the public API", s.GetHttpListen())
	if err != nil {
		return err
	}
	internal, err := serve.Listen(ctx, "our own services", s.GetInternalListen())
	if err != nil {
		return err
	}
	ops, err := serve.Listen(ctx, "operations", s.GetOpsListen())
	if err != nil {
		return err
	}
	log, metrics := a.deps.Log, map[string]http.Handler{"GET /metrics": telemetry.Metrics(a.deps.Telemetry)}
	working, stopWorking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorking()
	grpcServer := serve.GRPC(serve.DefaultMessageBytes, identity.Server(), a.Internal(intercept.MutualTLS(s.GetEnvironment())))
	var group errgroup.Group
	group.Go(func() error { return a.Run(working) })
	group.Go(func() error {
		defer stopWorking()
		return serve.Until(ctx, log, drain, a.Drain,
			serve.OnHTTP("the public API", public, serve.HTTP(a.HTTP(proxies), nil, log)),
			serve.OnGRPC("our own services", internal, grpcServer),
			serve.OnHTTP("operations", ops, serve.HTTP(serve.Ops(a.Ready, metrics), nil, log)))
	})
	return group.Wait()
}
