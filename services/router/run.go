package router

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/claviger/claviger/pkg/config"
	"github.com/claviger/claviger/pkg/egress"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/rpcmount"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/serve"
	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/pkg/transit"
	settingsv1 "github.com/claviger/claviger/proto/gen/claviger/settings/v1"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/media"
)

const (
	defaultDrain      = 300 * time.Second
	defaultDrainDelay = 5 * time.Second
	// lastWords is the end of the drain time that is kept for streams to be told why they end.
	lastWords = 2 * time.Second
)

// Run is `claviger router`: it opens everything that the settings name, serves until ctx ends, and
// drains.
func Run(ctx context.Context, s *settingsv1.Router, log *slog.Logger) error {
	told, err := telemetry.Start(ctx, telemetry.Options{Service: "router", Environment: s.GetEnvironment(), Instance: s.GetName(), Log: log})
	if err != nil {
		return err
	}
	defer told.Shutdown(ctx)
	log = told.Logger(log)
	identity, err := config.TLS(s.GetTls().GetCertFile(), s.GetTls().GetKeyFile(), s.GetTls().GetCaFile())
	if err != nil {
		return err
	}
	configKey, err := config.LoadEd25519Public(s.GetConfigPublicKeyFile())
	if err != nil {
		return err
	}
	vault, err := openVault(ctx, s, log)
	if err != nil {
		return err
	}
	defer vault.Close()
	keys, err := serve.Dial(s.GetKeysAddress(), identity.Client(s.GetKeysAddress()))
	if err != nil {
		return err
	}
	defer func() { _ = keys.Close() }()
	metering, hangUp, err := dialMetering(s, identity, told)
	if err != nil {
		return err
	}
	defer hangUp()
	nc, js, err := connectNATS(ctx, s, log)
	if err != nil {
		return err
	}
	defer nc.Close()
	public, err := openListeners(ctx, s)
	if err != nil {
		return err
	}
	guard, err := egress.New(egress.Options{Allow: s.GetEgress().GetAllow(), Deny: public.addresses()})
	if err != nil {
		return err
	}
	pepperPath := s.GetVault().GetPepperPath()
	if pepperPath == "" {
		pepperPath = "secret/data/claviger/api-key-pepper"
	}
	offlineKey, err := offlineKeyFile(s)
	if err != nil {
		return err
	}
	app, err := New(ctx, Deps{
		Environment: s.GetEnvironment(), Name: s.GetName(), DataDir: s.GetDataDir(), Keys: intercept.NewTransport(told, rpcmount.NewTransport(keys)), ConfigKey: configKey,
		Metering: metering,
		Opener:   vault.Opener(), Pepper: func(ctx context.Context) (secret.Text, error) { return vault.ReadPepper(ctx, pepperPath) },
		OfflineKeyFile: offlineKey, NATS: nc, JetStream: js, Egress: guard, BaseURLs: s.GetProviderBaseUrls(), Log: log, Now: time.Now,
		JournalMaxBytes: s.GetJournalMaxBytes(), MaxBodyBytes: s.GetMaxBodyBytes(),
		Limits: completion.Limits{Streams: int(s.GetMaxStreams()), FirstByte: s.GetFirstByteTimeout().AsDuration(), Idle: s.GetIdleTimeout().AsDuration()},
		Media: Media{
			PublicURL: strings.TrimSuffix(s.GetMedia().GetPublicUrl(), "/"), FalKeys: s.GetMedia().GetFalJwksUrls(),
			Limits: media.Limits{Jobs: int(s.GetMedia().GetMaxOpenJobs()), MaxAge: s.GetMedia().GetMaxAge().AsDuration()},
		},
		Telemetry: told,
	})
	if err != nil {
		return err
	}
	delay := defaultDrainDelay
	if s.DrainDelay != nil {
		delay = s.GetDrainDelay().AsDuration()
	}
	return app.serve(ctx, public, delay, s.GetDrainTimeout().AsDuration())
}

// offlineKeyFile is the file with the router's own key, empty if nothing opened is kept on disk.
func offlineKeyFile(s *settingsv1.Router) (string, error) {
	if s.GetOfflineCredentials() != "sealed" {
		return "", nil
	}
	if s.GetOfflineKeyFile() == "" {
		return "", errors.New("offline_credentials is sealed: set offline_key_file, best on another disk than data_dir")
	}
	return s.GetOfflineKeyFile(), nil
}

func openVault(ctx context.Context, s *settingsv1.Router, log *slog.Logger) (*transit.Vault, error) {
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

func connectNATS(ctx context.Context, s *settingsv1.Router, log *slog.Logger) (*nats.Conn, natsjs.JetStream, error) {
	n := s.GetNats()
	o := jetstream.Options{URL: n.GetUrl(), Name: "router/" + s.GetName(), CredentialsFile: n.GetCredentialsFile(), Log: log}
	if n.GetTls() != nil {
		identity, err := config.TLS(n.GetTls().GetCertFile(), n.GetTls().GetKeyFile(), n.GetTls().GetCaFile())
		if err != nil {
			return nil, nil, err
		}
		o.TLS = identity.Client("")
	}
	return jetstream.Connect(ctx, o)
}

// listeners are the bound addresses of a router.
type listeners struct{ http, grpc, ops net.Listener }

func openListeners(ctx context.Context, s *settingsv1.Router) (l listeners, err error) {
	if l.http, err = serve.Listen(ctx, "the public API", s.GetHttpListen()); err != nil {
		return l, err
	}
	if l.grpc, err = serve.Listen(ctx, "public gRPC", s.GetGrpcListen()); err != nil {
		return l, err
	}
	l.ops, err = serve.Listen(ctx, "operations", s.GetOpsListen())
	return l, err
}

// addresses are where we can be reached ourselves: no call to a provider may lead there.
func (l listeners) addresses() []netip.AddrPort {
	var out []netip.AddrPort
	for _, ln := range []net.Listener{l.http, l.grpc, l.ops} {
		if tcp, ok := ln.Addr().(*net.TCPAddr); ok {
			out = append(out, tcp.AddrPort())
		}
	}
	return out
}

// serve serves until ctx ends and then drains: first it is not ready and serves all the same, so that nobody who
// is on the way here finds the door shut, then there are no new requests, open ones go on, what is still open near
// the end is told so, and only then does the work behind them stop. A second signal skips the waiting, and
// nothing else.
func (a *App) serve(ctx context.Context, l listeners, delay, drain time.Duration) error {
	if drain == 0 {
		drain = defaultDrain
	}
	working, stopWorking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorking()
	hurry := config.Hurry(ctx)
	serving, stopServing := context.WithCancel(working)
	defer stopServing()
	var group errgroup.Group
	group.Go(func() error {
		defer stopServing()
		select {
		case <-ctx.Done():
		case <-serving.Done(): // something has failed
			return nil
		}
		a.leaving.Store(true)
		a.d.Log.InfoContext(working, "not ready any more", "drains_in", delay.String())
		select {
		case <-time.After(delay):
		case <-hurry:
		case <-serving.Done():
		}
		return nil
	})
	group.Go(func() error { return a.Run(working) })
	group.Go(func() error {
		defer stopServing()
		defer stopWorking()
		public := a.Public()
		drained := make(chan struct{})
		err := serve.Until(serving, a.d.Log, drain+lastWords, func() {
			go func() {
				defer close(drained)
				limit, cancel := context.WithTimeout(working, drain)
				defer cancel()
				go func() {
					select {
					case <-hurry:
						cancel()
					case <-limit.Done():
					}
				}()
				a.Drain(limit)
			}()
		},
			serve.OnHTTP("the public API", l.http, serve.HTTP(serve.Mux(a.MaxMessageBytes(), a.HTTP(), public), nil, a.d.Log)),
			serve.OnGRPC("public gRPC", l.grpc, serve.GRPC(a.MaxMessageBytes(), nil, public)),
			serve.OnHTTP("operations", l.ops, serve.HTTP(serve.Ops(a.Ready, map[string]http.Handler{"GET /metrics": telemetry.Metrics(a.d.Telemetry)}), nil, a.d.Log)))
		<-drained
		return err
	})
	return group.Wait()
}
