package transit_test

import (
	"encoding/pem"
	"errors"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/transit"
)

func writeAuthority(t *testing.T, server *httptest.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(path, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKeysetFileOpensWhatItSealedBefore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keyset.json")
	if _, err := transit.OpenKeyset(path, false); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("OpenKeyset(none, create false) = %v, want fs.ErrNotExist", err)
	}
	first, err := transit.OpenKeyset(path, true)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := first.Sealer().Seal(t.Context(), secret.New(canary), bound())
	if err != nil || !strings.HasPrefix(sealed, "tink:v1:") {
		t.Fatalf("Seal has its form: %t, %v", strings.HasPrefix(sealed, "tink:v1:"), err)
	}
	for _, create := range []bool{false, true} {
		again, err := transit.OpenKeyset(path, create)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := again.Opener().Open(t.Context(), sealed, bound()); err != nil || !got.Equal(secret.New(canary)) {
			t.Errorf("Open after OpenKeyset(create %t): %v", create, err)
		}
	}
	other, err := transit.OpenKeyset(filepath.Join(t.TempDir(), "keyset.json"), true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Opener().Open(t.Context(), sealed, bound()); !errors.Is(err, transit.ErrForeign) {
		t.Errorf("Open with another keyset = %v, want ErrForeign", err)
	}
}

func TestPrivateFilesAreRefusedUnlessTheyArePrivate(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(path string, create bool) error{
		"keyset": func(path string, create bool) error { _, err := transit.OpenKeyset(path, create); return err },
		"pepper": func(path string, create bool) error { _, err := transit.LocalPepper(path, create); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), name)
			if err := open(path, true); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Fatalf("new file: %v, %v, want mode 0600", info.Mode(), err)
			}
			for _, mode := range []os.FileMode{0o644, 0o640, 0o666, 0o604, 0o700, 0o400} {
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
				if err := open(path, true); err == nil || !strings.Contains(err.Error(), "0600") {
					t.Errorf("open with mode %#o = %v, want a refusal that says 0600", mode, err)
				}
			}
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			spoiled := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(spoiled, append([]byte("x"), content...), 0o600); err != nil {
				t.Fatal(err)
			}
			err = open(spoiled, true)
			if err == nil || strings.Contains(err.Error(), strings.TrimSpace(string(content))) {
				t.Errorf("open of a spoiled file = %v, want a refusal without its content", err)
			}
			if err := open(t.TempDir(), true); err == nil {
				t.Error("open of a folder worked")
			}
			if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
				t.Errorf("the folder holds %v, want the file alone", entries)
			}
		})
	}
}

func TestTwoProcessesThatCreateAgree(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pepper")
	peppers := make([]secret.Text, 16)
	var all sync.WaitGroup
	for i := range peppers {
		all.Go(func() {
			var err error
			if peppers[i], err = transit.LocalPepper(path, true); err != nil {
				t.Errorf("LocalPepper: %v", err)
			}
		})
	}
	all.Wait()
	for _, p := range peppers {
		if p.Len() != 32 || !p.Equal(peppers[0]) {
			t.Fatal("two got different peppers")
		}
	}
}

func TestWeakLocalPepperIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pepper")
	if err := os.WriteFile(path, []byte("c2hvcnQ=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := transit.LocalPepper(path, true); !errors.Is(err, transit.ErrPepper) {
		t.Errorf("LocalPepper(short) = %v, want ErrPepper", err)
	}
}

func TestBindIsOfTheSetOfPlaces(t *testing.T) {
	t.Parallel()
	base := transit.Bind("azure", "https://a.example", "westeurope")
	for what, other := range map[string]string{
		"order":       transit.Bind("azure", "westeurope", "https://a.example"),
		"empty place": transit.Bind("azure", "https://a.example", "", "westeurope"),
	} {
		if other != base {
			t.Errorf("Bind differs by %s", what)
		}
	}
	for what, other := range map[string]string{
		"provider": transit.Bind("compat", "https://a.example", "westeurope"),
		"place":    transit.Bind("azure", "https://b.example", "westeurope"),
		"fewer":    transit.Bind("azure", "https://a.example"),
		"joined":   transit.Bind("azure", "https://a.examplewesteurope"),
	} {
		if other == base {
			t.Errorf("Bind is the same with another %s", what)
		}
	}
}
