package egress

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/claviger/claviger/pkg/fault"
)

// maxURL bounds a base URL, in bytes.
const maxURL = 2048

// CheckURL judges the base URL of an endpoint, as a tenant enters it, and returns its origin, such
// as "https://llm.example:8443", and its one normal form: lower case, ASCII, no default port, no
// slash at the end. Both are stable: checking the normal form gives the same.
//
// The scheme is https. Plain http is accepted for an IP address in Options.Allow and nothing else: a
// name would have to be resolved to be judged, "localhost" too, and could lead elsewhere the next
// time. An IP address needs an entry in Options.Allow with https as well. A name may be on another
// port than 443, or have no public domain, only if the operator has opened that port of some private
// network; where it leads is then judged when it is dialled.
//
// The error is an ErrNotAllowed and quotes nothing but host and port: what else was entered may hold
// a secret.
func (g *Guard) CheckURL(raw string) (origin string, normalized *url.URL, err error) {
	if err := checkText(raw); err != nil {
		return "", nil, err
	}
	u, parseErr := url.Parse(raw)
	if parseErr != nil || u.Host == "" || u.Opaque != "" || u.User != nil { // its text would quote raw
		return "", nil, notAllowed(RuleSyntax, "the endpoint is not a URL").Hinting(example)
	}
	host, err := g.checkHost(u)
	if err != nil {
		return "", nil, err
	}
	path, err := checkPath(u.Path)
	if err != nil {
		return "", nil, err
	}
	normalized = &url.URL{Scheme: u.Scheme, Host: host, Path: path}
	return u.Scheme + "://" + host, normalized, nil
}

const example = "write it like https://llm.example/v1"

// checkText refuses what is plain from the characters. Some of them are legal in a URL, but parsers
// have disagreed about them before: "#" and "@" moved the host, "%" and "\" the path.
func checkText(raw string) error {
	switch {
	case raw == "" || len(raw) > maxURL || !utf8.ValidString(raw):
		return notAllowed(RuleSyntax, "the endpoint has 1 to %d bytes of UTF-8", maxURL).Hinting(example)
	case strings.Contains(raw, "#"):
		return notAllowed(RuleFragment, `the endpoint has a "#"`).Hinting(`leave out "#" and what follows it`)
	case strings.Contains(raw, "?"):
		return notAllowed(RuleQuery, `the endpoint has a "?"`).
			Hinting(`leave out "?" and what follows it; a key belongs into the secret, never into the URL`)
	case strings.Contains(raw, "@"):
		return notAllowed(RuleUserinfo, `the endpoint has an "@"`).
			Hinting("leave out user and password; a key belongs into the secret, never into the URL")
	}
	for _, r := range raw {
		if r == '\\' || r == '%' || r == '"' || r == '<' || r == '>' || unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return notAllowed(RuleSyntax, "the endpoint has a character that is not allowed").Hinting(example)
		}
	}
	return nil
}

// checkHost judges scheme, host and port, and returns host and port in normal form.
func (g *Guard) checkHost(u *url.URL) (string, error) {
	fallback := uint16(443)
	switch u.Scheme {
	case "https":
	case "http":
		fallback = 80
	default:
		return "", notAllowed(RuleHTTPS, "the endpoint does not begin with https://").Hinting(example)
	}
	port := fallback
	if text := u.Port(); text != "" {
		number, err := strconv.ParseUint(text, 10, 16)
		if err != nil || number == 0 {
			return "", notAllowed(RulePort, "the endpoint's port is not a number from 1 to 65535").Hinting(example)
		}
		port = uint16(number)
	}
	host, err := g.hostname(u.Scheme, u.Hostname(), port)
	if err != nil {
		return "", err
	}
	if port != fallback {
		host += ":" + strconv.Itoa(int(port))
	}
	return host, nil
}

// hostname judges an address or a name and returns it in normal form, IPv6 in brackets.
func (g *Guard) hostname(scheme, host string, port uint16) (string, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return g.literal(scheme, addr, port)
	}
	name, err := asciiName(host)
	if err != nil {
		return "", err
	}
	local := name == "localhost" || strings.HasSuffix(name, ".localhost")
	switch {
	case scheme == "http" && local:
		return "", notAllowed(RuleHTTPS, "plain http is not possible with the name %s", name).
			Hinting("write the address, as in http://127.0.0.1:" + strconv.Itoa(int(port)) +
				", and ask the operator to start with --egress-allow 127.0.0.1:" + strconv.Itoa(int(port)))
	case scheme == "http":
		return "", notAllowed(RuleHTTPS, "plain http is not possible with a name").
			Hinting("use https, or the IP address of a private host that the operator has opened with --egress-allow address:port")
	case local:
		return "", notAllowed(RuleHost, "%s is this host itself", name).
			Hinting("name the host, or write the address and ask the operator to start with --egress-allow 127.0.0.1:" + strconv.Itoa(int(port)))
	case g.allowsPort(port):
		return name, nil
	case port != g.port:
		return "", notAllowed(RulePort, "port %d is not open", port).
			Hinting("use port 443, or ask the operator to open it with --egress-allow prefix/bits:" + strconv.Itoa(int(port)))
	case private(name):
		return "", notAllowed(RuleHost, "%s is not a public name", name).
			Hinting("use a full name such as llm.example, or ask the operator to open the private network with --egress-allow prefix/bits:" + strconv.Itoa(int(port)))
	}
	return name, nil
}

func (g *Guard) literal(scheme string, addr netip.Addr, port uint16) (string, error) {
	at := netip.AddrPortFrom(addr.Unmap(), port)
	if err := g.check(at, scheme == "https"); err != nil {
		return "", err
	}
	if !g.allowed(at) {
		return "", notAllowed(RuleAddress, "an IP address is not possible in place of a name").
			Hinting("use the endpoint's name, or " + askFor(at))
	}
	if at.Addr().Is6() {
		return "[" + at.Addr().String() + "]", nil
	}
	return at.Addr().String(), nil
}

// names maps as browsers do (UTS 46) and takes what may be a host name on the internet.
var names = idna.New(
	idna.MapForLookup(),
	idna.Transitional(false),
	idna.StrictDomainName(true),
	idna.ValidateLabels(true),
	idna.CheckHyphens(false), // "r3---sn-…" is in use
	idna.CheckJoiners(true),
	idna.BidiRule(),
	idna.VerifyDNSLength(true),
)

// asciiName returns a name in lower-case ASCII.
func asciiName(host string) (string, error) {
	name, err := names.ToASCII(host)
	if err != nil || !plainName(name) {
		return "", notAllowed(RuleHost, "the endpoint's host is not a name").Hinting(example)
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	if number(last) { // 2130706433, 0x7f.1 and 127.1 are 127.0.0.1 to some resolvers
		return "", notAllowed(RuleHost, "the endpoint's host is a number").
			Hinting("use the endpoint's name; an address is written as in 10.1.2.3 and has to be opened by the operator with --egress-allow")
	}
	return name, nil
}

func plainName(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

// number reports whether a label is one that the inet_aton of some systems takes.
func number(label string) bool {
	if strings.Trim(label, "0123456789") == "" {
		return true
	}
	digits, ok := strings.CutPrefix(label, "0x")
	return ok && strings.Trim(digits, "0123456789abcdef") == ""
}

// private reports whether a name cannot be resolved on the internet.
func private(name string) bool {
	if !strings.Contains(name, ".") {
		return true
	}
	for _, suffix := range []string{".internal", ".local", ".lan", ".home.arpa", ".intranet"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// checkPath takes plain segments, so that a path that we append stays below it, and returns them
// without the slash at the end.
func checkPath(path string) (string, error) {
	path = strings.TrimSuffix(path, "/")
	if path == "" {
		return "", nil
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		plain := strings.IndexFunc(segment, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~:+=,", r)
		}) < 0
		if segment == "" || segment == "." || segment == ".." || !plain {
			return "", badPath()
		}
	}
	return path, nil
}

func badPath() *fault.Error {
	return notAllowed(RulePath, "the endpoint's path is not plain").
		Hinting(`use letters, digits and -._~:+=, between single slashes, without "." and ".."`)
}
