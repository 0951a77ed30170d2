package jetstream_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/jetstream/jetstreamtest"
)

func TestConnectSucceedsWhileTheServerIsAwayAndPublishFailsAtOnce(t *testing.T) {
	t.Parallel()
	process := jetstreamtest.StartProcess(t)
	process.Stop()
	nc, js := process.Connect()
	began := time.Now()
	_, err := js.PublishMsg(t.Context(), jetstream.NewFrame(1, "r", "id", []byte("x")))
	if err == nil || time.Since(began) > 2*time.Second {
		t.Fatalf("publish without a server = %v after %v, want an error at once", err, time.Since(began))
	}
	if buffered, err := nc.Buffered(); err != nil || buffered != 0 {
		t.Errorf("Buffered = %d, %v, want nothing in memory", buffered, err)
	}
	process.Start()
	ensure(t, js)
	if _, err := js.PublishMsg(t.Context(), jetstream.NewFrame(1, "r", "id", []byte("x"))); err != nil {
		t.Fatalf("publish after the server came: %v", err)
	}
}

func TestConnectRefusesWhatCanNeverWork(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx context.Context
		o   jetstream.Options
	}{
		"no url":                 {t.Context(), jetstream.Options{}},
		"missing credentials":    {t.Context(), jetstream.Options{URL: "nats://127.0.0.1:1", CredentialsFile: filepath.Join(t.TempDir(), "none")}},
		"no url but with commas": {t.Context(), jetstream.Options{URL: "nats://[::1,"}},
		"the caller went away":   {ended, jetstream.Options{URL: "nats://127.0.0.1:1"}},
	} {
		nc, _, err := jetstream.Connect(c.ctx, c.o)
		if err == nil {
			nc.Close()
			t.Errorf("Connect(%s) succeeded", name)
		}
	}
}

func TestEmbeddedServerKeepsItsStreamsAndListensNowhere(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "streams")
	first := jetstreamtest.StartIn(t, dir)
	if first.Addr() != nil {
		t.Errorf("the server listens on %v", first.Addr())
	}
	_, js := first.Connect()
	ensure(t, js)
	if _, err := js.PublishMsg(t.Context(), jetstream.NewFrame(1, "r", "id", []byte("x"))); err != nil {
		t.Fatal(err)
	}
	first.Stop()
	_, js = jetstreamtest.StartIn(t, dir).Connect()
	if got := info(t, js).State.Msgs; got != 1 {
		t.Fatalf("messages after a restart = %d, want 1", got)
	}
}

func TestTraceContextTravelsUnderItsOwnName(t *testing.T) {
	t.Parallel()
	nc, _ := jetstreamtest.Start(t).Connect()
	sub, err := nc.SubscribeSync(jetstream.AllHeads)
	if err != nil {
		t.Fatal(err)
	}
	msg := nats.NewMsg(jetstream.HeadSubject("router-1"))
	jetstream.Carrier(msg.Header).Set("Traceparent", "00-a-b-01")
	if err := nc.PublishMsg(msg); err != nil {
		t.Fatal(err)
	}
	got, err := sub.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if v := got.Header["traceparent"]; len(v) != 1 || v[0] != "00-a-b-01" {
		t.Fatalf("header = %v, want traceparent in lower case", got.Header)
	}
}

func TestEmbeddedServerLogsThroughTheGivenLogger(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	s, err := jetstream.Embedded(t.TempDir(), jetstream.EmbeddedOptions{
		Name: "embedded", MaxStoreBytes: 1 << 30, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	s.WaitForShutdown()
	if !strings.Contains(log.String(), `msg="nats server"`) || !strings.Contains(log.String(), "Max Storage:     1.00 GB") {
		t.Fatalf("log = %s", log.String())
	}
}

func TestEmbeddedServerNeedsAFolder(t *testing.T) {
	t.Parallel()
	if _, err := jetstream.Embedded("", jetstream.EmbeddedOptions{}); err == nil {
		t.Fatal("Embedded without a folder succeeded")
	}
}

func TestConnectionIdentifiesItselfByCertificate(t *testing.T) {
	t.Parallel()
	authority := newAuthority(t)
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, TLS: true, TLSTimeout: 5, TLSVerify: true,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert,
			Certificates: []tls.Certificate{authority.issue(t, "server")}, ClientCAs: authority.pool(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	url := strings.Replace(s.ClientURL(), "nats://", "tls://", 1)
	var log lockedBuffer
	for name, c := range map[string]struct {
		certificates []tls.Certificate
		want         bool
	}{
		"with certificate":    {[]tls.Certificate{authority.issue(t, "router-1")}, true},
		"without certificate": {nil, false},
	} {
		nc, _, err := jetstream.Connect(t.Context(), jetstream.Options{
			URL: url, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			TLS: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: authority.pool(), Certificates: c.certificates},
		})
		if err != nil {
			t.Fatalf("Connect %s: %v", name, err)
		}
		t.Cleanup(nc.Close)
		if c.want {
			waitFor(t, "connection", nc.IsConnected)
			continue
		}
		waitFor(t, "refusal", func() bool { return nc.LastError() != nil })
		if nc.IsConnected() || nc.IsClosed() {
			t.Errorf("status %s = %v, want it to go on trying", name, nc.Status())
		}
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// authority issues certificates for 127.0.0.1.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, key := a.sign(t, template)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, a.key = cert, key
	return a
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func (a *authority) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	der, key := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) sign(t *testing.T, template *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}
