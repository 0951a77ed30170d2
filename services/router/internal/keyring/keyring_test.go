package keyring_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/transit"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/keyring"
)

// vault counts openings and can be away.
type vault struct {
	transit.Opener
	away  atomic.Bool
	count atomic.Int64
}

func (v *vault) Open(ctx context.Context, sealed string, bound transit.Context) (secret.Text, error) {
	if v.away.Load() {
		return secret.Text{}, transit.ErrUnavailable
	}
	v.count.Add(1)
	return v.Opener.Open(ctx, sealed, bound)
}

func setUp(t *testing.T) (*vault, func(c completion.Credential, plain string) *completion.Credential) {
	t.Helper()
	keyset, err := transit.OpenKeyset(filepath.Join(t.TempDir(), "keyset"), true)
	if err != nil {
		t.Fatal(err)
	}
	return &vault{Opener: keyset.Opener()}, func(c completion.Credential, plain string) *completion.Credential {
		origin := c.BaseURL
		sealed, err := keyset.Sealer().Seal(t.Context(), secret.New(plain), transit.Context{
			Environment: "test", OrgID: c.OrgID, CredentialID: c.ID, Revision: c.Revision, Binding: transit.Bind(c.Provider, origin),
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Sealed = sealed
		return &c
	}
}

func TestOpensOnceAndLivesThroughAnOutageOfTheVault(t *testing.T) {
	t.Parallel()
	v, seal := setUp(t)
	var clock atomic.Int64
	now := func() time.Time { return time.Unix(clock.Load(), 0) }
	ring := keyring.New("test", v, now, slog.New(slog.DiscardHandler), nil)
	c := seal(completion.Credential{ID: "cred_1", OrgID: "org_1", Provider: "openai", Revision: 1}, "sk-one")
	for range 3 {
		plain, err := ring.Secret(t.Context(), c)
		if err != nil || plain.Reveal() != "sk-one" {
			t.Fatalf("Secret = %v", err)
		}
	}
	if n := v.count.Load(); n != 1 {
		t.Errorf("opened %d times, want 1", n)
	}
	v.away.Store(true)
	clock.Add(int64((23 * time.Hour).Seconds()))
	if _, err := ring.Secret(t.Context(), c); err != nil {
		t.Errorf("Secret with the vault away = %v", err)
	}
	clock.Add(int64((2 * time.Hour).Seconds()))
	if _, err := ring.Secret(t.Context(), c); !errors.Is(err, transit.ErrUnavailable) {
		t.Errorf("Secret after a day without the vault = %v, want ErrUnavailable", err)
	}
}

func TestACopiedRowDoesNotOpen(t *testing.T) {
	t.Parallel()
	v, seal := setUp(t)
	ring := keyring.New("test", v, time.Now, slog.New(slog.DiscardHandler), nil)
	c := seal(completion.Credential{ID: "cred_1", OrgID: "org_1", Provider: "openai", Revision: 1, BaseURL: "https://llm.example"}, "sk-one")
	for name, change := range map[string]func(*completion.Credential){
		"organization": func(c *completion.Credential) { c.OrgID = "org_2" },
		"credential":   func(c *completion.Credential) { c.ID = "cred_2" },
		"revision":     func(c *completion.Credential) { c.Revision = 2 },
		"provider":     func(c *completion.Credential) { c.Provider = "anthropic" },
		"endpoint":     func(c *completion.Credential) { c.BaseURL = "https://evil.example" },
		"no endpoint":  func(c *completion.Credential) { c.BaseURL = "" },
	} {
		moved := *c
		change(&moved)
		if _, err := ring.Secret(t.Context(), &moved); !errors.Is(err, transit.ErrForeign) {
			t.Errorf("%s: Secret = %v, want ErrForeign", name, err)
		}
	}
	if _, err := ring.Secret(t.Context(), c); err != nil {
		t.Errorf("Secret of the true row = %v", err)
	}
}

func TestKeepOpensAheadAndForgetsTheRest(t *testing.T) {
	t.Parallel()
	v, seal := setUp(t)
	ring := keyring.New("test", v, time.Now, slog.New(slog.DiscardHandler), nil)
	one := seal(completion.Credential{ID: "cred_1", OrgID: "org_1", Provider: "openai", Revision: 1}, "sk-one")
	two := seal(completion.Credential{ID: "cred_2", OrgID: "org_1", Provider: "openai", Revision: 1}, "sk-two")
	ring.Keep(t.Context(), []*completion.Credential{one, two})
	deadline := time.After(5 * time.Second)
	for tick := time.NewTicker(time.Millisecond); v.count.Load() < 2; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("not opened ahead within 5 s")
		}
	}
	v.away.Store(true)
	if _, err := ring.Secret(t.Context(), two); err != nil {
		t.Fatalf("Secret of what was opened ahead = %v", err)
	}
	ring.Keep(t.Context(), []*completion.Credential{one})
	if _, err := ring.Secret(t.Context(), two); !errors.Is(err, transit.ErrUnavailable) {
		t.Fatalf("Secret of what was removed = %v, want it to be forgotten", err)
	}
}

func TestTwoSecretsOfOneCredentialAreOpenAtOnce(t *testing.T) {
	t.Parallel()
	v, seal := setUp(t)
	ring := keyring.New("test", v, time.Now, slog.New(slog.DiscardHandler), nil)
	current := seal(completion.Credential{ID: "cred_1", OrgID: "org_1", Provider: "openai", Revision: 1}, "sk-one")
	next := seal(completion.Credential{ID: "cred_1", OrgID: "org_1", Provider: "openai", Revision: 2}, "sk-two")
	for range 3 {
		for c, want := range map[*completion.Credential]string{current: "sk-one", next: "sk-two"} {
			if plain, err := ring.Secret(t.Context(), c); err != nil || plain.Reveal() != want {
				t.Fatalf("Secret of revision %d = %v, want %s", c.Revision, err, want)
			}
		}
	}
	if n := v.count.Load(); n != 2 {
		t.Errorf("opened %d times, want 2", n)
	}
	v.away.Store(true)
	ring.Keep(t.Context(), []*completion.Credential{next}) // it was promoted
	if plain, err := ring.Secret(t.Context(), next); err != nil || plain.Reveal() != "sk-two" {
		t.Errorf("Secret of what was promoted = %v, want it to be still open", err)
	}
	if _, err := ring.Secret(t.Context(), current); !errors.Is(err, transit.ErrUnavailable) {
		t.Errorf("Secret of what was replaced = %v, want it to be forgotten", err)
	}
}
