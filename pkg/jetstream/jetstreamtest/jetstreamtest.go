// Package jetstreamtest gives tests real NATS servers: one in the process, which is quick, and one in
// a process of its own, which can be killed. Both sync each message to disk, as in production.
package jetstreamtest

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/claviger/claviger/pkg/jetstream"
)

// Server is a server in this process.
type Server struct {
	tb testing.TB
	*server.Server
}

// Start starts a server in this process, with empty streams, and stops it when the test ends.
func Start(tb testing.TB) *Server {
	tb.Helper()
	return StartIn(tb, tb.TempDir())
}

// StartIn is Start with the streams in dir, for a test that starts a server again.
func StartIn(tb testing.TB, dir string) *Server {
	tb.Helper()
	s, err := jetstream.Embedded(dir, jetstream.EmbeddedOptions{Name: "test"})
	if err != nil {
		tb.Fatalf("jetstream.Embedded: %v", err)
	}
	started := &Server{tb: tb, Server: s}
	tb.Cleanup(started.Stop)
	return started
}

// Stop stops the server and returns when it has stopped.
func (s *Server) Stop() {
	s.Shutdown()
	s.WaitForShutdown()
}

// Connect opens another connection, closed when the test ends.
func (s *Server) Connect() (*nats.Conn, js.JetStream) {
	s.tb.Helper()
	nc, stream, err := jetstream.ConnectInProcess(s.tb.Context(), s.Server, jetstream.Options{Name: s.tb.Name()})
	if err != nil {
		s.tb.Fatalf("jetstream.ConnectInProcess: %v", err)
	}
	s.tb.Cleanup(nc.Close)
	return nc, stream
}
