package keyform_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/secret"
)

// canary stands in every place of a credential that may be secret.
const canary = "canary-0123456789-abcdef"

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func pkcs8(key any) string {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// account is a service account's file with some fields changed; an empty one is left out.
func account(changes map[string]string) string {
	fields := map[string]string{
		"type": "service_account", "project_id": "acme-prod", "private_key_id": "0123456789abcdef0123456789abcdef01234567",
		"private_key": pkcs8(rsaKey()), "client_email": "router@acme-prod.iam.gserviceaccount.com", "client_id": "1",
		"auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": "https://oauth2.googleapis.com/token",
		"auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
		"client_x509_cert_url":        "https://www.googleapis.com/robot/v1/metadata/x509/router", "universe_domain": "googleapis.com",
	}
	for name, value := range changes {
		if fields[name] = value; value == "" {
			delete(fields, name)
		}
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// fields are the names of what is wrong.
func fields(t *testing.T, err error) []string {
	t.Helper()
	if !errors.Is(err, keyform.ErrMalformed) {
		t.Fatalf("error = %v, want ErrMalformed", err)
	}
	f, _ := fault.Of(err)
	if f.Hint() == "" || f.Message() == "" {
		t.Errorf("message %q, hint %q, want both", f.Message(), f.Hint())
	}
	var names []string
	for _, v := range f.Violations() {
		names = append(names, v.Field)
		if v.Description == "" {
			t.Errorf("%s: no description", v.Field)
		}
	}
	if all := fmt.Sprint(err, f.Message(), f.Hint(), f.Violations()); strings.Contains(all, canary) {
		t.Errorf("the error quotes a value: %s", all)
	}
	return names
}

// TestAzureEndpointsHaveOneNormalForm has every line of the table of what people paste.
func TestAzureEndpointsHaveOneNormalForm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pasted, endpoint string
		api              keyform.AzureAPI
		version, shown   string
	}{
		{"https://acme.openai.azure.com", "https://acme.openai.azure.com", keyform.AzureV1, "", ""},
		{"https://ACME.openai.azure.com:443/", "https://acme.openai.azure.com", keyform.AzureV1, "", "https://acme.openai.azure.com"},
		{"https://acme.openai.azure.com/openai/", "https://acme.openai.azure.com", keyform.AzureV1, "", "https://acme.openai.azure.com"},
		{"https://acme.cognitiveservices.azure.com/", "https://acme.cognitiveservices.azure.com", keyform.AzureV1, "", ""},
		{"https://acme.services.ai.azure.com", "https://acme.services.ai.azure.com", keyform.AzureV1, "", ""},
		{"https://westeurope.api.cognitive.microsoft.com/", "https://westeurope.api.cognitive.microsoft.com", keyform.AzureV1, "", ""},
		{"https://acme.openai.azure.us/", "https://acme.openai.azure.us", keyform.AzureV1, "", ""},
		{"https://acme.openai.azure.com/openai/deployments/dep/chat/completions?api-version=2025-01-01-preview", "https://acme.openai.azure.com", keyform.AzureClassic, "2025-01-01-preview", "https://acme.openai.azure.com/openai/deployments/dep?api-version=2025-01-01-preview"},
		{"https://acme.openai.azure.com/openai/deployments/dep", "https://acme.openai.azure.com", keyform.AzureClassic, "", ""},
		{"https://acme.openai.azure.com/openai/v1/", "https://acme.openai.azure.com", keyform.AzureV1, "", ""},
		{"https://acme.openai.azure.com/openai/v1/chat/completions", "https://acme.openai.azure.com", keyform.AzureV1, "", ""},
		{"https://acme.openai.azure.com/openai/responses?api-version=2025-04-01-preview", "https://acme.openai.azure.com", keyform.AzureV1, "", ""},
		{"https://acme.services.ai.azure.com/api/projects/web/openai/v1", "https://acme.services.ai.azure.com/api/projects/web/openai/v1", keyform.AzureProject, "", ""},
		{"https://acme.services.ai.azure.com/api/projects/web", "https://acme.services.ai.azure.com/api/projects/web/openai/v1", keyform.AzureProject, "", ""},
		{"https://acme.services.ai.azure.com/models", "https://acme.services.ai.azure.com/models", keyform.AzureModels, "", ""},
		{"https://acme.services.ai.azure.com/models/chat/completions?api-version=2024-05-01-preview", "https://acme.services.ai.azure.com/models", keyform.AzureModels, "2024-05-01-preview", "https://acme.services.ai.azure.com/models?api-version=2024-05-01-preview"},
		{"https://acme.services.ai.azure.com/anthropic", "https://acme.services.ai.azure.com", keyform.AzureAnthropic, "", "https://acme.services.ai.azure.com/anthropic"},
		{"https://acme.services.ai.azure.com/anthropic/v1/messages", "https://acme.services.ai.azure.com", keyform.AzureAnthropic, "", ""},
		{"https://dep.eastus.models.ai.azure.com/v1", "https://dep.eastus.models.ai.azure.com", keyform.AzureServerless, "", ""},
		{"https://dep.eastus.models.ai.azure.com", "https://dep.eastus.models.ai.azure.com", keyform.AzureServerless, "", ""},
		{"https://acme.azure-api.net/llm/v2/", "https://acme.azure-api.net/llm/v2", keyform.AzureGateway, "", "https://acme.azure-api.net/llm/v2"},
		{"https://llm.acme.example/openai/deployments/dep/chat/completions?api-version=2024-10-21", "https://llm.acme.example/openai/deployments/dep", keyform.AzureGateway, "2024-10-21", ""},
		{"https://llm.acme.example/claude/anthropic/v1/messages", "https://llm.acme.example/claude", keyform.AzureAnthropic, "", "https://llm.acme.example/claude/anthropic"},
		{"http://10.1.2.3:8080/v1", "http://10.1.2.3:8080/v1", keyform.AzureGateway, "", ""}, // egress decides
	} {
		list := func(url string) secret.Text {
			return secret.New(fmt.Sprintf(`[{"model_slug":"openai/gpt-4o","endpoint_url":%q,"api_key":%q,"model_id":"dep"}]`, url, canary))
		}
		got, err := keyform.ParseAzure(list(c.pasted))
		if err != nil {
			t.Errorf("%s: %v", c.pasted, err)
			continue
		}
		if d := got[0]; d.Endpoint != c.endpoint || d.API != c.api || d.Version != c.version || d.ModelID != "dep" || d.Key.Reveal() != canary {
			t.Errorf("%s = %s %s %q", c.pasted, d.Endpoint, d.API, d.Version)
		}
		form, err := keyform.Parse("azure", list(c.pasted))
		if err != nil || len(form.Warnings) != 0 {
			t.Errorf("%s: Parse = %v, warnings %v", c.pasted, err, form.Warnings)
			continue
		}
		shown := form.Settings.Deployments[0].EndpointURL
		if c.shown != "" && shown != c.shown {
			t.Errorf("%s is shown as %s, want %s", c.pasted, shown, c.shown)
		}
		again, err := keyform.ParseAzure(list(shown))
		if err != nil || again[0].Endpoint != c.endpoint || again[0].API != c.api || again[0].Version != c.version {
			t.Errorf("%s: the normal form %s is read as %+v, %v", c.pasted, shown, again, err)
		}
	}
}

func TestAzureEndpointsThatCouldLeadElsewhereAreRefusedByField(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"http://acme.openai.azure.com", "ftp://acme.openai.azure.com", "acme.openai.azure.com", "https:acme.openai.azure.com", "https://",
		"https://user:pass@acme.openai.azure.com", "https://evil.example@acme.openai.azure.com", "https://acme.openai.azure.com@evil.example",
		"https://acme.openai.azure.com#@evil.example", "https://acme.openai.azure.com/#x", `https://evil.example\@acme.openai.azure.com`,
		"https://acme.openai.azure.com/openai/../admin", "https://acme.openai.azure.com/openai/v1/%2e%2e/x", "https://acme.openai.azure.com/a%2fb",
		"https://acme.openai.azure.com//evil.example", "https://acme.openai.azure.com/unknown", "https://acme.openai.azure.com/openai/v1?api-key=" + canary,
		"https://acme.openai.azure.com/openai/v1?api-version=1&api-version=2", "https://acme.openai.azure.com?api-version=a/b",
		"https://acme.openai.azure.com/ openai", "https://acme.openai.azure.com\n", "https://ａcme.openai.azure.com", "https://acme_.openai..azure.com:99999999",
		"https://dep.eastus.models.ai.azure.com/admin", "https://[fe80::1%25eth0]/", "https://acme.openai.azure.com/%zz",
	} {
		raw, _ := json.Marshal([]map[string]string{
			{"model_slug": "openai/gpt-4o", "endpoint_url": "https://acme.openai.azure.com", "api_key": canary, "model_id": "a"},
			{"model_slug": "openai/gpt-4o", "endpoint_url": url, "api_key": canary, "model_id": "b"},
		})
		_, err := keyform.Parse("azure", secret.New(string(raw)))
		if strings.TrimSpace(url) != url { // white space around a value is not meant
			if err != nil {
				t.Errorf("%q: %v", url, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%q is accepted", url)
		} else if got := fields(t, err); !slices.Equal(got, []string{"[1].endpoint_url"}) {
			t.Errorf("%q: violations at %v, want [1].endpoint_url", url, got)
		}
	}
}

func TestEveryMistakeIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		provider, text string
		want           []string
	}{
		"one key, with a space":    {"openai", "sk " + canary, []string{"secret"}},
		"one key, of another form": {"groq", `{"a": "` + canary + `"}`, []string{"secret"}},
		"azure, all fields": {
			"azure", `[{"model_slug":"openai/gpt 4o","endpoint_url":"http://x.example","api_key":"a b","model_id":"../x"},
			{"model_slug":"openai/gpt-4o","endpoint_url":"https://acme.openai.azure.com","model_id":7,"api_key":"k","extra":"` + canary + `"},
			"text",{}]`,
			[]string{"[0].api_key", "[0].model_slug", "[0].endpoint_url", "[0].model_id", "[1].model_id", "[1].extra", "[2]", "[3].model_slug", "[3].endpoint_url", "[3].api_key", "[3].model_id"},
		},
		"azure, twice": {
			"azure", `[{"model_slug":"m","endpoint_url":"https://a.openai.azure.com/openai/v1","api_key":"1","model_id":"d"},
			{"model_slug":"m","endpoint_url":"https://A.openai.azure.com","api_key":"2","model_id":"d"}]`, []string{"[1]"},
		},
		"azure, one object":      {"azure", `{"model_slug":"m"}`, []string{"secret"}},
		"azure, empty":           {"azure", `[]`, []string{"secret"}},
		"azure, too many":        {"azure", "[" + strings.Repeat(`{},`, 64) + `{}]`, []string{"secret"}},
		"azure, a field twice":   {"azure", `[{"model_slug":"m","model_slug":"n","endpoint_url":"https://a.openai.azure.com","api_key":"1","model_id":"d"}]`, []string{"[0].model_slug"}},
		"too large":              {"bedrock", `{"region":"` + strings.Repeat(" ", keyform.MaxBytes) + `"}`, []string{"secret"}},
		"nothing":                {"vertex", " ", []string{"secret"}},
		"aws, all fields":        {"bedrock", `{"accessKeyId":"a b","secretAccessKey":"x\ny","region":"../us"}`, []string{"secretAccessKey", "accessKeyId", "region"}},
		"aws, nothing in it":     {"bedrock", `{}`, []string{"accessKeyId", "secretAccessKey", "region"}},
		"aws, other spelling":    {"bedrock", `{"access_key_id":"A","SecretAccessKey":"` + canary + `","region":"us-east-1"}`, []string{"access_key_id", "SecretAccessKey"}},
		"aws, a secret as field": {"bedrock", `{"` + canary + `":"x","accessKeyId":"A","secretAccessKey":"s","region":"us-east-1"}`, []string{"secret"}},
		"aws, two kinds":         {"bedrock", `{"accessKeyId":"A","apiKey":"k","region":"us-east-1"}`, []string{"accessKeyId"}},
		"aws, region as host":    {"bedrock", `{"apiKey":"k","region":"us-east-1.evil.example"}`, []string{"region"}},
		"aws, not JSON":          {"bedrock", `{"accessKeyId": ` + canary, []string{"secret"}},
		"aws, more behind":       {"bedrock", `{"apiKey":"k","region":"us-east-1"} {}`, []string{"secret"}},
		"google, another type":   {"vertex", account(map[string]string{"type": "external_account"}), []string{"type"}},
		"google, no type":        {"vertex", account(map[string]string{"type": ""}), []string{"type"}},
		"google, token address":  {"vertex", account(map[string]string{"token_uri": "https://evil.example/token"}), []string{"token_uri"}},
		"google, universe":       {"vertex", account(map[string]string{"universe_domain": "evil.example"}), []string{"universe_domain"}},
		"google, all fields": {
			"vertex", account(map[string]string{"project_id": "a/b", "client_email": "x", "private_key": canary, "private_key_id": "a b", "location": "us.evil.example/", "quota_project_id": "p"}),
			[]string{"quota_project_id", "location", "project_id", "client_email", "private_key_id", "private_key"},
		},
		"google, cut key":       {"vertex", account(map[string]string{"private_key": pkcs8(rsaKey())[:400]}), []string{"private_key"}},
		"google, elliptic key":  {"vertex", account(map[string]string{"private_key": pkcs8(ec)}), []string{"private_key"}},
		"google, two kinds":     {"vertex", account(map[string]string{"api_key": "k"}), []string{"project_id", "private_key", "private_key_id", "client_email", "type"}},
		"google, express place": {"vertex", `{"api_key":"k","location":"us-central1"}`, []string{"location"}},
	} {
		_, err := keyform.Parse(c.provider, secret.New(c.text))
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if got := fields(t, err); !slices.Equal(got, c.want) {
			t.Errorf("%s: violations at %v, want %v (%v)", name, got, c.want, err)
		}
	}
}

func TestAzureListInTheFormOfItsDocumentation(t *testing.T) {
	t.Parallel()
	form, err := keyform.Parse("azure", secret.New(`[
	  {
	    "model_slug": "openai/gpt-4o",
	    "endpoint_url": "https://acme.openai.azure.com",
	    "api_key": "0123456789abcdef0123456789abcdef",
	    "model_id": "gpt-4o"
	  },
	  {
	    "model_slug": "openai/o3-mini",
	    "endpoint_url": "https://acme-eu.openai.azure.com/openai/deployments/reasoner/chat/completions?api-version=2025-01-01-preview",
	    "api_key": "fedcba9876543210fedcba9876543210",
	    "model_id": "o3-mini"
	  }
	]`))
	if err != nil {
		t.Fatal(err)
	}
	want := keyform.Settings{
		Deployments: []keyform.Deployment{
			{"openai/gpt-4o", "https://acme.openai.azure.com", "gpt-4o"},
			{"openai/o3-mini", "https://acme-eu.openai.azure.com/openai/deployments/o3-mini?api-version=2025-01-01-preview", "o3-mini"},
		},
		Secrets: []keyform.Masked{{"[0].api_key", "…cdef"}, {"[1].api_key", "…3210"}},
	}
	if diff := cmp.Diff(want, form.Settings); diff != "" {
		t.Error(diff)
	}
	if got := form.Settings.Places(); !slices.Equal(got, []string{"https://acme-eu.openai.azure.com", "https://acme.openai.azure.com"}) {
		t.Errorf("Places() = %q", got)
	}
	if len(form.Warnings) != 1 || form.Warnings[0].Field != "[1].model_id" {
		t.Errorf("warnings = %v, want one about the deployment that differs", form.Warnings)
	}
	if form.Hint != "…cdef +1" {
		t.Errorf("hint = %q", form.Hint)
	}
}

func TestAWSObjectInTheFormOfItsDocumentation(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text  string
		want  keyform.AWS
		warns int
		masks []keyform.Masked
	}{
		"keys of a user": {
			`{"accessKeyId":"AKIAIOSFODNN7EXAMPLE","secretAccessKey":"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY","region":"us-east-1"}`,
			keyform.AWS{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: secret.New("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), Region: "us-east-1"},
			0,
			[]keyform.Masked{{"accessKeyId", "…MPLE"}, {"secretAccessKey", "…EKEY"}},
		},
		"of a session": {
			`{"accessKeyId":"ASIAIOSFODNN7EXAMPLE","secretAccessKey":"wJalrXUtnFEMI0000","sessionToken":"IQoJb3JpZ2luX2Vj0123","region":"us-gov-west-1"}`,
			keyform.AWS{AccessKeyID: "ASIAIOSFODNN7EXAMPLE", SecretAccessKey: secret.New("wJalrXUtnFEMI0000"), SessionToken: secret.New("IQoJb3JpZ2luX2Vj0123"), Region: "us-gov-west-1"},
			0,
			[]keyform.Masked{{"accessKeyId", "…MPLE"}, {"secretAccessKey", "…0000"}, {"sessionToken", "…0123"}},
		},
		"of a session, without it": {
			`{"accessKeyId":"ASIAIOSFODNN7EXAMPLE","secretAccessKey":"wJalrXUtnFEMI0000","region":"eusc-de-east-1"}`,
			keyform.AWS{AccessKeyID: "ASIAIOSFODNN7EXAMPLE", SecretAccessKey: secret.New("wJalrXUtnFEMI0000"), Region: "eusc-de-east-1"},
			1,
			[]keyform.Masked{{"accessKeyId", "…MPLE"}, {"secretAccessKey", "…0000"}},
		},
		"a key of Bedrock": {
			`{"apiKey":"ABSKQmVkcm9ja0FQSUtleQ==","region":"eu-central-1"}`,
			keyform.AWS{APIKey: secret.New("ABSKQmVkcm9ja0FQSUtleQ=="), Region: "eu-central-1"},
			0,
			[]keyform.Masked{{"apiKey", "…eQ=="}},
		},
	} {
		got, err := keyform.ParseAWS(secret.New(c.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.want, got, cmp.Comparer(secret.Text.Equal)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		form, err := keyform.Parse("bedrock", secret.New(c.text))
		if err != nil || len(form.Warnings) != c.warns {
			t.Errorf("%s: Parse = %v, warnings %v", name, err, form.Warnings)
		}
		if diff := cmp.Diff(keyform.Settings{Region: c.want.Region, Secrets: c.masks}, form.Settings); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if got := form.Settings.Places(); !slices.Equal(got, []string{"region=" + c.want.Region}) {
			t.Errorf("%s: Places() = %q", name, got)
		}
	}
}

// TestAServiceAccountIsReadInEveryWayItIsPasted also shows that the key is the same key afterwards.
func TestAServiceAccountIsReadInEveryWayItIsPasted(t *testing.T) {
	t.Parallel()
	plain := account(nil)
	quoted, _ := json.Marshal(plain)
	pkcs1 := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey())}))
	for name, text := range map[string]string{
		"as the file is":      plain,
		"as text":             string(quoted),
		"with a byte mark":    "\ufeff" + plain + "\n",
		"line breaks written": account(map[string]string{"private_key": strings.ReplaceAll(pkcs8(rsaKey()), "\n", `\n`)}),
		"windows":             account(map[string]string{"private_key": strings.ReplaceAll(pkcs8(rsaKey()), "\n", "\r\n")}),
		"older key form":      account(map[string]string{"private_key": pkcs1}),
		"without the rest":    account(map[string]string{"token_uri": "", "universe_domain": "", "auth_uri": "", "client_id": ""}),
	} {
		g, err := keyform.ParseGoogle(secret.New(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		block, _ := pem.Decode([]byte(g.PrivateKey.Reveal()))
		if block == nil {
			t.Errorf("%s: no PEM", name)
			continue
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil || !rsaKey().Equal(key) {
			t.Errorf("%s: another key, %v", name, err)
		}
		if g.ProjectID != "acme-prod" || g.Location != "global" || g.ClientEmail != "router@acme-prod.iam.gserviceaccount.com" || g.PrivateKeyID == "" {
			t.Errorf("%s = %+v", name, g)
		}
	}
}

func TestProjectAndLocationCanBeChosen(t *testing.T) {
	t.Parallel()
	form, err := keyform.Parse("vertex", secret.New(account(map[string]string{"project": "acme.example:other", "location": "europe-west4"})))
	if err != nil {
		t.Fatal(err)
	}
	want := keyform.Settings{
		Project: "acme.example:other", Location: "europe-west4", ClientEmail: "router@acme-prod.iam.gserviceaccount.com",
		Secrets: []keyform.Masked{{"private_key", "…4567"}},
	}
	if diff := cmp.Diff(want, form.Settings); diff != "" {
		t.Error(diff)
	}
	if got := form.Settings.Places(); !slices.Equal(got, []string{"location=europe-west4", "project=acme.example:other"}) {
		t.Errorf("Places() = %q", got)
	}
	for _, express := range []string{`{"api_key":"AQ.0123456789abcdef"}`, " AQ.0123456789abcdef\n"} {
		g, err := keyform.ParseGoogle(secret.New(express))
		if err != nil || g.APIKey.Reveal() != "AQ.0123456789abcdef" || g.ProjectID != "" {
			t.Errorf("express mode: %+v, %v", g, err)
		}
	}
}

// TestSettingsOfOtherUseDiffer has what a tampered row would have to change to send a secret elsewhere.
func TestSettingsOfOtherUseDiffer(t *testing.T) {
	t.Parallel()
	base := keyform.Settings{Region: "us-east-1", Project: "p", Location: "global", Deployments: []keyform.Deployment{
		{"a", "https://a.openai.azure.com", "x"}, {"b", "https://b.openai.azure.com", "y"},
	}}
	same := base
	same.Secrets, same.ClientEmail = []keyform.Masked{{"f", "h"}}, "other"
	if !base.SameUse(same) {
		t.Error("settings that are only shown otherwise differ")
	}
	for name, change := range map[string]func(*keyform.Settings){
		"region":   func(s *keyform.Settings) { s.Region = "eu-central-1" },
		"project":  func(s *keyform.Settings) { s.Project = "q" },
		"location": func(s *keyform.Settings) { s.Location = "eu" },
		"order":    func(s *keyform.Settings) { slices.Reverse(s.Deployments) },
		"model":    func(s *keyform.Settings) { s.Deployments[0].ModelSlug = "b" },
		"one less": func(s *keyform.Settings) { s.Deployments = s.Deployments[:1] },
		"endpoint": func(s *keyform.Settings) { s.Deployments[1].EndpointURL = "https://a.openai.azure.com" },
	} {
		other := base
		other.Deployments = slices.Clone(base.Deployments)
		change(&other)
		if base.SameUse(other) {
			t.Errorf("%s: still the same use", name)
		}
	}
}

func TestSettingsHoldNoSecret(t *testing.T) {
	t.Parallel()
	for provider, text := range map[string]string{
		"azure":   `[{"model_slug":"m","endpoint_url":"https://a.openai.azure.com","api_key":"` + canary + `","model_id":"d"}]`,
		"bedrock": `{"accessKeyId":"AKIAIOSFODNN7EXAMPLE","secretAccessKey":"` + canary + `","sessionToken":"` + canary + `","region":"us-east-1"}`,
		"vertex":  `{"api_key":"` + canary + `"}`,
		"openai":  canary,
	} {
		form, err := keyform.Parse(provider, secret.New(text))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(form)
		if err != nil {
			t.Fatal(err)
		}
		if shown := fmt.Sprintf("%+v %s", form, raw); strings.Contains(shown, canary) || strings.Contains(shown, "AKIA") {
			t.Errorf("%s shows %s", provider, shown)
		}
	}
}

func TestEveryProviderHasAForm(t *testing.T) {
	t.Parallel()
	if got := keyform.Providers(); len(got) < 15 || !slices.IsSorted(got) {
		t.Errorf("the providers are %v", got)
	}
	for provider, want := range map[string]keyform.Kind{
		"azure": keyform.AzureList, "bedrock": keyform.AWSObject, "vertex": keyform.GoogleFile, "openai": keyform.Key, "unheard-of": keyform.Key,
	} {
		if got := keyform.KindOf(provider); got != want {
			t.Errorf("KindOf(%s) = %s, want %s", provider, got, want)
		}
	}
}

// FuzzParse holds every form to: nothing panics, no error without a field, and what is sealed is read
// again as the same.
func FuzzParse(f *testing.F) {
	providers := []string{"openai", "azure", "bedrock", "vertex"}
	for which, text := range map[byte]string{
		0: "sk-0123456789abcdef",
		1: `[{"model_slug":"openai/gpt-4o","endpoint_url":"https://a.openai.azure.com/openai/deployments/d%20e/chat/completions?api-version=2024-10-21","api_key":"k","model_id":""}]`,
		2: `{"accessKeyId":"AKIA","secretAccessKey":"s","sessionToken":"t","region":"us-east-1"}`,
		3: account(nil),
	} {
		f.Add(which, text)
	}
	f.Add(byte(1), `[{"model_slug":"m","endpoint_url":"https://[::1]:8443/a/b?api-version=1","api_key":"k","model_id":"d"}]`)
	f.Add(byte(1), `[{"model_slug":"m","endpoint_url":"https://gw.example/x%20y/anthropic","api_key":"k","model_id":"d"}]`)
	f.Add(byte(2), `"{\"apiKey\":\"k\",\"region\":\"us-east-1\"}"`)
	f.Add(byte(3), `{"api_key":"AQ.x"}`)
	f.Fuzz(func(t *testing.T, which byte, text string) {
		provider := providers[int(which)%len(providers)]
		form, err := keyform.Parse(provider, secret.New(text))
		if err != nil {
			if f, ok := fault.Of(err); !ok || len(f.Violations()) == 0 {
				t.Fatalf("an error without a field: %v", err)
			}
			return
		}
		again, err := keyform.Parse(provider, form.Normal)
		if err != nil {
			t.Fatalf("what is sealed is not read again: %v", err)
		}
		if !again.Normal.Equal(form.Normal) || !cmp.Equal(again.Settings, form.Settings) || again.Hint != form.Hint {
			t.Fatalf("what is sealed is read as another: %+v, then %+v", form.Settings, again.Settings)
		}
	})
}
