package cli

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
)

const (
	// callTimeout bounds one try of a call. A key test takes up to ten seconds.
	callTimeout = 30 * time.Second
	// tries is how often a call is made while the installation is away.
	tries = 4
	// longestWait is the longest that a server may ask to wait before the next try.
	longestWait = 5 * time.Second
	// earlier is how long before its end an access token is renewed.
	earlier = 20 * time.Second
	// pageSize is the largest page that lists give.
	pageSize = 500
)

// client calls an installation, as whoever is signed in there.
type client struct {
	place    place
	http     *http.Client
	sessions keysv1connect.SessionServiceClient // without an access token

	session       keysv1connect.SessionServiceClient
	organizations keysv1connect.OrganizationServiceClient
	credentials   keysv1connect.CredentialServiceClient
	policies      keysv1connect.PolicyServiceClient
	keys          keysv1connect.ApiKeyServiceClient
	members       keysv1connect.MemberServiceClient
	groups        keysv1connect.GroupServiceClient
	routing       keysv1connect.RoutingServiceClient
	models        keysv1connect.ModelServiceClient
	drills        keysv1connect.DrillServiceClient
	usage         meteringv1connect.UsageServiceClient
	traces        meteringv1connect.TraceServiceClient

	mu      sync.Mutex
	access  secret.Text // in memory only
	expires time.Time
}

func newClient(p place) *client {
	c := &client{place: p, http: newHTTPClient()}
	transport := connecthttp.NewTransport(c.http, p.Address)
	c.sessions = keysv1connect.NewSessionServiceClient(connect.NewClient(transport))
	signed := connect.NewClient(transport, c.authorize)
	c.session = keysv1connect.NewSessionServiceClient(signed)
	c.organizations = keysv1connect.NewOrganizationServiceClient(signed)
	c.credentials = keysv1connect.NewCredentialServiceClient(signed)
	c.policies = keysv1connect.NewPolicyServiceClient(signed)
	c.keys = keysv1connect.NewApiKeyServiceClient(signed)
	c.members = keysv1connect.NewMemberServiceClient(signed)
	c.groups = keysv1connect.NewGroupServiceClient(signed)
	c.routing = keysv1connect.NewRoutingServiceClient(signed)
	c.models = keysv1connect.NewModelServiceClient(signed)
	c.drills = keysv1connect.NewDrillServiceClient(signed)
	c.usage = meteringv1connect.NewUsageServiceClient(signed)
	c.traces = meteringv1connect.NewTraceServiceClient(signed)
	return c
}

// newHTTPClient follows no redirects: a token or a key is for the address that the person named and for no other.
func newHTTPClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: time.Minute,
			DialContext: (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// authorize sends the access token with every call, and fetches a new one when it is about to end.
func (c *client) authorize(next connect.ClientFunc) connect.ClientFunc {
	return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
		access, err := c.token(ctx)
		if err != nil {
			return nil, err
		}
		if info, ok := connect.CallInfoForClientContext(ctx); ok {
			info.RequestHeader().Set("Authorization", "Bearer "+access.Reveal())
		}
		return next(ctx, spec)
	}
}

func (c *client) token(ctx context.Context) (secret.Text, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.access.Empty() && time.Until(c.expires) > earlier {
		return c.access, nil
	}
	ctx, info := connect.NewClientContext(ctx)
	answer, err := c.sessions.RefreshSession(ctx, &keysv1.RefreshSessionRequest{SessionToken: c.place.Session.Reveal()})
	if err != nil {
		return secret.Text{}, c.failed(err, info)
	}
	c.access, c.expires = secret.New(answer.GetAccessToken()), answer.GetAccessExpireTime().AsTime()
	return c.access, nil
}

// forget drops the access token, so that the next call fetches a new one.
func (c *client) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.access = secret.Text{}
}

func (c *client) failed(err error, info *connect.CallInfo) error {
	if known, ok := errors.AsType[*callError](err); ok { // from fetching the access token
		return known
	}
	return &callError{
		err: err, address: c.place.Address, requestID: info.ResponseHeader().Get("x-request-id"),
		email: c.place.Email, organization: c.place.Organization,
	}
}

// call makes a unary call. While the installation is away for a moment it tries again: reads change
// nothing, and changes carry an idempotency key.
func call[Q, A any](ctx context.Context, c *client, method func(context.Context, *Q) (*A, error), request *Q) (*A, error) {
	renewed := false
	for try := 1; ; try++ {
		answer, err := once(ctx, c, method, request)
		switch {
		case err == nil:
			return answer, nil
		case reason(err) == "TOKEN_EXPIRED" && !renewed: // the clocks differ
			renewed = true
			c.forget()
			continue
		case try == tries || !transient(err):
			return nil, err
		}
		if waiting := pause(ctx, delay(try, err)); waiting != nil {
			return nil, err
		}
	}
}

func once[Q, A any](ctx context.Context, c *client, method func(context.Context, *Q) (*A, error), request *Q) (*A, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ctx, info := connect.NewClientContext(ctx)
	answer, err := method(ctx, request)
	if err != nil {
		return nil, c.failed(err, info)
	}
	return answer, nil
}

// transient reports whether trying again may help.
func transient(err error) bool {
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	dns, _ := errors.AsType[*net.DNSError](err)
	switch _, broken := notArrived(err); {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), dns != nil && dns.IsNotFound,
		errors.As(err, &certificate), errors.As(err, &record):
		return false
	case broken:
		return true
	}
	return connect.CodeOf(err) == connect.CodeUnavailable
}

// delay is how long to wait before the next try: what the server asks for, else longer each time, and
// never the same for everybody.
func delay(try int, err error) time.Duration {
	if asked := retryAfter(err); asked > 0 {
		return min(asked, longestWait)
	}
	longest := 200 * time.Millisecond << (2 * (try - 1))
	n, failure := rand.Int(rand.Reader, big.NewInt(int64(longest)))
	if failure != nil {
		return longest
	}
	return longest/2 + time.Duration(n.Int64())/2
}

func retryAfter(err error) time.Duration {
	ce, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return 0
	}
	for _, detail := range ce.Details() {
		message, err := connectproto.UnmarshalErrorDetail(detail)
		if info, ok := message.(*errdetails.RetryInfo); ok && err == nil {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

// pause waits. It returns why, if ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// pages walks over all objects of a paged list.
func pages[T any](list func(token string) ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for token := ""; ; {
			page, next, err := list(token)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, object := range page {
				if !yield(object, nil) {
					return
				}
			}
			if next == "" || next == token {
				return
			}
			token = next
		}
	}
}

// collect gathers all objects of a list.
func collect[T any](all iter.Seq2[T, error]) ([]T, error) {
	var found []T
	for object, err := range all {
		if err != nil {
			return nil, err
		}
		found = append(found, object)
	}
	return found, nil
}

// checkAddress returns the address of an installation in its plain form. Without encryption only this
// machine is talked to, unless that was asked for.
func checkAddress(raw string, insecure bool) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Scheme != "https" && u.Scheme != "http") {
		return "", &usageError{message: "the address must be one like https://claviger.example.com", hint: "without user, query or fragment"}
	}
	if u.Scheme == "http" && !insecure && !loopback(u.Hostname()) {
		return "", &usageError{
			message: fmt.Sprintf("%s is another machine, and http would send passwords and keys over the network for everybody to read", u.Host),
			hint:    "use https, or add --insecure if the network in between is protected otherwise",
		}
	}
	return u.Scheme + "://" + u.Host + strings.TrimRight(u.Path, "/"), nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
