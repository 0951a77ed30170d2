package offline_test

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/transit"
)

// TestNoTwoFilesShareANonce: two texts under one nonce and key would tell of each other.
func TestNoTwoFilesShareANonce(t *testing.T) {
	t.Parallel()
	r := filled(t)
	const magic, nonce = len("claviger-offline-v1\n"), 12
	seen := [][]byte{make([]byte, nonce)}
	for i := range 3 {
		raw, err := os.ReadFile(r.file())
		if err != nil {
			t.Fatal(err)
		}
		got := raw[magic : magic+nonce]
		for _, before := range seen {
			if bytes.Equal(before, got) {
				t.Fatalf("file %d has a nonce of before", i)
			}
		}
		seen = append(seen, got)
		s := r.start()
		if _, err := s.Pepper(t.Context()); err != nil { // what was kept
			t.Fatal(err)
		}
		if _, err := s.Pepper(t.Context()); err != nil { // the vault's, which is written
			t.Fatal(err)
		}
		r.flush(s)
	}
}

// TestADeniedRouterKeepsNothing: a vault whose policy forbids it has answered, as one that does not know the text has.
func TestADeniedRouterKeepsNothing(t *testing.T) {
	t.Parallel()
	for _, no := range []error{transit.ErrDenied, transit.ErrForeign} {
		r := filled(t)
		s := r.start()
		if _, err := s.Open(t.Context(), "sealed", bound("cred_1")); err != nil { // what was kept
			t.Fatal(err)
		}
		r.vault = vault{err: no}
		if _, err := s.Open(t.Context(), "sealed", bound("cred_1")); !errors.Is(err, no) {
			t.Errorf("Open = %v, want %v", err, no)
		}
		r.vault = vault{err: transit.ErrUnavailable}
		if _, err := s.Open(t.Context(), "sealed", bound("cred_1")); !errors.Is(err, transit.ErrUnavailable) {
			t.Errorf("after %v it opens all the same: %v", no, err)
		}
	}
}

// TestWhatGrowsOldWhileARouterRunsIsNeitherUsedNorWritten, although it was fresh when it was read.
func TestWhatGrowsOldWhileARouterRunsIsNeitherUsedNorWritten(t *testing.T) {
	t.Parallel()
	r := filled(t)
	s := r.start()
	r.now = r.now.Add(24 * time.Hour)
	if _, err := s.Open(t.Context(), "sealed", bound("cred_1")); err != nil { // asks the vault again
		t.Fatal(err)
	}
	if r.vault.calls != 4 {
		t.Errorf("the vault was asked %d times, want once more than at first", r.vault.calls)
	}
	r.flush(s)
	if s.Confirmed("sealed", bound("cred_1")) != r.now || !s.Confirmed("sealed", bound("cred_2")).IsZero() {
		t.Error("what is a day old was written again")
	}
}
