package keys

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func TestTheLastAddressThatIsNoProxyIsTheClient(t *testing.T) {
	t.Parallel()
	proxies, err := proxiesOf([]string{"10.0.0.0/8", "192.0.2.1", "2001:db8:1::/48", "::ffff:192.0.2.2"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		peer  string
		lines []string
		want  string
	}{
		"through a proxy":             {"10.0.0.1:99", []string{"203.0.113.5"}, "203.0.113.5"},
		"through two":                 {"192.0.2.1:99", []string{"203.0.113.5, 10.0.0.2"}, "203.0.113.5"},
		"in two lines":                {"192.0.2.1:99", []string{"203.0.113.5", "10.0.0.2"}, "203.0.113.5"},
		"what stands before is spoof": {"10.0.0.1:99", []string{"10.0.0.7, 198.51.100.1, 203.0.113.5"}, "203.0.113.5"},
		"with a port":                 {"10.0.0.1:99", []string{"203.0.113.5:4711"}, "203.0.113.5"},
		"IPv6":                        {"[2001:db8:1::1]:99", []string{"2001:db8:2::5"}, "2001:db8:2::5"},
		"IPv6 in brackets":            {"10.0.0.1:99", []string{"[2001:db8:2::5]"}, "2001:db8:2::5"},
		"IPv6 with a port":            {"10.0.0.1:99", []string{"[2001:db8:2::5]:80"}, "2001:db8:2::5"},
		"IPv4 in IPv6":                {"[::ffff:10.0.0.1]:99", []string{"::ffff:203.0.113.5"}, "203.0.113.5"},
		"a listed address in IPv6":    {"192.0.2.2:99", []string{"203.0.113.5"}, "203.0.113.5"},
		"the proxy itself":            {"10.0.0.1:99", nil, "10.0.0.1"},
		"only proxies":                {"10.0.0.1:99", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		"rubbish is where it ends":    {"10.0.0.1:99", []string{"203.0.113.5, unknown, 10.0.0.2"}, "10.0.0.2"},
		"nothing but rubbish":         {"10.0.0.1:99", []string{"' OR 1=1"}, "10.0.0.1"},
		"not listed":                  {"198.51.100.9:99", []string{"203.0.113.5"}, "198.51.100.9"},
		"not listed, claims a proxy":  {"198.51.100.9:99", []string{"203.0.113.5, 10.0.0.2"}, "198.51.100.9"},
		"next to a listed one":        {"192.0.2.3:99", []string{"203.0.113.5"}, "192.0.2.3"},
		"an address that is no TCP's": {"@", []string{"203.0.113.5"}, ""},
	} {
		var got string
		h := forwarded(proxies, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr }))
		request := httptest.NewRequest(http.MethodPost, "/", nil)
		request.RemoteAddr = c.peer
		request.Header["X-Forwarded-For"] = c.lines
		h.ServeHTTP(httptest.NewRecorder(), request)
		at, _ := netip.ParseAddrPort(got)
		if want, _ := netip.ParseAddr(c.want); at.Addr().Unmap() != want {
			t.Errorf("%s: client = %s, want %s", name, got, c.want)
		}
	}
}

func TestASettingThatIsNoAddressIsNamed(t *testing.T) {
	t.Parallel()
	_, err := proxiesOf([]string{"10.0.0.1", "proxy.example", "10.0.0.0/33"})
	if err == nil || !strings.Contains(err.Error(), "trusted_proxies") || !strings.Contains(err.Error(), `"proxy.example", "10.0.0.0/33"`) {
		t.Errorf("error = %v, want both mistakes", err)
	}
}
