package password_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/keys/internal/password"
)

var cheap = password.Params{MemoryKiB: 64, Time: 1, Threads: 1}

func TestVerifyAcceptsOnlyThePassword(t *testing.T) {
	t.Parallel()
	h := password.New(cheap)
	hash, err := h.Hash(t.Context(), secret.New("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := h.Hash(t.Context(), secret.New("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	if hash == again {
		t.Error("two hashes of one password are equal: no salt")
	}
	for plain, want := range map[string]bool{"correct horse": true, "correct hors": false, "": false} {
		ok, outdated, err := h.Verify(t.Context(), hash, secret.New(plain))
		if err != nil || ok != want || outdated {
			t.Errorf("Verify(%q) = %v, %v, %v; want %v, false, nil", plain, ok, outdated, err, want)
		}
	}
}

func TestHashCarriesItsParameters(t *testing.T) {
	t.Parallel()
	old, err := password.New(cheap).Hash(t.Context(), secret.New("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(old, "$argon2id$v=19$m=64,t=1,p=1$") {
		t.Errorf("hash = %q, want its parameters in front", old)
	}
	ok, outdated, err := password.New(password.Params{MemoryKiB: 128, Time: 1, Threads: 1}).Verify(t.Context(), old, secret.New("correct horse"))
	if err != nil || !ok || !outdated {
		t.Errorf("Verify(older hash) = %v, %v, %v; want true, true, nil", ok, outdated, err)
	}
}

func TestNobodyNeverSignsIn(t *testing.T) {
	t.Parallel()
	ok, _, err := password.New(cheap).Verify(t.Context(), "", secret.New(""))
	if err != nil || ok {
		t.Errorf("Verify(no hash) = %v, %v; want false, nil", ok, err)
	}
}

func TestMalformedHashesAreErrors(t *testing.T) {
	t.Parallel()
	h := password.New(cheap)
	for _, hash := range []string{
		"x", "$argon2i$v=19$m=64,t=1,p=1$AAAA$AAAA", "$argon2id$v=19$m=64,t=0,p=1$AAAA$AAAA",
		"$argon2id$v=19$m=4294967295,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	} {
		if ok, _, err := h.Verify(t.Context(), hash, secret.New("x")); ok || err == nil {
			t.Errorf("Verify(%q) = %v, %v; want false and an error", hash, ok, err)
		}
	}
}

func TestFloodIsRefusedInsteadOfQueuedForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := password.New(cheap)
		password.Fill(h)
		if _, err := h.Hash(t.Context(), secret.New("x")); !errors.Is(err, password.ErrBusy) {
			t.Errorf("Hash() with all slots taken: error = %v, want ErrBusy", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := h.Verify(ctx, "", secret.New("x")); !errors.Is(err, context.Canceled) {
			t.Errorf("Verify() of a caller who left: error = %v, want Canceled", err)
		}
	})
}
