// Package cluster runs the services as they run in production: one process each, with Vault, Postgres,
// NATS and mutual TLS, on loopback. Tests stop, kill and start any part and read what it logged.
package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	settingsv1 "github.com/claviger/claviger/proto/gen/claviger/settings/v1"
)

// Authority issues the identities of services: certificates with a SPIFFE id, valid for a day.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority whose files lie in dir.
func NewAuthority(dir string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "claviger test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	a := &Authority{dir: dir, cert: cert, key: key}
	return a, writePEM(a.caFile(), "CERTIFICATE", der)
}

func (a *Authority) caFile() string { return filepath.Join(a.dir, "ca.pem") }

// Identity issues a certificate for spiffe://<environment>/<service>/<instance> on loopback. Issuing
// it again for the same name replaces its files, as a rotation does.
func (a *Authority) Identity(environment, service, instance string) (*settingsv1.Tls, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: service},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		URIs:        []*url.URL{{Scheme: "spiffe", Host: environment, Path: "/" + service + "/" + instance}},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	base := filepath.Join(a.dir, fmt.Sprintf("%s-%s-%s", environment, service, instance))
	identity := &settingsv1.Tls{CertFile: base + ".pem", KeyFile: base + ".key", CaFile: a.caFile()}
	if err := writePEM(identity.GetKeyFile(), "PRIVATE KEY", private); err != nil {
		return nil, err
	}
	return identity, writePEM(identity.GetCertFile(), "CERTIFICATE", der)
}

func serial() *big.Int {
	var n [16]byte
	_, _ = rand.Read(n[:]) // never fails
	return new(big.Int).SetBytes(n[:])
}

// writePEM replaces a file at once, so that a service that reads it again never sees half of it.
func writePEM(name, kind string, der []byte) error {
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(name+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
