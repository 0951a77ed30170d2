package cluster

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/claviger/claviger/pkg/jetstream/jetstreamtest"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/porttest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	"github.com/claviger/claviger/pkg/transit/transittest"
	settingsv1 "github.com/claviger/claviger/proto/gen/claviger/settings/v1"
	"github.com/claviger/claviger/tools/seed"
)

// Options say what a cluster is made of. The zero value is one of each service.
type Options struct {
	// Routers is the number of routers, default 1.
	Routers int
	// Provider configures the scripted provider.
	Provider []llmtest.Option
	// Keys, Router and Metering change the settings of a service before its first start.
	Keys     func(*settingsv1.Keys)
	Router   func(*settingsv1.Router)
	Metering func(*settingsv1.Metering)
	// Environ is added to the environment of each service, as "NAME=value".
	Environ []string
}

// Cluster is a running installation. Each part has a process of its own but the scripted provider,
// which is in the test's, so that a test can read its ledger.
type Cluster struct {
	Keys     *Service
	Metering *Service
	Routers  []*Service

	Vault    *transittest.Vault
	NATS     *jetstreamtest.Process
	Provider *llmtest.Server
	// KeysDB and MeteringDB are two servers, so that one can be away without the other.
	KeysDB     *sqltest.PostgresServer
	MeteringDB *sqltest.PostgresServer
	// Authority issues the identities of services.
	Authority *Authority
	// Operator is the account of the operator.
	Operator seed.Login

	tb        testing.TB
	dir       string
	binary    string
	signing   map[string]string // files by name
	client    *http.Client
	environ   []string
	providers []string // egress rules
	prices    string   // the internal listener of metering, which keys is told of before there is one
}

// Start starts a cluster and returns when all services are ready. It ends with the test.
func Start(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	c := &Cluster{
		tb: tb, dir: tb.TempDir(), binary: Binary(tb), client: &http.Client{Transport: &http.Transport{Proxy: nil}}, environ: o.Environ,
		Vault: transittest.Start(tb), NATS: jetstreamtest.StartProcess(tb), Provider: llmtest.New(tb, o.Provider...),
		KeysDB: sqltest.Server(tb), MeteringDB: sqltest.Server(tb),
		Operator: seed.Login{Email: "operator@claviger.local", Password: secret.New(rand.Text())},
	}
	tb.Cleanup(c.client.CloseIdleConnections)
	var err error
	c.Authority, err = NewAuthority(filepath.Join(c.dir, "tls"))
	c.must(err)
	c.providers = []string{c.Provider.URL[len("http://"):]}
	c.makeSigningKeys()

	c.prices = c.address()
	c.Keys = c.keys(o.Keys)
	c.Keys.Start()
	c.Metering = c.metering(o.Metering)
	for i := range max(o.Routers, 1) {
		c.Routers = append(c.Routers, c.router(fmt.Sprintf("router-%d", i+1), o.Router))
	}
	for _, s := range append([]*Service{c.Metering}, c.Routers...) {
		s.Start()
	}
	return c
}

func (c *Cluster) must(err error) {
	c.tb.Helper()
	if err != nil {
		c.tb.Fatalf("cluster: %v", err)
	}
}

// makeSigningKeys writes the keys that sign configuration and access tokens.
func (c *Cluster) makeSigningKeys() {
	c.tb.Helper()
	c.signing = map[string]string{}
	for _, name := range []string{"config", "token"} {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		c.must(err)
		der, err := x509.MarshalPKCS8PrivateKey(private)
		c.must(err)
		c.signing[name] = filepath.Join(c.dir, name+".key")
		c.must(writePEM(c.signing[name], "PRIVATE KEY", der))
		der, err = x509.MarshalPKIXPublicKey(public)
		c.must(err)
		c.signing[name+".pub"] = filepath.Join(c.dir, name+".pub")
		c.must(writePEM(c.signing[name+".pub"], "PUBLIC KEY", der))
	}
}

func (c *Cluster) identity(service, instance string) *settingsv1.Tls {
	c.tb.Helper()
	identity, err := c.Authority.Identity(transittest.Environment, service, instance)
	c.must(err)
	return identity
}

func (c *Cluster) vault(role transittest.Role) *settingsv1.Vault {
	c.tb.Helper()
	roleID, secretID := c.Vault.Login(c.tb, role)
	return &settingsv1.Vault{
		Address: c.Vault.Address, RoleId: roleID, SecretId: secretID.Reveal(),
		TransitMount: transittest.Mount, TransitKey: transittest.Key, PepperPath: transittest.PepperPath,
	}
}

func (c *Cluster) keys(change func(*settingsv1.Keys)) *Service {
	c.tb.Helper()
	s := &settingsv1.Keys{
		Environment: transittest.Environment, DataDir: c.data("keys"),
		HttpListen: c.address(), InternalListen: c.address(), OpsListen: c.address(),
		Tls: c.identity("keys", "keys-1"), Database: &settingsv1.Database{Url: c.KeysDB.URL()}, Vault: c.vault(transittest.Keys),
		ConfigSigningKeyFile: c.signing["config"], TokenSigningKeyFile: c.signing["token"],
		MeteringAddress: c.prices, OperatorEmail: c.Operator.Email, OperatorPassword: c.Operator.Password.Reveal(),
		Egress: &settingsv1.Egress{Allow: c.providers}, LogFormat: "json",
	}
	if change != nil {
		change(s)
	}
	service := c.service("keys", "keys", s)
	service.Internal, service.httpAddress, service.opsAddress = s.GetInternalListen(), s.GetHttpListen(), s.GetOpsListen()
	return service
}

func (c *Cluster) metering(change func(*settingsv1.Metering)) *Service {
	c.tb.Helper()
	s := &settingsv1.Metering{
		Environment: transittest.Environment, DataDir: c.data("metering"),
		HttpListen: c.address(), InternalListen: c.prices, OpsListen: c.address(),
		Tls: c.identity("metering", "metering-1"), KeysAddress: c.Keys.Internal, ConfigPublicKeyFile: c.signing["config.pub"],
		Database: &settingsv1.Database{Url: c.MeteringDB.URL()}, Nats: &settingsv1.Nats{Url: c.NATS.URL()}, LogFormat: "json",
	}
	if change != nil {
		change(s)
	}
	service := c.service("metering", "metering", s)
	service.Internal, service.httpAddress, service.opsAddress = s.GetInternalListen(), s.GetHttpListen(), s.GetOpsListen()
	return service
}

func (c *Cluster) router(name string, change func(*settingsv1.Router)) *Service {
	c.tb.Helper()
	s := &settingsv1.Router{
		Environment: transittest.Environment, Name: name, DataDir: c.data(name),
		HttpListen: c.address(), GrpcListen: c.address(), OpsListen: c.address(),
		Tls: c.identity("router", name), KeysAddress: c.Keys.Internal, MeteringAddress: c.Metering.Internal, ConfigPublicKeyFile: c.signing["config.pub"],
		Vault: c.vault(transittest.Router), Nats: &settingsv1.Nats{Url: c.NATS.URL()},
		Egress: &settingsv1.Egress{Allow: c.providers}, LogFormat: "json", DrainDelay: durationpb.New(0), // nobody balances loads here
		ProviderBaseUrls: map[string]string{"openai": c.Provider.OpenAIURL(), "anthropic": c.Provider.AnthropicURL(), "fal": c.Provider.FalURL()},
	}
	if change != nil {
		change(s)
	}
	service := c.service("router", name, s)
	service.httpAddress, service.opsAddress, service.GRPC = s.GetHttpListen(), s.GetOpsListen(), s.GetGrpcListen()
	return service
}

func (c *Cluster) data(name string) string { return filepath.Join(c.dir, "data", name) }

// address reserves a loopback address that stays the same over restarts.
func (c *Cluster) address() string {
	c.tb.Helper()
	address, err := porttest.Address()
	c.must(err)
	return address
}

// SignIn signs in at keys and returns the session.
func (c *Cluster) SignIn(organization string, as seed.Login) *Session {
	c.tb.Helper()
	return signIn(c, organization, as)
}
