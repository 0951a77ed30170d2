package follow_test

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/configsig"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/services/metering/internal/follow"
)

var issued = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// feed is keys' ConfigService as far as it is needed: each watcher gets what answer says, and then waits.
type feed struct {
	keysv1connect.UnimplementedConfigServiceHandler
	mu     sync.Mutex
	asked  []int64
	answer func(since int64) []*keysv1.SignedConfig
}

func (f *feed) WatchConfig(ctx context.Context, req *keysv1.WatchConfigRequest, out keysv1connect.ConfigServiceWatchConfigServerStream) error {
	f.mu.Lock()
	f.asked = append(f.asked, req.GetSinceVersion())
	parts := f.answer(req.GetSinceVersion())
	f.mu.Unlock()
	for _, p := range parts {
		if err := out.Send(&keysv1.WatchConfigResponse{Message: &keysv1.WatchConfigResponse_Config{Config: p}}); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

// await returns what the n-th watcher asked for.
func (f *feed) await(t *testing.T, n int) int64 {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) { //nolint:forbidigo // polls
		f.mu.Lock()
		asked := f.asked
		f.mu.Unlock()
		if len(asked) >= n {
			return asked[n-1]
		}
	}
	t.Fatalf("nobody asked for the %d. time", n)
	return 0
}

type rig struct {
	t    *testing.T
	key  ed25519.PrivateKey
	feed *feed
	dir  string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, key: key, feed: &feed{answer: func(int64) []*keysv1.SignedConfig { return nil }}, dir: t.TempDir()}
}

func (r *rig) sign(b *keysv1.ConfigBatch) *keysv1.SignedConfig {
	r.t.Helper()
	if b.Environment == "" {
		b.Environment = "test"
	}
	b.View = "metering"
	if b.IssuedTime == nil {
		b.IssuedTime = timestamppb.New(issued)
	}
	payload, err := proto.Marshal(b)
	if err != nil {
		r.t.Fatal(err)
	}
	return &keysv1.SignedConfig{Payload: payload, Signature: configsig.Sign(r.key, payload)}
}

func (r *rig) follower() *follow.Follower {
	r.t.Helper()
	server := connect.NewServer()
	keysv1connect.RegisterConfigServiceHandler(server, r.feed)
	pub, _ := r.key.Public().(ed25519.PublicKey)
	f, err := follow.New(follow.Options{
		Keys: connectinprocess.New(server), Key: pub, Environment: "test", Dir: r.dir, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		r.t.Fatalf("follow.New: %v", err)
	}
	return f
}

// start runs a follower until stop.
func (r *rig) start() (f *follow.Follower, stop func()) {
	r.t.Helper()
	f = r.follower()
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.Run(ctx)
	}()
	stop = func() { cancel(); <-done }
	r.t.Cleanup(stop)
	return f, stop
}

func (r *rig) answer(parts ...*keysv1.SignedConfig) {
	r.feed.mu.Lock()
	defer r.feed.mu.Unlock()
	first := true
	r.feed.answer = func(int64) []*keysv1.SignedConfig {
		if !first {
			return nil
		}
		first = false
		return parts
	}
}

func await(t *testing.T, f *follow.Follower, version int64) *follow.View {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		changed := f.Changed()
		if v := f.View(); v != nil && v.Version() == version {
			return v
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("version %d did not come", version)
		}
	}
}

func whole(version int64) *keysv1.ConfigBatch {
	return &keysv1.ConfigBatch{
		ToVersion: version, Last: true,
		Organizations: []*keysv1.OrganizationConfig{{Id: "org_a", Slug: "acme"}, {Id: "org_p", Slug: "platform"}},
		ApiKeys:       []*keysv1.ApiKeyConfig{{OrgId: "org_a", Id: "key_a", Revoked: true}},
		Credentials:   []*keysv1.CredentialConfig{{OrgId: "org_a", Id: "cred_a", Provider: "openai"}},
		Members:       []*keysv1.MemberConfig{{OrgId: "org_a", Id: "mem_a"}},
		Policies:      []*keysv1.PolicyConfig{{OrgId: "org_a", Id: "pol_a"}},
		TokenKeys:     []*keysv1.TokenKey{{KeyId: "k1", PublicKey: make([]byte, 32)}, {KeyId: "short", PublicKey: []byte{1}}},
	}
}

func TestConfigurationIsFollowedAndKept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.answer(
		r.sign(whole(5)),
		r.sign(&keysv1.ConfigBatch{FromVersion: 5, ToVersion: 6, Last: true, Credentials: []*keysv1.CredentialConfig{{OrgId: "org_a", Id: "cred_b", Provider: "anthropic"}}}),
	)
	f, stop := r.start()
	check := func(v *follow.View) {
		t.Helper()
		if v.Platform() != "org_p" {
			t.Errorf("Platform = %q", v.Platform())
		}
		if o, ok := v.Organization("org_a"); !ok || o.Slug != "acme" {
			t.Errorf("Organization = %+v, %v", o, ok)
		}
		for _, id := range []string{"key_a", "cred_a", "cred_b", "mem_a", "pol_a"} {
			if o, ok := v.Object(id); !ok || o.OrgID != "org_a" || !o.RemovedAt.IsZero() {
				t.Errorf("Object(%s) = %+v, %v", id, o, ok)
			}
		}
		if _, ok := v.Object("cred_x"); ok {
			t.Error("an unknown object is known")
		}
		if _, ok := v.TokenKey("k1"); !ok {
			t.Error("the token key is gone")
		}
		if _, ok := v.TokenKey("short"); ok {
			t.Error("a key of the wrong size is taken")
		}
	}
	check(await(t, f, 6))
	stop()

	// A start without keys knows what was known.
	again, stop := r.start()
	check(await(t, again, 6))
	if got := r.feed.await(t, 2); got != 6 {
		t.Errorf("the second start asked for changes since %d, want 6", got)
	}
	stop()
}

func TestRemovedObjectsAreRemembered(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	after := whole(7) // a whole configuration without cred_a, mem_a
	after.Credentials, after.Members = nil, nil
	after.IssuedTime = timestamppb.New(issued.Add(time.Hour))
	r.answer(
		r.sign(whole(5)),
		r.sign(&keysv1.ConfigBatch{FromVersion: 5, ToVersion: 6, Last: true, Removed: []*keysv1.RemovedConfig{
			{OrgId: "org_a", Id: "cred_a"}, {OrgId: "org_x", Id: "key_a"},
		}}),
		r.sign(after),
	)
	f, stop := r.start()
	check := func(v *follow.View) {
		t.Helper()
		if o, ok := v.Object("cred_a"); !ok || o.OrgID != "org_a" || o.Provider != "openai" || !o.RemovedAt.Equal(issued) {
			t.Errorf("removed credential = %+v, %v, want known and removed at %v", o, ok, issued)
		}
		if o, ok := v.Object("mem_a"); !ok || !o.RemovedAt.Equal(issued.Add(time.Hour)) {
			t.Errorf("member that is gone = %+v, %v", o, ok)
		}
		if o, ok := v.Object("key_a"); !ok || !o.RemovedAt.IsZero() {
			t.Errorf("another organization's removal took effect: %+v, %v", o, ok)
		}
	}
	check(await(t, f, 7))
	stop()
	late := whole(8)
	late.Credentials, late.Members = nil, nil
	late.IssuedTime = timestamppb.New(issued.Add(40*24*time.Hour + time.Minute))
	r.answer(r.sign(late))
	f = r.follower()
	check(f.View())
	f, _ = r.start()
	v := await(t, f, 8)
	if _, ok := v.Object("cred_a"); ok {
		t.Error("a credential is remembered for more than 40 days")
	}
	if _, ok := v.Object("mem_a"); !ok {
		t.Error("a member is forgotten within 40 days")
	}
}

func TestOnlySignedAndContiguousConfigurationCounts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]func(r *rig) *keysv1.SignedConfig{
		"signature": func(r *rig) *keysv1.SignedConfig {
			s := r.sign(&keysv1.ConfigBatch{FromVersion: 5, ToVersion: 6, Last: true})
			s.Signature[3] ^= 1
			return s
		},
		"environment": func(r *rig) *keysv1.SignedConfig {
			return r.sign(&keysv1.ConfigBatch{Environment: "prod", ToVersion: 6, Last: true})
		},
		"gap": func(r *rig) *keysv1.SignedConfig {
			return r.sign(&keysv1.ConfigBatch{FromVersion: 6, ToVersion: 7, Last: true})
		},
		"part": func(r *rig) *keysv1.SignedConfig {
			return r.sign(&keysv1.ConfigBatch{FromVersion: 5, ToVersion: 6, Part: 1, Last: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			bad := c(r)
			r.feed.answer = func(int64) []*keysv1.SignedConfig {
				switch len(r.feed.asked) {
				case 1:
					return []*keysv1.SignedConfig{r.sign(whole(5)), bad}
				case 2:
					return []*keysv1.SignedConfig{r.sign(whole(9))}
				}
				return nil
			}
			f, _ := r.start()
			await(t, f, 9) // it came back and asked again
			r.feed.mu.Lock()
			defer r.feed.mu.Unlock()
			want := int64(5)
			if name == "gap" || name == "part" {
				want = 0
			}
			if r.feed.asked[1] != want {
				t.Errorf("it asked for changes since %d, want %d", r.feed.asked[1], want)
			}
		})
	}
}

func TestManyPartsCountOnlyTogether(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first, second := whole(5), &keysv1.ConfigBatch{ToVersion: 5, Part: 1, Last: true, ApiKeys: []*keysv1.ApiKeyConfig{{OrgId: "org_a", Id: "key_b"}}}
	first.Last = false
	r.feed.answer = func(int64) []*keysv1.SignedConfig {
		if len(r.feed.asked) == 1 { // the second part is of another version
			return []*keysv1.SignedConfig{r.sign(first), r.sign(&keysv1.ConfigBatch{ToVersion: 6, Part: 1, Last: true})}
		}
		return []*keysv1.SignedConfig{r.sign(first), r.sign(second)}
	}
	f, stop := r.start()
	v := await(t, f, 5)
	if _, ok := v.Object("key_b"); !ok {
		t.Error("the second part is missing")
	}
	stop()
	if _, ok := r.follower().View().Object("key_b"); !ok {
		t.Error("the second part is not on disk")
	}
}

func TestTornFileIsCut(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.answer(r.sign(whole(5)), r.sign(&keysv1.ConfigBatch{FromVersion: 5, ToVersion: 6, Last: true}))
	f, stop := r.start()
	await(t, f, 6)
	stop()
	path := filepath.Join(r.dir, "config.bin")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data[:len(data)-7], 0o600); err != nil {
		t.Fatal(err)
	}
	r.answer(r.sign(&keysv1.ConfigBatch{FromVersion: 5, ToVersion: 7, Last: true}))
	f, stop = r.start()
	await(t, f, 7)
	stop()
	if v := r.follower().View(); v.Version() != 7 {
		t.Errorf("version after the repair = %d, want 7", v.Version())
	}
	if err := os.WriteFile(path, []byte("not a configuration at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	if v := r.follower().View(); v != nil {
		t.Errorf("a file of nonsense gives version %d", v.Version())
	}
}
