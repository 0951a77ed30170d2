package cluster_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/tools/e2e/cluster"
)

// rotating is an organization whose OpenAI credential gets a second secret.
type rotating struct {
	*testing.T
	c           *cluster.Cluster
	org         *cluster.Organization
	credentials keysv1connect.CredentialServiceClient
	id          string
}

func (r *rotating) get() *keysv1.Credential {
	r.Helper()
	answer, err := r.credentials.GetCredential(r.Context(), &keysv1.GetCredentialRequest{Id: r.id})
	must(r.T, err)
	return answer.GetCredential()
}

// stage stages a secret, waits until its test has passed, and gives it a share.
func (r *rotating) stage(plain string, share int32) int32 {
	r.Helper()
	answer, err := r.credentials.StageSecret(r.Context(), &keysv1.StageSecretRequest{Id: r.id, Secret: plain, Etag: r.get().GetEtag(), IdempotencyKey: rand.Text()})
	must(r.T, err)
	revision := answer.GetCredential().GetNext().GetRevision()
	cluster.Eventually(r.T, 20*time.Second, "the second secret has passed its test", func() error {
		if next := r.get().GetNext(); next.GetState() != keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE {
			return fmt.Errorf("it is %v: %s", next.GetState(), next.GetStateReason())
		}
		return nil
	})
	_, err = r.credentials.SetSecretShare(r.Context(), &keysv1.SetSecretShareRequest{
		Id: r.id, Revision: revision, SharePercent: share, Etag: r.get().GetEtag(), IdempotencyKey: rand.Text(),
	})
	must(r.T, err)
	return revision
}

// serves waits until every router serves by a revision, and fails if any request fails on the way.
func (r *rotating) serves(what string, revision int32) {
	r.Helper()
	for _, router := range r.c.Routers {
		ctx, client := dial(r.T, router, r.org.APIKey)
		cluster.Eventually(r.T, 20*time.Second, what+": "+router.Name, func() error {
			answer, err := client.Complete(ctx, &routerv1.CompleteRequest{Input: saying("", "Hello")})
			if err != nil {
				r.Fatalf("%s: a request failed: %v", what, err)
			}
			if got := answer.GetProvenance().GetCredentialRevision(); got != revision {
				return fmt.Errorf("served by secret %d, want %d", got, revision)
			}
			return nil
		})
	}
}

// TestASecondSecretTakesOverOrIsRolledBackWithoutAFailedRequest: a second secret is tested, gets all requests,
// and is taken back by itself when the provider refuses it; another one takes over for good. Callers notice
// nothing.
func TestASecondSecretTakesOverOrIsRolledBackWithoutAFailedRequest(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Routers: 2})
	first, second, third := providerKey, "sk-second-canary-0123456789", "sk-third-canary-0123456789"
	c.Provider.SetKeys("openai", first, second, third)
	org := c.NewOrganization("acme", map[string]secret.Text{"openai": secret.New(first)}, own("openai/gpt-4o-mini"))
	r := &rotating{T: t, c: c, org: org, credentials: keysv1connect.NewCredentialServiceClient(org.Session.Keys)}
	list, err := r.credentials.ListCredentials(t.Context(), &keysv1.ListCredentialsRequest{})
	must(t, err)
	r.id = list.GetCredentials()[0].GetId()
	for _, router := range c.Routers {
		cluster.Eventually(t, 30*time.Second, router.Name+" answers", func() error { return ask(t.Context(), router, org.APIKey) })
	}

	r.serves("the first secret", 1)
	staged := r.stage(second, 100)
	r.serves("the second secret", staged)

	c.Provider.SetKeys("openai", first, third) // somebody revokes the second at the provider
	r.serves("rolled back", 1)
	cluster.Eventually(t, 20*time.Second, "the share is taken back", func() error {
		if next := r.get().GetNext(); !next.GetRolledBack() || next.GetSharePercent() != 0 {
			return fmt.Errorf("its share is %d %%, rolled back %v", next.GetSharePercent(), next.GetRolledBack())
		}
		return nil
	})
	if state := r.get().GetState(); state != keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE {
		t.Errorf("the credential is %v after the roll-back of its second secret", state)
	}

	staged = r.stage(third, 100)
	r.serves("the third secret", staged)
	promoted, err := r.credentials.PromoteSecret(t.Context(), &keysv1.PromoteSecretRequest{Id: r.id, Revision: staged, Etag: r.get().GetEtag(), IdempotencyKey: rand.Text()})
	must(t, err)
	if now := promoted.GetCredential(); now.GetRevision() != staged || now.GetNext() != nil || now.GetPrevious().GetRevision() != 1 || now.GetPrevious().GetSafe() {
		t.Errorf("after the promotion: %v", now)
	}
	r.serves("promoted", staged)
	c.Provider.SetKeys("openai", third)
	r.serves("with the others revoked", staged)
	cluster.Eventually(t, 30*time.Second, "the last use of the old secret is known", func() error {
		if r.get().GetPrevious().GetLastUseTime() == nil {
			return errors.New("it is not")
		}
		return nil
	})
}

// TestADrillShowsWhatAPolicyDoesAndTouchesNothing: for one API key a credential seems to fail; the policy
// serves by its second line, and says so. The first line's provider is not called, nothing is counted for
// it, and its credential stays what it was.
func TestADrillShowsWhatAPolicyDoesAndTouchesNothing(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Routers: 2})
	org := c.NewOrganization("acme", map[string]secret.Text{"openai": secret.New(providerKey), "anthropic": secret.New(providerKey)},
		own("openai/gpt-4o-mini"), own("anthropic/claude-haiku-4-5"))
	credentials, drills := keysv1connect.NewCredentialServiceClient(org.Session.Keys), keysv1connect.NewDrillServiceClient(org.Session.Keys)
	list, err := credentials.ListCredentials(t.Context(), &keysv1.ListCredentialsRequest{})
	must(t, err)
	var id string
	for _, c := range list.GetCredentials() {
		if c.GetProvider() == "openai" {
			id = c.GetId()
		}
	}
	served := func(router *cluster.Service, key secret.Text, model string) func() error {
		ctx, client := dial(t, router, key)
		return func() error {
			answer, err := client.Complete(ctx, &routerv1.CompleteRequest{Input: saying("policy/main", "Hello")})
			if err != nil {
				return err
			}
			if got := answer.GetProvenance().GetModel(); got != model {
				return fmt.Errorf("served by %s, want %s", got, model)
			}
			return nil
		}
	}
	other, err := keysv1connect.NewApiKeyServiceClient(org.Session.Keys).CreateApiKey(t.Context(), &keysv1.CreateApiKeyRequest{
		Name: "other", Provenance: keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL, IdempotencyKey: rand.Text(),
	})
	must(t, err)
	otherKey := secret.New(other.GetSecret())
	for _, router := range c.Routers {
		cluster.Eventually(t, 30*time.Second, "before: "+router.Name, served(router, org.APIKey, "openai/gpt-4o-mini"))
		cluster.Eventually(t, 30*time.Second, "before: "+router.Name, served(router, otherKey, "openai/gpt-4o-mini"))
	}

	for _, fault := range []keysv1.DrillFault{keysv1.DrillFault_DRILL_FAULT_RATE_LIMITED, keysv1.DrillFault_DRILL_FAULT_UNAUTHORIZED} {
		started, err := drills.StartDrill(t.Context(), &keysv1.StartDrillRequest{
			CredentialId: id, ApiKeyId: org.APIKeyID, Fault: fault, Duration: durationpb.New(4 * time.Minute), IdempotencyKey: rand.Text(),
		})
		must(t, err)
		drill := started.GetDrill().GetId()
		for _, router := range c.Routers {
			cluster.Eventually(t, 20*time.Second, fault.String()+" has reached "+router.Name, served(router, org.APIKey, "anthropic/claude-haiku-4-5"))
		}
		calls := map[string]int{}
		for _, e := range c.Provider.Ledger() {
			calls[e.Provider]++
		}
		const rounds = 5
		for range rounds {
			for _, router := range c.Routers {
				must(t, served(router, org.APIKey, "anthropic/claude-haiku-4-5")())
			}
		}
		for _, e := range c.Provider.Ledger() {
			calls[e.Provider]--
		}
		if calls["openai"] != 0 || calls["anthropic"] != -rounds*len(c.Routers) {
			t.Errorf("%v: %v calls besides those of the second line", fault, calls)
		}
		for _, router := range c.Routers {
			must(t, served(router, otherKey, "openai/gpt-4o-mini")()) // no other key is in the drill
		}
		cluster.Eventually(t, 30*time.Second, "the drill's report", func() error {
			answer, err := drills.GetDrill(t.Context(), &keysv1.GetDrillRequest{Id: drill})
			if err != nil {
				return err
			}
			report := answer.GetDrill().GetReport()
			if report.GetRequests() < int64((rounds+1)*len(c.Routers)) || report.GetUnserved() != 0 || len(report.GetServed()) != 1 ||
				report.GetServed()[0].GetModel() != "anthropic/claude-haiku-4-5" || report.GetServed()[0].GetRequests() != report.GetRequests() || report.GetServed()[0].GetLine() != 2 {
				return fmt.Errorf("it says %v", report)
			}
			return nil
		})
		_, err = drills.StopDrill(t.Context(), &keysv1.StopDrillRequest{Id: drill, IdempotencyKey: rand.Text()})
		must(t, err)
		for _, router := range c.Routers {
			cluster.Eventually(t, 20*time.Second, "after "+fault.String()+": "+router.Name, served(router, org.APIKey, "openai/gpt-4o-mini"))
		}
		credential, err := credentials.GetCredential(t.Context(), &keysv1.GetCredentialRequest{Id: id})
		must(t, err)
		if state := credential.GetCredential().GetState(); state != keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE {
			t.Errorf("%v has left the credential %v", fault, state)
		}
	}
	want := int64(0)
	for _, e := range c.Provider.Ledger() {
		if e.Status == 200 && e.Model != "" {
			want++
		}
	}
	cluster.Eventually(t, 60*time.Second, "what was really called is counted, and nothing else", func() error {
		got, err := requests(t, org)
		if err == nil && got != want {
			err = fmt.Errorf("%d requests are counted, want %d", got, want)
		}
		return err
	})
}
