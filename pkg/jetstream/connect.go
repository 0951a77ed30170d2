package jetstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	connectTimeout = 5 * time.Second
	reconnectWait  = 250 * time.Millisecond
	reconnectMax   = 5 * time.Second
	// A server that is silently gone is noticed within half a minute.
	pingInterval = 10 * time.Second
	pingsOut     = 2
	drainTimeout = 10 * time.Second
)

// Options say where the server is and who we are.
type Options struct {
	URL             string       // "nats://…" or "tls://…", several with commas
	Name            string       // shown in the server's monitoring
	CredentialsFile string       // NKey or JWT credentials; empty is none
	TLS             *tls.Config  // our identity and whom we trust; nil is none
	Log             *slog.Logger // nil says nothing
}

// Connect connects and goes on connecting in the background if the server is away: it fails only for
// options that can never work. The caller closes the connection, best by Drain.
func Connect(ctx context.Context, o Options) (*nats.Conn, jetstream.JetStream, error) {
	if o.URL == "" {
		return nil, nil, errors.New("connect to nats: no url")
	}
	options := append(steady(o.Name, o.Log), nats.RetryOnFailedConnect(true), nats.Timeout(timeoutOf(ctx)))
	if o.CredentialsFile != "" {
		options = append(options, nats.UserCredentials(o.CredentialsFile))
	}
	if o.TLS != nil {
		options = append(options, nats.Secure(o.TLS))
	}
	return dial(ctx, o.URL, options)
}

// ConnectInProcess connects to a server in this process, without a network.
func ConnectInProcess(ctx context.Context, s *server.Server, o Options) (*nats.Conn, jetstream.JetStream, error) {
	return dial(ctx, "", append(steady(o.Name, o.Log), nats.InProcessServer(s), nats.Timeout(timeoutOf(ctx))))
}

func dial(ctx context.Context, url string, options []nats.Option) (*nats.Conn, jetstream.JetStream, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("connect to nats: %w", err)
	}
	nc, err := nats.Connect(url, options...)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to nats: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, nil, fmt.Errorf("connect to nats: %w", err)
	}
	return nc, js, nil
}

func timeoutOf(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(time.Millisecond, min(connectTimeout, time.Until(deadline)))
	}
	return connectTimeout
}

// steady are the options of a connection that never gives up and never buffers.
func steady(name string, log *slog.Logger) []nats.Option {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return []nats.Option{
		nats.Name(name),
		nats.MaxReconnects(-1), // the client's own default is to give up after 60 tries
		// A rotated credential may be wrong for a while; the client would give up at the second refusal.
		nats.IgnoreAuthErrorAbort(),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.ReconnectBufSize(-1), // a publish while disconnected fails: memory is no journal
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsOut),
		nats.DrainTimeout(drainTimeout),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // none when we closed it ourselves
				log.Warn("nats disconnected", "error", err)
			}
		}),
		nats.ConnectHandler(func(nc *nats.Conn) { log.Info("nats connected", "server", nc.ConnectedServerName()) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("nats connected", "server", nc.ConnectedServerName()) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { log.Debug("nats does not answer", "error", err) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if sub != nil {
				log.Warn("nats error", "error", err, "subject", sub.Subject)
				return
			}
			log.Warn("nats error", "error", err)
		}),
	}
}

// reconnectDelay is how long to wait after the given number of rounds over all servers.
func reconnectDelay(rounds int) time.Duration {
	wait := min(reconnectMax, reconnectWait<<min(max(rounds-1, 0), 10))
	return wait/2 + rand.N(wait/2) //nolint:gosec // spreads load, hides nothing
}
