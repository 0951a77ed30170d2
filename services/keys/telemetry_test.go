package keys_test

import (
	"context"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/pkg/transit"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

func TestAStoredKeyIsATraceWithoutTheKey(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	memory := telemetry.NewMemory(telemetry.MemoryLimits{})
	var err error
	r.tel, err = telemetry.Start(t.Context(), telemetry.Options{Service: "keys", Environment: environment, Memory: memory})
	r.must(err)
	t.Cleanup(func() { r.tel.Shutdown(t.Context()) })
	r.app = r.replica(r.db)
	owner := r.signIn("acme", "owner@acme.example")
	create := func(label string) []telemetry.Span {
		ctx, caller := r.tel.Tracer().Start(t.Context(), "caller")
		ctx, info := connect.NewClientContext(ctx)
		telemetry.Inject(ctx, info.RequestHeader())
		_, err = owner.creds.CreateCredential(ctx, &keysv1.CreateCredentialRequest{
			Provider: "openai", Label: label, Secret: "sk-test-0123456789abcdef", AcceptTerms: true, IdempotencyKey: label,
		})
		caller.End()
		return memory.Trace(caller.SpanContext().TraceID().String())
	}
	spans := create("main")
	r.must(err)
	byName := map[string]telemetry.Span{}
	for _, s := range spans {
		byName[s.Name] = s
		if s.Name != "caller" && (s.Service != "keys" || s.Attributes["claviger.org_id"] != r.orgID) {
			t.Errorf("span %+v is not said to be of keys and the organization", s)
		}
		for key, value := range s.Attributes {
			if strings.Contains(value, "sk-test") || strings.Contains(value, "0123456789abcdef") {
				t.Errorf("span %s tells the key in %s", s.Name, key)
			}
		}
	}
	call := byName["claviger.keys.v1.CredentialService/CreateCredential"]
	seal, tx := byName["seal credential"], byName["transaction"]
	if call.ParentID != byName["caller"].SpanID || seal.SpanID == "" || tx.SpanID == "" || tx.Attributes["db.system.name"] != "sqlite" ||
		!strings.HasPrefix(seal.Attributes["claviger.credential_id"], "cred_") || seal.Error {
		t.Errorf("spans = %+v", spans)
	}

	r.sealer.down.Store(true)
	spans = create("other")
	refused(t, "seal while the vault is sealed", err, connect.CodeUnavailable, transit.ErrSealed.Reason())
	byName = map[string]telemetry.Span{}
	for _, s := range spans {
		byName[s.Name] = s
	}
	call = byName["claviger.keys.v1.CredentialService/CreateCredential"]
	if !byName["seal credential"].Error || !call.Error || call.Attributes["claviger.reason"] != "VAULT_SEALED" {
		t.Errorf("spans of a failure = %+v", spans)
	}
}

func TestWatchersAndTheVersionAreMeasured(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var err error
	r.tel, err = telemetry.Start(t.Context(), telemetry.Options{Service: "keys", Environment: environment})
	r.must(err)
	t.Cleanup(func() { r.tel.Shutdown(t.Context()) })
	r.app = r.replica(r.db)
	metrics := func() string {
		w := httptest.NewRecorder()
		telemetry.Metrics(r.tel).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
		text, err := io.ReadAll(w.Body)
		r.must(err)
		return string(text)
	}
	const watching = `claviger_config_watchers{claviger_watcher="metering",service_name="claviger-keys"} `
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	stream, err := r.internal(r.app, "metering", "metering-1").WatchConfig(ctx, &keysv1.WatchConfigRequest{})
	r.must(err)
	_, err = stream.Receive()
	r.must(err)
	text := metrics()
	if !strings.Contains(text, watching+"1\n") || !strings.Contains(text, `claviger_config_version{service_name="claviger-keys"} `) ||
		strings.Contains(text, `claviger_config_version{service_name="claviger-keys"} 0`+"\n") {
		t.Errorf("metrics with a watcher:\n%s", text)
	}
	leave()
	for err == nil {
		_, err = stream.Receive()
	}
	eventually(t, "the watcher is counted off", func() bool { return strings.Contains(metrics(), watching+"0\n") })
}
