package jetstream

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const readyTimeout = 30 * time.Second

// EmbeddedOptions are the knobs of a server in this process.
type EmbeddedOptions struct {
	Name          string       // default "claviger"
	MaxStoreBytes int64        // default: three quarters of the free disk
	Log           *slog.Logger // nil says nothing
}

// Embedded starts a NATS server in this process that listens nowhere and keeps its streams in dir.
// What it acknowledges is on disk. The caller stops it with Shutdown and WaitForShutdown, after the
// connections.
func Embedded(dir string, o EmbeddedOptions) (*server.Server, error) {
	if dir == "" {
		return nil, errors.New("start nats: no folder for its streams")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("start nats: %w", err)
	}
	if o.Name == "" {
		o.Name = "claviger"
	}
	s, err := server.NewServer(&server.Options{
		ServerName: o.Name,
		DontListen: true,
		JetStream:  true,
		StoreDir:   dir,
		// By default NATS syncs every two minutes: a power cut could take back what it acknowledged.
		SyncAlways:        true,
		JetStreamMaxStore: o.MaxStoreBytes,
		NoSigs:            true,
	})
	if err != nil {
		return nil, fmt.Errorf("start nats: %w", err)
	}
	if o.Log != nil {
		s.SetLoggerV2(serverLog{o.Log}, false, false, false)
	}
	s.Start()
	if !s.ReadyForConnections(readyTimeout) || !s.JetStreamEnabled() {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, errors.New("start nats: the server did not become ready; is its folder in use or damaged?")
	}
	return s, nil
}

// serverLog turns the server's log lines into slog records. Its notices are about its own start.
type serverLog struct{ log *slog.Logger }

func (l serverLog) line(f func(string, ...any), format string, v []any) {
	f("nats server", "text", fmt.Sprintf(format, v...))
}

func (l serverLog) Noticef(format string, v ...any) { l.line(l.log.Debug, format, v) }
func (l serverLog) Warnf(format string, v ...any)   { l.line(l.log.Warn, format, v) }
func (l serverLog) Fatalf(format string, v ...any)  { l.line(l.log.Error, format, v) }
func (l serverLog) Errorf(format string, v ...any)  { l.line(l.log.Error, format, v) }
func (l serverLog) Debugf(format string, v ...any)  { l.line(l.log.Debug, format, v) }
func (l serverLog) Tracef(format string, v ...any)  { l.line(l.log.Debug, format, v) }
