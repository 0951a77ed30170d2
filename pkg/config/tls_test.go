package config_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/config"
)

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	der, key := a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, a.key = cert, key
	return a
}

func (a *authority) sign(t *testing.T, template *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
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

// files are the three files of an identity.
type files struct{ cert, key, ca string }

func newFiles(t *testing.T) files {
	t.Helper()
	dir := t.TempDir()
	return files{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")}
}

// issue writes a certificate for name, which is also valid for 127.0.0.1, and the authorities to trust.
func (f files) issue(t *testing.T, a *authority, name string, trusted ...*authority) {
	t.Helper()
	der, key := a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	// The key first, so that between the two writes the files do not fit together.
	writePEM(t, f.key, "PRIVATE KEY", pkcs8(t, key))
	writePEM(t, f.cert, "CERTIFICATE", der)
	f.trust(t, trusted...)
}

func (f files) trust(t *testing.T, trusted ...*authority) {
	t.Helper()
	var ca bytes.Buffer
	for _, a := range trusted {
		if err := pem.Encode(&ca, &pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(f.ca, ca.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func pkcs8(t *testing.T, key crypto.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func writePEM(t *testing.T, path, label string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func identity(t *testing.T, f files) *config.Identity {
	t.Helper()
	id, err := config.TLS(f.cert, f.key, f.ca)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// shake makes a connection and returns what both ends know, or the error of either.
func shake(t *testing.T, server, client *tls.Config) (atServer, atClient tls.ConnectionState, err error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	type end struct {
		state tls.ConnectionState
		err   error
	}
	accepted := make(chan end, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			accepted <- end{err: err}
			return
		}
		defer func() { _ = conn.Close() }()
		secure, ok := conn.(*tls.Conn)
		if !ok {
			accepted <- end{err: errors.New("no TLS connection")}
			return
		}
		err = secure.HandshakeContext(t.Context())
		accepted <- end{secure.ConnectionState(), err}
	}()
	conn, err := (&tls.Dialer{Config: client}).DialContext(t.Context(), "tcp", l.Addr().String())
	other := <-accepted
	if err != nil {
		return other.state, tls.ConnectionState{}, err
	}
	defer func() { _ = conn.Close() }()
	secure, ok := conn.(*tls.Conn)
	if !ok {
		t.Fatal("no TLS connection")
	}
	return other.state, secure.ConnectionState(), other.err
}

func TestBothEndsShowCertificatesOverTLS13(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	server, client := newFiles(t), newFiles(t)
	server.issue(t, a, "keys", a)
	client.issue(t, a, "router-1", a)
	s, c := identity(t, server), identity(t, client)
	for _, address := range []string{"keys", "keys:7443", "127.0.0.1", "127.0.0.1:7443", ""} {
		config := c.Client(address)
		config.NextProtos = []string{"h2"}
		atServer, atClient, err := shake(t, s.Server(), config)
		if err != nil {
			t.Errorf("handshake with Client(%q): %v", address, err)
			continue
		}
		if got := atServer.VerifiedChains; len(got) == 0 || got[0][0].Subject.CommonName != "router-1" {
			t.Errorf("the server does not know who called with Client(%q)", address)
		}
		if atClient.Version != tls.VersionTLS13 || atClient.NegotiatedProtocol != "h2" {
			t.Errorf("Client(%q): version %x, protocol %q, want TLS 1.3 and h2", address, atClient.Version, atClient.NegotiatedProtocol)
		}
	}
}

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	server, client, stranger := newFiles(t), newFiles(t), newFiles(t)
	server.issue(t, ours, "keys", ours)
	client.issue(t, ours, "router-1", ours)
	stranger.issue(t, theirs, "keys", ours, theirs)
	s, c, x := identity(t, server), identity(t, client), identity(t, stranger)
	bare := c.Client("keys")
	bare.GetClientCertificate = nil
	old := c.Client("keys")
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for name, ends := range map[string]struct{ server, client *tls.Config }{
		"caller without a certificate":               {s.Server(), bare},
		"caller of another authority":                {s.Server(), x.Client("keys")},
		"caller with TLS 1.2":                        {s.Server(), old},
		"server of another authority":                {x.Server(), c.Client("keys")},
		"server of another authority, by the dialer": {x.Server(), c.Client("")},
		"server with another name":                   {s.Server(), c.Client("metering:7443")},
		"server with another address":                {s.Server(), c.Client("127.0.0.2:7443")},
	} {
		if _, _, err := shake(t, ends.server, ends.client); err == nil {
			t.Errorf("%s: the handshake succeeded", name)
		}
	}
}

// TestChangedFilesAreReadAgain renews the certificates under a new authority while configurations are
// in use, as a certificate manager does.
func TestChangedFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	before, after := newAuthority(t), newAuthority(t)
	server, client := newFiles(t), newFiles(t)
	server.issue(t, before, "keys", before)
	client.issue(t, before, "router-1", before)
	s, c := identity(t, server), identity(t, client)
	var log lockedBuffer
	s.Log = slog.New(slog.NewTextHandler(&log, nil))
	listening, calling := s.Server(), c.Client("keys")
	if _, _, err := shake(t, listening, calling); err != nil {
		t.Fatal(err)
	}

	// What does not fit together changes nothing.
	if err := os.WriteFile(server.key, []byte("half a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "warning", func() bool {
		_, _, err := shake(t, listening, calling)
		if err != nil {
			t.Fatalf("handshake while the files are broken: %v", err)
		}
		return strings.Contains(log.String(), "cannot be used")
	})

	server.issue(t, after, "keys", before, after)
	client.issue(t, after, "router-1", before, after)
	eventually(t, "certificate of the new authority on both ends", func() bool {
		atServer, atClient, err := shake(t, listening, calling)
		return err == nil && atServer.PeerCertificates[0].CheckSignatureFrom(after.cert) == nil &&
			atClient.PeerCertificates[0].CheckSignatureFrom(after.cert) == nil
	})

	// The old authority is trusted no more.
	old := newFiles(t)
	old.issue(t, before, "router-2", after)
	leaver := identity(t, old).Client("keys")
	if _, _, err := shake(t, listening, leaver); err != nil {
		t.Fatalf("handshake of an old certificate before the change: %v", err)
	}
	server.trust(t, after)
	eventually(t, "refusal of the old authority", func() bool {
		_, _, err := shake(t, listening, leaver)
		return err != nil
	})
	if n := strings.Count(log.String(), "cannot be used"); n > 3 {
		t.Errorf("%d warnings, want one for each state of the files", n)
	}
}

func TestIdentityNeedsFilesThatFit(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	good, other := newFiles(t), newFiles(t)
	good.issue(t, a, "keys", a)
	other.issue(t, a, "keys", a)
	empty := write(t, "empty.pem", "")
	for name, f := range map[string]files{
		"no certificate": {"/does/not/exist", good.key, good.ca}, "no key": {good.cert, "/does/not/exist", good.ca},
		"no authorities": {good.cert, good.key, "/does/not/exist"}, "another key": {good.cert, other.key, good.ca},
		"empty authorities": {good.cert, good.key, empty}, "empty certificate": {empty, good.key, good.ca},
	} {
		if _, err := config.TLS(f.cert, f.key, f.ca); err == nil {
			t.Errorf("TLS with %s succeeded", name)
		}
	}
}

func TestEd25519KeysAreReadFromPEM(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	privateFile, publicFile := filepath.Join(dir, "private.pem"), filepath.Join(dir, "public.pem")
	writePEM(t, privateFile, "PRIVATE KEY", pkcs8(t, private))
	writePEM(t, publicFile, "PUBLIC KEY", spki)
	if got, err := config.LoadEd25519(privateFile); err != nil || !got.Equal(private) {
		t.Errorf("LoadEd25519 = %v", err)
	}
	if got, err := config.LoadEd25519Public(publicFile); err != nil || !got.Equal(public) {
		t.Errorf("LoadEd25519Public = %v", err)
	}
	_, ec := newAuthority(t).sign(t, &x509.Certificate{})
	ecFile, garbage := filepath.Join(dir, "ec.pem"), filepath.Join(dir, "garbage.pem")
	writePEM(t, ecFile, "PRIVATE KEY", pkcs8(t, ec))
	writePEM(t, garbage, "PRIVATE KEY", []byte("garbage"))
	for _, path := range []string{publicFile, ecFile, garbage, write(t, "x", "no pem"), filepath.Join(dir, "none")} {
		if _, err := config.LoadEd25519(path); err == nil {
			t.Errorf("LoadEd25519(%s) succeeded", filepath.Base(path))
		}
	}
	if _, err := config.LoadEd25519Public(privateFile); err == nil {
		t.Error("LoadEd25519Public of a private key succeeded")
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(20 * time.Millisecond) { //nolint:forbidigo // files are looked at once a second
		if time.Now().After(deadline) {
			t.Fatalf("no %s after 20 s", what)
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
