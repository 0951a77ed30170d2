// Package egress is the only way out: to providers, and to whatever else a tenant may name.
//
// A Guard decides twice. CheckURL judges a URL where it is entered, and says which rule it breaks.
// The dialer judges the address that is really dialled, after name resolution and before a socket
// connects, so that no name, redirect, proxy or forgotten check leads to a private network, a
// metadata service or one of our own listeners. Private networks are opened by the operator alone,
// by prefix and port (--egress-allow), and never by an organization.
package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"code.dny.dev/ssrf"

	"github.com/claviger/claviger/pkg/fault"
)

// ErrNotAllowed means that an endpoint may not be called. Its fact "rule" is one of the Rules, its
// message says what is wrong with the endpoint, its hint what to do about it. The address that a
// name led to is in the cause only: a tenant is not told what our resolver knows.
var ErrNotAllowed = fault.New(fault.Invalid, "ENDPOINT_NOT_ALLOWED", "the endpoint is not allowed")

// Rule is what an endpoint can break.
type Rule string

// The rules.
const (
	RuleSyntax   Rule = "syntax"   // not a URL, or with characters that parsers disagree on
	RuleHTTPS    Rule = "https"    // plain http is for allowed addresses only
	RuleUserinfo Rule = "userinfo" // no user or password, no "@"
	RuleQuery    Rule = "query"    // no "?"
	RuleFragment Rule = "fragment" // no "#"
	RuleHost     Rule = "host"     // a public name in its usual form
	RulePort     Rule = "port"     // 443, or one that the operator has allowed
	RulePath     Rule = "path"     // plain segments
	RuleAddress  Rule = "address"  // public, or allowed by the operator
	RuleNever    Rule = "never"    // metadata services, our own listeners and the like
)

// publicPort is the only port that is open to public addresses.
const publicPort = 443

// Options are the operator's rules.
type Options struct {
	// Allow lists private networks that may be called, as "address:port" or "prefix/bits:port", IPv6
	// addresses in brackets. Only an address that is listed may be called without TLS.
	Allow []string
	// Deny are our own listeners, as they were bound. They are refused whatever is allowed. An
	// unspecified address stands for all addresses of this host.
	Deny []netip.AddrPort
	// Resolver resolves names; nil is the system's.
	Resolver *net.Resolver
}

// Guard keeps the rules. It is safe for concurrent use.
type Guard struct {
	allow    []opening
	deny     []netip.AddrPort
	resolver *net.Resolver
	port     uint16 // publicPort; tests cannot bind it
	// connect opens a connection for TLS to an address that is judged on the way; tests have no network that
	// is silent for five seconds of no time.
	connect func(ctx context.Context, network, address string) (net.Conn, error)
}

// opening is one entry of Options.Allow.
type opening struct {
	prefix netip.Prefix
	port   uint16
}

// New checks the options and tells all that is wrong with them.
func New(opts Options) (*Guard, error) {
	g := &Guard{resolver: opts.Resolver, port: publicPort}
	g.connect = func(ctx context.Context, network, address string) (net.Conn, error) {
		return g.dialer(true).DialContext(ctx, network, address)
	}
	var problems []error
	for _, text := range opts.Allow {
		o, err := parseOpening(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("egress allow %q: %w", text, err))
		}
		g.allow = append(g.allow, o)
	}
	for _, own := range opts.Deny {
		if !own.IsValid() || own.Port() == 0 {
			problems = append(problems, fmt.Errorf("egress deny %q: want the address and port that the listener is bound to", own))
		}
		g.deny = append(g.deny, netip.AddrPortFrom(own.Addr().Unmap().WithZone(""), own.Port()))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return g, nil
}

// parseOpening reads "10.0.0.5:8000", "10.0.0.0/8:8000", "[fd00::5]:8000" or "[fd00::/8]:8000".
func parseOpening(text string) (opening, error) {
	cut := strings.LastIndexByte(text, ':')
	if cut < 0 {
		return opening{}, errors.New(`want "address:port" or "prefix/bits:port"`)
	}
	port, err := strconv.ParseUint(text[cut+1:], 10, 16)
	if err != nil || port == 0 {
		return opening{}, errors.New(`want a port from 1 to 65535 at the end, as in "10.0.0.0/8:8000"`)
	}
	network, bracketed := strings.CutPrefix(text[:cut], "[")
	if bracketed {
		var closed bool
		if network, closed = strings.CutSuffix(network, "]"); !closed {
			return opening{}, errors.New("a bracket is not closed")
		}
	}
	var prefix netip.Prefix
	if strings.Contains(network, "/") {
		prefix, err = netip.ParsePrefix(network)
	} else {
		var addr netip.Addr
		addr, err = netip.ParseAddr(network)
		prefix = netip.PrefixFrom(addr.WithZone(""), addr.BitLen())
		if err == nil && addr.Zone() != "" {
			err = errors.New("a zone is not possible")
		}
	}
	switch {
	case err != nil:
		return opening{}, errors.New(`want an IP address or a prefix such as "10.0.0.0/8", not a name`)
	case prefix.Addr().Is4In6():
		return opening{}, errors.New("write the IPv4 address as such")
	case prefix.Addr().Is6() && !bracketed:
		return opening{}, errors.New(`write IPv6 in brackets, as in "[fd00::/8]:8000"`)
	case prefix.Masked() != prefix:
		return opening{}, fmt.Errorf("the prefix has bits beyond its length: did you mean %s", prefix.Masked())
	case prefix.Bits() == 0:
		return opening{}, errors.New("this would open every address")
	}
	return opening{prefix: prefix, port: uint16(port)}, nil
}

// allowed reports whether the operator has opened that address and port.
func (g *Guard) allowed(addr netip.AddrPort) bool {
	return slices.ContainsFunc(g.allow, func(o opening) bool {
		return o.port == addr.Port() && o.prefix.Contains(addr.Addr())
	})
}

// allowsPort reports whether the operator has opened that port of some address, so that a name may
// lead there.
func (g *Guard) allowsPort(port uint16) bool {
	return slices.ContainsFunc(g.allow, func(o opening) bool { return o.port == port })
}

// CheckAddr returns nil if that address may be dialled for TLS, else an ErrNotAllowed.
func (g *Guard) CheckAddr(addr netip.AddrPort) error { return g.check(addr, true) }

func (g *Guard) check(addr netip.AddrPort, secure bool) error {
	ip := addr.Addr()
	if ip.Zone() != "" {
		return never(addr, "it has a zone")
	}
	ip = ip.Unmap()
	addr = netip.AddrPortFrom(ip, addr.Port())
	if reason := neverCalled(ip); reason != "" {
		return never(addr, reason)
	}
	if own, err := g.own(addr); err != nil || own {
		return never(addr, "it is one of our own listeners").Because(errors.Join(err, fmt.Errorf("own listener %s", addr)))
	}
	if inner, ok := embedded(ip); ok { // a gateway takes what is sent there to the inner address
		if err := g.check(netip.AddrPortFrom(inner, addr.Port()), secure); err != nil {
			return err
		}
	}
	switch {
	case g.allowed(addr):
		return nil
	case !secure:
		return notAllowed(RuleHTTPS, "plain http is only for addresses that the operator has allowed").
			Hinting("use https, or " + askFor(addr)).Because(fmt.Errorf("plain http to %s", addr))
	case addr.Port() != g.port:
		return notAllowed(RulePort, "port %d is not open", addr.Port()).
			Hinting("use port 443, or " + askFor(addr)).Because(fmt.Errorf("dial %s", addr))
	case !public(ip):
		return notAllowed(RuleAddress, "the endpoint's address is not a public one").
			Hinting("an operator can open a private network with --egress-allow prefix/bits:port").Because(fmt.Errorf("dial %s", addr))
	}
	return nil
}

// own reports whether addr leads to one of our listeners.
func (g *Guard) own(addr netip.AddrPort) (bool, error) {
	for _, d := range g.deny {
		if d.Port() != addr.Port() {
			continue
		}
		if d.Addr() == addr.Addr() {
			return true, nil
		}
		if !d.Addr().IsUnspecified() {
			continue
		}
		if addr.Addr().IsLoopback() {
			return true, nil
		}
		// Asked each time, since addresses come and go; only calls to this very port get here.
		addrs, err := net.InterfaceAddrs()
		if err != nil {
			return false, fmt.Errorf("addresses of this host: %w", err)
		}
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Unmap() == addr.Addr() {
				return true, nil
			}
		}
	}
	return false, nil
}

// metadata are addresses where clouds hand out credentials to whoever asks from inside, besides
// the link-local ones. Some of them are public by the registries.
var metadata = []netip.Prefix{
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba Cloud
	netip.MustParsePrefix("192.0.0.192/32"),     // Oracle Cloud
	netip.MustParsePrefix("fd00:ec2::/32"),      // AWS
	netip.MustParsePrefix("fd20:ce::254/128"),   // Google Cloud
}

var thisNetwork = netip.MustParsePrefix("0.0.0.0/8") // Linux takes 0.0.0.0 for loopback

// neverCalled says why an address is refused whatever the operator has allowed, or nothing.
func neverCalled(ip netip.Addr) string {
	switch {
	case ip.IsLinkLocalUnicast():
		return "it is link-local, where metadata services are"
	case slices.ContainsFunc(metadata, func(p netip.Prefix) bool { return p.Contains(ip) }):
		return "it is a metadata service"
	case ip.IsUnspecified(), thisNetwork.Contains(ip), ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "it is not the address of one host"
	}
	return ""
}

var (
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")
	sixToFour  = netip.MustParsePrefix("2002::/16")
	compatible = netip.MustParsePrefix("::/96")
)

// embedded returns the IPv4 address inside an IPv6 one that gateways translate or tunnel.
func embedded(ip netip.Addr) (netip.Addr, bool) {
	bytes := ip.As16()
	switch {
	case !ip.Is6() || ip.IsLoopback():
		return netip.Addr{}, false
	case ssrf.IPv6NAT64Prefix.Contains(ip), nat64Local.Contains(ip), compatible.Contains(ip):
		return netip.AddrFrom4([4]byte(bytes[12:16])), true
	case sixToFour.Contains(ip):
		return netip.AddrFrom4([4]byte(bytes[2:6])), true
	}
	return netip.Addr{}, false
}

// public goes by the IANA special-purpose registries.
func public(ip netip.Addr) bool {
	contains := func(p netip.Prefix) bool { return p.Contains(ip) }
	if ip.Is4() {
		return !slices.ContainsFunc(ssrf.IPv4DeniedPrefixes, contains)
	}
	return ssrf.IPv6GlobalUnicast.Contains(ip) && !slices.ContainsFunc(ssrf.IPv6DeniedPrefixes, contains)
}

func notAllowed(rule Rule, format string, args ...any) *fault.Error {
	return ErrNotAllowed.With("rule", string(rule)).Saying(format, args...)
}

func never(addr netip.AddrPort, why string) *fault.Error {
	return notAllowed(RuleNever, "the endpoint's address is never called").
		Hinting("name the provider's public endpoint").Because(fmt.Errorf("dial %s: %s", addr, why))
}

// askFor names the option that would open addr.
func askFor(addr netip.AddrPort) string {
	return "ask the operator to start with --egress-allow " + addr.String()
}
