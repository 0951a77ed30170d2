package snapshot

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/apikey"
	"github.com/claviger/claviger/pkg/configsig"
	"github.com/claviger/claviger/pkg/secret"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/router/internal/completion"
)

var pepper = secret.New("a pepper of at least thirty-two bytes")

// signer stands for keys.
type signer struct {
	key    ed25519.PrivateKey
	pub    ed25519.PublicKey
	issued time.Time
}

func newSigner() *signer {
	pub, key, _ := ed25519.GenerateKey(nil)
	return &signer{key, pub, time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)}
}

func (s *signer) sign(batch *keysv1.ConfigBatch) *keysv1.SignedConfig {
	batch.Environment, batch.View, batch.IssuedTime = "test", "router", timestamppb.New(s.issued)
	return s.signRaw(batch)
}

func (s *signer) signRaw(batch *keysv1.ConfigBatch) *keysv1.SignedConfig {
	raw, _ := proto.Marshal(batch)
	return &keysv1.SignedConfig{Payload: raw, Signature: configsig.Sign(s.key, raw), KeyId: configsig.KeyID(s.pub)}
}

func (s *signer) follower(t *testing.T, dir string) *Follower {
	t.Helper()
	f, err := New(Options{
		Environment: "test", Dir: dir, Key: s.pub, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Pepper:   func(context.Context) (secret.Text, error) { return pepper, nil },
		OnChange: func(*State) {}, OnProbe: func(*keysv1.ProbeJob) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.hasher.Store(newHasher(pepper))
	t.Cleanup(f.disk.close)
	return f
}

func apply(f *Follower, pieces ...*keysv1.SignedConfig) error {
	var held []*keysv1.SignedConfig
	var err error
	for _, p := range pieces {
		if held, err = f.apply(p, held); err != nil {
			return err
		}
	}
	return nil
}

// base is a whole configuration in two parts, with one live key.
func (s *signer) base(version int64) (pieces []*keysv1.SignedConfig, plain string) {
	key, publicID := apikey.Generate()
	return []*keysv1.SignedConfig{
		s.sign(&keysv1.ConfigBatch{ToVersion: version, Organizations: []*keysv1.OrganizationConfig{{Id: "org_a", Slug: "acme"}, {Id: "org_p", Slug: "platform"}}}),
		s.sign(&keysv1.ConfigBatch{
			ToVersion: version, Part: 1, Last: true,
			ApiKeys:     []*keysv1.ApiKeyConfig{{OrgId: "org_a", Id: "key_1", PublicId: publicID, Hash: apikey.Hash(pepper, key.Reveal()), MemberId: "mem_1", Name: "app"}},
			Credentials: []*keysv1.CredentialConfig{{OrgId: "org_a", Id: "cred_2", Provider: "openai", Priority: 2, Sealed: "s"}, {OrgId: "org_a", Id: "cred_1", Provider: "openai", Priority: 1, Sealed: "s"}},
			Policies: []*keysv1.PolicyConfig{{OrgId: "org_a", Id: "pol_1", Name: "main", Version: 1, Spec: &keysv1.PolicySpec{Groups: []*keysv1.TargetGroup{{Targets: []*keysv1.Target{
				{Model: "openai/m", Use: eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN},
			}}}}}},
		}),
	}, key.Reveal()
}

func TestAWholeConfigurationAndItsChangesAreServedAndKept(t *testing.T) {
	t.Parallel()
	s, dir := newSigner(), t.TempDir()
	f := s.follower(t, dir)
	if _, err := f.State(); !errors.Is(err, completion.ErrNotReady) {
		t.Fatalf("State before any configuration = %v, want ErrNotReady", err)
	}
	pieces, plain := s.base(10)
	if err := apply(f, pieces...); err != nil {
		t.Fatal(err)
	}
	delta := s.sign(&keysv1.ConfigBatch{
		FromVersion: 10, ToVersion: 12, Last: true,
		Credentials: []*keysv1.CredentialConfig{{OrgId: "org_a", Id: "cred_3", Provider: "openai", Sealed: "s", State: keysv1.CredentialState_CREDENTIAL_STATE_REJECTED}},
		Removed:     []*keysv1.RemovedConfig{{OrgId: "org_a", Id: "pol_1"}, {OrgId: "org_a", Id: "cred_2"}},
	})
	if err := apply(f, delta); err != nil {
		t.Fatal(err)
	}
	check := func(f *Follower) {
		t.Helper()
		state, err := f.State()
		if err != nil || state.Version() != 12 || state.PlatformOrgID() != "org_p" {
			t.Fatalf("State = %+v, %v", state, err)
		}
		got := ""
		for _, c := range state.Credentials("org_a", "openai") {
			got += c.ID + "(" + c.Out + ") "
		}
		if want := "cred_3(was rejected by openai: an owner has to rotate it) cred_1() "; got != want {
			t.Errorf("credentials = %q, want %q", got, want)
		}
		if _, ok := state.PolicyByName("org_a", "main"); ok {
			t.Error("the removed policy is still there")
		}
		if caller, err := f.Caller(plain); err != nil || caller.APIKeyID != "key_1" || f.ByID("key_1").KeyName != "app" {
			t.Errorf("Caller = %+v, %v", caller, err)
		}
	}
	check(f)
	check(s.follower(t, dir)) // a restart without keys
	raw, err := os.ReadFile(filepath.Join(dir, "config.signed"))
	if err != nil {
		t.Fatal(err)
	}
	for cut := range raw {
		sub := t.TempDir()
		if err := os.WriteFile(filepath.Join(sub, "config.signed"), raw[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		state, err := s.follower(t, sub).State()
		if err == nil && state.Version() != 10 {
			t.Fatalf("cut at %d: version %d", cut, state.Version())
		}
	}
}

func TestSettingsAndModelsOfACredentialArrive(t *testing.T) {
	t.Parallel()
	s := newSigner()
	f := s.follower(t, t.TempDir())
	err := apply(f, s.sign(&keysv1.ConfigBatch{
		ToVersion: 1, Last: true, Organizations: []*keysv1.OrganizationConfig{{Id: "org_a", Slug: "acme"}},
		Credentials: []*keysv1.CredentialConfig{
			{OrgId: "org_a", Id: "cred_1", Provider: "azure", Sealed: "s", Settings: &keysv1.CredentialSettings{
				Deployments: []*keysv1.AzureDeployment{{ModelSlug: "openai/gpt-4o", EndpointUrl: "https://acme.openai.azure.com", ModelId: "gpt"}},
			}},
			{OrgId: "org_a", Id: "cred_2", Provider: "bedrock", Sealed: "s", Settings: &keysv1.CredentialSettings{Region: "us-east-1"}, Models: []string{"a", "b"}},
			{OrgId: "org_a", Id: "cred_3", Provider: "vertex", Sealed: "s", Settings: &keysv1.CredentialSettings{Project: "p", Location: "global"}},
			{OrgId: "org_a", Id: "cred_4", Provider: "openai", Sealed: "s"},
		},
	}))
	if err != nil {
		t.Fatal(err)
	}
	state, err := f.State()
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]completion.Credential{
		"cred_1": {Provider: "azure", Settings: completion.Settings{Deployments: []completion.Deployment{{Model: "openai/gpt-4o", Endpoint: "https://acme.openai.azure.com", Name: "gpt"}}}},
		"cred_2": {Provider: "bedrock", Settings: completion.Settings{Region: "us-east-1"}, Models: []string{"a", "b"}},
		"cred_3": {Provider: "vertex", Settings: completion.Settings{Project: "p", Location: "global"}},
		"cred_4": {Provider: "openai"},
	} {
		want.ID, want.OrgID, want.Sealed, want.Weight = id, "org_a", "s", 1
		got, _ := state.Credential("org_a", id)
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
	}
}

func TestForgedForeignAndOlderConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	s, other := newSigner(), newSigner()
	f := s.follower(t, t.TempDir())
	pieces, plain := s.base(10)
	if err := apply(f, pieces...); err != nil {
		t.Fatal(err)
	}
	s.issued = s.issued.Add(-time.Hour)
	older, _ := s.base(9)
	s.issued = s.issued.Add(time.Hour)
	forged, _ := other.base(11)
	altered := proto.CloneOf(pieces[1])
	altered.Payload[len(altered.Payload)-1] ^= 1
	for name, c := range map[string]struct {
		pieces []*keysv1.SignedConfig
		want   error
	}{
		"other key":     {forged, errSignature},
		"altered":       {[]*keysv1.SignedConfig{altered}, errSignature},
		"played back":   {older, errOlder},
		"gap":           {[]*keysv1.SignedConfig{s.sign(&keysv1.ConfigBatch{FromVersion: 11, ToVersion: 12, Last: true})}, errGap},
		"second part":   {[]*keysv1.SignedConfig{pieces[1]}, errGap},
		"skipped part":  {[]*keysv1.SignedConfig{pieces[0], s.sign(&keysv1.ConfigBatch{ToVersion: 10, Part: 2, Last: true})}, errGap},
		"metering's":    {[]*keysv1.SignedConfig{s.signRaw(&keysv1.ConfigBatch{Environment: "test", View: "metering", ToVersion: 20, Last: true})}, errForeign},
		"environment's": {[]*keysv1.SignedConfig{s.signRaw(&keysv1.ConfigBatch{Environment: "prod", View: "router", ToVersion: 20, Last: true})}, errForeign},
	} {
		if err := apply(f, c.pieces...); !errors.Is(err, c.want) {
			t.Errorf("%s: apply = %v, want %v", name, err, c.want)
		}
		if state, err := f.State(); err != nil || state.Version() != 10 {
			t.Fatalf("%s: the good configuration is gone", name)
		}
	}
	if _, err := f.Caller(plain); err != nil {
		t.Errorf("Caller = %v", err)
	}
	s.issued = s.issued.Add(time.Hour)
	restored, _ := s.base(5) // keys was restored from a backup: an older version, issued now
	if err := apply(f, restored...); err != nil {
		t.Errorf("a newly issued configuration = %v", err)
	}
}

func TestOnlyTheHolderOfAWholeKeyLearnsWhyItIsRefused(t *testing.T) {
	t.Parallel()
	s := newSigner()
	f := s.follower(t, t.TempDir())
	now := time.Now()
	batch := &keysv1.ConfigBatch{ToVersion: 1, Last: true, Organizations: []*keysv1.OrganizationConfig{{Id: "org_a", Slug: "acme"}}}
	keys := map[string]string{}
	for name, change := range map[string]func(*keysv1.ApiKeyConfig){
		"live":      func(*keysv1.ApiKeyConfig) {},
		"revoked":   func(k *keysv1.ApiKeyConfig) { k.Revoked = true },
		"suspended": func(k *keysv1.ApiKeyConfig) { k.Suspended = true },
		"expired":   func(k *keysv1.ApiKeyConfig) { k.ExpireTime = timestamppb.New(now.Add(-time.Second)) },
		"fresh":     func(k *keysv1.ApiKeyConfig) { k.ExpireTime = timestamppb.New(now.Add(time.Hour)) },
	} {
		key, publicID := apikey.Generate()
		keys[name] = key.Reveal()
		k := &keysv1.ApiKeyConfig{OrgId: "org_a", Id: "key_" + name, PublicId: publicID, Hash: apikey.Hash(pepper, key.Reveal()), Name: name}
		change(k)
		batch.ApiKeys = append(batch.ApiKeys, k)
	}
	if err := apply(f, s.sign(batch)); err != nil {
		t.Fatal(err)
	}
	unknown, _ := apikey.Generate()
	impostor, _ := apikey.Generate()
	state, _ := f.State()
	publicID, _ := apikey.Parse(impostor.Reveal())
	state.keys[publicID] = &apiKey{revoked: true, hash: make([]byte, 32)} // same id, other secret
	for presented, want := range map[string]error{
		keys["live"]: nil, keys["fresh"]: nil, keys["revoked"]: ErrKeyRevoked, keys["suspended"]: ErrKeySuspended, keys["expired"]: ErrKeyExpired,
		unknown.Reveal(): ErrKeyInvalid, impostor.Reveal(): ErrKeyInvalid, "sk-proj-something": ErrKeyInvalid, keys["live"] + "x": ErrKeyInvalid,
	} {
		if _, err := f.Caller(presented); !errors.Is(err, want) {
			t.Errorf("Caller = %v, want %v", err, want)
		}
	}
	for id, want := range map[string]bool{"key_live": true, "key_fresh": true, "key_revoked": false, "key_suspended": false, "key_expired": false, "key_gone": false, "": false} {
		if got, ok := state.Caller(id, now); ok != want || ok && (got.APIKeyID != id || got.OrgID != "org_a") {
			t.Errorf("Caller(%q) = %+v, %v, want %v", id, got, ok, want)
		}
	}
}

func TestCheckingAKeyAllocatesNothing(t *testing.T) {
	s := newSigner()
	f := s.follower(t, t.TempDir())
	pieces, plain := s.base(1)
	if err := apply(f, pieces...); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = f.Caller(plain) }); n > 2 { // none, but for a pool that the race detector empties
		t.Errorf("Caller allocates %v times", n)
	}
}

func TestAHundredThousandKeysTakeLittleMemoryEach(t *testing.T) {
	b := newBuilder(emptyState("test"))
	const n = 100_000
	batch := &keysv1.ConfigBatch{ToVersion: 1, Last: true}
	for i := range n {
		batch.ApiKeys = append(batch.ApiKeys, &keysv1.ApiKeyConfig{
			OrgId: fmt.Sprintf("org_%d", i%1000), Id: fmt.Sprintf("key_%026d", i), PublicId: fmt.Sprintf("%010d", i), Hash: make([]byte, 32), MemberId: "mem_1", Name: "app",
		})
	}
	fill(b, batch)
	state := b.finish()
	if len(state.keys) != n {
		t.Fatalf("%d keys", len(state.keys))
	}
	result := testing.Benchmark(func(tb *testing.B) {
		tb.ReportAllocs()
		for tb.Loop() {
			next := newBuilder(state)
			fill(next, &keysv1.ConfigBatch{ApiKeys: batch.ApiKeys[:1]})
			next.finish()
		}
	})
	if per := result.AllocedBytesPerOp() / n; per > 1024 {
		t.Errorf("one change copies %d bytes per key, want at most 1024", per)
	}
}

func BenchmarkCaller(b *testing.B) {
	key, publicID := apikey.Generate()
	state := emptyState("test")
	state.keys[publicID] = &apiKey{hash: apikey.Hash(pepper, key.Reveal())}
	h, plain, now := newHasher(pepper), key.Reveal(), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := state.caller(h, plain, now); err != nil {
			b.Fatal(err)
		}
	}
}
