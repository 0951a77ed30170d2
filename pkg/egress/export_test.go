package egress

import (
	"context"
	"net"
)

// OpenPort makes port the one that is open to public addresses, in place of 443, which a test may
// not be able to listen on.
func (g *Guard) OpenPort(port uint16) { g.port = port }

// Connecting makes connect open connections for TLS, unjudged.
func (g *Guard) Connecting(connect func(ctx context.Context, network, address string) (net.Conn, error)) {
	g.connect = connect
}
