package keyring_test

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/transit"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/keyring"
)

// brought is a credential as keys seals it and sends it to routers.
func brought(t *testing.T, sealer transit.Sealer, id, provider, text string) *completion.Credential {
	t.Helper()
	form, err := keyform.Parse(provider, secret.New(text))
	if err != nil {
		t.Fatal(err)
	}
	c := &completion.Credential{ID: id, OrgID: "org_1", Provider: provider, Revision: 1}
	c.Settings = completion.Settings{Region: form.Settings.Region, Project: form.Settings.Project, Location: form.Settings.Location}
	for _, d := range form.Settings.Deployments {
		c.Settings.Deployments = append(c.Settings.Deployments, completion.Deployment{Model: d.ModelSlug, Endpoint: d.EndpointURL, Name: d.ModelID})
	}
	c.Sealed, err = sealer.Seal(t.Context(), form.Normal, transit.Context{
		Environment: "test", OrgID: c.OrgID, CredentialID: c.ID, Revision: c.Revision, Binding: transit.Bind(provider, form.Settings.Places()...),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestATamperedRowDoesNotOpen changes rows as somebody could who writes to the database of keys, where
// the signature of the configuration is of no help. The true row was opened before: what is open must
// not be handed out for another place either.
func TestATamperedRowDoesNotOpen(t *testing.T) {
	t.Parallel()
	keyset, err := transit.OpenKeyset(t.TempDir()+"/keyset", true)
	if err != nil {
		t.Fatal(err)
	}
	bring := func(id, provider, text string) *completion.Credential {
		return brought(t, keyset.Sealer(), id, provider, text)
	}
	// Two deployments in one account: both have the same place, so the binding alone does not part them.
	azure := bring("cred_azure", "azure", `[{"model_slug":"openai/cheap","endpoint_url":"https://acme.openai.azure.com","api_key":"one","model_id":"small"},
		{"model_slug":"openai/dear","endpoint_url":"https://acme.openai.azure.com","api_key":"two","model_id":"large"}]`)
	other := bring("cred_other", "azure", `[{"model_slug":"openai/cheap","endpoint_url":"https://evil.openai.azure.com","api_key":"three","model_id":"small"}]`)
	aws := bring("cred_aws", "bedrock", `{"accessKeyId":"AKIDEXAMPLE","secretAccessKey":"secret","region":"us-east-1"}`)
	google := bring("cred_google", "vertex", `{"api_key":"express"}`)
	plain := bring("cred_plain", "openai", "sk-0123456789abcdef")
	for name, c := range map[string]struct {
		of     *completion.Credential
		change func(*completion.Credential)
	}{
		"settings of another":     {azure, func(c *completion.Credential) { c.Settings = other.Settings }},
		"sealed text of another":  {azure, func(c *completion.Credential) { c.Sealed = other.Sealed }},
		"both of another":         {azure, func(c *completion.Credential) { c.Sealed, c.Settings = other.Sealed, other.Settings }},
		"deployments reordered":   {azure, func(c *completion.Credential) { slices.Reverse(c.Settings.Deployments) }},
		"a model to another":      {azure, func(c *completion.Credential) { c.Settings.Deployments[1].Model = "openai/cheap" }},
		"another deployment":      {azure, func(c *completion.Credential) { c.Settings.Deployments[0].Name = "large" }},
		"one deployment less":     {azure, func(c *completion.Credential) { c.Settings.Deployments = c.Settings.Deployments[:1] }},
		"an endpoint":             {azure, func(c *completion.Credential) { c.Settings.Deployments[0].Endpoint = "https://evil.example" }},
		"a path of the endpoint":  {azure, func(c *completion.Credential) { c.Settings.Deployments[0].Endpoint += "/anthropic" }},
		"no settings":             {azure, func(c *completion.Credential) { c.Settings = completion.Settings{} }},
		"a base URL beside":       {azure, func(c *completion.Credential) { c.BaseURL = "https://evil.example" }},
		"region":                  {aws, func(c *completion.Credential) { c.Settings.Region = "eu-central-1" }},
		"no region":               {aws, func(c *completion.Credential) { c.Settings.Region = "" }},
		"another provider":        {aws, func(c *completion.Credential) { c.Provider = "openai" }},
		"location":                {google, func(c *completion.Credential) { c.Settings.Location = "us-central1" }},
		"project":                 {google, func(c *completion.Credential) { c.Settings.Project = "evil" }},
		"settings where are none": {plain, func(c *completion.Credential) { c.Settings.Region = "us-east-1" }},
		"one key as a list":       {plain, func(c *completion.Credential) { c.Provider = "azure" }},
	} {
		ring := keyring.New("test", keyset.Opener(), time.Now, slog.New(slog.DiscardHandler), nil)
		if _, err := ring.Secret(t.Context(), c.of); err != nil {
			t.Fatalf("%s: the true row: %v", name, err)
		}
		tampered := *c.of
		tampered.Settings.Deployments = slices.Clone(c.of.Settings.Deployments)
		c.change(&tampered)
		if _, err := ring.Secret(t.Context(), &tampered); !errors.Is(err, transit.ErrForeign) {
			t.Errorf("%s: Secret = %v, want ErrForeign", name, err)
		}
		if _, err := ring.Secret(t.Context(), c.of); err != nil {
			t.Errorf("%s: the true row afterwards: %v", name, err)
		}
	}
}

func TestAnOpenCredentialIsHandedOutWithoutAllocating(t *testing.T) {
	keyset, err := transit.OpenKeyset(t.TempDir()+"/keyset", true)
	if err != nil {
		t.Fatal(err)
	}
	ring := keyring.New("test", keyset.Opener(), time.Now, slog.New(slog.DiscardHandler), nil)
	c := brought(t, keyset.Sealer(), "cred_1", "bedrock", `{"accessKeyId":"AKIDEXAMPLE","secretAccessKey":"secret","region":"us-east-1"}`)
	if _, err := ring.Secret(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() { _, _ = ring.Secret(ctx, c) }); n > 0 {
		t.Errorf("Secret allocates %v times", n)
	}
}
