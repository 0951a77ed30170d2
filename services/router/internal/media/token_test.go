package media_test

import (
	"encoding/base64"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/media"
)

func TestTokensOfOthersForgedAndCutAreNotFound(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.router(t, t.TempDir())
	w.set("7f", media.State{Status: media.InProgress})
	token := submit(t, s, "fal", "7f")
	all := map[string]func(caller completion.Caller, token string) error{
		"Get":    func(c completion.Caller, token string) error { _, err := s.Get(t.Context(), c, token); return err },
		"Cancel": func(c completion.Caller, token string) error { _, err := s.Cancel(t.Context(), c, token); return err },
		"Content": func(c completion.Caller, token string) error {
			_, err := s.Content(t.Context(), c, token, 0)
			return err
		},
	}
	elsewhere, err := media.New(media.Options{Environment: "staging", Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := elsewhere.UsePepper(secret.New("pepper-of-all-routers")); err != nil {
		t.Fatal(err)
	}
	foreign := submit(t, elsewhere, "fal", "7f")
	for name, ask := range all {
		for _, caller := range []completion.Caller{{OrgID: "org_b", APIKeyID: "key_1"}, {APIKeyID: "key_1"}, {}} {
			if err := ask(caller, token); !errors.Is(err, media.ErrNotFound) {
				t.Errorf("%s by %+v = %v, want not found", name, caller, err)
			}
		}
		for _, forged := range []string{"", "video_", "7f", token[len("video_"):], strings.ToUpper(token), token + "A", token + "=", foreign, "video_" + strings.Repeat("A", 1<<20)} {
			if err := ask(owner, forged); !errors.Is(err, media.ErrNotFound) {
				t.Errorf("%s of %.40q = %v, want not found", name, forged, err)
			}
		}
		for n := 1; n < len(token); n += 7 {
			if err := ask(owner, token[:n]); !errors.Is(err, media.ErrNotFound) {
				t.Errorf("%s of %d bytes of a token = %v, want not found", name, n, err)
			}
		}
	}
	if len(w.polls) != 0 || len(w.cancel) != 0 {
		t.Errorf("a provider was asked %d times on behalf of who may not", len(w.polls)+len(w.cancel))
	}
	if err := all["Get"](owner, token); err != nil {
		t.Errorf("Get of the owner's own = %v", err)
	}
}

func TestEveryBitOfATokenCounts(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.router(t, t.TempDir())
	w.set("7f", media.State{Status: media.InProgress})
	token := submit(t, s, "fal", "7f")
	sealed, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, "video_"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		sealed[i] ^= 1 << (i % 8)
		if _, err := s.Get(t.Context(), owner, "video_"+base64.RawURLEncoding.EncodeToString(sealed)); !errors.Is(err, media.ErrNotFound) {
			t.Fatalf("a token with byte %d changed = %v, want not found", i, err)
		}
		sealed[i] ^= 1 << (i % 8)
	}
}

func TestTokensAreBoundedFitInAddressesAndSayNothing(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.router(t, t.TempDir())
	usual := submit(t, s, "fal", "7f")
	if len(usual) > 1400 || strings.Trim(usual, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		t.Errorf("a token of %d bytes: %s", len(usual), usual)
	}
	req := request()
	req.Tags = map[string]string{"k": strings.Repeat("v", 1900)}
	req.Model = strings.Repeat("m", 256)
	v, _, err := s.Submit(t.Context(), loop{s: s, provider: "fal", id: strings.Repeat("8", 128)}, owner, req)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Token) > 6<<10 {
		t.Errorf("the largest token has %d bytes", len(v.Token))
	}
	w.set(strings.Repeat("8", 128), media.State{Status: media.Queued})
	if _, err := s.Get(t.Context(), owner, v.Token); err != nil {
		t.Errorf("the largest token is not taken back: %v", err)
	}
	if again := submit(t, s, "fal", "7f"); again == usual {
		t.Error("two tokens are the same")
	}
}

func FuzzToken(f *testing.F) {
	w := newWorld()
	s, err := media.New(media.Options{Environment: "test", Dir: f.TempDir(), Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		f.Fatal(err)
	}
	if err := s.UsePepper(secret.New("pepper")); err != nil {
		f.Fatal(err)
	}
	f.Add("video_")
	f.Add("video_AQ")
	f.Add("video_" + strings.Repeat("AQ", 100))
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := s.Get(t.Context(), owner, token); !errors.Is(err, media.ErrNotFound) {
			t.Fatalf("Get(%q) = %v, want not found", token, err)
		}
		if len(w.polls) != 0 {
			t.Fatal("a provider was asked")
		}
	})
}
