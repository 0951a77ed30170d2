package router

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/claviger/claviger/pkg/egress"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/pkg/transit"
	settingsv1 "github.com/claviger/claviger/proto/gen/claviger/settings/v1"
	"github.com/claviger/claviger/services/router/internal/completion"
)

// Deps are the opened things that a router works with.
type Deps struct {
	// Environment names the installation, Name this router.
	Environment, Name string
	// DataDir holds the journal, the last configuration and the last price book.
	DataDir string
	// Keys reaches the ConfigService.
	Keys connect.Transport
	// Metering reaches the PriceFeedService; nil reckons with the price book that ships.
	Metering connect.Transport
	// ConfigKey verifies the configuration.
	ConfigKey ed25519.PublicKey
	// Opener opens credentials; Pepper gives the pepper of API keys.
	Opener transit.Opener
	Pepper func(ctx context.Context) (secret.Text, error)
	// OfflineKeyFile holds the key under which what the vault has told is kept in DataDir, so that the router
	// can start while the vault is away; empty keeps nothing.
	OfflineKeyFile string
	// NATS and JetStream carry usage.
	NATS      *nats.Conn
	JetStream natsjs.JetStream
	// Egress is the only way out.
	Egress *egress.Guard
	// BaseURLs replace the addresses of providers, by slug.
	BaseURLs map[string]string
	Log      *slog.Logger
	Now      func() time.Time

	// JournalMaxBytes bounds the journal. Default 8 GiB.
	JournalMaxBytes int64
	// MaxBodyBytes bounds a request. Default 20 MiB.
	MaxBodyBytes int64
	Limits       completion.Limits
	// Media is how jobs are followed.
	Media Media
	// Telemetry takes traces and measurements. Nil takes none.
	Telemetry *telemetry.Telemetry
}

const (
	defaultJournalBytes = 8 << 30
	defaultBodyBytes    = 20 << 20
)

// Defaults are the settings before file, environment and command line.
func Defaults() *settingsv1.Router {
	return &settingsv1.Router{
		Environment: "prod", HttpListen: "127.0.0.1:8080", GrpcListen: "127.0.0.1:8081", OpsListen: "127.0.0.1:8082",
		DataDir: "data/router", LogFormat: "json",
	}
}
