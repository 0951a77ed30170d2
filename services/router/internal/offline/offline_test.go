package offline_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/transit"
	"github.com/claviger/claviger/services/router/internal/offline"
)

const (
	canary = "sk-canary-f3a9c2d1e0b7"
	pepper = "pepper\x00\xff of thirty-two bytes at least"
)

// vault opens what it knows, and counts.
type vault struct {
	err   error
	calls int
}

func (v *vault) Open(_ context.Context, sealed string, _ transit.Context) (secret.Text, error) {
	v.calls++
	if v.err != nil {
		return secret.Text{}, v.err
	}
	return secret.New(canary + sealed), nil
}

func (v *vault) pepper(context.Context) (secret.Text, error) {
	v.calls++
	if v.err != nil {
		return secret.Text{}, v.err
	}
	return secret.New(pepper), nil
}

type rig struct {
	t     *testing.T
	dir   string
	vault vault
	now   time.Time
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return &rig{t: t, dir: t.TempDir(), now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
}

func (r *rig) options() offline.Options {
	return offline.Options{
		Path: r.file(), KeyFile: filepath.Join(r.dir, "key"), Environment: "prod", Router: "router-1", Opener: &r.vault, Pepper: r.vault.pepper,
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return r.now },
	}
}

func (r *rig) file() string { return filepath.Join(r.dir, "offline.sealed") }

func (r *rig) start() *offline.Store {
	r.t.Helper()
	s, err := offline.Open(r.options())
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *rig) flush(s *offline.Store) {
	r.t.Helper()
	if err := s.Flush(); err != nil {
		r.t.Fatal(err)
	}
}

func bound(id string) transit.Context {
	return transit.Context{Environment: "prod", OrgID: "org_a", CredentialID: id, Revision: 1, Binding: transit.Bind("openai")}
}

// filled is a rig whose store has been written with two credentials and the pepper.
func filled(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	s := r.start()
	for _, id := range []string{"cred_1", "cred_2"} {
		if _, err := s.Open(t.Context(), "sealed", bound(id)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Pepper(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.flush(s)
	return r
}

func TestARestartServesWithoutAskingAVaultThatIsAway(t *testing.T) {
	t.Parallel()
	r := filled(t)
	r.vault = vault{err: transit.ErrUnavailable}
	s := r.start()
	got, err := s.Open(t.Context(), "sealed", bound("cred_1"))
	if err != nil || got.Reveal() != canary+"sealed" {
		t.Fatalf("Open = %v, want what was kept", err)
	}
	if p, err := s.Pepper(t.Context()); err != nil || p.Reveal() != pepper {
		t.Fatalf("Pepper = %v, want what was kept, byte for byte", err)
	}
	if r.vault.calls != 0 {
		t.Fatalf("the vault was asked %d times before the first answer", r.vault.calls)
	}
	// From then on the vault is asked, and what it said last holds while it does not answer.
	if got, err = s.Open(t.Context(), "sealed", bound("cred_1")); err != nil || got.Reveal() != canary+"sealed" || r.vault.calls != 1 {
		t.Fatalf("the second Open = %v after %d calls", err, r.vault.calls)
	}
	for what, other := range map[string]transit.Context{
		"another credential": bound("cred_3"),
		"another revision":   {Environment: "prod", OrgID: "org_a", CredentialID: "cred_1", Revision: 2, Binding: transit.Bind("openai")},
		"another place":      {Environment: "prod", OrgID: "org_a", CredentialID: "cred_1", Revision: 1, Binding: transit.Bind("openai", "https://evil.example")},
	} {
		if _, err := s.Open(t.Context(), "sealed", other); !errors.Is(err, transit.ErrUnavailable) {
			t.Errorf("Open of %s = %v, want that the vault does not answer", what, err)
		}
	}
	if _, err := s.Open(t.Context(), "other text", bound("cred_1")); !errors.Is(err, transit.ErrUnavailable) {
		t.Errorf("Open of another text = %v, want that the vault does not answer", err)
	}
}

func TestWhatTheVaultRefusesIsForgottenOnDiskToo(t *testing.T) {
	t.Parallel()
	r := filled(t)
	s := r.start()
	if _, err := s.Open(t.Context(), "sealed", bound("cred_1")); err != nil { // what was kept
		t.Fatal(err)
	}
	r.vault.err = transit.ErrForeign
	if _, err := s.Open(t.Context(), "sealed", bound("cred_1")); !errors.Is(err, transit.ErrForeign) {
		t.Fatalf("Open = %v, want the vault's word", err)
	}
	r.flush(s)
	r.vault.err = transit.ErrUnavailable
	s = r.start()
	if _, err := s.Open(t.Context(), "sealed", bound("cred_1")); !errors.Is(err, transit.ErrUnavailable) {
		t.Errorf("after a restart Open = %v, want nothing kept", err)
	}
	if _, err := s.Open(t.Context(), "sealed", bound("cred_2")); err != nil {
		t.Errorf("the other credential: %v", err)
	}
}

func TestWhatTheConfigurationNoLongerHoldsIsForgotten(t *testing.T) {
	t.Parallel()
	r := filled(t)
	s := r.start()
	s.Retain(maps.All(map[string]transit.Context{"sealed": bound("cred_2")}))
	r.flush(s)
	r.vault.err = transit.ErrUnavailable
	s = r.start()
	if _, err := s.Open(t.Context(), "sealed", bound("cred_1")); !errors.Is(err, transit.ErrUnavailable) {
		t.Errorf("Open of a removed credential = %v, want nothing kept", err)
	}
	if _, err := s.Open(t.Context(), "sealed", bound("cred_2")); err != nil {
		t.Errorf("Open of the other = %v", err)
	}
}

func TestNothingIsUsedADayAfterTheVaultHasConfirmedIt(t *testing.T) {
	t.Parallel()
	r := filled(t)
	said := r.now
	r.vault.err = transit.ErrUnavailable
	r.now = r.now.Add(24*time.Hour - time.Nanosecond)
	s := r.start()
	if _, err := s.Open(t.Context(), "sealed", bound("cred_1")); err != nil {
		t.Fatalf("a moment before: %v", err)
	}
	if got := s.Confirmed("sealed", bound("cred_1")); !got.Equal(said) {
		t.Errorf("Confirmed = %v, want %v: a restart must not make it younger", got, said)
	}
	r.now = r.now.Add(time.Nanosecond)
	if _, err := s.Open(t.Context(), "sealed", bound("cred_1")); !errors.Is(err, transit.ErrUnavailable) {
		t.Errorf("a day after: %v, want that the vault does not answer", err)
	}
	if _, err := r.start().Open(t.Context(), "sealed", bound("cred_2")); !errors.Is(err, transit.ErrUnavailable) {
		t.Errorf("a day after, started again: %v, want that the vault does not answer", err)
	}
}

func TestTheFileIsNoiseToEverybodyElse(t *testing.T) {
	t.Parallel()
	r := filled(t)
	raw, err := os.ReadFile(r.file())
	if err != nil {
		t.Fatal(err)
	}
	for _, plain := range []string{canary, pepper} {
		for _, form := range []string{plain, hex.EncodeToString([]byte(plain)), base64.StdEncoding.EncodeToString([]byte(plain))} {
			if bytes.Contains(raw, []byte(form)) {
				t.Errorf("the file holds %q", form)
			}
		}
	}
	if info, err := os.Stat(r.file()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	r.vault.err = transit.ErrUnavailable
	empty := func(what string, o offline.Options) {
		t.Helper()
		s, err := offline.Open(o)
		if err != nil {
			t.Errorf("%s: %v, want an empty store", what, err)
			return
		}
		if _, err := s.Open(t.Context(), "sealed", bound("cred_1")); !errors.Is(err, transit.ErrUnavailable) {
			t.Errorf("%s: Open = %v, want nothing kept", what, err)
		}
	}
	other := r.options()
	other.Router = "router-2"
	empty("another router", other)
	other = r.options()
	other.Environment = "staging"
	empty("another environment", other)
	other = r.options()
	other.KeyFile = filepath.Join(r.dir, "other-key")
	empty("another key", other)
	for i := range raw {
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		if err := os.WriteFile(r.file(), changed, 0o600); err != nil {
			t.Fatal(err)
		}
		empty("a changed byte", r.options())
		if err := os.WriteFile(r.file(), raw[:i], 0o600); err != nil {
			t.Fatal(err)
		}
		empty("a torn file", r.options())
	}
}

func TestARouterKeyThatOthersCanReadIsRefused(t *testing.T) {
	t.Parallel()
	r := filled(t)
	if err := os.Chmod(filepath.Join(r.dir, "key"), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := offline.Open(r.options()); err == nil {
		t.Error("Open took a key with mode 0640")
	}
}
