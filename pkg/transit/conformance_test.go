package transit_test

import (
	"path/filepath"
	"testing"

	"github.com/claviger/claviger/pkg/transit"
	"github.com/claviger/claviger/pkg/transit/transittest"
)

func TestVaultKeepsThePromises(t *testing.T) {
	t.Parallel()
	server := transittest.Shared(t)
	transittest.Run(t, func(t *testing.T) (transit.Sealer, transit.Opener) {
		return server.Connect(t, transittest.Keys).Sealer(), server.Connect(t, transittest.Router).Opener()
	})
}

func TestKeysetKeepsThePromises(t *testing.T) {
	t.Parallel()
	transittest.Run(t, func(t *testing.T) (transit.Sealer, transit.Opener) {
		keyset, err := transit.OpenKeyset(filepath.Join(t.TempDir(), "keyset.json"), true)
		if err != nil {
			t.Fatal(err)
		}
		return keyset.Sealer(), keyset.Opener()
	})
}
