package cluster_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/tools/e2e/cluster"
	"github.com/claviger/claviger/tools/seed"
)

const (
	rehearsed = "sk-rehearsing-0123456789" // the key that is said to be slow
	slowModel = "openai/gpt-4o-mini"
	nextModel = "anthropic/claude-haiku-4-5"
)

// slownessIsRehearsed: while a credential is said to be slow, a policy goes on by its own timeout, or when the drill
// ends by itself; the provider hears of nothing, nobody pays, and the report says what the policy did.
func slownessIsRehearsed(t *testing.T, p *pair, org *cluster.Organization) {
	drills, usage := keysv1connect.NewDrillServiceClient(org.Session.Keys), meteringv1connect.NewUsageServiceClient(org.Session.Metering)
	policies := map[string]string{}
	hurried, patient := own(slowModel), own(slowModel)
	hurried.Timeouts = &keysv1.Timeouts{FirstByte: durationpb.New(50 * time.Millisecond)}
	hurried.Retries, patient.Retries = new(int32(0)), new(int32(0))
	for name, lines := range map[string][]*keysv1.Target{"hurried": {hurried, own(nextModel)}, "alone": {hurried}, "patient": {patient, own(nextModel)}} {
		made, err := keysv1connect.NewPolicyServiceClient(org.Session.Keys).CreatePolicy(t.Context(), &keysv1.CreatePolicyRequest{
			Name: name, Spec: seed.Rule(lines...), Publish: true, IdempotencyKey: rand.Text(),
		})
		must(t, err)
		policies[name] = made.GetPolicy().GetId()
	}
	made, err := keysv1connect.NewApiKeyServiceClient(org.Session.Keys).CreateApiKey(t.Context(), &keysv1.CreateApiKeyRequest{
		Name: "other", Provenance: keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL, IdempotencyKey: rand.Text(),
	})
	must(t, err)
	other, met := secret.New(made.GetSecret()), int64(0)
	servedBy := func(what, model string) {
		t.Helper()
		for _, router := range p.Routers {
			cluster.Eventually(t, 30*time.Second, what+": "+router.Name, func() error {
				got := p.chat(t, router, org.APIKey, "policy/hurried")
				if got.header.Get("x-claviger-model") == nextModel {
					met++
				}
				if got.header.Get("x-claviger-model") != model {
					return fmt.Errorf("%d %s", got.status, got.body)
				}
				return nil
			})
		}
	}
	credential := func(provider string) *keysv1.Credential {
		t.Helper()
		list, err := keysv1connect.NewCredentialServiceClient(org.Session.Keys).ListCredentials(t.Context(), &keysv1.ListCredentialsRequest{})
		must(t, err)
		for _, c := range list.GetCredentials() {
			if c.GetProvider() == provider {
				return c
			}
		}
		t.Fatalf("the credential of %s is gone", provider)
		return nil
	}
	for _, router := range p.Routers {
		cluster.Eventually(t, 30*time.Second, router.Name+" serves the other API key", func() error {
			if got := p.chat(t, router, other, "policy/hurried"); got.status != 200 {
				return errors.New(got.body)
			}
			return nil
		})
	}
	cluster.Eventually(t, 30*time.Second, "what was served proves the credential", func() error {
		if state := credential("openai").GetState(); state != keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE {
			return fmt.Errorf("it is %v", state)
		}
		return nil
	})
	before, next := credential("openai"), credential("anthropic").GetId()
	start := func(duration time.Duration) *keysv1.Drill {
		t.Helper()
		started, err := drills.StartDrill(t.Context(), &keysv1.StartDrillRequest{
			CredentialId: before.GetId(), ApiKeyId: org.APIKeyID, Fault: keysv1.DrillFault_DRILL_FAULT_SLOW, Duration: durationpb.New(duration), IdempotencyKey: rand.Text(),
		})
		must(t, err)
		met = 0
		return started.GetDrill()
	}
	report := func(d *keysv1.Drill, want *keysv1.DrillReport) {
		t.Helper()
		var got *keysv1.DrillReport
		cluster.Eventually(t, 30*time.Second, "routers report", func() error {
			answer, err := drills.GetDrill(t.Context(), &keysv1.GetDrillRequest{Id: d.GetId()})
			got = answer.GetDrill().GetReport()
			over := got.GetUnserved() // who served is known once a request is over
			for _, s := range got.GetServed() {
				over += s.GetRequests()
			}
			if err == nil && over < want.GetRequests() {
				err = fmt.Errorf("%d requests are over, want %d", over, want.GetRequests())
			}
			return err
		})
		if diff := cmp.Diff(want, got, protocmp.Transform(), protocmp.SortRepeatedFields(&keysv1.DrillReport{}, "served")); diff != "" {
			t.Errorf("report (-want +got):\n%s", diff)
		}
	}

	// hold asks each router through a line without a timeout of its own, and returns once the drill holds them: it has
	// been met so many times then.
	type answer struct {
		*routerv1.CompleteResponse
		err error
	}
	hold := func(d *keysv1.Drill, requests int64) <-chan answer {
		t.Helper()
		answers := make(chan answer, len(p.Routers))
		for _, router := range p.Routers {
			ctx, client := dial(t, router, org.APIKey)
			go func() {
				got, err := client.Complete(ctx, &routerv1.CompleteRequest{Input: saying("policy/patient", "Hello")})
				answers <- answer{got, err}
			}()
		}
		cluster.Eventually(t, 30*time.Second, "the drill holds requests", func() error {
			now, err := drills.GetDrill(t.Context(), &keysv1.GetDrillRequest{Id: d.GetId()})
			if n := now.GetDrill().GetReport().GetRequests(); err == nil && n != requests {
				err = fmt.Errorf("it was met by %d, want %d", n, requests)
			}
			return err
		})
		return answers
	}
	goOn := func(d *keysv1.Drill, answers <-chan answer) {
		t.Helper()
		for range p.Routers {
			got := <-answers
			must(t, got.err)
			if served := got.GetProvenance(); served.GetModel() != nextModel || len(served.GetAttempts()) != 2 || served.GetAttempts()[0].GetDrillId() != d.GetId() {
				t.Errorf("a request that the drill held was served by %v, want by line 2 after the drill", served)
			}
			attempts(t, org, got.GetRequestId(), 1)
		}
	}

	drill := start(5 * time.Minute)
	servedBy("the drill is met", nextModel)
	called := len(p.calls(rehearsed))
	unserved := []string{}
	for _, router := range p.Routers {
		got := p.chat(t, router, org.APIKey, "policy/hurried")
		met++
		tried := got.header.Values("x-claviger-attempt")
		if got.status != 200 || got.header.Get("x-claviger-model") != nextModel || got.header.Get("x-claviger-line") != "2" || len(tried) != 2 || !strings.Contains(tried[0], `error="timeout"`) {
			t.Errorf("%s answers %d, tried %q, want a timeout and then line 2: %s", router.Name, got.status, tried, got.body)
		}
		if e := attempts(t, org, got.header.Get("x-request-id"), 1)[0]; e.GetProvider() != "anthropic" {
			t.Errorf("%s: the one usage event is of %s, want of what served", router.Name, e.GetProvider())
		}
		got = p.chat(t, router, org.APIKey, "policy/alone")
		if code, message := got.failure(); got.status != 504 || !strings.Contains(message, "drill") {
			t.Errorf("%s says %d %s of a policy without a second line, want a timeout that names the drill: %s", router.Name, got.status, code, got.body)
		}
		unserved = append(unserved, got.header.Get("x-request-id"))
	}
	if n := len(p.calls(rehearsed)); n != called {
		t.Errorf("the provider was called %d times with the key that is said to be slow", n-called)
	}
	for _, router := range p.Routers {
		if got := p.chat(t, router, other, "policy/hurried"); got.header.Get("x-claviger-model") != slowModel {
			t.Errorf("%s lets another API key take part: %d %s", router.Name, got.status, got.body)
		}
	}
	report(drill, &keysv1.DrillReport{Requests: met + 2, FailedCalls: met + 2, Unserved: 2, Served: []*keysv1.DrillServed{
		{Model: nextModel, CredentialId: next, PolicyId: policies["hurried"], Line: 2, Requests: met},
	}})
	held := hold(drill, met+4)
	_, err = drills.StopDrill(t.Context(), &keysv1.StopDrillRequest{Id: drill.GetId(), IdempotencyKey: rand.Text()})
	must(t, err)
	goOn(drill, held)
	if !time.Now().Before(drill.GetEndTime().AsTime()) {
		t.Error("requests that it held have waited for its own end")
	}
	servedBy("it was stopped", slowModel)
	for _, id := range unserved { // what came after them is in the accounts by now, or soon is
		if answer, err := usage.GetRequest(t.Context(), &meteringv1.GetRequestRequest{RequestId: id}); connect.CodeOf(err) != connect.CodeNotFound {
			t.Errorf("a request that the drill failed is in the accounts: %v, %v", answer, err)
		}
	}

	// Nobody stops the second one. A line without a timeout of its own waits for its end and not for five minutes.
	drill = start(8 * time.Second)
	servedBy("the second drill is met", nextModel)
	goOn(drill, hold(drill, met+2))
	for _, router := range p.Routers {
		if got := p.chat(t, router, org.APIKey, "policy/patient"); got.header.Get("x-claviger-model") != slowModel {
			t.Errorf("after its end %s answers %d %s, want what the first line serves", router.Name, got.status, got.body)
		}
	}
	report(drill, &keysv1.DrillReport{Requests: met + 2, FailedCalls: met + 2, Served: []*keysv1.DrillServed{
		{Model: nextModel, CredentialId: next, PolicyId: policies["hurried"], Line: 2, Requests: met},
		{Model: nextModel, CredentialId: next, PolicyId: policies["patient"], Line: 2, Requests: 2},
	}})
	if after := credential("openai"); after.GetState() != before.GetState() || after.GetStateReason() != before.GetStateReason() || after.GetEtag() != before.GetEtag() {
		t.Errorf("the credential was %v and is %v, %q", before.GetState(), after.GetState(), after.GetStateReason())
	}
}
