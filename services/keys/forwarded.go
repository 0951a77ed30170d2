package keys

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// proxiesOf reads the setting trusted_proxies and tells all that is wrong with it.
func proxiesOf(texts []string) ([]netip.Prefix, error) {
	var proxies []netip.Prefix
	var wrong []string
	for _, text := range texts {
		if addr, err := netip.ParseAddr(text); err == nil {
			addr = addr.Unmap()
			proxies = append(proxies, netip.PrefixFrom(addr, addr.BitLen()))
		} else if prefix, err := netip.ParsePrefix(text); err == nil {
			proxies = append(proxies, prefix.Masked())
		} else {
			wrong = append(wrong, fmt.Sprintf("%q", text))
		}
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("trusted_proxies: no address such as 10.0.0.7 and no network such as 10.0.0.0/24: %s", strings.Join(wrong, ", "))
	}
	return proxies, nil
}

// forwarded makes the client's address the remote address of calls that come through one of proxies.
// Everybody else's X-Forwarded-For is what anybody can write, and is not read.
func forwarded(proxies []netip.Prefix, next http.Handler) http.Handler {
	if len(proxies) == 0 {
		return next
	}
	trusted := func(addr netip.Addr) bool {
		return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !trusted(peer.Addr().Unmap()) {
			next.ServeHTTP(w, r)
			return
		}
		from := *r
		from.RemoteAddr = netip.AddrPortFrom(client(peer.Addr().Unmap(), r.Header.Values("X-Forwarded-For"), trusted), 0).String()
		next.ServeHTTP(w, &from)
	})
}

// client goes through the list from its end, where each proxy has put who called it, up to the first
// address that is no proxy of ours: what stands before it is hearsay.
func client(peer netip.Addr, lines []string, trusted func(netip.Addr) bool) netip.Addr {
	for _, hop := range slices.Backward(strings.Split(strings.Join(lines, ","), ",")) {
		addr, ok := hopAddr(strings.TrimSpace(hop))
		if !ok {
			return peer
		}
		if peer = addr; !trusted(addr) {
			return peer
		}
	}
	return peer
}

// hopAddr reads an address with or without a port.
func hopAddr(text string) (netip.Addr, bool) {
	if at, err := netip.ParseAddrPort(text); err == nil {
		return at.Addr().Unmap(), true
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return addr.Unmap().WithZone(""), err == nil
}
