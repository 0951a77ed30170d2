package egress_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/claviger/claviger/pkg/egress"
)

// trap is a listener on IPv4 and IPv6 loopback, on one port, that counts who connects.
type trap struct {
	port     uint16
	accepted atomic.Int32
}

func newTrap(t *testing.T) *trap {
	t.Helper()
	four, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	trapped := &trap{port: netip.MustParseAddrPort(four.Addr().String()).Port()}
	listeners := []net.Listener{four}
	// Where the port is taken or there is no IPv6, what is sent to ::1 has nowhere to go.
	if six, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp6", fmt.Sprintf("[::1]:%d", trapped.port)); err == nil {
		listeners = append(listeners, six)
	}
	for _, l := range listeners {
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				trapped.accepted.Add(1)
				_ = conn.Close()
			}
		}()
	}
	return trapped
}

// resolver answers every question by answer, without a network.
func resolver(answer func(name string) []netip.Addr) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer func() { _ = server.Close() }()
			for {
				var length [2]byte
				if _, err := io.ReadFull(server, length[:]); err != nil {
					return
				}
				question := make([]byte, binary.BigEndian.Uint16(length[:]))
				if _, err := io.ReadFull(server, question); err != nil {
					return
				}
				reply, err := answerDNS(question, answer)
				if err != nil {
					return
				}
				if _, err := server.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
					return
				}
			}
		}()
		return client, nil
	}}
}

func answerDNS(question []byte, answer func(name string) []netip.Addr) ([]byte, error) {
	var message dnsmessage.Message
	if err := message.Unpack(question); err != nil {
		return nil, err
	}
	q := message.Questions[0]
	message.Response, message.Additionals = true, nil
	for _, addr := range answer(strings.TrimSuffix(q.Name.String(), ".")) {
		header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
		switch {
		case q.Type == dnsmessage.TypeA && addr.Is4():
			message.Answers = append(message.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: addr.As4()}})
		case q.Type == dnsmessage.TypeAAAA && addr.Is6():
			message.Answers = append(message.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
		}
	}
	return message.Pack()
}

func always(addrs ...string) func(string) []netip.Addr {
	var parsed []netip.Addr
	for _, a := range addrs {
		parsed = append(parsed, netip.MustParseAddr(a))
	}
	return func(string) []netip.Addr { return parsed }
}

// hosts are what an attacker would write to reach this host, a private network or a metadata
// service; the port is added.
var hosts = []string{
	"127.0.0.1", "127.0.0.2", "127.255.255.254", "127.1", "127.0.1", "0", "0.0.0.0", "0.0.0.1",
	"2130706433", "0x7f000001", "0x7F.0x0.0x0.0x1", "017700000001", "0177.0.0.1", "0177.0.0.01", "127.0.0.1.", "127.0.0.0x1",
	"localhost", "LOCALHOST", "localhost.", "a.localhost", "localhost.localdomain", "ip6-localhost",
	"10.0.0.1", "10.255.255.254", "172.16.0.1", "172.31.255.254", "192.168.0.1", "192.168.1.254", "100.64.0.1", "198.18.0.1", "192.0.2.1", "203.0.113.9", "240.0.0.1",
	"169.254.169.254", "169.254.170.2", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "100.100.100.200", "168.63.129.16", "192.0.0.192",
	"224.0.0.1", "255.255.255.255",
	"[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:169.254.169.254]", "[::ffff:10.0.0.1]", "[::127.0.0.1]",
	"[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::1]", "[2002:a9fe:a9fe::1]",
	"[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "[fd20:ce::254]", "[ff02::1]", "[2001:db8::1]", "[2001::1]", "[100::1]",
	"metadata.google.internal", "metadata", "instance-data", "kubernetes.default.svc", "db.internal", "router.local",
	"public.example", "127.0.0.1.nip.example", "10-0-0-1.sslip.example", "xn--bcher-kva.example", "a.b.c.example",
	"１２７.０.０.１", "①②⑦.⓪.⓪.①", "127。0。0。1", "ｌｏｃａｌｈｏｓｔ",
}

// urls puts a host into each form of URL that has moved a request elsewhere somewhere.
func urls(host string, port uint16) []string {
	at := fmt.Sprintf("%s:%d", host, port)
	return []string{
		"https://" + at, "https://" + at + "/v1", "http://" + at, "https://public.example@" + at, "https://" + at + "#public.example",
		"https://" + at + "?public.example", "https://" + at + "/..;/x", "https://user:pass@" + at, "https://" + at + "\\@public.example",
	}
}

// TestNoWrittenHostOpensASocket tries every host in every form on three levels: by the rules for
// what is entered; by the client, as if it had been entered under other rules; and by the bare
// transport, as if every check but the dialer's had been forgotten. Every name leads to the trap.
func TestNoWrittenHostOpensASocket(t *testing.T) {
	t.Parallel()
	if len(hosts) < 60 {
		t.Fatalf("only %d hosts", len(hosts))
	}
	sprung := newTrap(t)
	g := guard(t, egress.Options{Resolver: resolver(always("127.0.0.1", "::1"))})
	g.OpenPort(sprung.port) // so that nothing but the address can be the reason
	client, transport := g.Client(egress.TransportOptions{}), g.Transport(egress.TransportOptions{})
	entered := 0
	for _, host := range hosts {
		for _, raw := range urls(host, sprung.port) {
			if _, u, err := g.CheckURL(raw); err == nil {
				entered++
				if u.Port() == "" || strings.Trim(u.Hostname(), "0123456789.") == "" {
					t.Errorf("CheckURL(%q) = %s", raw, u)
				}
			}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, raw, strings.NewReader("secret"))
			if err != nil {
				continue // no URL for net/http either
			}
			response, err := client.Do(request)
			wantRefused(t, "client to "+raw, response, err)
			request.Body = io.NopCloser(strings.NewReader("secret"))
			response, err = transport.RoundTrip(request)
			wantRefused(t, "transport to "+raw, response, err)
			// A guard that lets the first host through, which is this one, must not make this test
			// knock at all the others.
			if t.Failed() || sprung.accepted.Load() > 0 {
				t.Fatalf("stopped at %s after %d connections to the trap", raw, sprung.accepted.Load())
			}
		}
	}
	if entered == 0 {
		t.Error("no name passed CheckURL, so that the dialer was not put to the test")
	}
	if n := sprung.accepted.Load(); n != 0 {
		t.Errorf("%d connections reached the trap", n)
	}
}

// wantRefused wants an error, and of a request that got as far as an address, ErrNotAllowed: any other
// would mean that a socket was tried.
func wantRefused(t *testing.T, what string, response *http.Response, err error) {
	t.Helper()
	if err == nil {
		_ = response.Body.Close()
		t.Errorf("%s: answered %s", what, response.Status)
		return
	}
	_, unresolved := errors.AsType[*net.DNSError](err)
	if dial, ok := errors.AsType[*net.OpError](err); ok && !unresolved && !errors.Is(err, egress.ErrNotAllowed) {
		t.Errorf("%s: a socket was tried: %v", what, dial)
	}
}

func TestTrapCatchesWhatIsAllowed(t *testing.T) {
	t.Parallel()
	sprung := newTrap(t)
	g := guard(t, egress.Options{Allow: []string{fmt.Sprintf("127.0.0.1:%d", sprung.port)}, Resolver: resolver(always("127.0.0.1"))})
	for _, raw := range []string{fmt.Sprintf("http://127.0.0.1:%d", sprung.port), fmt.Sprintf("https://public.example:%d", sprung.port)} {
		before := sprung.accepted.Load()
		_, err := get(t, g.Client(egress.TransportOptions{}), raw)
		if err == nil || errors.Is(err, egress.ErrNotAllowed) || sprung.accepted.Load() == before {
			t.Errorf("GET %s: %v, %d connections, want the trap to be reached", raw, err, sprung.accepted.Load()-before)
		}
	}
}

// get returns the status of the answer.
func get(t *testing.T, client *http.Client, raw string) (status int, err error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

func TestEveryAddressOfANameIsJudged(t *testing.T) {
	t.Parallel()
	sprung := newTrap(t)
	for _, addrs := range [][]string{
		{"127.0.0.1"},
		{"::1"},
		{"127.0.0.1", "::1"},
		{"10.0.0.1", "127.0.0.1"},
		{"169.254.169.254", "127.0.0.1"},
		{"0.0.0.0"},
		{"::"},
		{"::ffff:127.0.0.1"},
		{"64:ff9b::7f00:1", "127.0.0.1"},
		{"fe80::1", "fd00::1", "127.0.0.1"},
	} {
		g := guard(t, egress.Options{Resolver: resolver(always(addrs...))})
		g.OpenPort(sprung.port)
		_, err := get(t, g.Client(egress.TransportOptions{}), fmt.Sprintf("https://public.example:%d", sprung.port))
		if !errors.Is(err, egress.ErrNotAllowed) {
			t.Fatalf("name with %v: %v, want ErrNotAllowed", addrs, err) // before it knocks elsewhere
		}
	}
	if n := sprung.accepted.Load(); n != 0 {
		t.Errorf("%d connections reached the trap", n)
	}
}

func TestRebindingNameIsRefusedWhenDialled(t *testing.T) {
	t.Parallel()
	sprung := newTrap(t)
	var rebound atomic.Bool
	names := resolver(func(string) []netip.Addr {
		if rebound.Load() {
			return always("127.0.0.1")("")
		}
		return always("8.8.8.8")("")
	})
	g := guard(t, egress.Options{Resolver: names})
	g.OpenPort(sprung.port)
	raw := fmt.Sprintf("https://rebind.example:%d", sprung.port)
	if _, _, err := g.CheckURL(raw); err != nil {
		t.Fatalf("CheckURL: %v", err)
	}
	// Somebody looks first, and finds a public address …
	seen, err := names.LookupNetIP(t.Context(), "ip4", "rebind.example")
	if err != nil || len(seen) != 1 || g.CheckAddr(netip.AddrPortFrom(seen[0], sprung.port)) != nil {
		t.Fatalf("LookupNetIP = %v, %v, want a public address", seen, err)
	}
	rebound.Store(true) // … and the next answer is another.
	_, err = get(t, g.Client(egress.TransportOptions{}), raw)
	if !errors.Is(err, egress.ErrNotAllowed) || sprung.accepted.Load() != 0 {
		t.Errorf("GET after rebinding: %v, %d connections, want ErrNotAllowed and none", err, sprung.accepted.Load())
	}
	if strings.Contains(egress.ErrNotAllowed.Message(), "127") {
		t.Error("the message tells the address")
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	sprung := newTrap(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{"http://127.0.0.1", "https://127.0.0.1", "https://public.example", "//127.0.0.1", "http://[::1]"} {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", fmt.Sprintf("%s:%d/", location, sprung.port))
				w.WriteHeader(status)
			}))
			address := server.Listener.Addr().String()
			// The trap itself is allowed: only that nobody follows keeps it untouched.
			g := guard(t, egress.Options{Allow: []string{address, fmt.Sprintf("127.0.0.1:%d", sprung.port)}, Resolver: resolver(always("127.0.0.1"))})
			got, err := get(t, g.Client(egress.TransportOptions{}), "http://"+address)
			if err != nil || got != status {
				t.Errorf("GET with %d to %s: %d, %v, want the response itself", status, location, got, err)
			}
			server.Close()
		}
	}
	if n := sprung.accepted.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

func TestProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	sprung := newTrap(t)
	proxy := fmt.Sprintf("http://127.0.0.1:%d", sprung.port)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, proxy)
	}
	t.Setenv("NO_PROXY", "")
	t.Setenv("no_proxy", "")
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "direct") }))
	defer server.Close()
	address := server.Listener.Addr().String()
	port := netip.MustParseAddrPort(address).Port()
	g := guard(t, egress.Options{Allow: []string{address}, Resolver: resolver(always("127.0.0.1"))})
	opts := egress.TransportOptions{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs} //nolint:errcheck // httptest's own
	if proxied := g.Transport(opts).Proxy; proxied != nil {
		t.Error("Transport has a proxy function")
	}
	// "example.com" is in httptest's certificate and, unlike loopback, is sent to proxies.
	status, err := get(t, g.Client(opts), fmt.Sprintf("https://example.com:%d", port))
	if err != nil || status != http.StatusOK {
		t.Errorf("GET: %d, %v, want the server itself", status, err)
	}
	if n := sprung.accepted.Load(); n != 0 {
		t.Errorf("%d connections went to the proxy", n)
	}
}

func TestClientJudgesURLsBeforeItLooksUpAName(t *testing.T) {
	t.Parallel()
	var lookups atomic.Int32
	g := guard(t, egress.Options{Resolver: resolver(func(string) []netip.Addr { lookups.Add(1); return nil })})
	client := g.Client(egress.TransportOptions{})
	for raw, want := range map[string]egress.Rule{
		"https://user:pass@llm.example/v1": egress.RuleUserinfo, "http://llm.example": egress.RuleHTTPS, "https://localhost": egress.RuleHost,
		"https://2130706433": egress.RuleHost, "https://llm.example:22": egress.RulePort, "https://10.0.0.1": egress.RuleAddress, "https://db.internal": egress.RuleHost,
	} {
		_, err := get(t, client, raw)
		wantRule(t, "GET "+raw, err, want)
	}
	if n := lookups.Load(); n != 0 {
		t.Errorf("%d names were looked up", n)
	}
	if _, err := get(t, client, "https://llm.example/v1?alt=sse"); errors.Is(err, egress.ErrNotAllowed) || lookups.Load() == 0 {
		t.Errorf("GET with a query of ours: %v, want it to get as far as the name", err)
	}
}

func TestPlainHTTPIsDialledToListedAddressesOnly(t *testing.T) {
	t.Parallel()
	sprung := newTrap(t)
	// Loopback is open for TLS by port and for plain http by listing; here only another address is listed.
	g := guard(t, egress.Options{Allow: []string{fmt.Sprintf("10.9.9.9:%d", sprung.port)}, Resolver: resolver(always("127.0.0.1"))})
	g.OpenPort(sprung.port)
	transport := g.Transport(egress.TransportOptions{})
	for _, host := range []string{"127.0.0.1", "[::1]", "public.example", "localhost"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://%s:%d", host, sprung.port), nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := transport.RoundTrip(request)
		if err == nil {
			_ = response.Body.Close()
		}
		wantRule(t, "plain http to "+host, err, egress.RuleHTTPS)
	}
	if n := sprung.accepted.Load(); n != 0 {
		t.Errorf("%d connections reached the trap", n)
	}
}

func TestOwnListenerIsNotReachedThroughAName(t *testing.T) {
	t.Parallel()
	sprung := newTrap(t)
	own := netip.AddrPortFrom(netip.IPv4Unspecified(), sprung.port)
	g := guard(t, egress.Options{
		Allow: []string{fmt.Sprintf("127.0.0.0/8:%d", sprung.port), fmt.Sprintf("[::1]:%d", sprung.port)}, Deny: []netip.AddrPort{own},
		Resolver: resolver(always("127.0.0.1", "::1", "127.0.0.2")),
	})
	_, err := get(t, g.Client(egress.TransportOptions{}), fmt.Sprintf("https://public.example:%d", sprung.port))
	wantRule(t, "GET through a name", err, egress.RuleNever)
	_, err = get(t, g.Client(egress.TransportOptions{}), fmt.Sprintf("http://127.0.0.1:%d", sprung.port))
	wantRule(t, "GET by address", err, egress.RuleNever)
	if n := sprung.accepted.Load(); n != 0 {
		t.Errorf("%d connections reached our own listener", n)
	}
}

func TestCertificateIsOfTheName(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	address := server.Listener.Addr().String()
	port := netip.MustParseAddrPort(address).Port()
	g := guard(t, egress.Options{Allow: []string{address}, Resolver: resolver(always("127.0.0.1"))})
	opts := egress.TransportOptions{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs} //nolint:errcheck // httptest's own
	_, err := get(t, g.Client(opts), fmt.Sprintf("https://other.test:%d", port))
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
		t.Errorf("GET with another name: %v, want a certificate error", err)
	}
	_, err = get(t, g.Client(egress.TransportOptions{}), fmt.Sprintf("https://example.com:%d", port))
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
		t.Errorf("GET with an unknown authority: %v, want a certificate error", err)
	}
}

func TestStreamsShareAnHTTP2Connection(t *testing.T) {
	t.Parallel()
	const streams = 200 // below the limit of 250 that the server sets for one connection
	var open, connections atomic.Int32
	all := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 || r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("request is %s with Accept-Encoding %q, want HTTP/2 and none", r.Proto, r.Header.Get("Accept-Encoding"))
		}
		w.WriteHeader(http.StatusOK)
		if r.Method == http.MethodHead {
			return
		}
		_ = http.NewResponseController(w).Flush()
		if open.Add(1) == streams {
			close(all)
		}
		select {
		case <-all:
			_, _ = io.WriteString(w, "data: done\n\n")
		case <-r.Context().Done():
		}
	}))
	server.EnableHTTP2 = true
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	address := server.Listener.Addr().String()
	g := guard(t, egress.Options{Allow: []string{address}})
	client := g.Client(egress.TransportOptions{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}) //nolint:errcheck // httptest's own
	t.Cleanup(client.CloseIdleConnections)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	// Until a first answer has told that the host speaks HTTP/2, each call dials for itself.
	warm, err := http.NewRequestWithContext(ctx, http.MethodHead, "https://"+address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := client.Do(warm); err != nil || response.Body.Close() != nil {
		t.Fatalf("first call: %v", err)
	}
	ended := make(chan error, streams)
	for range streams {
		go func() {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address, nil)
			if err != nil {
				ended <- err
				return
			}
			response, err := client.Do(request)
			if err == nil {
				_, err = io.Copy(io.Discard, response.Body)
				err = errors.Join(err, response.Body.Close())
			}
			ended <- err
		}()
	}
	for range streams {
		if err := <-ended; err != nil {
			t.Fatalf("stream: %v", err)
		}
	}
	if n := connections.Load(); n > 2 {
		t.Errorf("%d streams took %d connections", streams, n)
	}
}

func TestHeaderTimeoutIsTheCallers(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	address := server.Listener.Addr().String()
	g := guard(t, egress.Options{Allow: []string{address}})
	_, err := get(t, g.Client(egress.TransportOptions{ResponseHeaderTimeout: 50 * time.Millisecond}), "http://"+address)
	if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
		t.Errorf("GET: %v, want a timeout", err)
	}
	if d := g.Transport(egress.TransportOptions{}).ResponseHeaderTimeout; d != 0 {
		t.Errorf("default header timeout is %s, want none", d)
	}
}
