// Package provider is what the adapters below it share: sending a call and knowing how far it got,
// reading headers that ask to wait, and taking secrets out of what a provider says.
//
// Nothing here dials: the transport comes from outside, and no redirect is followed, since a
// credential must not go to an address that an answer names.
package provider

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
)

const (
	// UserAgent is how the router names itself to providers.
	UserAgent = "claviger/1"
	// MaxAnswer bounds an answer that is not streamed.
	MaxAnswer = 64 << 20
	// maxErrorBody is how much of an error's body is read.
	maxErrorBody = 64 << 10
)

// Client sends calls over a transport.
type Client struct {
	transport http.RoundTripper
	album     *album // of one call
}

// NewClient returns a client that sends over transport.
func NewClient(transport http.RoundTripper) Client { return Client{transport: transport} }

// Outgoing is a call to send. The headers that go out are those of this struct and no others.
type Outgoing struct {
	Method, URL string
	Body        []byte
	Stream      bool
	// AttemptID becomes X-Client-Request-Id.
	AttemptID string
	Auth      Auth
	// Header are headers of the vendor's besides.
	Header http.Header
}

// Auth says how a call is signed: the key goes into Header, after Prefix; or Sign does it.
type Auth struct {
	Header, Prefix string
	Key            secret.Text
	// Sign signs the finished request and its body, where a header with the key is not enough. Key is then
	// what must not show in what the provider says: of several secrets, all Together.
	Sign func(req *http.Request, body []byte) error
}

// Bearer is the usual way.
func Bearer(key secret.Text) Auth { return Auth{Header: "Authorization", Prefix: "Bearer ", Key: key} }

// Route is where the calls of a form go for one vendor, and how they are signed.
type Route struct {
	URL    string
	Auth   Auth
	Header http.Header
}

// errSigning is what Sign returned; it must name no secret.
var errSigning = errors.New("the call could not be signed")

// Response is an answer whose headers have come.
type Response struct {
	*http.Response
	ctx context.Context //nolint:containedctx // the call's, to tell its end from a broken connection
	key secret.Text
}

// Send sends the call. Its error is a *completion.ProviderError; if the context has ended, the error
// is the context's error too.
func (c Client) Send(ctx context.Context, out Outgoing) (*Response, error) {
	// What has a connection may have been sent, even if the call is ended before anybody says so: money that nobody
	// sees is the worse mistake. Only what could not be written whole certainly was not.
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { sent.Store(true) },
		WroteRequest: func(info httptrace.WroteRequestInfo) { sent.Store(info.Err == nil) },
	})
	var body io.Reader
	if out.Body != nil {
		body = bytes.NewReader(out.Body)
	}
	req, err := http.NewRequestWithContext(traced, out.Method, out.URL, body)
	if err != nil {
		return nil, &completion.ProviderError{Class: completion.Network, Message: "the provider's address is malformed"}
	}
	req.Header = out.header()
	if out.Auth.Sign != nil {
		if err := out.Auth.Sign(req, out.Body); err != nil {
			return nil, &completion.ProviderError{Class: completion.CredentialError, Message: Scrub(errSigning.Error()+": "+err.Error(), out.Auth.Key)}
		}
	}
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, Interrupted(ctx, &completion.ProviderError{
			Class: completion.Network, Message: problem(err, out.Auth.Key), Sent: sent.Load(),
		})
	}
	if encoding := res.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		_ = res.Body.Close()
		return nil, &completion.ProviderError{
			Class: completion.ServerError, Status: res.StatusCode, Sent: true,
			Message: "the provider compressed an answer that was asked for plain",
		}
	}
	return &Response{Response: res, ctx: ctx, key: out.Auth.Key}, nil
}

func (out Outgoing) header() http.Header {
	h := make(http.Header, 8)
	h.Set("User-Agent", UserAgent)
	h.Set("Accept-Encoding", "identity")
	h.Set("Accept", "application/json")
	if out.Stream {
		h.Set("Accept", "text/event-stream")
	}
	if out.Body != nil {
		h.Set("Content-Type", "application/json")
	}
	if out.AttemptID != "" {
		h.Set("X-Client-Request-Id", out.AttemptID)
	}
	maps.Copy(h, out.Header)
	if out.Auth.Header != "" {
		h.Set(out.Auth.Header, out.Auth.Prefix+out.Auth.Key.Reveal())
	}
	return h
}

// interrupted is a provider error that happened because the call's context ended.
type interrupted struct {
	*completion.ProviderError
	ended, cause error
}

// Unwrap gives both: what the context says, and how far the call got.
func (e *interrupted) Unwrap() []error { return []error{e.ended, e.cause, e.ProviderError} }

// Interrupted returns e, and the context's error with it if the context has ended.
func Interrupted(ctx context.Context, e *completion.ProviderError) error {
	ended := ctx.Err()
	if ended == nil {
		return e
	}
	if errors.Is(ended, context.DeadlineExceeded) {
		e.Class, e.Message = completion.TimedOut, "the time for the provider's answer ran out"
	}
	return &interrupted{ProviderError: e, ended: ended, cause: context.Cause(ctx)}
}

// Broken is the error of an answer whose bytes stopped coming because of err. A failure that the
// provider told in a framing of its own is itself.
func (r *Response) Broken(err error) error {
	if told, ok := errors.AsType[*completion.ProviderError](err); ok {
		return told
	}
	message, tooLarge := "the provider broke off its answer", errors.Is(err, errTooLarge)
	if tooLarge {
		message = "the provider's answer is longer than the router takes"
	}
	return Interrupted(r.ctx, &completion.ProviderError{
		Class: completion.Network, Status: r.StatusCode, RequestID: r.RequestID(), Message: message, Sent: true,
		Ours: tooLarge, // the same would come again, and be paid again
	})
}

// Failed is the error of an answer that came and is not what it should be.
func (r *Response) Failed(message string) *completion.ProviderError {
	return &completion.ProviderError{
		Class: completion.ServerError, Status: r.StatusCode, RequestID: r.RequestID(), Message: message, Sent: true,
	}
}

// RequestID is the provider's name for the call.
func (r *Response) RequestID() string {
	for _, name := range []string{"X-Request-Id", "Request-Id", "Apim-Request-Id", "Mistral-Correlation-Id", "X-Amzn-Requestid"} {
		id := r.Header.Get(name)
		if id == "" {
			continue
		}
		if id = printable(id); holds(id, r.key) {
			return "" // a server that repeats what it was sent: the name goes into answers and accounts
		}
		return Bounded(id, 128)
	}
	return ""
}

var errTooLarge = errors.New("answer too large")

// Whole reads the body of an answer that is not streamed, and closes it.
func (r *Response) Whole() ([]byte, error) {
	defer r.Body.Close()
	var b bytes.Buffer
	if r.ContentLength > 0 && r.ContentLength <= MaxAnswer {
		b.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	n, err := b.ReadFrom(io.LimitReader(r.Body, MaxAnswer+1))
	if err == nil && n > MaxAnswer {
		err = errTooLarge
	}
	if err != nil {
		return nil, r.Broken(err)
	}
	return b.Bytes(), nil
}

// ErrorBody reads what an error says, as far as it is bounded, and closes the body. What breaks off
// is used as it is: the status says enough.
func (r *Response) ErrorBody() []byte {
	defer r.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(r.Body, maxErrorBody))
	return b
}

// drainTime is how long the end of an answer that is complete is waited for.
const drainTime = 50 * time.Millisecond

// Finish closes the body of an answer that came to its end. It reads the few bytes that may still
// come after it, so that the connection can serve again.
func (r *Response) Finish() error {
	timer := time.AfterFunc(drainTime, func() { _ = r.Body.Close() })
	defer timer.Stop()
	var rest [512]byte
	for range 4 {
		if _, err := r.Body.Read(rest[:]); err != nil {
			break
		}
	}
	return r.Body.Close()
}

// Unresolved is what is said of a host without an address.
const Unresolved = "the provider's name could not be resolved"

// problem says for people why no answer came, and so whose fault it is. Addresses are left out: the caller need
// not know what lies behind a provider's name.
func problem(err error, key secret.Text) string {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var expired x509.CertificateInvalidError
	var host x509.HostnameError
	var plain tls.RecordHeaderError
	var op *net.OpError
	var timeout net.Error
	switch f, isFault := fault.Of(err); {
	case isFault:
		return Scrub(f.Message(), key)
	case errors.As(err, &dns):
		return Unresolved
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the provider refused the connection"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the provider closed the connection without an answer"
	case errors.As(err, &host):
		return "the provider's certificate is for another host"
	case errors.As(err, &expired) && expired.Reason == x509.Expired:
		return "the provider's certificate has expired, or is not valid yet"
	case errors.As(err, &certificate):
		return "the provider's certificate is not trusted"
	case errors.As(err, &plain):
		return "the provider's address does not speak TLS"
	case errors.As(err, &op) && op.Op == "remote error": // as crypto/tls calls an alert
		return "the provider refused the TLS handshake"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "the provider did not answer in time"
	case strings.Contains(err.Error(), "server response headers exceeded"): // net/http has no names for these
		return "the provider's answer has larger headers than the router takes"
	case strings.Contains(err.Error(), "malformed HTTP"), strings.Contains(err.Error(), "malformed MIME"):
		return "the provider's address does not speak HTTP"
	}
	return "the connection to the provider failed"
}
