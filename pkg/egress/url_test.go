package egress_test

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/egress"
	"github.com/claviger/claviger/pkg/fault"
)

func TestGoodURLsHaveOneForm(t *testing.T) {
	t.Parallel()
	g := guard(t, egress.Options{Allow: []string{"127.0.0.1:9001", "10.0.0.0/8:80", "10.0.0.0/8:8443", "[fd00::5]:8000"}})
	for raw, want := range map[string][2]string{ // origin, normal form
		"https://llm.example":                     {"https://llm.example", "https://llm.example"},
		"https://llm.example/":                    {"https://llm.example", "https://llm.example"},
		"HTTPS://LLM.Example:443/v1/":             {"https://llm.example", "https://llm.example/v1"},
		"https://llm.example:0443/v1":             {"https://llm.example", "https://llm.example/v1"},
		"https://llm.example:/v1":                 {"https://llm.example", "https://llm.example/v1"},
		"https://Llm.example/OpenAI/v1":           {"https://llm.example", "https://llm.example/OpenAI/v1"},
		"https://llm.example:8443":                {"https://llm.example:8443", "https://llm.example:8443"},
		"https://vllm:8443/v1":                    {"https://vllm:8443", "https://vllm:8443/v1"},
		"https://bücher.example/a-b_c.d~e:f":      {"https://xn--bcher-kva.example", "https://xn--bcher-kva.example/a-b_c.d~e:f"},
		"https://ＬＬＭ。example":                     {"https://llm.example", "https://llm.example"},
		"https://r3---sn-x.example":               {"https://r3---sn-x.example", "https://r3---sn-x.example"},
		"http://127.0.0.1:9001":                   {"http://127.0.0.1:9001", "http://127.0.0.1:9001"},
		"http://10.1.2.3:80/v1":                   {"http://10.1.2.3", "http://10.1.2.3/v1"},
		"http://[::ffff:10.1.2.3]":                {"http://10.1.2.3", "http://10.1.2.3"},
		"https://10.1.2.3:8443":                   {"https://10.1.2.3:8443", "https://10.1.2.3:8443"},
		"http://[FD00:0::5]:8000/v1":              {"http://[fd00::5]:8000", "http://[fd00::5]:8000/v1"},
		"https://my-resource.openai.azure.com":    {"https://my-resource.openai.azure.com", "https://my-resource.openai.azure.com"},
		"https://a.b.c.d.e.example/v1/acct+1=2,3": {"https://a.b.c.d.e.example", "https://a.b.c.d.e.example/v1/acct+1=2,3"},
	} {
		origin, normalized, err := g.CheckURL(raw)
		if err != nil {
			t.Errorf("CheckURL(%q): %v", raw, err)
			continue
		}
		if got := [2]string{origin, normalized.String()}; got != want {
			t.Errorf("CheckURL(%q) = %q, want %q", raw, got, want)
		}
	}
}

// badURLs are refused by a guard that has opened 127.0.0.1:9001 and 10.0.0.0/8:8443.
var badURLs = map[string]egress.Rule{
	// not URLs
	"": egress.RuleSyntax, " https://llm.example": egress.RuleSyntax, "https://llm.example ": egress.RuleSyntax, "https://": egress.RuleSyntax,
	"https:llm.example": egress.RuleSyntax, "https:/llm.example": egress.RuleSyntax, "https://llm.exa\tmple": egress.RuleSyntax,
	"https://llm.example\r\nHost: x": egress.RuleSyntax, "https://llm.example\x00.evil.example": egress.RuleSyntax, `https://llm.example\.evil.example`: egress.RuleSyntax,
	`https:\\llm.example`: egress.RuleSyntax, "https://llm.example/%2e%2e/x": egress.RuleSyntax, "https://llm%2eexample": egress.RuleSyntax,
	"https://%31%32%37.0.0.1": egress.RuleSyntax, "https://[::1": egress.RuleSyntax, "https://llm.example:port": egress.RuleSyntax,
	"https://llm\u200b.example": egress.RuleSyntax, "https://\xff.example": egress.RuleSyntax, "https://" + strings.Repeat("a", 2048): egress.RuleSyntax,
	// schemes
	"llm.example": egress.RuleSyntax, "//llm.example": egress.RuleHTTPS, "ftp://llm.example": egress.RuleHTTPS, "file://llm.example/etc/passwd": egress.RuleHTTPS,
	"gopher://127.0.0.1:9001": egress.RuleHTTPS, "http://llm.example": egress.RuleHTTPS, "http://8.8.8.8": egress.RuleHTTPS,
	"http://localhost:9001": egress.RuleHTTPS, "http://LOCALHOST:9001": egress.RuleHTTPS, "http://a.localhost:9001": egress.RuleHTTPS,
	"http://127.0.0.1:9002": egress.RuleHTTPS, "http://127.0.0.1": egress.RuleHTTPS, "http://10.0.0.1:8442": egress.RuleHTTPS, "http://vllm:8443": egress.RuleHTTPS,
	// what moves the host or carries a secret
	"https://user@llm.example": egress.RuleUserinfo, "https://user:pass@llm.example": egress.RuleUserinfo, "https://llm.example@127.0.0.1": egress.RuleUserinfo,
	"https://@llm.example": egress.RuleUserinfo, "https://llm.example/@evil": egress.RuleUserinfo, "https://llm.example?key=s": egress.RuleQuery,
	"https://llm.example/?": egress.RuleQuery, "https://llm.example#": egress.RuleFragment, "https://evil.example#.openai.azure.com": egress.RuleFragment,
	"https://evil.example?.openai.azure.com": egress.RuleQuery, "https://x#@llm.example": egress.RuleFragment,
	// hosts
	"https://localhost": egress.RuleHost, "https://x.localhost": egress.RuleHost, "https://localhost:8443": egress.RuleHost, "https://ｌｏｃａｌｈｏｓｔ": egress.RuleHost,
	"https://vllm": egress.RuleHost, "https://metadata": egress.RuleHost, "https://metadata.google.internal": egress.RuleHost, "https://printer.local": egress.RuleHost,
	"https://llm.example.": egress.RuleHost, "https://.llm.example": egress.RuleHost, "https://llm..example": egress.RuleHost, "https://-llm.example": egress.RuleHost,
	"https://llm_1.example": egress.RuleHost, "https://llm,example": egress.RuleHost, "https://llm!.example": egress.RuleHost, "https://*.example": egress.RuleHost,
	"https://xn--a.example": egress.RuleHost, "https://" + strings.Repeat("a", 64) + ".example": egress.RuleHost, "https://" + strings.Repeat("a.", 127) + "example": egress.RuleHost,
	// addresses in every form that some resolver takes
	"https://2130706433": egress.RuleHost, "https://0x7f000001": egress.RuleHost, "https://017700000001": egress.RuleHost, "https://0x7f.0.0.1": egress.RuleHost,
	"https://0177.0.0.1": egress.RuleHost, "https://127.1": egress.RuleHost, "https://127.0.1": egress.RuleHost, "https://127.0.0.0x1": egress.RuleHost,
	"https://127.0.0.1.": egress.RuleHost, "https://127.0.0.01": egress.RuleHost, "https://0": egress.RuleHost, "https://0x": egress.RuleHost, "https://256.256.256.256": egress.RuleHost,
	"https://①②⑦.⓪.⓪.①": egress.RuleHost, "https://１２７.0.0.1": egress.RuleHost, "https://127。0。0。1": egress.RuleHost, "https://1.2.3.4.5": egress.RuleHost,
	"https://127.0.0.1": egress.RuleAddress, "https://10.0.0.1": egress.RuleAddress, "https://192.168.0.1": egress.RuleAddress, "https://8.8.8.8": egress.RuleAddress,
	"https://[::1]": egress.RuleAddress, "https://[::ffff:127.0.0.1]": egress.RuleAddress, "https://[64:ff9b::7f00:1]": egress.RuleAddress, "https://[2606:4700::1]": egress.RuleAddress,
	"https://[::ffff:7f00:1]": egress.RuleAddress, "https://[fc00::1]": egress.RuleAddress, "https://[2002:7f00:1::]": egress.RuleAddress,
	"https://169.254.169.254": egress.RuleNever, "https://[fd00:ec2::254]": egress.RuleNever, "https://0.0.0.0": egress.RuleNever, "https://[::]": egress.RuleNever,
	"http://169.254.169.254": egress.RuleNever, "http://100.100.100.200": egress.RuleNever, "https://168.63.129.16": egress.RuleNever,
	// ports
	"https://llm.example:80": egress.RulePort, "https://llm.example:22": egress.RulePort, "https://llm.example:0": egress.RulePort, "https://llm.example:65979": egress.RulePort,
	"https://llm.example:99999999999999999999": egress.RulePort, "https://127.0.0.1:22": egress.RulePort, "https://8.8.8.8:53": egress.RulePort,
	// paths
	"https://llm.example//v1": egress.RulePath, "https://llm.example/..": egress.RulePath, "https://llm.example/v1/../../x": egress.RulePath, "https://llm.example/./x": egress.RulePath,
	"https://llm.example/v1//": egress.RulePath, "https://llm.example/v1;x": egress.RulePath, "https://llm.example/{x}": egress.RulePath, "https://llm.example/é": egress.RulePath,
}

func TestBadURLsAreRefusedByTheRuleTheyBreak(t *testing.T) {
	t.Parallel()
	if len(badURLs) < 60 {
		t.Fatalf("only %d cases", len(badURLs))
	}
	g := guard(t, egress.Options{Allow: []string{"127.0.0.1:9001", "10.0.0.0/8:8443"}})
	for raw, want := range badURLs {
		origin, u, err := g.CheckURL(raw)
		if origin != "" || u != nil {
			t.Errorf("CheckURL(%q) = %q, %v beside its error", raw, origin, u)
		}
		wantRule(t, "CheckURL("+raw+")", err, want)
	}
}

func TestHintNamesTheOptionAndTheAddress(t *testing.T) {
	t.Parallel()
	g := guard(t, egress.Options{})
	for raw, want := range map[string]string{
		"http://localhost:9001":  "--egress-allow 127.0.0.1:9001",
		"http://127.0.0.1:9001":  "--egress-allow 127.0.0.1:9001",
		"https://localhost:9001": "--egress-allow 127.0.0.1:9001",
		"https://10.0.0.5:8443":  "--egress-allow 10.0.0.5:8443",
		"http://[fd00::5]:8000":  "--egress-allow [fd00::5]:8000",
		"https://8.8.8.8":        "--egress-allow 8.8.8.8:443",
		"https://llm.example:81": "--egress-allow prefix/bits:81",
		"https://vllm":           "--egress-allow prefix/bits:443",
	} {
		_, _, err := g.CheckURL(raw)
		f, ok := fault.Of(err)
		if !ok || !strings.Contains(f.Hint(), want) {
			t.Errorf("CheckURL(%q) = %v, want a hint with %q", raw, err, want)
			continue
		}
		// What the hint says works.
		if option := strings.Fields(want)[1]; !strings.HasPrefix(option, "prefix") {
			if _, err := egress.New(egress.Options{Allow: []string{option}}); err != nil {
				t.Errorf("the hint's option %q: %v", option, err)
			}
		}
	}
}

func TestRefusalsQuoteNoSecret(t *testing.T) {
	t.Parallel()
	g := guard(t, egress.Options{})
	const canary = "sk-canary-0123456789"
	for _, raw := range []string{
		"https://user:" + canary + "@llm.example", "https://llm.example?key=" + canary, "https://llm.example#" + canary, canary,
		"https://llm.example/" + canary + "/{", "http://" + canary + ":x@llm.example", "https://llm.example:" + canary, canary + "://llm.example",
		"https://llm.example/v1 " + canary, "https://[" + canary + "]",
	} {
		_, _, err := g.CheckURL(raw)
		f, ok := fault.Of(err)
		if !ok || strings.Contains(err.Error()+f.Message()+f.Hint(), canary) {
			t.Errorf("CheckURL(…) quotes the secret: %v", err)
		}
	}
}

func FuzzCheckURL(f *testing.F) {
	for raw := range badURLs {
		f.Add(raw)
	}
	for _, raw := range []string{"https://llm.example/v1", "http://127.0.0.1:9001/x", "https://bücher.example:8443", "http://[::1]:9001"} {
		f.Add(raw)
	}
	allow := []string{"127.0.0.1:9001", "[::1]:9001", "10.0.0.0/8:8443"}
	g, err := egress.New(egress.Options{Allow: allow})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		origin, u, err := g.CheckURL(raw)
		if err != nil {
			if !errors.Is(err, egress.ErrNotAllowed) || origin != "" || u != nil {
				t.Fatalf("CheckURL(%q) = %q, %v, %v", raw, origin, u, err)
			}
			return
		}
		text := u.String()
		if again, v, err := g.CheckURL(text); err != nil || again != origin || v.String() != text {
			t.Fatalf("CheckURL(%q) = %q, whose check is %q, %v, %v", raw, text, again, v, err)
		}
		// Another look at the text: what a plain parser makes of it is what was judged.
		p, err := url.Parse(text)
		if err != nil || p.User != nil || p.RawQuery != "" || p.Fragment != "" || p.ForceQuery || p.Opaque != "" || p.RawPath != "" {
			t.Fatalf("CheckURL(%q) = %q, which parses as %#v, %v", raw, text, p, err)
		}
		if origin != p.Scheme+"://"+p.Host || text != origin+p.Path || strings.HasSuffix(text, "/") || strings.ContainsAny(p.Path, "%\\?#@ ;") {
			t.Fatalf("CheckURL(%q) = %q, %q", raw, origin, text)
		}
		for _, r := range p.Host {
			if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-.:[]", r) {
				t.Fatalf("CheckURL(%q) has host %q", raw, p.Host)
			}
		}
		addr, err := netip.ParseAddr(p.Hostname())
		if p.Scheme == "http" && err != nil || p.Scheme != "http" && p.Scheme != "https" {
			t.Fatalf("CheckURL(%q) = %q: plain http to a name, or another scheme", raw, text)
		}
		if err == nil && !addr.IsLoopback() && !netip.MustParsePrefix("10.0.0.0/8").Contains(addr) {
			t.Fatalf("CheckURL(%q) = %q: an address that is not listed", raw, text)
		}
		if port := p.Port(); port != "" && port != "9001" && port != "8443" {
			t.Fatalf("CheckURL(%q) = %q: a port that is not open", raw, text)
		}
	})
}

func BenchmarkCheckURL(b *testing.B) {
	g, err := egress.New(egress.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := g.CheckURL("https://my-resource.openai.azure.com/openai/v1"); err != nil {
			b.Fatal(err)
		}
	}
}
