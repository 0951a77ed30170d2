package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/llmtest"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	"github.com/claviger/claviger/tools/e2e/cluster"
	"github.com/claviger/claviger/tools/seed"
)

// TestAPolicyFallsFromLineToLine lets the organization's own provider fail before, during and after
// the first content: before it the platform's line serves, after it nothing does, and each attempt is
// in the accounts under the class that made it.
func TestAPolicyFallsFromLineToLine(t *testing.T) {
	w := newWorld(t, cluster.Options{})
	usage := func() meteringv1connect.UsageServiceClient {
		return meteringv1connect.NewUsageServiceClient(w.SignIn("acme", w.owner).Metering)
	}()
	// Each run has a model of its own: the router remembers failures of a credential by model. Calls are not
	// repeated, since the next line is the point.
	models := []string{"gpt-4o-mini", "gpt-4o", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "o3", "o4-mini"}
	policies := keysv1connect.NewPolicyServiceClient(w.SignIn("acme", w.owner).Keys)
	for _, model := range models {
		_, err := policies.CreatePolicy(t.Context(), &keysv1.CreatePolicyRequest{
			Name: "by-" + model, Spec: seed.Rule(onceOwn("openai/"+model), seed.Platform("anthropic/claude-haiku-4-5")), Publish: true, IdempotencyKey: model,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	cluster.Eventually(t, 20*time.Second, "the last policy at the router", func() error {
		_, err := w.complete(t.Context(), 0, call{model: "policy/by-" + models[len(models)-1]})
		return err
	})
	run := 0
	for _, c := range []struct {
		name   string
		script llmtest.Script
		serves bool
	}{
		{"an error status", mustScript(t, "script:error=server"), true},
		{"a rate limit", mustScript(t, "script:error=rate_limit,retry=1s"), true},
		{"an error event before any content", mustScript(t, "script:at=0,error=overloaded"), true},
		{"an error event after content", mustScript(t, "script:tokens=20,at=5,error=overloaded"), false},
		{"a cut after content", mustScript(t, "script:tokens=20,cutat=5"), false},
	} {
		for _, stream := range []bool{true, false} {
			if !stream && (strings.Contains(c.name, "event") || strings.Contains(c.name, "cut")) {
				continue // there is no content before the end
			}
			model := models[run]
			run++
			w.Provider.Control(model, "", 1, c.script)
			out, err := w.complete(t.Context(), 0, call{model: "policy/by-" + model, stream: stream})
			if c.serves != (err == nil) {
				t.Errorf("%s (stream %v): error = %v, want service %v", c.name, stream, err, c.serves)
			}
			if !c.serves && strings.Contains(out.text, "[DONE]") {
				t.Errorf("%s: the broken answer ends as if it were whole", c.name)
			}
			var attempts []*meteringv1.Attempt
			want := map[bool]int{true: 2, false: 1}[c.serves]
			cluster.Eventually(t, 20*time.Second, c.name+" in the accounts", func() error {
				res, err := usage.GetRequest(t.Context(), &meteringv1.GetRequestRequest{RequestId: out.requestID})
				if err != nil {
					return err
				}
				if attempts = res.GetAttempts(); len(attempts) < want {
					return fmt.Errorf("%d attempts, want %d", len(attempts), want)
				}
				return nil
			})
			first, last := attempts[0].GetEvent(), attempts[len(attempts)-1].GetEvent()
			if len(attempts) != want || first.GetCredentialClass() != eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN || first.GetErrorClass() == "" {
				t.Errorf("%s (stream %v): %d attempts, the first %v with %q", c.name, stream, len(attempts), first.GetCredentialClass(), first.GetErrorClass())
			}
			if c.serves && (last.GetCredentialClass() != eventsv1.CredentialClass_CREDENTIAL_CLASS_PLATFORM || last.GetOutcome() != eventsv1.Outcome_OUTCOME_OK ||
				last.GetUsageSource() != eventsv1.UsageSource_USAGE_SOURCE_PROVIDER_FINAL || last.GetTargetIndex() != 1) {
				t.Errorf("%s (stream %v): the second attempt is %v, %v", c.name, stream, last.GetCredentialClass(), last.GetOutcome())
			}
			if !c.serves && first.GetOutcome() != eventsv1.Outcome_OUTCOME_BROKEN {
				t.Errorf("%s: outcome %v, want broken", c.name, first.GetOutcome())
			}
		}
	}
}

// onceOwn is a line whose calls are not repeated.
func onceOwn(model string) *keysv1.Target {
	line := seed.Own(model)
	line.Retries = new(int32(0))
	return line
}

func mustScript(t *testing.T, text string) llmtest.Script {
	t.Helper()
	s, err := llmtest.ParseScript(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
