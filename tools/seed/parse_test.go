package seed_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/claviger/claviger/pkg/secret"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/tools/seed"
)

const canary = "sk-canary-0123456789abcdef"

func lookup(name string) (string, bool) {
	value, ok := map[string]string{
		"OWNER_PASSWORD": "correct horse battery",
		"HOUSE_KEY":      "sk-ant-house-0123456789",
		"UPSTREAM_KEY":   canary,
		"EMPTY":          "",
	}[name]
	return value, ok
}

const good = `
organization: {slug: acme, name: Acme}
owner: {email: owner@acme.example, password: {env: OWNER_PASSWORD}}
platform_credentials:
  - {provider: anthropic, label: house, secret: {env: HOUSE_KEY}}
credentials:
  - {provider: openai, label: main, secret: {env: UPSTREAM_KEY}, base_url: "http://127.0.0.1:9001/v1", priority: 1}
policies:
  - {name: main, targets: [{model: openai/gpt-4o-mini, use: own}, {model: anthropic/claude-haiku-4-5, use: platform}]}
api_keys:
  - {name: app, policy: main, write_to: app.key}
`

func TestAFullFileIsRead(t *testing.T) {
	t.Parallel()
	got, warnings, err := seed.Parse("seed.yaml", []byte(good), lookup)
	if err != nil || len(warnings) != 0 {
		t.Fatalf("Parse = %v, warnings %v", err, warnings)
	}
	want := &seed.Document{
		Organization:        seed.Organization{Slug: "acme", Name: "Acme"},
		Owner:               seed.Owner{Email: "owner@acme.example", Password: secret.New("correct horse battery")},
		PlatformCredentials: []seed.Credential{{Provider: "anthropic", Label: "house", Secret: secret.New("sk-ant-house-0123456789")}},
		Credentials:         []seed.Credential{{Provider: "openai", Label: "main", Secret: secret.New(canary), BaseURL: "http://127.0.0.1:9001/v1", Priority: 1}},
		Policies: []seed.Policy{{Name: "main", Spec: seed.Rule(
			&keysv1.Target{Model: "openai/gpt-4o-mini", Use: eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN},
			&keysv1.Target{Model: "anthropic/claude-haiku-4-5", Use: eventsv1.CredentialClass_CREDENTIAL_CLASS_PLATFORM},
		)}},
		APIKeys: []seed.APIKey{{Name: "app", Policy: "main", WriteTo: "app.key"}},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Fatalf("Parse (-want +got):\n%s", diff)
	}
}

func TestEveryMistakeIsShownAtOnceWithItsLine(t *testing.T) {
	t.Parallel()
	const text = `organisation: {slug: acme}
owner: {email: nobody, password: {env: NOT_SET}}
credentials:
  - {provider: openai, label: main, secret: {env: EMPTY, file: x}, priority: high}
  - {provider: OpenAI, secret: sk-in-the-wrong-place}
policies:
  - name: Main!
    targets: [{model: gpt, use: house}]
api_keys:
  - {name: app, policy: other, write_to: ../app.key}
  - {name: app, write_to: /etc/passwd}
`
	_, _, err := seed.Parse("dir/seed.yaml", []byte(text), lookup)
	if err == nil {
		t.Fatal("Parse found no mistake")
	}
	for _, want := range []string{
		`seed.yaml:1:1: unknown key "organisation" in the file: did you mean "organization"?`,
		"    1 | organisation: {slug: acme}",
		"      | ^",
		`the file has no "organization"`,
		"seed.yaml:2:16: email must be",
		"seed.yaml:2:40: the environment variable NOT_SET is not set or empty",
		"seed.yaml:4:45: the key must be one of",
		"seed.yaml:4:78: this must be a whole number",
		"seed.yaml:5:16: provider",
		`a credential has no "label"`,
		"seed.yaml:5:32: the key must be an object",
		"seed.yaml:7:11: name",
		"seed.yaml:8:23: model",
		`seed.yaml:8:33: use must be "own" or "platform"`,
		`seed.yaml:10:25: the policy "other" is not in the file`,
		"seed.yaml:10:42: write_to must be a path inside the data folder",
		"seed.yaml:11:27: write_to must be a path inside the data folder",
		`seed.yaml:11:12: the API key "app" is there twice`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not hold %q", want)
		}
	}
	if t.Failed() {
		t.Logf("the error is\n%v", err)
	}
	if strings.Contains(err.Error(), "sk-in-the-wrong-place") {
		t.Errorf("the error shows a secret:\n%v", err)
	}
}

func TestAMistakeNeverShowsASecret(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"inline":       "owner: {email: x, password: {value: " + canary + "}, oops: 1}",
		"wrong form":   "owner: {password: " + canary + "}",
		"block":        "owner:\n  password:\n    value: |\n      " + canary + "\n    oops: 1",
		"no yaml":      "owner: {password: {value: " + canary + "}",
		"tab":          "owner:\n\tpassword: " + canary,
		"quoted":       "owner: {\"password\": \"" + canary + "\"}",
		"sequence":     "credentials:\n  - secret: [" + canary + "]",
		"bare":         canary,
		"list of bare": "- " + canary,
		"long":         "owner:\n  password:\n    value: >\n      abc\n     " + canary + ": x\n",
	} {
		_, warnings, err := seed.Parse("seed.yaml", []byte(text), lookup)
		if err == nil {
			t.Errorf("%s: Parse found no mistake", name)
			continue
		}
		shown := err.Error()
		for _, w := range warnings {
			shown += w.String()
		}
		if strings.Contains(shown, canary) {
			t.Errorf("%s: a secret is shown:\n%s", name, shown)
		}
	}
}

func TestASecretInClearWarns(t *testing.T) {
	t.Parallel()
	text := strings.Replace(good, "{env: OWNER_PASSWORD}", `{value: "correct horse battery"}`, 1)
	_, warnings, err := seed.Parse("seed.yaml", []byte(text), lookup)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Message, "in clear") {
		t.Fatalf("Parse = %v, warnings %v, want one warning", err, warnings)
	}
	if strings.Contains(warnings[0].String(), "horse") {
		t.Fatalf("the warning shows the secret: %s", warnings[0])
	}
}

func TestSecretFilesAreFoundBesideTheSeedFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "up.key"), []byte(canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(good, "{env: UPSTREAM_KEY}", "{file: up.key}", 1)
	doc, _, err := seed.Parse(filepath.Join(dir, "seed.yaml"), []byte(text), lookup)
	if err != nil || !doc.Credentials[0].Secret.Equal(secret.New(canary)) {
		t.Fatalf("Parse = %v, the secret is not the file's first line", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("owner: {password: {value: x}}"))
	f.Add([]byte("a: &a [*a]\n<<: {b: c}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		doc, _, err := seed.Parse("seed.yaml", text, func(string) (string, bool) { return "", false })
		if (doc == nil) == (err == nil) {
			t.Fatalf("Parse returned %v and %v", doc, err)
		}
	})
}
