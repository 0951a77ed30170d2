package keys

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/pkg/transit"
	settingsv1 "github.com/claviger/claviger/proto/gen/claviger/settings/v1"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/password"
)

// Deps are what the service needs, opened by whoever starts it and closed after it.
type Deps struct {
	DB     *sqldb.DB
	Sealer transit.Sealer
	// Pepper returns the pepper of API keys. It is asked when the first API key is made, and again
	// until it answers, so that the service starts and works otherwise while Vault is sealed.
	Pepper func(ctx context.Context) (secret.Text, error)
	// Guard checks base URLs; it is an *egress.Guard.
	Guard credential.Endpoints
	// Metering reaches the PriceFeedService; nil checks policies by the price book that ships.
	Metering connect.Transport
	// DataDir is where the last price book is kept; empty keeps none.
	DataDir string
	// ConfigKey signs the configuration and TokenKey access tokens.
	ConfigKey, TokenKey ed25519.PrivateKey
	Environment         string
	Log                 *slog.Logger
	// Telemetry gets traces and measurements; nil is none.
	Telemetry *telemetry.Telemetry
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// SealerReady reports whether secrets can be sealed; it is only logged. Nil is never asked.
	SealerReady func(ctx context.Context) error
	// PasswordCost is the cost of new password hashes; zero is the default. Tests lower it.
	PasswordCost password.Params
}

// Defaults are the settings before file, environment and command line.
func Defaults() *settingsv1.Keys {
	return &settingsv1.Keys{
		Environment: "prod", HttpListen: "127.0.0.1:8090", InternalListen: "127.0.0.1:8091", OpsListen: "127.0.0.1:8092",
		LogFormat: "json",
	}
}
