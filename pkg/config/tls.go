package config

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

// lookEvery bounds how often handshakes look for changed files.
const lookEvery = time.Second

// Identity is a service's certificate and key, and the authorities it trusts. The files are read
// again when they change; while what they hold does not fit together, the last good state serves.
type Identity struct {
	// Log hears of each reading after the first; nil says nothing. Set it before use.
	Log *slog.Logger

	files [3]string // certificate, key, authorities

	mu     sync.Mutex
	looked time.Time
	read   [3]version // of the files that state was read from
	failed [3]version // of the files that could not be used, so that each failure is logged once
	state  *identityState
}

type identityState struct {
	certificate *tls.Certificate
	authorities *x509.CertPool
}

// version tells two states of a file apart.
type version struct {
	modified time.Time
	size     int64
}

// TLS reads an identity. It fails if the files are missing or do not fit together.
func TLS(certFile, keyFile, caFile string) (*Identity, error) {
	i := &Identity{files: [3]string{certFile, keyFile, caFile}, looked: time.Now()}
	versions, err := i.versions()
	if err != nil {
		return nil, err
	}
	if i.state, err = i.load(); err != nil {
		return nil, err
	}
	i.read = versions
	return i, nil
}

// Server returns the configuration of a listener that admits only callers with a certificate of our
// authorities.
func (i *Identity) Server() *tls.Config {
	config := i.base()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now, c := i.current(), i.base()
		c.Certificates = []tls.Certificate{*now.certificate}
		c.ClientCAs = now.authorities
		return c, nil
	}
	// For those who ask the configuration whether it has a certificate at all.
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.current().certificate, nil }
	return config
}

func (i *Identity) base() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequireAndVerifyClientCert,
		NextProtos: []string{"h2", "http/1.1"},
		ClientCAs:  x509.NewCertPool(), // nobody, should GetConfigForClient be lost on the way
		// A resumed session would go on with authorities that are trusted no more.
		SessionTicketsDisabled: true,
	}
}

// Client returns the configuration of connections to address, "host" or "host:port", whose host must
// be in the server's certificate. With an empty address the dialer says whom it calls, as a NATS
// client with several servers does; the authorities are then those of now, read once.
func (i *Identity) Client(address string) *tls.Config {
	host := address
	if h, _, err := net.SplitHostPort(address); err == nil {
		host = h
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: host,
		RootCAs:    i.current().authorities,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return i.current().certificate, nil
		},
	}
	if host == "" {
		return config
	}
	// RootCAs cannot change in a configuration that is in use, so the same check is made here, with
	// the authorities of the moment.
	config.InsecureSkipVerify = true // VerifyConnection does it
	config.VerifyConnection = func(cs tls.ConnectionState) error {
		return verifyServer(cs, host, i.current().authorities)
	}
	return config
}

func verifyServer(cs tls.ConnectionState, host string, roots *x509.CertPool) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the server has no certificate")
	}
	options := x509.VerifyOptions{
		DNSName: host, Roots: roots, Intermediates: x509.NewCertPool(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, c := range cs.PeerCertificates[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err := cs.PeerCertificates[0].Verify(options)
	return err
}

// current returns the state to use, after a look at the files if the last is a while ago.
func (i *Identity) current() *identityState {
	i.mu.Lock()
	defer i.mu.Unlock()
	if now := time.Now(); now.Sub(i.looked) >= lookEvery {
		i.looked = now
		i.refresh()
	}
	return i.state
}

func (i *Identity) refresh() {
	versions, err := i.versions()
	if err == nil && versions == i.read {
		return
	}
	var state *identityState
	if err == nil {
		state, err = i.load()
	}
	if err == nil {
		// Files that changed while they were read are read again at the next look.
		again, seen := i.versions()
		if seen != nil || again != versions {
			return
		}
		i.state, i.read, i.failed = state, versions, [3]version{}
		i.log().Info("tls identity read again", "certificate", i.files[0], "expires", state.certificate.Leaf.NotAfter)
		return
	}
	if versions != i.failed {
		i.failed = versions
		i.log().Warn("changed tls identity cannot be used, the last one serves on", "error", err)
	}
}

func (i *Identity) log() *slog.Logger {
	if i.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return i.Log
}

func (i *Identity) versions() (v [3]version, err error) {
	for n, path := range i.files {
		info, err := os.Stat(path)
		if err != nil {
			return [3]version{}, fmt.Errorf("tls identity: %w", err)
		}
		v[n] = version{modified: info.ModTime(), size: info.Size()}
	}
	return v, nil
}

func (i *Identity) load() (*identityState, error) {
	certificate, err := tls.LoadX509KeyPair(i.files[0], i.files[1])
	if err != nil {
		return nil, fmt.Errorf("tls identity %s: %w", i.files[0], err)
	}
	data, err := readFile(i.files[2])
	if err != nil {
		return nil, fmt.Errorf("tls authorities: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("tls authorities: %s holds no certificate in PEM form", i.files[2])
	}
	return &identityState{certificate: &certificate, authorities: authorities}, nil
}

// LoadEd25519 reads an Ed25519 private key: PEM, PKCS #8, as openssl genpkey writes it.
func LoadEd25519(path string) (ed25519.PrivateKey, error) {
	key, err := parsePEM(path, "PRIVATE KEY", x509.ParsePKCS8PrivateKey)
	if err != nil {
		return nil, err
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s holds no Ed25519 key", path)
	}
	return private, nil
}

// LoadEd25519Public reads an Ed25519 public key: PEM, as openssl pkey -pubout writes it.
func LoadEd25519Public(path string) (ed25519.PublicKey, error) {
	key, err := parsePEM(path, "PUBLIC KEY", x509.ParsePKIXPublicKey)
	if err != nil {
		return nil, err
	}
	public, ok := key.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%s holds no Ed25519 key", path)
	}
	return public, nil
}

func parsePEM(path, label string, parse func([]byte) (any, error)) (any, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != label {
		return nil, fmt.Errorf("%s holds no PEM block %q", path, label)
	}
	key, err := parse(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}
