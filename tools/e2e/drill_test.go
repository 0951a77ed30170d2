package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	"github.com/claviger/claviger/tools/e2e/cluster"
)

// calls counts what reached the scripted provider in a form.
func (w *world) calls(provider string) (n int) {
	for _, e := range w.Provider.Ledger() {
		if e.Provider == provider {
			n++
		}
	}
	return n
}

// TestADrillIsRealForThePolicyAndForNobodyElse lets the organization's own credential seem to be refused for
// one API key, at two routers: the policy's next line serves, a request without a policy fails, nothing reaches
// the credential's provider, and neither the accounts nor the credential know of it.
func TestADrillIsRealForThePolicyAndForNobodyElse(t *testing.T) {
	w := newWorld(t, cluster.Options{Routers: 2})
	session := w.SignIn("acme", w.owner)
	creds, keys, drills := keysv1connect.NewCredentialServiceClient(session.Keys), keysv1connect.NewApiKeyServiceClient(session.Keys), keysv1connect.NewDrillServiceClient(session.Keys)
	usage := meteringv1connect.NewUsageServiceClient(session.Metering)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	named, err := keys.ListApiKeys(ctx, &keysv1.ListApiKeysRequest{})
	must(err)
	other, err := keys.CreateApiKey(ctx, &keysv1.CreateApiKeyRequest{Name: "other", IdempotencyKey: "other"})
	must(err)
	everywhere := func(what string, c call, provider string) {
		t.Helper()
		for i := range w.Routers {
			cluster.Eventually(t, 20*time.Second, what, func() error {
				had := w.calls(provider)
				if _, err := w.complete(ctx, i, c); err != nil {
					return err
				}
				if w.calls(provider) == had {
					return fmt.Errorf("%s was not called", provider)
				}
				return nil
			})
		}
	}
	everywhere("the other key works", call{key: other.GetSecret()}, "openai")
	var before *keysv1.Credential
	cluster.Eventually(t, 30*time.Second, "what has been served proves the credential", func() error {
		listed, err := creds.ListCredentials(ctx, &keysv1.ListCredentialsRequest{})
		if err != nil {
			return err
		}
		if before = listed.GetCredentials()[0]; before.GetState() != keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE {
			return fmt.Errorf("it is %v", before.GetState())
		}
		return nil
	})
	house := w.calls("anthropic")
	started, err := drills.StartDrill(ctx, &keysv1.StartDrillRequest{
		CredentialId: before.GetId(), ApiKeyId: named.GetApiKeys()[0].GetId(), Fault: keysv1.DrillFault_DRILL_FAULT_UNAUTHORIZED, IdempotencyKey: "drill",
	})
	must(err)
	everywhere("the drill has reached the routers", call{model: "policy/main"}, "anthropic")

	own := w.calls("openai")
	var served, unserved []string
	for i := range 6 {
		out, err := w.complete(ctx, i%2, call{model: "policy/main", stream: i%3 == 0})
		must(err)
		served = append(served, out.requestID)
	}
	for i := range 2 {
		out, err := w.complete(ctx, i, call{})
		if err == nil || !strings.Contains(err.Error(), "drill") {
			t.Errorf("a request that nobody else may serve: %v, want an error that names the drill", err)
		}
		unserved = append(unserved, out.requestID)
	}
	if got := w.calls("openai"); got != own {
		t.Errorf("%d calls reached the provider of the credential", got-own)
	}
	if _, err := w.complete(ctx, 0, call{key: other.GetSecret()}); err != nil || w.calls("openai") != own+1 {
		t.Errorf("another API key: %v, %d calls; want one that reached the provider", err, w.calls("openai")-own)
	}
	requests := int64(w.calls("anthropic") - house)
	var report *keysv1.DrillReport
	cluster.Eventually(t, 20*time.Second, "the drill's report", func() error {
		res, err := drills.GetDrill(ctx, &keysv1.GetDrillRequest{Id: started.GetDrill().GetId()})
		if report = res.GetDrill().GetReport(); err == nil && report.GetRequests() < requests+2 {
			err = fmt.Errorf("%d requests, want %d", report.GetRequests(), requests+2)
		}
		return err
	})
	policies, err := keysv1connect.NewPolicyServiceClient(session.Keys).ListPolicies(ctx, &keysv1.ListPoliciesRequest{})
	must(err)
	want := &keysv1.DrillReport{Requests: requests + 2, FailedCalls: requests + 2, Unserved: 2, Served: []*keysv1.DrillServed{
		{Model: "anthropic/claude-haiku-4-5", PolicyId: policies.GetPolicies()[0].GetId(), Line: 2, Requests: requests},
	}}
	if diff := cmp.Diff(want, report, protocmp.Transform()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}

	_, err = drills.StopDrill(ctx, &keysv1.StopDrillRequest{Id: started.GetDrill().GetId(), IdempotencyKey: "stop"})
	must(err)
	everywhere("the drill is over", call{model: "policy/main"}, "openai")

	// Another failure, which would let a credential cool down if it were real.
	started, err = drills.StartDrill(ctx, &keysv1.StartDrillRequest{
		CredentialId: before.GetId(), ApiKeyId: named.GetApiKeys()[0].GetId(), Fault: keysv1.DrillFault_DRILL_FAULT_RATE_LIMITED, IdempotencyKey: "limited",
	})
	must(err)
	everywhere("the second drill has reached the routers", call{model: "policy/main"}, "anthropic")
	for i := range w.Routers {
		had := w.calls("openai")
		if _, err := w.complete(ctx, i, call{key: other.GetSecret()}); err != nil || w.calls("openai") != had+1 {
			t.Errorf("another API key at router %d: %v, %d calls; want one that reached the provider", i, err, w.calls("openai")-had)
		}
	}
	_, err = drills.StopDrill(ctx, &keysv1.StopDrillRequest{Id: started.GetDrill().GetId(), IdempotencyKey: "stop again"})
	must(err)
	everywhere("the second drill is over", call{model: "policy/main"}, "openai")

	cluster.Eventually(t, 30*time.Second, "what was served in the accounts", func() error {
		for _, id := range served {
			res, err := usage.GetRequest(ctx, &meteringv1.GetRequestRequest{RequestId: id})
			if err != nil {
				return err
			}
			if n := len(res.GetAttempts()); n != 1 || res.GetAttempts()[0].GetEvent().GetProvider() != "anthropic" {
				t.Errorf("%s has %d attempts in the accounts, want the one that served", id, n)
			}
		}
		return nil
	})
	for _, id := range unserved {
		if res, err := usage.GetRequest(ctx, &meteringv1.GetRequestRequest{RequestId: id}); connect.CodeOf(err) != connect.CodeNotFound {
			t.Errorf("a request that the drill failed is in the accounts: %v, %v", res, err)
		}
	}
	after, err := creds.GetCredential(ctx, &keysv1.GetCredentialRequest{Id: before.GetId()})
	must(err)
	if got := after.GetCredential(); got.GetState() != before.GetState() || got.GetStateReason() != before.GetStateReason() || got.GetEtag() != before.GetEtag() {
		t.Errorf("the credential was %v %q and is %v %q", before.GetState(), before.GetStateReason(), got.GetState(), got.GetStateReason())
	}
}
