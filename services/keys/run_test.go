package keys_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	"github.com/claviger/claviger/pkg/config"
	"github.com/claviger/claviger/pkg/rpcmount"
	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	"github.com/claviger/claviger/pkg/transit"
	"github.com/claviger/claviger/pkg/transit/transittest"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	settingsv1 "github.com/claviger/claviger/proto/gen/claviger/settings/v1"
	"github.com/claviger/claviger/services/keys"
)

// authority issues certificates into a folder.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("ca", &x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	})
	return a
}

func (a *authority) issue(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.must(err)
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	a.must(err)
	cert, err := x509.ParseCertificate(raw)
	a.must(err)
	a.write(name+".crt", "CERTIFICATE", raw)
	a.writeKey(name+".key", key)
	return cert, key
}

// service issues the identity of one of our services.
func (a *authority) service(environment, service, instance string) *settingsv1.Tls {
	a.t.Helper()
	name := environment + "-" + service + "-" + instance
	a.issue(name, &x509.Certificate{
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: environment, Path: "/" + service + "/" + instance}},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	})
	return &settingsv1.Tls{
		CertFile: filepath.Join(a.dir, name+".crt"), KeyFile: filepath.Join(a.dir, name+".key"), CaFile: filepath.Join(a.dir, "ca.crt"),
	}
}

func (a *authority) writeKey(name string, key any) string {
	a.t.Helper()
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	a.must(err)
	return a.write(name, "PRIVATE KEY", raw)
}

func (a *authority) write(name, kind string, raw []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	a.must(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600))
	return path
}

func (a *authority) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// dial reaches the internal listener as a service.
func (a *authority) dial(address string, as *settingsv1.Tls) keysv1connect.ConfigServiceClient {
	a.t.Helper()
	identity, err := config.TLS(as.GetCertFile(), as.GetKeyFile(), as.GetCaFile())
	a.must(err)
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(identity.Client(address))))
	a.must(err)
	a.t.Cleanup(func() { _ = conn.Close() })
	return keysv1connect.NewConfigServiceClient(connect.NewClient(rpcmount.NewTransport(conn)))
}

// addresses reads where the service listens from its log.
func addresses(log *lockedBuffer) map[string]string {
	out := map[string]string{}
	for line := range bytes.Lines([]byte(log.String())) {
		var entry struct{ Msg, For, Address string }
		if json.Unmarshal(line, &entry) == nil && entry.Msg == "listening" {
			out[entry.For] = entry.Address
		}
	}
	return out
}

func TestRunServesPeopleAndServicesWithARealVault(t *testing.T) {
	t.Parallel()
	ca, vault := newAuthority(t), transittest.Shared(t)
	roleID, secretID := vault.Login(t, transittest.Keys)
	_, configKey, err := ed25519.GenerateKey(nil)
	ca.must(err)
	_, tokenKey, err := ed25519.GenerateKey(nil)
	ca.must(err)
	settings := keys.Defaults()
	proto.Merge(settings, &settingsv1.Keys{
		Environment: transittest.Environment, HttpListen: "127.0.0.1:0", InternalListen: "127.0.0.1:0", OpsListen: "127.0.0.1:0",
		Tls: ca.service("test", "keys", "keys-1"), Database: &settingsv1.Database{Url: sqltest.Postgres(t)},
		Vault:                &settingsv1.Vault{Address: vault.Address, RoleId: roleID, SecretId: secretID.Reveal()},
		ConfigSigningKeyFile: ca.writeKey("config.pem", configKey), TokenSigningKeyFile: ca.writeKey("token.pem", tokenKey),
		OperatorEmail: "operator@example.com", OperatorPassword: passphrase,
	})
	log := &lockedBuffer{}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- keys.Run(ctx, settings, slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	}()
	eventually(t, "three listeners", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("Run: %v\n%s", err, log.String())
		default:
		}
		return len(addresses(log)) == 3
	})
	at := addresses(log)

	ready, err := http.Get("http://" + at["operations"] + "/readyz")
	ca.must(err)
	ca.must(ready.Body.Close())
	if ready.StatusCode != http.StatusOK {
		t.Errorf("readyz = %d, want 200", ready.StatusCode)
	}

	created := createOverHTTP(t, "http://"+at["the public API"])
	router := ca.dial(at["our own services"], ca.service("test", "router", "router-1"))
	stream, err := router.WatchConfig(t.Context(), &keysv1.WatchConfigRequest{})
	ca.must(err)
	msg, err := stream.Receive()
	ca.must(err)
	batch := &keysv1.ConfigBatch{}
	ca.must(proto.Unmarshal(msg.GetConfig().GetPayload(), batch))
	measured, err := http.Get("http://" + at["operations"] + "/metrics")
	ca.must(err)
	text, err := io.ReadAll(measured.Body)
	ca.must(errors.Join(err, measured.Body.Close()))
	if want := `claviger_config_watchers{claviger_watcher="router",service_name="claviger-keys"} 1`; !strings.Contains(string(text), want) {
		t.Errorf("metrics = %d, without %s:\n%s", measured.StatusCode, want, text)
	}
	holdsNone(t, "the metrics", string(text), []string{"sk-ant-0123456789abcdef", passphrase, secretID.Reveal(), vault.Pepper.Reveal()})
	found := batch.GetCredentials()[0]
	if found.GetId() != created.GetId() {
		t.Fatalf("the router got the credential %s, want %s", found.GetId(), created.GetId())
	}
	bound := transit.Context{Environment: "test", OrgID: found.GetOrgId(), CredentialID: found.GetId(), Revision: 1, Binding: transit.Bind("anthropic")}
	plain, err := vault.Connect(t, transittest.Router).Opener().Open(t.Context(), found.GetSealed(), bound)
	if err != nil || plain.Reveal() != "sk-ant-0123456789abcdef" {
		t.Errorf("a router cannot open what keys has sealed: %v", err)
	}

	_, err = ca.dial(at["our own services"], ca.service("test", "metering", "m-1")).ReportRouterState(t.Context(), &keysv1.ReportRouterStateRequest{Router: "r"})
	refused(t, "metering reports as a router", err, connect.CodePermissionDenied, "SERVICE_NOT_ALLOWED")
	_, err = ca.dial(at["our own services"], ca.service("prod", "router", "router-1")).ReportRouterState(t.Context(), &keysv1.ReportRouterStateRequest{Router: "router-1"})
	refused(t, "a router of another environment", err, connect.CodeUnauthenticated, "UNAUTHENTICATED")

	stop() // with the watcher still there
	select {
	case err := <-ended:
		ca.must(err)
	case <-time.After(10 * time.Second):
		t.Error("Run did not end, though nothing but a watcher was left")
	}
	for err == nil {
		_, err = stream.Receive()
	}
	holdsNone(t, "the log", log.String(), []string{"sk-ant-0123456789abcdef", passphrase, secretID.Reveal(), vault.Pepper.Reveal()})
}

// createOverHTTP signs in as the operator and brings a credential, as a browser would.
func createOverHTTP(t *testing.T, url string) *keysv1.Credential {
	t.Helper()
	client := connect.NewClient(connecthttp.NewTransport(http.DefaultClient, url, connecthttp.WithProtoJSON()))
	in, err := keysv1connect.NewSessionServiceClient(client).SignIn(t.Context(), &keysv1.SignInRequest{
		Organization: "platform", Email: "operator@example.com", Password: passphrase,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, info := connect.NewClientContext(t.Context())
	info.RequestHeader().Set("Authorization", "Bearer "+in.GetAccessToken())
	res, err := keysv1connect.NewCredentialServiceClient(client).CreateCredential(ctx, &keysv1.CreateCredentialRequest{
		Provider: "anthropic", Label: "house", Secret: "sk-ant-0123456789abcdef", AcceptTerms: true, IdempotencyKey: "1",
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, info = connect.NewClientContext(t.Context())
	info.RequestHeader().Set("Authorization", "Bearer "+in.GetAccessToken())
	_, err = keysv1connect.NewApiKeyServiceClient(client).CreateApiKey(ctx, &keysv1.CreateApiKeyRequest{Name: "ci", IdempotencyKey: "1"})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetCredential()
}
