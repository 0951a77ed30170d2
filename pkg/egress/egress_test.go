package egress_test

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/egress"
	"github.com/claviger/claviger/pkg/fault"
)

func guard(t *testing.T, opts egress.Options) *egress.Guard {
	t.Helper()
	g, err := egress.New(opts)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return g
}

// wantRule fails unless err is a refusal by that rule that says what to do.
func wantRule(t *testing.T, call string, err error, want egress.Rule) {
	t.Helper()
	f, ok := fault.Of(err)
	if !ok || !errors.Is(err, egress.ErrNotAllowed) || f.Kind() != fault.Invalid {
		t.Errorf("%s: %v, want ErrNotAllowed", call, err)
		return
	}
	if got := f.Facts()["rule"]; got != string(want) {
		t.Errorf("%s: refused by rule %q (%v), want %q", call, got, err, want)
	}
	if f.Hint() == "" || f.Message() == "" {
		t.Errorf("%s: message %q, hint %q, want both", call, f.Message(), f.Hint())
	}
}

func TestOnlyPublicAddressesAreOpen(t *testing.T) {
	t.Parallel()
	g := guard(t, egress.Options{})
	for _, addr := range []string{
		"1.1.1.1", "8.8.8.8", "104.18.7.192", "172.15.255.255", "172.32.0.1", "192.167.255.255", "11.0.0.1",
		"2606:4700::6812:7c0", "2a00:1450:4001:80b::200e", "::ffff:1.1.1.1",
	} {
		if err := g.CheckAddr(netip.AddrPortFrom(netip.MustParseAddr(addr), 443)); err != nil {
			t.Errorf("CheckAddr(%s, 443): %v, want nil", addr, err)
		}
		wantRule(t, "CheckAddr("+addr+", 80)", g.CheckAddr(netip.AddrPortFrom(netip.MustParseAddr(addr), 80)), egress.RulePort)
	}
	for _, addr := range []string{
		"127.0.0.1", "127.1.2.3", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
		"192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "240.0.0.1",
		"::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fc00::1", "fd12:3456::1", "fec0::1", "2001:db8::1", "2001::1",
		"2002:7f00:1::1", "2002:808:808::1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b::808:808", "64:ff9b:1::a00:1",
		"::127.0.0.1", "::8.8.8.8", "100::1", "3fff::1", "4000::1",
	} {
		wantRule(t, "CheckAddr("+addr+")", g.CheckAddr(netip.AddrPortFrom(netip.MustParseAddr(addr), 443)), egress.RuleAddress)
	}
}

// never is refused although the operator has opened all there is.
var never = []string{
	"169.254.169.254", "169.254.170.2", "169.254.0.1", "168.63.129.16", "100.100.100.200", "192.0.0.192",
	"0.0.0.0", "0.1.2.3", "255.255.255.255", "224.0.0.1", "239.255.255.250",
	"::", "fe80::1", "fe80::a9fe:a9fe", "ff02::1", "fd00:ec2::254", "fd20:ce::254",
	"::ffff:169.254.169.254", "::ffff:0.0.0.0", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1", "::169.254.169.254",
	"fe80::1%lo", "fd12::1%eth0",
}

func TestMetadataServicesAreNeverCalled(t *testing.T) {
	t.Parallel()
	var all []string
	for _, half := range []string{"0.0.0.0/1", "128.0.0.0/1", "[::/1]", "[8000::/1]"} {
		all = append(all, half+":443", half+":80")
	}
	g := guard(t, egress.Options{Allow: all})
	if err := g.CheckAddr(netip.MustParseAddrPort("10.0.0.1:80")); err != nil {
		t.Fatalf("nothing is open: %v", err)
	}
	for _, addr := range never {
		for _, port := range []uint16{80, 443} {
			wantRule(t, "CheckAddr("+addr+")", g.CheckAddr(netip.AddrPortFrom(netip.MustParseAddr(addr), port)), egress.RuleNever)
		}
	}
}

func TestOperatorOpensByPrefixAndPort(t *testing.T) {
	t.Parallel()
	g := guard(t, egress.Options{Allow: []string{"10.1.0.0/16:8443", "127.0.0.1:9001", "[fd00:7::/32]:443", "[::1]:9001", "[64:ff9b::/96]:443"}})
	for addr, want := range map[string]egress.Rule{
		"10.1.2.3:8443": "", "10.1.255.255:8443": "", "127.0.0.1:9001": "", "[::ffff:10.1.2.3]:8443": "", "[fd00:7::1]:443": "", "[::1]:9001": "",
		"[64:ff9b::808:808]:443": "",
		"10.1.2.3:443":           egress.RuleAddress, "10.1.2.3:8444": egress.RulePort, "10.2.0.1:8443": egress.RulePort,
		"127.0.0.1:9002": egress.RulePort, "127.0.0.2:9001": egress.RulePort, "[fd00:8::1]:443": egress.RuleAddress, "8.8.8.8:8443": egress.RulePort,
		"[64:ff9b::a00:1]:443": egress.RuleAddress, "[64:ff9b::7f00:1]:443": egress.RuleAddress,
	} {
		err := g.CheckAddr(netip.MustParseAddrPort(addr))
		if want != "" {
			wantRule(t, "CheckAddr("+addr+")", err, want)
		} else if err != nil {
			t.Errorf("CheckAddr(%s): %v, want nil", addr, err)
		}
	}
}

func TestOwnListenersAreRefusedEvenIfAllowed(t *testing.T) {
	t.Parallel()
	g := guard(t, egress.Options{
		Allow: []string{"127.0.0.0/8:8080", "127.0.0.0/8:9090", "[::1]:8080", "[::1]:9090", "0.0.0.0/1:8080", "128.0.0.0/1:8080"},
		Deny: []netip.AddrPort{
			netip.MustParseAddrPort("[::]:8080"),               // everywhere
			netip.MustParseAddrPort("[::ffff:127.0.0.1]:9090"), // one address
		},
	})
	own := []string{"127.0.0.1:8080", "127.9.9.9:8080", "[::1]:8080", "[::ffff:127.0.0.1]:8080", "127.0.0.1:9090"}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() {
			own = append(own, netip.AddrPortFrom(prefix.Addr(), 8080).String())
		}
	}
	for _, addr := range own {
		wantRule(t, "CheckAddr("+addr+")", g.CheckAddr(netip.MustParseAddrPort(addr)), egress.RuleNever)
	}
	_, _, err = g.CheckURL("http://127.0.0.1:9090")
	wantRule(t, "CheckURL(own listener)", err, egress.RuleNever)
	for _, addr := range []string{"127.0.0.2:9090", "[::1]:9090", "10.77.77.77:8080"} {
		if err := g.CheckAddr(netip.MustParseAddrPort(addr)); err != nil {
			t.Errorf("CheckAddr(%s): %v, want nil: it is allowed and not ours", addr, err)
		}
	}
}

func TestBadOptionsAreAllTold(t *testing.T) {
	t.Parallel()
	bad := []string{
		"", "10.0.0.1", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:http", "localhost:80", "10.0.0.1/8:80", "10.0.0.0/33:80",
		"0.0.0.0/0:443", "[::/0]:443", "fd00::1:80", "fd00::/8:80", "[fd00::1:80", "[::ffff:10.0.0.1]:80", "[fe80::1%lo]:80", "*:80", ":80", "10.0.0.0/8", "010.0.0.1:80",
	}
	_, err := egress.New(egress.Options{Allow: bad, Deny: []netip.AddrPort{{}, netip.MustParseAddrPort("127.0.0.1:0")}})
	if err == nil {
		t.Fatal("New(bad options) worked")
	}
	if got := strings.Count(err.Error(), "\n") + 1; got != len(bad)+2 {
		t.Errorf("New(bad options) tells %d problems, want %d:\n%v", got, len(bad)+2, err)
	}
}
