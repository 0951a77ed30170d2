package metering_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
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
	"google.golang.org/protobuf/proto"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/config"
	"github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/jetstream/jetstreamtest"
	"github.com/claviger/claviger/pkg/rpcmount"
	"github.com/claviger/claviger/pkg/serve"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	settingsv1 "github.com/claviger/claviger/proto/gen/claviger/settings/v1"
	"github.com/claviger/claviger/services/metering"
	"github.com/claviger/claviger/services/metering/internal/follow/followtest"
)

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.key = a.newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// identity is the certificate of one of our services.
func (a *authority) identity(service string) *settingsv1.Tls {
	a.t.Helper()
	key := a.newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: followtest.Environment, Path: "/" + service + "/1"}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return &settingsv1.Tls{
		CertFile: a.write(service+".pem", "CERTIFICATE", der), KeyFile: a.write(service+".key", "PRIVATE KEY", private),
		CaFile: filepath.Join(a.dir, "ca.pem"),
	}
}

// serveKeys serves the ConfigService over mutual TLS, as keys does, and returns its address.
func (a *authority) serveKeys(keys *followtest.Keys) string {
	a.t.Helper()
	files := a.identity("keys")
	identity, err := config.TLS(files.GetCertFile(), files.GetKeyFile(), files.GetCaFile())
	if err != nil {
		a.t.Fatal(err)
	}
	ln := listen(a.t)
	server := serve.GRPC(serve.DefaultMessageBytes, identity.Server(), keys.Server())
	go func() { _ = server.Serve(ln) }()
	a.t.Cleanup(server.Stop)
	return ln.Addr().String()
}

// dial reaches the internal listener as a service.
func (a *authority) dial(address, service string) connect.Transport {
	a.t.Helper()
	files := a.identity(service)
	identity, err := config.TLS(files.GetCertFile(), files.GetKeyFile(), files.GetCaFile())
	if err != nil {
		a.t.Fatal(err)
	}
	conn, err := serve.Dial(address, identity.Client(address))
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = conn.Close() })
	return rpcmount.NewTransport(conn)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := serve.Listen(t.Context(), "a test", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// address is one that nobody listens on just now.
func address(t *testing.T) string {
	t.Helper()
	ln := listen(t)
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

func TestRunServesWhatTheSettingsSay(t *testing.T) {
	t.Parallel()
	r := &rig{t: t, keys: followtest.Start(t), org: "org_01k0000000e00000000000000a", other: "org_01k0000000e00000000000000b", op: "org_01k0000000e00000000000000c"}
	r.configure()
	process := jetstreamtest.StartProcess(t)
	r.conn, r.js = process.Connect()
	a := newAuthority(t)
	public, err := x509.MarshalPKIXPublicKey(r.keys.Public())
	if err != nil {
		t.Fatal(err)
	}
	settings := metering.Defaults()
	proto.Merge(settings, &settingsv1.Metering{
		Environment: followtest.Environment, DataDir: t.TempDir(), HttpListen: address(t), InternalListen: address(t), OpsListen: address(t),
		Tls: a.identity("metering"), KeysAddress: a.serveKeys(r.keys), ConfigPublicKeyFile: a.write("config.pub", "PUBLIC KEY", public),
		Database: &settingsv1.Database{Url: "sqlite:" + filepath.Join(t.TempDir(), "metering.db")}, Nats: &settingsv1.Nats{Url: process.URL()},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- metering.Run(ctx, settings, slog.New(slog.DiscardHandler)) }()

	operations := func(path string) (string, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+settings.GetOpsListen()+path, nil)
		if err != nil {
			return "", err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return "", err
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			return "", fmt.Errorf("%s: %s, %w", res.Status, body, err)
		}
		return string(body), nil
	}
	r.eventually("ready", func() error {
		_, err := operations("/readyz")
		return err
	})
	r.publish(r.alice.event(nil))
	withToken := func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok {
				info.RequestHeader().Set("Authorization", "Bearer "+r.keys.Token(r.org, "acme", r.alice.member, authn.Owner))
			}
			return next(ctx, spec)
		}
	}
	transport := connecthttp.NewTransport(http.DefaultClient, "http://"+settings.GetHttpListen())
	usage := meteringv1connect.NewUsageServiceClient(connect.NewClient(transport, withToken))
	r.eventually("the usage", func() error {
		res, err := usage.QueryUsage(t.Context(), &meteringv1.QueryUsageRequest{})
		if err == nil && res.GetTotal().GetAttempts() != 1 {
			err = fmt.Errorf("total %v", res.GetTotal())
		}
		return err
	})
	text, err := operations("/metrics")
	for _, want := range []string{
		`claviger_ingest_events_total{claviger_outcome="counted",service_name="claviger-metering"} 1`,
		`claviger_config_version{service_name="claviger-metering"} `, `rpc_method="claviger.metering.v1.UsageService/QueryUsage"`,
	} {
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("metrics have no %s: %v\n%s", want, err, text)
		}
	}
	// The price book is for routers with a certificate of ours, and for nobody else.
	for service, want := range map[string]connect.Code{"router": 0, "metering": connect.CodePermissionDenied} {
		stream, err := meteringv1connect.NewPriceFeedServiceClient(connect.NewClient(a.dial(settings.GetInternalListen(), service))).
			WatchPrices(t.Context(), &meteringv1.WatchPricesRequest{})
		if err == nil {
			_, err = stream.Receive()
		}
		if (err == nil) != (want == 0) || err != nil && connect.CodeOf(err) != want {
			t.Errorf("the price book for %s: %v", service, err)
		}
	}
	// A heartbeat is answered over the same connection.
	sub, err := r.conn.SubscribeSync(jetstream.AppliedSubject("r1"))
	if err != nil {
		t.Fatal(err)
	}
	head, err := proto.Marshal(&eventsv1.SpoolHead{Router: "r1", Time: r.alice.event(nil).GetEndedTime()})
	if err != nil {
		t.Fatal(err)
	}
	r.eventually("feedback", func() error {
		if err := r.conn.Publish(jetstream.HeadSubject("r1"), head); err != nil {
			return err
		}
		_, err := sub.NextMsg(100 * time.Millisecond)
		return err
	})
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
}
