package router

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claviger/claviger/pkg/egress"
	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/openai"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// authority makes certificates that the router of a test trusts.
type authority struct {
	*testing.T
	cert *x509.Certificate
	key  crypto.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{T: t, pool: x509.NewCertPool()}
	made := a.make(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.cert, a.key = made.Leaf, made.PrivateKey
	a.pool.AddCert(a.cert)
	return a
}

// make signs a certificate, by itself as long as there is no authority.
func (a *authority) make(template *x509.Certificate) tls.Certificate {
	a.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.Fatal(err)
	}
	template.SerialNumber = big.NewInt(1)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

var loopback = []net.IP{net.IPv4(127, 0, 0, 1)}

// serveEach handles each connection to a listener of its own, and returns its address.
func serveEach(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				handle(c)
			}()
		}
	}()
	return l.Addr().String()
}

// over speaks TLS with a certificate, reads one request, and then answers.
func over(cert tls.Certificate, answer func(c net.Conn)) func(net.Conn) {
	return func(raw net.Conn) {
		c := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		answer(c)
		_ = c.Close()
	}
}

func says(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, text) }
}

// endless writes the same again until nobody reads it any more.
func endless(begin, again string) func(net.Conn) {
	return func(c net.Conn) {
		for _, err := io.WriteString(c, begin); err == nil; {
			_, err = io.WriteString(c, again)
		}
	}
}

func reset(c net.Conn) {
	if over, ok := c.(*net.TCPConn); ok {
		_ = over.SetLinger(0)
	}
}

// unreachable is what is wrong with a provider's address, and what is told of it.
type unreachable struct {
	handle func(net.Conn) // nil is that nobody listens
	class  completion.Class
	// sent says that the request may have been read, so that it may be billed.
	sent bool
	says string
	// within is how long a first byte may take, where that ends the call.
	within time.Duration
}

func unreachables(a *authority) map[string]unreachable {
	good := a.make(&x509.Certificate{IPAddresses: loopback})
	other := newAuthority(a.T)
	return map[string]unreachable{
		"refused":         {class: completion.Network, says: "the provider refused the connection"},
		"reset":           {handle: reset, class: completion.Network, says: "the provider closed the connection without an answer"},
		"not TLS":         {handle: says("SSH-2.0-OpenSSH_9.6\r\n"), class: completion.Network, says: "the provider's address does not speak TLS"},
		"plain HTTP":      {handle: says("HTTP/1.1 400 Bad Request\r\n\r\n"), class: completion.Network, says: "the provider's address does not speak TLS"},
		"TLS refused":     {handle: says("\x15\x03\x03\x00\x02\x02\x28"), class: completion.Network, says: "the provider refused the TLS handshake"},
		"another host":    {handle: over(a.make(&x509.Certificate{DNSNames: []string{"other.example"}}), says("")), class: completion.Network, says: "the provider's certificate is for another host"},
		"expired":         {handle: over(a.make(&x509.Certificate{IPAddresses: loopback, NotAfter: time.Now().Add(-time.Hour)}), says("")), class: completion.Network, says: "the provider's certificate has expired, or is not valid yet"},
		"self-signed":     {handle: over((&authority{T: a.T}).make(&x509.Certificate{IPAddresses: loopback}), says("")), class: completion.Network, says: "the provider's certificate is not trusted"},
		"other authority": {handle: over(other.make(&x509.Certificate{IPAddresses: loopback}), says("")), class: completion.Network, says: "the provider's certificate is not trusted"},
		"never TLS":       {handle: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, class: completion.TimedOut, says: "no answer in time", within: 50 * time.Millisecond},
		"no HTTP":         {handle: over(good, says("hello there, this is no HTTP\r\n\r\n")), class: completion.Network, sent: true, says: "the provider's address does not speak HTTP"},
		"no headers":      {handle: over(good, says("HTTP/1.1 200 OK\r\n<html>\r\n\r\n")), class: completion.Network, sent: true, says: "the provider's address does not speak HTTP"},
		"closed":          {handle: over(good, says("")), class: completion.Network, sent: true, says: "the provider closed the connection without an answer"},
		"endless headers": {handle: over(good, endless("HTTP/1.1 200 OK\r\n", "X-More: "+strings.Repeat("x", 1<<12)+"\r\n")), class: completion.Network, sent: true, says: "the provider's answer has larger headers than the router takes"},
		"one endless header": {
			handle: over(good, endless("HTTP/1.1 200 OK\r\nX-More: ", strings.Repeat("x", 1<<12))), class: completion.Network, sent: true,
			says: "the provider's answer has larger headers than the router takes",
		},
	}
}

// TestAnAddressThatNobodyAnswersAtIsPassedOver: over the router's own transport. The next line answers; without one
// the caller is told by whose fault nobody does. What was not sent costs nothing, and what was is an estimate.
func TestAnAddressThatNobodyAnswersAtIsPassedOver(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	forms := countedForms()
	chat := forms["chat"]
	exchange, _ := chat.exchange(false, "", chat.good)
	serves := serveEach(t, over(a.make(&x509.Certificate{IPAddresses: loopback}), says(string(exchange))))
	for name, c := range unreachables(a) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := "127.0.0.1:1" // where nobody listens, and nobody but root could
			if c.handle != nil {
				address = serveEach(t, c.handle)
			}
			guard, err := egress.New(egress.Options{Allow: []string{serves, address}})
			if err != nil {
				t.Fatal(err)
			}
			transport := guard.Transport(egress.TransportOptions{RootCAs: a.pool, ReadBuffer: 2 << 10, WriteBuffer: 2 << 10})
			t.Cleanup(transport.CloseIdleConnections)
			for next, good := range map[string]bool{serves: true, address: false} {
				planned := twice("openai", chat.vendor)
				for i, at := range []string{address, next} {
					target := &planned.targets[i]
					target.Credential.BaseURL = "https://" + at + "/v1"
					target.Rule = &completion.Rule{FirstByte: c.within}
				}
				if good {
					planned.targets[1].Rule = &completion.Rule{}
				}
				at := newStandBy(t, "openai", chat.vendor, llmtest.New(t), providers(transport), planned, planned.targets[0].Credential)
				got := callers()[0].call(t, at, false, "hello", asked{})
				events := at.log.events
				if len(events) != 2 {
					t.Fatalf("%d events, %+v", len(events), got)
				}
				for i, e := range events {
					if good && i == 1 {
						continue
					}
					want, source := usage.NotSent, usage.None
					if c.sent {
						want, source = usage.Failed, usage.Estimated
					}
					if e.Outcome != want || e.ErrorClass != string(c.class) || e.Source != source || e.Tokens == nil || (e.Tokens.InputTotal > 0) != c.sent {
						t.Errorf("event %d says %v, %s, %+v by %v, want %v, %s", i, e.Outcome, e.ErrorClass, e.Tokens, e.Source, want, c.class)
					}
				}
				if good {
					if got.status != http.StatusOK || got.text != "Hello you" || events[1].Outcome != usage.OK {
						t.Errorf("the next line: %+v, %v", got, events[1].Outcome)
					}
					continue
				}
				for _, part := range []string{"openai", c.says, `"blame":"provider"`, `"cred_2"`, `"error_class":"` + string(c.class) + `"`} {
					if got.status < 500 || !strings.Contains(got.body, part) {
						t.Errorf("status %d does not say %s: %s", got.status, part, got.body)
					}
				}
				if strings.Contains(got.body, address) {
					t.Errorf("the address is told: %s", got.body)
				}
			}
		})
	}
}

// TestHeadersThatNeverEndAreTakenForNoAnswer: bytes of a header are no sign of life. The next line is called after
// the time for a first byte, to the nanosecond, and each call leaves an event that says that it was sent.
func TestHeadersThatNeverEndAreTakenForNoAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		guard, err := egress.New(egress.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var servers sync.WaitGroup
		transport := guard.Transport(egress.TransportOptions{})
		transport.DialTLSContext = func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			servers.Go(func() {
				r, err := http.ReadRequest(bufio.NewReader(theirs))
				if err == nil {
					_, err = io.Copy(io.Discard, r.Body)
				}
				for begin := "HTTP/1.1 200 OK\r\nX-More: "; err == nil; begin = "x" {
					_, err = io.WriteString(theirs, begin)
					<-time.After(time.Second)
				}
			})
			return ours, nil
		}
		targets := twice("openai", vendors()["openai"]).targets[:]
		for i := range targets {
			targets[i].Rule = &completion.Rule{FirstByte: 20 * time.Second}
		}
		log := &eventLog{}
		service := completion.New(completion.Options{
			Planner: planned{completion.Plan{Targets: targets}}, Keyring: openKeyring("sk-1"), Recorder: log, Evidence: log, Providers: providers(transport),
			BaseURLs: baseURLs(nil), Log: slog.New(slog.DiscardHandler), Now: time.Now,
		})
		req, err := openai.Decode([]byte(`{"model":"gpt-4.1","messages":[{"role":"user","content":"hi"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		req.ID = "req_1"
		began := time.Now()
		f, _ := fault.Of(service.Complete(context.WithoutCancel(t.Context()), completion.Caller{OrgID: "org_1"}, &req, nothing{}))
		if f == nil || f.Reason() != "PROVIDER_TIMED_OUT" || len(log.events) != 2 {
			t.Fatalf("%v, %d events", f, len(log.events))
		}
		for i, e := range log.events {
			if e.Provider != "openai" || e.Outcome != usage.Failed || e.ErrorClass != string(completion.TimedOut) || e.Source != usage.Estimated || e.Tokens.InputTotal == 0 || e.Duration != 20*time.Second {
				t.Errorf("event %d says %v, %s, %+v by %v after %s", i, e.Outcome, e.ErrorClass, e.Tokens, e.Source, e.Duration)
			}
		}
		if took := time.Since(began); took < 40*time.Second {
			t.Errorf("given up after %s", took)
		}
		servers.Wait()
	})
}

// TestACallerWhoLeavesBeforeACallIsSentPaysNothing: while the connection is being made.
func TestACallerWhoLeavesBeforeACallIsSentPaysNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		given := make(chan struct{})
		transport := &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			defer close(given)
			<-time.After(5 * time.Second) // net/http lets it run on for whoever comes next
			return nil, context.DeadlineExceeded
		}}
		log := &eventLog{}
		service := completion.New(completion.Options{
			Planner: planned{completion.Plan{Targets: twice("openai", vendors()["openai"]).targets[:]}}, Keyring: openKeyring("sk-1"), Recorder: log, Evidence: log,
			Providers: providers(transport), BaseURLs: baseURLs(nil), Log: slog.New(slog.DiscardHandler), Now: time.Now,
		})
		req, err := openai.Decode([]byte(`{"model":"gpt-4.1","messages":[{"role":"user","content":"hi"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		req.ID = "req_1"
		ctx, leave := context.WithTimeout(context.WithoutCancel(t.Context()), time.Second)
		defer leave()
		if err := service.Complete(ctx, completion.Caller{OrgID: "org_1"}, &req, nothing{}); err == nil || len(log.events) != 1 {
			t.Fatalf("%v, %d events", err, len(log.events))
		}
		if e := log.events[0]; e.Outcome != usage.Canceled || e.Source != usage.None || *e.Tokens != (usage.Tokens{}) {
			t.Errorf("the event says %v, %+v by %v", e.Outcome, e.Tokens, e.Source)
		}
		<-given
	})
}
