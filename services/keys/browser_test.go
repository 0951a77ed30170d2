package keys_test

import (
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/claviger/claviger/pkg/rpcmount"
	"github.com/claviger/claviger/pkg/serve"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
)

// page is what runs in a browser: it has clients, its browser has cookies.
type page struct {
	r        *rig
	jar      map[string]string
	set      []*http.Cookie // by the last answer
	access   string
	sessions keysv1connect.SessionServiceClient
}

func (r *rig) listen(proxies ...netip.Prefix) string {
	r.t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.Config = serve.HTTP(r.app.HTTP(proxies), nil, slog.New(slog.DiscardHandler))
	server.Start()
	r.t.Cleanup(server.Close)
	return server.URL
}

func (r *rig) browser(url string) *page {
	p := &page{r: r, jar: map[string]string{}}
	p.sessions = keysv1connect.NewSessionServiceClient(connect.NewClient(connecthttp.NewTransport(&http.Client{Transport: p}, url)))
	return p
}

// RoundTrip sends and takes cookies as a browser does.
func (p *page) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	for _, name := range slices.Sorted(maps.Keys(p.jar)) {
		request.AddCookie(&http.Cookie{Name: name, Value: p.jar[name]})
	}
	if p.access != "" {
		request.Header.Set("Authorization", "Bearer "+p.access)
	}
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	p.set = answer.Cookies()
	for _, c := range p.set {
		if c.MaxAge < 0 {
			delete(p.jar, c.Name)
		} else {
			p.jar[c.Name] = c.Value
		}
	}
	return answer, nil
}

func (p *page) signIn(org, email string) *keysv1.SignInResponse {
	p.r.t.Helper()
	p.access = ""
	in, err := p.sessions.SignIn(p.r.t.Context(), &keysv1.SignInRequest{Organization: org, Email: email, Password: passphrase, Cookie: true})
	p.r.must(err)
	p.access = in.GetAccessToken()
	return in
}

func (p *page) refresh(org string) error {
	p.access = ""
	in, err := p.sessions.RefreshSession(p.r.t.Context(), &keysv1.RefreshSessionRequest{Organization: org})
	p.access = in.GetAccessToken()
	return err
}

func (p *page) signOut() error {
	_, err := p.sessions.SignOut(p.r.t.Context(), &keysv1.SignOutRequest{})
	return err
}

// knows reports whether the token of a session is still good for anything.
func (r *rig) knows(token string) bool {
	_, err := r.anonymous().sessions.RefreshSession(r.t.Context(), &keysv1.RefreshSessionRequest{SessionToken: token})
	return err == nil
}

const acmeCookie = "__Host-sid.acme"

func TestABrowserKeepsItsSessionInACookie(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.browser(r.listen())
	in := p.signIn("acme", "owner@acme.example")
	if in.GetSessionToken() != "" {
		t.Error("the answer holds the session token, where scripts can read it")
	}
	if len(p.set) != 1 || !strings.HasPrefix(p.set[0].Value, "cls_") {
		t.Fatalf("cookies = %v, want one with a session token", p.set)
	}
	value := p.set[0].Value
	if got, want := p.set[0].Raw, acmeCookie+"="+value+"; Path=/; Max-Age=604800; HttpOnly; Secure; SameSite=Lax"; got != want {
		t.Errorf("cookie\n got %s\nwant %s", got, want)
	}
	if !r.knows(value) {
		t.Error("the cookie's value is no session token")
	}

	p.access = ""
	fresh, err := p.sessions.RefreshSession(t.Context(), &keysv1.RefreshSessionRequest{Organization: "acme"})
	r.must(err)
	if fresh.GetMember().GetEmail() != "owner@acme.example" || fresh.GetOrganization().GetSlug() != "acme" {
		t.Errorf("RefreshSession names %s of %s", fresh.GetMember().GetEmail(), fresh.GetOrganization().GetSlug())
	}
	_, err = p.sessions.GetSession(t.Context(), &keysv1.GetSessionRequest{})
	refused(t, "a cookie without an access token", err, connect.CodeUnauthenticated, "UNAUTHENTICATED")
	p.access = fresh.GetAccessToken()
	_, err = p.sessions.GetSession(t.Context(), &keysv1.GetSessionRequest{})
	r.must(err)

	r.clock.Advance(12 * time.Hour)
	refused(t, "idle session", p.refresh("acme"), connect.CodeUnauthenticated, "SESSION_ENDED")
	if len(p.jar) != 0 {
		t.Error("the browser keeps the cookie of a session that has ended")
	}
	p.signIn("acme", "owner@acme.example")
	for range 15 {
		r.clock.Advance(11 * time.Hour)
		r.must(p.refresh("acme"))
	}
	r.clock.Advance(3 * time.Hour) // 168 in all
	refused(t, "session of seven days", p.refresh("acme"), connect.CodeUnauthenticated, "SESSION_ENDED")
	holdsNone(t, "the log", r.log.String(), []string{value, passphrase, fresh.GetAccessToken()})
}

func TestABrowserIsSignedInToSeveralOrganizations(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.other("rival")
	p := r.browser(r.listen())
	p.signIn("acme", "owner@acme.example")
	p.signIn("rival", "owner@rival.example")
	for _, org := range []string{"acme", "rival", "acme"} {
		r.must(p.refresh(org))
		who, err := p.sessions.GetSession(t.Context(), &keysv1.GetSessionRequest{})
		r.must(err)
		if who.GetOrganization().GetSlug() != org {
			t.Errorf("refreshed %s and is in %s", org, who.GetOrganization().GetSlug())
		}
	}
	r.must(p.signOut()) // of acme
	refused(t, "signed out", p.refresh("acme"), connect.CodeUnauthenticated, "NOT_SIGNED_IN")
	r.must(p.refresh("rival"))
}

func TestAStolenCookieIsWorthNothingAfterItsSession(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	url := r.listen()
	for name, end := range map[string]func(p *page, email, id string) error{
		"sign-out": func(p *page, _, _ string) error { return p.signOut() },
		"role": func(_ *page, _, id string) error {
			_, err := r.owner.members.UpdateMember(t.Context(), &keysv1.UpdateMemberRequest{Id: id, Role: viewer, Etag: "1", IdempotencyKey: id})
			return err
		},
		"removal": func(_ *page, _, id string) error {
			_, err := r.owner.members.DeleteMember(t.Context(), &keysv1.DeleteMemberRequest{Id: id, IdempotencyKey: id})
			return err
		},
		"password": func(_ *page, email, id string) error {
			_, err := r.signIn("acme", email).sessions.ChangePassword(t.Context(), &keysv1.ChangePasswordRequest{
				OldPassword: passphrase, NewPassword: "a wholly new password", IdempotencyKey: id,
			})
			return err
		},
		"sign-in": func(p *page, email, _ string) error { p.signIn("acme", email); return nil },
	} {
		email := name + "@acme.example"
		r.add(name, admin)
		victim, thief := r.browser(url), r.browser(url)
		in := victim.signIn("acme", email)
		thief.jar[acmeCookie] = victim.jar[acmeCookie]
		r.must(thief.refresh("acme"))
		r.must(end(victim, email, in.GetMember().GetId()))
		refused(t, name+": the stolen cookie", thief.refresh("acme"), connect.CodeUnauthenticated, "SESSION_ENDED")
	}
}

func TestAPlantedCookieDoesNotBecomeASession(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add("attacker", admin)
	url := r.listen()
	const invented = "cls_0000000000000000000000000000000000000000000"
	attacker, victim := r.browser(url), r.browser(url)
	attacker.signIn("acme", "attacker@acme.example")
	for name, planted := range map[string]string{"invented": invented, "the attacker's own": attacker.jar[acmeCookie]} {
		victim.jar[acmeCookie] = planted
		in := victim.signIn("acme", "owner@acme.example")
		if victim.jar[acmeCookie] == planted {
			t.Errorf("%s: the session has the planted token", name)
		}
		if r.knows(planted) {
			t.Errorf("%s: the planted token is good for a session", name)
		}
		r.must(victim.refresh("acme"))
		if in.GetMember().GetEmail() != "owner@acme.example" {
			t.Errorf("%s: signed in as %s", name, in.GetMember().GetEmail())
		}
	}
}

func TestACookieIsGoodForItsOrganizationAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.other("rival")
	url := r.listen()
	p := r.browser(url)
	p.signIn("acme", "owner@acme.example")
	stolen := p.jar[acmeCookie]
	refused(t, "no cookie of that organization", p.refresh("rival"), connect.CodeUnauthenticated, "NOT_SIGNED_IN")
	p.jar["__Host-sid.rival"] = stolen
	refused(t, "acme's token in rival's cookie", p.refresh("rival"), connect.CodeUnauthenticated, "SESSION_ENDED")
	for _, org := range []string{"acme; x", "ACME", "acme ", "*", "acm", ""} {
		if err := p.refresh(org); err == nil {
			t.Errorf("RefreshSession(%q) gives a token", org)
		}
	}
	r.must(p.refresh("acme"))

	// A sign-in to rival with acme's token in its cookie leaves acme's session alone.
	p.jar["__Host-sid.rival"] = stolen
	p.signIn("rival", "owner@rival.example")
	r.must(p.refresh("acme"))
	// So does a sign-out of rival.
	r.must(p.refresh("rival"))
	p.jar["__Host-sid.rival"] = stolen
	r.must(p.signOut())
	r.must(p.refresh("acme"))

	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/claviger.keys.v1.SessionService/RefreshSession", strings.NewReader(`{"organization":"acme"}`))
	r.must(err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Connect-Protocol-Version", "1")
	request.Header.Set("Cookie", acmeCookie+"="+stolen+"; "+acmeCookie+"=cls_planted")
	answer, err := http.DefaultClient.Do(request)
	r.must(err)
	r.must(answer.Body.Close())
	if answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("two cookies of one name = %s, want 401", answer.Status)
	}
}

func TestSigningOutInAnOldWindowEndsTheNewerSession(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.browser(r.listen())
	p.signIn("acme", "owner@acme.example")
	old := p.access
	p.signIn("acme", "owner@acme.example")
	newer := p.jar[acmeCookie]
	p.access = old
	r.must(p.signOut())
	if r.knows(newer) {
		t.Error("the browser has no cookie any more, but the session lives")
	}

	// It does not end the session of somebody else who has signed in since.
	r.add("second", admin)
	p.signIn("acme", "owner@acme.example")
	old = p.access
	p.signIn("acme", "second@acme.example")
	newer = p.jar[acmeCookie]
	p.access = old
	r.must(p.signOut())
	if !r.knows(newer) {
		t.Error("one member has ended the session of another")
	}
}

func TestCookiesAreForHTTPAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	in := &keysv1.SignInRequest{Organization: "acme", Email: "owner@acme.example", Password: passphrase, Cookie: true}
	_, err := r.anonymous().sessions.SignIn(t.Context(), in)
	refused(t, "in process", err, connect.CodeInvalidArgument, "COOKIES_NOT_POSSIBLE")

	server := serve.GRPC(serve.DefaultMessageBytes, nil, r.app.Public())
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	r.must(err)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	r.must(err)
	t.Cleanup(func() { _ = conn.Close() })
	sessions := keysv1connect.NewSessionServiceClient(connect.NewClient(rpcmount.NewTransport(conn)))
	_, err = sessions.SignIn(t.Context(), in)
	refused(t, "grpc-go", err, connect.CodeInvalidArgument, "COOKIES_NOT_POSSIBLE")
	_, err = sessions.RefreshSession(t.Context(), &keysv1.RefreshSessionRequest{Organization: "acme"})
	refused(t, "grpc-go, refresh", err, connect.CodeInvalidArgument, "COOKIES_NOT_POSSIBLE")
	_, err = sessions.RefreshSession(t.Context(), &keysv1.RefreshSessionRequest{})
	refused(t, "refresh of nothing", err, connect.CodeInvalidArgument, "SESSION_NOT_NAMED")
}

func TestCallsThatAPageOfAnotherOriginMakesAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	url := r.listen()
	const (
		form     = "application/x-www-form-urlencoded"
		plain    = "text/plain"
		json     = "application/json"
		password = `{"organization":"acme","email":"owner@acme.example","password":"` + passphrase + `"}`
	)
	for name, c := range map[string]struct {
		contentType string
		headers     map[string]string
		status      int
		says        string
	}{
		"a form":                          {form, map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Origin": "https://evil.example"}, 403, "a page of another origin"},
		"a form that looks like JSON":     {plain, map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403, "a page of another origin"},
		"a script's fetch":                {json, map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403, "CROSS_ORIGIN"},
		"a neighbour's fetch":             {json, map[string]string{"Sec-Fetch-Site": "same-site", "Origin": "https://other.acme.example"}, 403, "CROSS_ORIGIN"},
		"gRPC-Web":                        {"application/grpc-web+proto", map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 200, ""},
		"an old browser":                  {json, map[string]string{"Origin": "https://evil.example"}, 403, "CROSS_ORIGIN"},
		"a sandboxed frame":               {json, map[string]string{"Origin": "null"}, 403, "CROSS_ORIGIN"},
		"our own page":                    {json, map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": url}, 200, "accessToken"},
		"our own page in an old browser":  {json, map[string]string{"Origin": url}, 200, "accessToken"},
		"a program":                       {json, nil, 200, "accessToken"},
		"a program without the header":    {json, map[string]string{"Connect-Protocol-Version": ""}, 400, "PROTOCOL_HEADER_MISSING"},
		"our own page without the header": {json, map[string]string{"Sec-Fetch-Site": "same-origin", "Connect-Protocol-Version": ""}, 400, "PROTOCOL_HEADER_MISSING"},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/claviger.keys.v1.SessionService/SignIn", strings.NewReader(password))
		r.must(err)
		request.Header.Set("Content-Type", c.contentType)
		request.Header.Set("Connect-Protocol-Version", "1")
		for k, v := range c.headers {
			request.Header.Set(k, v)
			if v == "" {
				request.Header.Del(k)
			}
		}
		status, header, body := exchange(t, request)
		said := body + header.Get("Grpc-Message")
		if status != c.status || !strings.Contains(said, c.says) {
			t.Errorf("%s: %d %s, want %d with %q", name, status, said, c.status, c.says)
		}
		if c.contentType == "application/grpc-web+proto" && !strings.Contains(said, "a page of another origin") {
			t.Errorf("%s: %q does not say why", name, said)
		}
		if strings.Contains(said, "accessToken") != (c.says == "accessToken") {
			t.Errorf("%s: a token was given or not, against expectation", name)
		}
	}
	// Clients that are no browsers do not notice: gRPC over the same listener.
	client := connect.NewClient(connecthttp.NewTransport(&http.Client{Transport: h2c()}, url, connecthttp.WithGRPC()))
	_, err := keysv1connect.NewSessionServiceClient(client).SignIn(t.Context(), &keysv1.SignInRequest{Organization: "acme", Email: "owner@acme.example", Password: passphrase})
	r.must(err)
}

func TestTheAdminIsServedWhereNoServiceIs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	url := r.listen()
	for path, want := range map[string]int{
		"/": 200, "/o/acme/usage": 200, "/claviger.keys.v1.ConfigService/WatchConfig": 404, "/nothing.js": 404,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, nil)
		r.must(err)
		request.Header.Set("Sec-Fetch-Site", "cross-site") // somebody follows a link
		status, header, _ := exchange(t, request)
		if status != want || !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("GET %s = %d with policy %q, want %d", path, status, header.Get("Content-Security-Policy"), want)
		}
	}
}

func TestForwardedAddressesAreBelievedOfListedProxiesOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var names atomic.Int32
	attempt := func(url, forwarded string) error {
		client := connect.NewClient(connecthttp.NewTransport(http.DefaultClient, url))
		ctx, call := connect.NewClientContext(t.Context())
		if forwarded != "" {
			call.RequestHeader().Set("X-Forwarded-For", forwarded)
		}
		_, err := keysv1connect.NewSessionServiceClient(client).SignIn(ctx, &keysv1.SignInRequest{
			Organization: "acme", Email: "x" + time.Duration(names.Add(1)).String() + "@acme.example", Password: "wrong password",
		})
		return err
	}
	// Nobody is listed: a new invented address for each attempt does not help an attacker.
	direct := r.listen()
	for i := range 100 {
		refused(t, "a failure", attempt(direct, netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}).String()), connect.CodeUnauthenticated, "SIGN_IN_FAILED")
	}
	refused(t, "spoofed addresses", attempt(direct, "198.51.100.1"), connect.CodeResourceExhausted, "SIGN_IN_LIMIT")

	// The proxy is listed: each client is counted for itself, whatever it puts in front of its address.
	proxied := r.listen(netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"))
	for range 100 {
		refused(t, "a failure", attempt(proxied, "198.51.100.77, 203.0.113.5, 10.0.0.9"), connect.CodeUnauthenticated, "SIGN_IN_FAILED")
	}
	refused(t, "the same client", attempt(proxied, "198.51.100.78, 203.0.113.5"), connect.CodeResourceExhausted, "SIGN_IN_LIMIT")
	refused(t, "another client", attempt(proxied, "203.0.113.5, 203.0.113.6"), connect.CodeUnauthenticated, "SIGN_IN_FAILED")
	refused(t, "the client who was spoofed", attempt(proxied, "198.51.100.77"), connect.CodeUnauthenticated, "SIGN_IN_FAILED")
	if log := r.log.String(); !strings.Contains(log, "client=203.0.113.6") || strings.Contains(log, "198.51.100.78") {
		t.Error("the log does not name the client that the proxy has seen")
	}
}

// exchange sends a request and reads the answer.
func exchange(t *testing.T, request *http.Request) (status int, header http.Header, body string) {
	t.Helper()
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(text)
}

// h2c speaks HTTP/2 without TLS.
func h2c() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Transport{Protocols: protocols}
}
