package egress

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

const (
	connectTimeout = 5 * time.Second // name resolution included
	tlsTimeout     = 5 * time.Second
)

// TransportOptions size a transport. The zero value suits many long streams.
type TransportOptions struct {
	// ReadBuffer and WriteBuffer are of each HTTP/1 connection, in bytes. Default 16 KiB.
	ReadBuffer, WriteBuffer int
	// MaxIdleConns bounds idle connections in all. Default 1024.
	MaxIdleConns int
	// MaxIdleConnsPerHost bounds idle connections to one host. Default 256.
	MaxIdleConnsPerHost int
	// MaxConnsPerHost bounds connections to one host, and makes calls wait for one. Default none.
	MaxConnsPerHost int
	// IdleTimeout closes idle connections. Default 90 s.
	IdleTimeout time.Duration
	// ResponseHeaderTimeout bounds the wait for a response's header. Default none: how long a first
	// byte may take is the caller's to say, by target.
	ResponseHeaderTimeout time.Duration
	// RootCAs are the authorities; nil is the system's.
	RootCAs *x509.CertPool
}

// Transport returns a new transport whose every connection the Guard has allowed. It uses no proxy
// and decodes no body. It has its own connections: make one, and keep it.
func (g *Guard) Transport(opts TransportOptions) *http.Transport {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		RootCAs:            opts.RootCAs,
		NextProtos:         []string{"h2", "http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}
	return &http.Transport{
		// A proxy of the environment would be dialled in place of the endpoint, and so pass the check.
		Proxy: nil,
		// Two dialers, so that only TLS gets through to what is not listed in Options.Allow.
		DialContext: g.dialPlain,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return g.dialTLS(ctx, network, address, config)
		},

		ForceAttemptHTTP2: true,
		// A dead HTTP/2 connection is noticed although a stream may be silent for minutes.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		// Bodies are decoded by who can bound what comes out of them.
		DisableCompression:     true,
		MaxIdleConns:           cmp.Or(opts.MaxIdleConns, 1024),
		MaxIdleConnsPerHost:    cmp.Or(opts.MaxIdleConnsPerHost, 256),
		MaxConnsPerHost:        opts.MaxConnsPerHost,
		IdleConnTimeout:        cmp.Or(opts.IdleTimeout, 90*time.Second),
		ResponseHeaderTimeout:  opts.ResponseHeaderTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		ReadBufferSize:         cmp.Or(opts.ReadBuffer, 16<<10),
		WriteBufferSize:        cmp.Or(opts.WriteBuffer, 16<<10),
	}
}

// Client returns a new client over Transport that also judges each request's URL by the rules of
// CheckURL for scheme, host and port, and follows no redirect: the response that says "elsewhere" is
// returned as it is, and no credential goes where a response points.
func (g *Guard) Client(opts TransportOptions) *http.Client {
	return &http.Client{
		Transport:     &checked{guard: g, next: g.Transport(opts)},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// checked judges URLs where they are used: the rules may be stricter now than when one was entered.
type checked struct {
	guard *Guard
	next  *http.Transport
}

// RoundTrip sends the request if its URL is allowed.
func (c *checked) RoundTrip(request *http.Request) (*http.Response, error) {
	err := error(nil)
	if request.URL.User != nil {
		err = notAllowed(RuleUserinfo, "the endpoint has a user").Hinting("keys go into headers")
	} else {
		_, err = c.guard.checkHost(request.URL)
	}
	if err != nil {
		if request.Body != nil { // RoundTrip's contract
			err = errors.Join(err, request.Body.Close())
		}
		return nil, err
	}
	return c.next.RoundTrip(request)
}

// CloseIdleConnections closes what is not in use.
func (c *checked) CloseIdleConnections() { c.next.CloseIdleConnections() }

// dialPlain dials for plain http: an IP address that the operator has listed, and nothing else.
func (g *Guard) dialPlain(ctx context.Context, network, address string) (net.Conn, error) {
	if _, err := netip.ParseAddrPort(address); err != nil { // a name is not even resolved
		return nil, notAllowed(RuleHTTPS, "plain http is not possible with a name").Hinting("use https")
	}
	return g.dialer(false).DialContext(ctx, network, address)
}

func (g *Guard) dialTLS(ctx context.Context, network, address string, config *tls.Config) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	raw, err := g.connect(ctx, network, address)
	if err != nil {
		return nil, err
	}
	config = config.Clone()
	config.ServerName = host
	conn := tls.Client(raw, config)
	bounded, cancel := context.WithTimeout(ctx, tlsTimeout)
	defer cancel()
	if err := conn.HandshakeContext(bounded); err != nil {
		_ = raw.Close()
		return nil, err // bare, so that a timeout is seen to be one
	}
	return conn, nil
}

func (g *Guard) dialer(secure bool) *net.Dialer {
	return &net.Dialer{
		Timeout:  connectTimeout,
		Resolver: g.resolver,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 30 * time.Second, Interval: 15 * time.Second, Count: 4,
		},
		// Control runs for each address that a name has, after resolution and before the socket
		// connects: what it sees is what is dialled.
		Control: func(network, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil || network != "tcp4" && network != "tcp6" {
				return notAllowed(RuleAddress, "the endpoint is not on the internet")
			}
			return g.check(at, secure)
		},
	}
}
