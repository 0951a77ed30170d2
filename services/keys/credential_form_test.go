package keys_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/transit"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

const (
	azureList = `[{"model_slug":"openai/gpt-4o","endpoint_url":"https://ACME.openai.azure.com/openai/v1/","api_key":"azure-canary-0123456789","model_id":"gpt-4o"},
		{"model_slug":"openai/o3-mini","endpoint_url":"https://acme-eu.openai.azure.com/openai/deployments/o3/chat/completions?api-version=2025-01-01-preview","api_key":"azure-canary-9876543210","model_id":"o3"}]`
	awsObject = `{"accessKeyId":"AKIAIOSFODNN7EXAMPLE","secretAccessKey":"aws-canary-0123456789/abcdef","region":"us-east-1"}`
)

// serviceAccount is a file as Google Cloud gives it, for another location.
func serviceAccount(t *testing.T, location string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "acme-prod", "private_key_id": "0123456789abcdef", "client_email": "router@acme-prod.iam.gserviceaccount.com",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": "https://oauth2.googleapis.com/token", "location": location,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func (p *person) bring(provider, label, plain string) (*keysv1.CreateCredentialResponse, error) {
	return p.creds.CreateCredential(p.r.t.Context(), &keysv1.CreateCredentialRequest{
		Provider: provider, Label: label, Secret: plain, AcceptTerms: true, IdempotencyKey: provider + label,
	})
}

// violations are the fields that an answer names.
func violations(err error) []string {
	var fields []string
	ce, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return nil
	}
	for _, d := range ce.Details() {
		if msg, err := connectproto.UnmarshalErrorDetail(d); err == nil {
			bad, _ := msg.(*errdetails.BadRequest)
			for _, v := range bad.GetFieldViolations() {
				fields = append(fields, v.GetField())
			}
		}
	}
	return fields
}

// TestEveryProvidersKeyIsSealedBoundToItsPlaces goes from the call to the text that a router opens.
func TestEveryProvidersKeyIsSealedBoundToItsPlaces(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	router, metering := r.watch(r.app, "router", 0), r.watch(r.app, "metering", 0)
	for _, provider := range keyform.Providers() {
		plain := map[string]string{"azure": azureList, "bedrock": awsObject, "vertex": serviceAccount(t, "europe-west4")}[provider]
		if plain == "" {
			plain = "canary-0123456789abcdef"
		}
		made, err := r.owner.bring(provider, provider, plain)
		if err != nil {
			t.Errorf("%s: %v", provider, err)
			continue
		}
		c := made.GetCredential()
		router.until(provider, func() bool { return router.credential(c.GetId()) != nil })
		metering.until(provider, func() bool { return metering.credential(c.GetId()) != nil })
		seen := router.credential(c.GetId())
		if blind := metering.credential(c.GetId()); blind.GetSettings() != nil || blind.GetSealed() != "" {
			t.Errorf("%s: metering sees settings or the sealed text", provider)
		}
		if len(seen.GetSettings().GetSecrets()) > 0 {
			t.Errorf("%s: routers see the ends of secrets", provider)
		}
		// What the router would dial, from its own configuration alone.
		used := keyform.Settings{Region: seen.GetSettings().GetRegion(), Project: seen.GetSettings().GetProject(), Location: seen.GetSettings().GetLocation()}
		for _, d := range seen.GetSettings().GetDeployments() {
			used.Deployments = append(used.Deployments, keyform.Deployment{ModelSlug: d.GetModelSlug(), EndpointURL: d.GetEndpointUrl(), ModelID: d.GetModelId()})
		}
		bound := transit.Context{Environment: environment, OrgID: r.orgID, CredentialID: c.GetId(), Revision: 1, Binding: transit.Bind(provider, used.Places()...)}
		opened, err := r.keyset.Opener().Open(t.Context(), seen.GetSealed(), bound)
		if err != nil {
			t.Errorf("%s: %v", provider, err)
			continue
		}
		if form, err := keyform.Parse(provider, opened); err != nil || !form.Settings.SameUse(used) {
			t.Errorf("%s: the opened text is of other use: %v", provider, err)
		}
		if keyform.KindOf(provider) == keyform.Key {
			continue
		}
		bound.Binding = transit.Bind(provider)
		if _, err := r.keyset.Opener().Open(t.Context(), seen.GetSealed(), bound); err == nil {
			t.Errorf("%s: opens without its places", provider)
		}
	}
	holdsNone(t, "the log", r.log.String(), []string{"azure-canary", "aws-canary", "canary-0123456789abcdef", "BEGIN PRIVATE KEY", "AKIAIOSFODNN7EXAMPLE"})
}

func TestSettingsAreReadableAndSecretsMaskedOneByOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for provider, c := range map[string]struct {
		plain, hint string
		want        *keysv1.CredentialSettings
	}{
		"azure": {azureList, "…6789 +1", &keysv1.CredentialSettings{
			Deployments: []*keysv1.AzureDeployment{
				{ModelSlug: "openai/gpt-4o", EndpointUrl: "https://acme.openai.azure.com", ModelId: "gpt-4o"},
				{ModelSlug: "openai/o3-mini", EndpointUrl: "https://acme-eu.openai.azure.com/openai/deployments/o3?api-version=2025-01-01-preview", ModelId: "o3"},
			},
			Secrets: []*keysv1.MaskedSecret{{Field: "[0].api_key", Hint: "…6789"}, {Field: "[1].api_key", Hint: "…3210"}},
		}},
		"bedrock": {awsObject, "…MPLE", &keysv1.CredentialSettings{
			Region: "us-east-1", Secrets: []*keysv1.MaskedSecret{{Field: "accessKeyId", Hint: "…MPLE"}, {Field: "secretAccessKey", Hint: "…cdef"}},
		}},
		"vertex": {serviceAccount(t, "global"), "…cdef", &keysv1.CredentialSettings{
			Project: "acme-prod", Location: "global", ClientEmail: "router@acme-prod.iam.gserviceaccount.com",
			Secrets: []*keysv1.MaskedSecret{{Field: "private_key", Hint: "…cdef"}},
		}},
		"groq": {"gsk_0123456789abcdef", "…cdef", nil},
	} {
		made, err := r.owner.bring(provider, "main "+provider, c.plain)
		if err != nil {
			t.Errorf("%s: %v", provider, err)
			continue
		}
		got := r.get(made.GetCredential().GetId())
		if diff := cmp.Diff(c.want, got.GetSettings(), protocmp.Transform()); diff != "" || got.GetHint() != c.hint {
			t.Errorf("%s: hint %q, settings %s", provider, got.GetHint(), diff)
		}
	}
}

func TestEveryMistakeInASecretIsNamedByItsField(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	sealed := r.sealer.calls.Load()
	for name, c := range map[string]struct {
		provider, plain string
		want            []string
	}{
		"azure": {"azure", `[{"model_slug":"openai/gpt-4o","endpoint_url":"https://acme.openai.azure.com","api_key":"canary-1","model_id":"a"},
			{"model_slug":"openai/gpt-4o","endpoint_url":"http://acme.openai.azure.com","model_id":"b","canary":"x"}]`, []string{"[1].canary", "[1].api_key", "[1].endpoint_url"}},
		"bedrock":         {"bedrock", `{"accessKeyId":"canary 2","region":"Europe"}`, []string{"secretAccessKey", "accessKeyId", "region"}},
		"vertex":          {"vertex", `{"type":"authorized_user","project_id":"acme-prod"}`, []string{"type", "client_email", "private_key"}},
		"one key":         {"xai", "xai-canary 3", []string{"secret"}},
		"one key as JSON": {"bedrock", "canary-0123456789", []string{"secret"}},
	} {
		_, err := r.owner.bring(c.provider, name, c.plain)
		refused(t, name, err, connect.CodeInvalidArgument, "SECRET_MALFORMED")
		if got := violations(err); !slices.Equal(got, c.want) {
			t.Errorf("%s: violations at %v, want %v", name, got, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), "canary-") || strings.Contains(err.Error(), "canary ")) {
			t.Errorf("%s: the error quotes the secret: %v", name, err)
		}
	}
	if r.sealer.calls.Load() != sealed {
		t.Error("a secret that was refused was sealed")
	}
	c := r.owner.credential("main")
	_, err := r.owner.creds.RotateCredential(t.Context(), &keysv1.RotateCredentialRequest{Id: c.GetId(), Etag: c.GetEtag(), Secret: "with a space", IdempotencyKey: "r"})
	refused(t, "rotate", err, connect.CodeInvalidArgument, "SECRET_MALFORMED")
}

// TestAzureEndpointsInsideAreRefused has addresses that would lead a router to where no tenant belongs.
func TestAzureEndpointsInsideAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t) // the operator has opened 10.0.0.0/8:8000
	attacks := []string{
		"https://127.0.0.1", "http://127.0.0.1", "https://localhost", "https://LOCALHOST/openai/v1", "https://x.localhost", "https://[::1]", "http://[::1]:8000",
		"https://169.254.169.254/latest/meta-data", "http://169.254.169.254", "https://[fd00:ec2::254]", "https://metadata.google.internal", "https://168.63.129.16",
		"https://10.0.0.1", "http://10.0.0.1", "http://10.0.0.1:8001", "https://192.168.1.1", "https://172.16.0.1", "https://[fd00::1]", "https://100.64.0.1",
		"https://0.0.0.0", "https://[::]", "https://[::ffff:127.0.0.1]", "https://[64:ff9b::7f00:1]", "https://[fe80::1%25eth0]", "https://8.8.8.8", "https://8.8.8.8:8000",
		"https://2130706433", "https://0x7f.1", "https://127.1", "https://0177.0.0.1", "https://router", "https://keys.internal", "https://db.local",
		"https://acme.openai.azure.com:22", "https://acme.openai.azure.com:99999", "https://acme.openai.azure.com:0", "https://acme.openai.azure.com:8443",
		"https://acme.openai.azure.com@127.0.0.1", "https://127.0.0.1@acme.openai.azure.com", "https://127.0.0.1#acme.openai.azure.com", "https://127.0.0.1?acme.openai.azure.com",
		"https://acme.openai.azure.com#@127.0.0.1", `https://127.0.0.1\@acme.openai.azure.com`, "https://acme.openai.azure.com/../..//127.0.0.1", "https://１２７.0.0.1", "https://①②⑦.⓪.⓪.①",
		"file:///etc/passwd", "gopher://127.0.0.1", "ftp://acme.openai.azure.com", "//127.0.0.1", "https://", "https://acme.openai.azure.com/%2e%2e/%2e%2e",
	}
	for i, url := range attacks {
		raw, err := json.Marshal([]map[string]string{
			{"model_slug": "openai/a", "endpoint_url": "https://acme.openai.azure.com", "api_key": "canary-0123456789", "model_id": "a"},
			{"model_slug": "openai/b", "endpoint_url": url, "api_key": "canary-0123456789", "model_id": "b"},
		})
		r.must(err)
		_, err = r.owner.bring("azure", fmt.Sprintf("attack %d", i), string(raw))
		if connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s: %v, want it to be refused", url, err)
			continue
		}
		if got := violations(err); !slices.Equal(got, []string{"[1].endpoint_url"}) {
			t.Errorf("%s: violations at %v, want [1].endpoint_url (%v)", url, got, err)
		}
		if reason := info(err).GetReason(); reason != "SECRET_MALFORMED" && reason != "ENDPOINT_NOT_ALLOWED" {
			t.Errorf("%s: reason %s", url, reason)
		}
	}
	if n := r.sealer.calls.Load(); n != 0 {
		t.Errorf("%d refused credentials were sealed", n)
	}
	// What the operator has opened is open for Azure's gateways too.
	if _, err := r.owner.bring("azure", "inside", `[{"model_slug":"m","endpoint_url":"http://10.1.2.3:8000/v1","api_key":"canary-0123456789","model_id":"d"}]`); err != nil {
		t.Errorf("a gateway in an opened network: %v", err)
	}
}

// TestASecretWithOtherPlacesIsANewBinding rotates to another region: nothing of the old one stays.
func TestASecretWithOtherPlacesIsANewBinding(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.watch(r.app, "router", 0)
	made, err := r.owner.bring("bedrock", "main", awsObject)
	r.must(err)
	c := made.GetCredential()
	w.until("the test", func() bool { return len(w.probes) == 1 })
	r.report(r.app, w.probes[0], active)
	w.until("the verdict", func() bool { return w.credential(c.GetId()).GetState() == active })
	old := w.credential(c.GetId()).GetSealed()

	rotated, err := r.owner.creds.RotateCredential(t.Context(), &keysv1.RotateCredentialRequest{
		Id: c.GetId(), Etag: c.GetEtag(), IdempotencyKey: "r",
		Secret: `{"accessKeyId":"ASIAIOSFODNN7EXAMPLE","secretAccessKey":"other-canary-0123456789","region":"eu-central-1"}`,
	})
	r.must(err)
	if got := rotated.GetCredential(); got.GetSettings().GetRegion() != "eu-central-1" || got.GetState() != unverified || len(got.GetModels()) != 0 || got.GetRevision() != 2 {
		t.Errorf("after the rotation: %v", got)
	}
	if got := rotated.GetWarnings(); len(got) != 1 || got[0].GetField() != "sessionToken" {
		t.Errorf("warnings = %v, want one about the session token", got)
	}
	w.until("the rotation", func() bool { return w.credential(c.GetId()).GetRevision() == 2 })
	open := func(sealed string, revision int, region string) error {
		_, err := r.keyset.Opener().Open(t.Context(), sealed, transit.Context{
			Environment: environment, OrgID: r.orgID, CredentialID: c.GetId(), Revision: revision, Binding: transit.Bind("bedrock", "region="+region),
		})
		return err
	}
	fresh := w.credential(c.GetId()).GetSealed()
	if err := open(fresh, 2, "eu-central-1"); err != nil {
		t.Errorf("the new secret in its region: %v", err)
	}
	if open(fresh, 2, "us-east-1") == nil || open(old, 1, "eu-central-1") == nil || open(old, 2, "eu-central-1") == nil {
		t.Error("a secret opens for the other's region")
	}
	if n := r.count("audit_event WHERE action = 'credential.rotate' AND detail LIKE '%region=us-east-1%region=eu-central-1%'"); n != 1 {
		t.Errorf("%d audit events name both places, want 1", n)
	}
}

func TestModelsOfAKeyTestAreStoredShownAndSentToRouters(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.watch(r.app, "router", 0)
	c := r.owner.credential("main")
	w.until("the first test", func() bool { return len(w.probes) == 1 })
	report := func(state keysv1.CredentialState, models ...string) {
		t.Helper()
		job := w.probes[len(w.probes)-1]
		r.clock.Advance(time.Second) // another router's, which was given the same test
		_, err := r.internal(r.app, "router", "router-1").ReportRouterState(t.Context(), &keysv1.ReportRouterStateRequest{Router: "router-1", Closing: true, ProbeResults: []*keysv1.ProbeResult{{
			ProbeId: job.GetId(), OrgId: job.GetOrgId(), CredentialId: job.GetCredentialId(), Revision: job.GetRevision(), State: state, Reason: "because", Models: models,
			Time: timestamp(r.clock.Now()),
		}}})
		r.must(err)
	}
	report(active, "gpt-b", "gpt-a", "gpt-b")
	if got := r.get(c.GetId()); !slices.Equal(got.GetModels(), []string{"gpt-a", "gpt-b"}) || got.GetEtag() != c.GetEtag() {
		t.Errorf("models = %v, etag %s", got.GetModels(), got.GetEtag())
	}
	w.until("the models", func() bool { return len(w.credential(c.GetId()).GetModels()) == 2 })
	events := r.count("audit_event")
	report(active, "gpt-c") // another list, the same state
	w.until("the other models", func() bool { return slices.Equal(w.credential(c.GetId()).GetModels(), []string{"gpt-c"}) })
	if r.count("audit_event") != events {
		t.Error("another list of models is audited as if somebody had done it")
	}
	report(rejected)
	if got := r.get(c.GetId()).GetModels(); !slices.Equal(got, []string{"gpt-c"}) {
		t.Errorf("after a test that found nothing out: models = %v", got)
	}
	many := make([]string, 1001)
	for i := range many {
		many[i] = fmt.Sprint("m", i)
	}
	job := w.probes[0]
	_, err := r.internal(r.app, "router", "router-1").ReportRouterState(t.Context(), &keysv1.ReportRouterStateRequest{Router: "router-1", Closing: true, ProbeResults: []*keysv1.ProbeResult{{
		OrgId: job.GetOrgId(), CredentialId: job.GetCredentialId(), Revision: 1, State: active, Models: many,
	}}})
	if connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("1001 models: %v, want the bound to hold", err)
	}
}
