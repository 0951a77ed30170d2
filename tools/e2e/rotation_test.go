package e2e_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/llmtest"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	"github.com/claviger/claviger/tools/e2e/cluster"
)

// TestASecretIsReplacedWithoutLosingARequest rotates a key with two routers at work: the second secret gets a share,
// the provider stops knowing it, the share goes, it comes back, is promoted, and the old key is revoked at the
// provider. Every request on the way is answered.
func TestASecretIsReplacedWithoutLosingARequest(t *testing.T) {
	const nextKey = "sk-own-next-fedcba9876543210"
	w := newWorld(t, cluster.Options{Routers: 2})
	session := w.SignIn("acme", w.owner)
	credentials := keysv1connect.NewCredentialServiceClient(session.Keys)
	listed, err := credentials.ListCredentials(t.Context(), &keysv1.ListCredentialsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	id := listed.GetCredentials()[0].GetId()
	now := func() *keysv1.Credential {
		t.Helper()
		res, err := credentials.GetCredential(t.Context(), &keysv1.GetCredentialRequest{Id: id})
		if err != nil {
			t.Fatal(err)
		}
		return res.GetCredential()
	}
	calls := 0
	key := func() string { calls++; return fmt.Sprint("rotation ", calls) }
	// ask sends requests to all routers, and tells how many each key has served of them.
	ask := func(what string, each int) (first, second int) {
		t.Helper()
		before := len(w.Provider.Ledger())
		for i := range each * len(w.Routers) {
			if _, err := w.complete(t.Context(), i%len(w.Routers), call{}); err != nil {
				t.Fatalf("%s: request %d: %v", what, i, err)
			}
		}
		for _, e := range w.Provider.Ledger()[before:] {
			switch {
			case !e.Complete:
			case e.KeyHash == llmtest.HashKey(ownKey):
				first++
			case e.KeyHash == llmtest.HashKey(nextKey):
				second++
			}
		}
		return first, second
	}
	share := func(percent int32) {
		t.Helper()
		_, err := credentials.SetSecretShare(t.Context(), &keysv1.SetSecretShareRequest{
			Id: id, SharePercent: percent, Revision: 2, Etag: now().GetEtag(), IdempotencyKey: key(),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	test := func() {
		t.Helper()
		res, err := credentials.TestCredential(t.Context(), &keysv1.TestCredentialRequest{Id: id, Revision: 2})
		if err != nil || !res.GetTested() || res.GetCredential().GetNext().GetState() != keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE {
			t.Fatalf("test of the second secret = %v, %v, %v", res.GetTested(), res.GetCredential().GetNext(), err)
		}
	}

	w.Provider.SetKeys("openai", ownKey, nextKey)
	if _, err := credentials.StageSecret(t.Context(), &keysv1.StageSecretRequest{Id: id, Secret: nextKey, Etag: now().GetEtag(), IdempotencyKey: key()}); err != nil {
		t.Fatal(err)
	}
	cluster.Eventually(t, 20*time.Second, "keys tests the second secret by itself", func() error {
		if next := now().GetNext(); next.GetState() != keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE {
			return fmt.Errorf("it is %v: %s", next.GetState(), next.GetStateReason())
		}
		return nil
	})
	if _, second := ask("staged", 5); second > 0 {
		t.Errorf("without a share the second secret served %d requests", second)
	}
	share(50)
	cluster.Eventually(t, 20*time.Second, "both secrets at work", func() error {
		if first, second := ask("half of the requests", 10); first == 0 || second == 0 {
			return fmt.Errorf("%d and %d requests", first, second)
		}
		return nil
	})

	w.Provider.SetKeys("openai", ownKey)
	cluster.Eventually(t, 20*time.Second, "the roll-back", func() error {
		ask("with a second secret that is refused", 5)
		if n := now().GetNext(); n.GetSharePercent() != 0 || !n.GetRolledBack() || n.GetState() != keysv1.CredentialState_CREDENTIAL_STATE_REJECTED {
			return fmt.Errorf("second secret: %v", n)
		}
		return nil
	})
	if got := now(); got.GetState() != keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE || got.GetRevision() != 1 {
		t.Errorf("the first secret is %v, revision %d", got.GetState(), got.GetRevision())
	}

	w.Provider.SetKeys("openai", ownKey, nextKey)
	test()
	share(100)
	promoted, err := credentials.PromoteSecret(t.Context(), &keysv1.PromoteSecretRequest{Id: id, Revision: 2, Etag: now().GetEtag(), IdempotencyKey: key()})
	if err != nil {
		t.Fatal(err)
	}
	if c := promoted.GetCredential(); c.GetRevision() != 2 || c.GetNext() != nil || c.GetPrevious().GetRevision() != 1 || c.GetPrevious().GetSafe() {
		t.Errorf("after the promotion: %v", c)
	}
	cluster.Eventually(t, 90*time.Second, "the promoted secret alone at work", func() error {
		if first, second := ask("promoted", 5); first > 0 || second == 0 {
			return fmt.Errorf("%d and %d requests", first, second)
		}
		return nil
	})
	w.Provider.SetKeys("openai", nextKey) // the old key is revoked at the provider
	ask("with the old key revoked", 5)
	cluster.Eventually(t, 30*time.Second, "the last use of the old secret", func() error {
		if p := now().GetPrevious(); p.GetRevision() != 1 || p.GetLastUseTime() == nil || p.GetSafe() {
			return fmt.Errorf("previous: %v", p)
		}
		return nil
	})

	out, err := w.complete(t.Context(), 0, call{})
	if err != nil {
		t.Fatal(err)
	}
	usage := meteringv1connect.NewUsageServiceClient(session.Metering)
	cluster.Eventually(t, 20*time.Second, "its place in the accounts", func() error {
		res, err := usage.GetRequest(t.Context(), &meteringv1.GetRequestRequest{RequestId: out.requestID})
		if err != nil {
			return err
		}
		if len(res.GetAttempts()) != 1 {
			return errors.New("not there yet")
		}
		if e := res.GetAttempts()[0].GetEvent(); e.GetCredentialId() != id || e.GetCredentialRevision() != 2 {
			t.Errorf("accounted to %s, revision %d; want %s, 2", e.GetCredentialId(), e.GetCredentialRevision(), id)
		}
		return nil
	})
}
