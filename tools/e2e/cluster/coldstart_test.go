package cluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/transit/transittest"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	settingsv1 "github.com/claviger/claviger/proto/gen/claviger/settings/v1"
	"github.com/claviger/claviger/tools/e2e/cluster"
)

// TestARouterStartsWithEverythingBehindItDown: with keys, metering, Vault, NATS and the databases away, a
// router that keeps opened credentials sealed on its disk starts and serves; one that does not says what
// it waits for, and serves when that is back. What was served meanwhile is counted once.
func TestARouterStartsWithEverythingBehindItDown(t *testing.T) {
	t.Parallel()
	folder := t.TempDir() // stands for another disk
	var stores []string
	var vaults []*transittest.Proxy // one of each router
	c := cluster.Start(t, cluster.Options{Routers: 2, Router: func(s *settingsv1.Router) {
		vault := (&transittest.Vault{Address: s.GetVault().GetAddress()}).NewProxy(t)
		s.Vault.Address = vault.Address
		vaults = append(vaults, vault)
		if s.GetName() == "router-1" {
			s.OfflineCredentials, s.OfflineKeyFile = "sealed", filepath.Join(folder, "router-1.key")
			stores = append(stores, filepath.Join(s.GetDataDir(), "offline.sealed"))
		}
	}})
	org := c.NewOrganization("acme", map[string]secret.Text{"openai": secret.New(providerKey)},
		&keysv1.Target{Model: "openai/gpt-4o-mini", Use: eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN})
	sealed, plain := c.Routers[0], c.Routers[1]
	want := int64(0)
	for _, router := range c.Routers {
		cluster.Eventually(t, 30*time.Second, router.Name+" answers", func() error { return ask(t.Context(), router, org.APIKey) })
		want++
	}
	cluster.Eventually(t, 10*time.Second, "opened credentials are on disk", func() error {
		text, err := os.ReadFile(stores[0])
		if err == nil && strings.Contains(string(text), providerKey) {
			t.Fatal("the provider's key stands on the disk in plain text")
		}
		return err
	})

	c.Keys.Kill()
	c.Metering.Kill()
	c.NATS.Kill()
	vaults[0].Hang() // worse than one that is away
	vaults[1].Refuse()
	c.KeysDB.Stop()
	c.MeteringDB.Stop()
	plain.Kill()
	plain.Launch()
	took := time.Duration(0)
	for range 4 { // a busy machine is slow by itself, and a router that waits for somebody is slow each time
		sealed.Kill()
		began := time.Now()
		sealed.Launch()
		cluster.Eventually(t, 5*time.Second, "a router with sealed credentials answers", func() error { return ask(t.Context(), sealed, org.APIKey) })
		want++
		if took = time.Since(began); took <= time.Second {
			break
		}
	}
	t.Logf("from the launch of the process to its first answer: %s", took.Round(time.Millisecond))
	if took > time.Second {
		t.Errorf("its first answer came after %s, want one second", took)
	}
	if err := sealed.Ready(); err != nil {
		t.Errorf("it is not ready: %v", err)
	}

	cluster.Eventually(t, 10*time.Second, "the other one says what it waits for", func() error {
		err := plain.Ready()
		if err == nil {
			t.Fatal("a router without credentials calls itself ready")
		}
		if !strings.Contains(err.Error(), "waiting for the vault") {
			return err
		}
		return nil
	})
	err := ask(t.Context(), plain, org.APIKey)
	if err == nil || !strings.Contains(err.Error(), "Unavailable") || !strings.Contains(err.Error(), "waits for the vault") {
		t.Errorf("a caller is told %v, want that the router waits for the vault", err)
	}

	vaults[1].Pass()
	cluster.Eventually(t, 60*time.Second, "with the vault back the other one answers", func() error { return ask(t.Context(), plain, org.APIKey) })
	want++
	c.KeysDB.Start()
	c.MeteringDB.Start()
	c.NATS.Start()
	c.Keys.Start()
	c.Metering.Start()
	cluster.Eventually(t, 60*time.Second, "all of it is counted once", func() error {
		got, err := requests(t, org)
		if err == nil && got > want {
			t.Fatalf("%d requests are counted, want %d", got, want)
		}
		if err == nil && got < want {
			err = fmt.Errorf("%d requests are counted, want %d", got, want)
		}
		return err
	})
}
