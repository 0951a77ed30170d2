package vertex_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/vertex"
)

// located is a service account with a location and a project of its own.
func located(location, project string) secret.Text {
	var fields map[string]any
	if err := json.Unmarshal([]byte(llmtest.VertexAccount("key")), &fields); err != nil {
		panic(err) // it was just encoded
	}
	fields["location"] = location
	if project != "" {
		fields["project"] = project
	}
	b, err := json.Marshal(fields)
	if err != nil {
		panic(err) // strings always encode
	}
	return secret.New(string(b))
}

func TestEveryLocationHasItsHost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ location, project, model, want string }{
		{"global", "", model, "https://aiplatform.googleapis.com/v1/projects/acme-prod/locations/global/publishers/google/models/gemini-3.8-flash:generateContent"},
		{"", "", "google/" + model, "https://aiplatform.googleapis.com/v1/projects/acme-prod/locations/global/publishers/google/models/gemini-3.8-flash:generateContent"},
		{"eu", "", model, "https://aiplatform.eu.rep.googleapis.com/v1/projects/acme-prod/locations/eu/publishers/google/models/gemini-3.8-flash:generateContent"},
		{"us", "example.com:my-proj", model, "https://aiplatform.us.rep.googleapis.com/v1/projects/example.com:my-proj/locations/us/publishers/google/models/gemini-3.8-flash:generateContent"},
		{"europe-west4", "", model, "https://europe-west4-aiplatform.googleapis.com/v1/projects/acme-prod/locations/europe-west4/publishers/google/models/gemini-3.8-flash:generateContent"},
		{"us-east5", "", "openai/gpt-oss-120b-maas", "https://us-east5-aiplatform.googleapis.com/v1/projects/acme-prod/locations/us-east5/endpoints/openapi/chat/completions"},
		{"us-east5", "", "claude-opus-4-5@20251101", "https://us-east5-aiplatform.googleapis.com/v1/projects/acme-prod/locations/us-east5/publishers/anthropic/models/claude-opus-4-5@20251101:streamRawPredict"},
		{"global", "", "anthropic/claude-sonnet-5-5", "https://aiplatform.googleapis.com/v1/projects/acme-prod/locations/global/publishers/anthropic/models/claude-sonnet-5-5:streamRawPredict"},
	} {
		g := &google{answer: func(string) (int, string) {
			return 404, `{"error":{"code":404,"status":"NOT_FOUND","message":"not here"}}`
		}}
		made := call(vertex.BaseURL, c.model, 1)
		made.Secret = located(c.location, c.project)
		if c.location == "" {
			made.Secret = secret.New(llmtest.VertexAccount("key"))
		}
		err := send(t, vertex.New(g), made)
		// A model that is not there is not looked for elsewhere: data stays where its owner put it.
		if urls, _ := g.seen(); len(urls) != 2 || urls[1] != c.want {
			t.Errorf("%s at %q: calls %v, want %s", c.model, c.location, urls, c.want)
		}
		var failure *completion.ProviderError
		if !errors.As(err, &failure) || failure.Class != completion.ModelNotFound {
			t.Errorf("%s at %q: %v", c.model, c.location, err)
		}
	}
}

func TestNamesOfModelsDoNotLeaveTheirPath(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", ".", "..", "google/..", "a/../../b:x", "google/a?b", "google/a#b", "claude-%2e%2e", "anthropic/a b", "google/" + strings.Repeat("a", 300)} {
		if kind := strings.Count(name, "/"); kind > 0 && !strings.HasPrefix(name, "google/") && !strings.HasPrefix(name, "anthropic/") {
			continue // goes into the body
		}
		g := &google{}
		err := send(t, vertex.New(g), call(vertex.BaseURL, name, 1))
		var failure *completion.ProviderError
		if !errors.As(err, &failure) || failure.Class != completion.ModelNotFound || len(g.urls) != 0 {
			t.Errorf("%q: %v, calls %v", name, err, g.urls)
		}
	}
}

func TestKeysOfExpressModeCallGooglesModelsOnly(t *testing.T) {
	t.Parallel()
	g := &google{}
	p := vertex.New(g)
	made := call(vertex.BaseURL, model, 1)
	made.Secret = secret.New(express("AQ.express-0123456789"))
	if err := send(t, p, made); err != nil {
		t.Fatal(err)
	}
	if want := "https://aiplatform.googleapis.com/v1/publishers/google/models/gemini-3.8-flash:generateContent"; g.urls[0] != want ||
		g.headers[0].Get("X-Goog-Api-Key") != "AQ.express-0123456789" || g.headers[0].Get("Authorization") != "" {
		t.Errorf("%v %v", g.urls, g.headers[0])
	}
	for _, name := range []string{"claude-sonnet-5-5", "openai/gpt-oss-120b-maas"} {
		made.Model = name
		var failure *completion.ProviderError
		if err := send(t, p, made); !errors.As(err, &failure) || failure.Class != completion.AuthLimited || len(g.urls) != 1 {
			t.Errorf("%s: %v, calls %v", name, err, g.urls)
		}
		if why := p.Serves(completion.Chat, name, &completion.Credential{Settings: completion.Settings{Location: "global"}}); why == "" {
			t.Errorf("%s is planned for a key of express mode", name)
		}
		if why := p.Serves(completion.Chat, name, &completion.Credential{Settings: completion.Settings{Location: "eu", Project: "acme-prod"}}); why != "" {
			t.Errorf("%s is not planned for a service account: %s", name, why)
		}
	}
}

// TestBodiesOfClaudePassButForModelAndVersion lists every edit of a body that passes.
func TestBodiesOfClaudePassButForModelAndVersion(t *testing.T) {
	t.Parallel()
	const message = `{"id":"msg_1","type":"message","role":"assistant","content":[],"stop_reason":"end_turn","model":"claude-sonnet-5-5","usage":{"input_tokens":1,"output_tokens":1}}`
	for _, c := range []struct {
		raw, version, want string
		op                 completion.Operation
	}{
		{raw: `{ "model":"x", "max_tokens" : 5,"é":"\u00e9"}`, want: `{"anthropic_version":"vertex-2023-10-16",  "max_tokens" : 5,"é":"\u00e9"}`},
		{raw: `{"max_tokens":5,"model":"x"}`, want: `{"anthropic_version":"vertex-2023-10-16","max_tokens":5}`},
		{raw: `{"max_tokens":5,"model":"x","n":1}`, version: "2023-06-01", want: `{"anthropic_version":"vertex-2023-10-16","max_tokens":5,"n":1}`},
		{raw: `{"max_tokens":5,"claviger":{"tags":{}},"model":"x"}`, version: "2026-10-21", want: `{"anthropic_version":"2026-10-21","max_tokens":5}`},
		{raw: `{"anthropic_version":"old","model":"x","a":1}`, want: `{"anthropic_version":"vertex-2023-10-16","a":1}`},
		{raw: `{"a":1,"anthropic_version":"old","model":"x"}`, want: `{"anthropic_version":"vertex-2023-10-16","a":1}`},
		{raw: `{"model":"x"}`, want: `{"anthropic_version":"vertex-2023-10-16"}`},
		{raw: `{"model":"x","messages":[]}`, op: completion.CountTokens, want: `{"anthropic_version":"vertex-2023-10-16","model":"claude-sonnet-5-5","messages":[]}`},
	} {
		g := &google{answer: func(string) (int, string) { return 200, message }}
		if c.op == completion.CountTokens {
			g.answer = func(string) (int, string) { return 200, `{"input_tokens":3}` }
		}
		made := call(vertex.BaseURL, "claude-sonnet-5-5", 1)
		made.Raw = true
		made.Request = &completion.Request{Operation: c.op, Raw: []byte(c.raw), Headers: map[string]string{"Anthropic-Beta": "a,b"}}
		if c.version != "" {
			made.Request.Headers["Anthropic-Version"] = c.version
		}
		if err := send(t, vertex.New(g), made); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, g.bodies[1]); diff != "" || !json.Valid([]byte(g.bodies[1])) {
			t.Errorf("%s (-want +got):\n%s", c.raw, diff)
		}
		if g.headers[1].Get("Anthropic-Beta") != "a,b" || g.headers[1].Get("Anthropic-Version") != "" || g.headers[1].Get("X-Api-Key") != "" {
			t.Errorf("headers %v", g.headers[1])
		}
		if count := strings.HasSuffix(g.urls[1], "/count-tokens:rawPredict"); count != (c.op == completion.CountTokens) {
			t.Errorf("%s: %s", c.raw, g.urls[1])
		}
	}
}

func TestDialectsPassToTheModelsThatSpeakThem(t *testing.T) {
	t.Parallel()
	p := vertex.New(http.DefaultTransport)
	for name, want := range map[string][]completion.Dialect{
		model: nil, "claude-sonnet-5-5": {completion.AnthropicMessages, completion.AnthropicCount}, "zai-org/glm-5-maas": {completion.OpenAIChat},
		"google/" + model: nil, "anthropic/claude-opus-5": {completion.AnthropicMessages, completion.AnthropicCount},
	} {
		var got []completion.Dialect
		for _, d := range []completion.Dialect{completion.OpenAIChat, completion.AnthropicMessages, completion.AnthropicCount, completion.OpenAIEmbeddings, completion.Typed} {
			if p.Speaks(d, &completion.Target{Name: name}) {
				got = append(got, d)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, c := range []struct {
		name   string
		op     completion.Operation
		serves bool
	}{
		{model, completion.Chat, true},
		{model, completion.CountTokens, true},
		{model, completion.Embeddings, false},
		{model, completion.Images, false},
		{"gemini-embedding-001", completion.Embeddings, true},
		{"text-embedding-005", completion.Embeddings, true},
		{"gemini-embedding-2", completion.Chat, false},
		{"gemini-3.1-flash-image", completion.Images, true},
		{"gemini-3.1-flash-image", completion.Chat, false},
		{model, completion.Videos, false},
		{"claude-opus-5", completion.CountTokens, true},
		{"claude-opus-5", completion.Embeddings, false},
		{"openai/gpt-oss-120b-maas", completion.Chat, true},
		{"openai/gpt-oss-120b-maas", completion.CountTokens, false},
	} {
		if why := p.Serves(c.op, c.name, nil); (why == "") != c.serves {
			t.Errorf("%s of %s: %q", c.op, c.name, why)
		}
	}
}

// TestScriptedVertexAnswersEveryOperation goes against the provider that Google's own SDK reads.
func TestScriptedVertexAnswersEveryOperation(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	p := vertex.New(http.DefaultTransport)
	ask := func(name string, op completion.Operation, prompt *completion.Prompt) completion.Chunk {
		t.Helper()
		c := call(s.VertexURL(), name, 1)
		c.Request.Operation = op
		if prompt != nil {
			c.Request.Decode = func() (*completion.Prompt, error) { return prompt, nil }
		}
		answer, err := p.Start(t.Context(), c)
		if err != nil {
			t.Fatalf("%s of %s: %v", op, name, err)
		}
		defer answer.Close() //nolint:errcheck // a test
		chunk, err := answer.Next()
		if err != nil {
			t.Fatalf("%s of %s: %v", op, name, err)
		}
		if _, err := answer.Next(); err == nil {
			t.Errorf("%s of %s has more than one piece", op, name)
		}
		return chunk
	}
	texts := make([]string, 7)
	for i := range texts {
		texts[i] = strings.Repeat("word ", i+1)
	}
	for name, ways := range map[string]int{"text-embedding-005": 1, "gemini-embedding-001": 7, "gemini-embedding-2": 7} {
		before := len(s.Ledger())
		chunk := ask(name, completion.Embeddings, &completion.Prompt{Embedding: &completion.EmbeddingInput{Texts: texts, Dimensions: new(int64(4))}})
		declared := 0
		for _, e := range s.Ledger()[before:] {
			declared += e.Declared.Input
		}
		if got := len(s.Ledger()) - before; got != ways {
			t.Errorf("%s: %d calls, want %d", name, got, ways)
		}
		if chunk.Usage == nil || chunk.Usage.Tokens.InputTotal != int64(declared) || !chunk.Usage.Final {
			t.Errorf("%s: usage %+v, declared %d", name, chunk.Usage, declared)
		}
		for i, v := range chunk.Result.Vectors {
			want := llmtest.GeminiVector(texts[i], 4)
			if len(v) != 4 || v[0] != float32(want[0]) || v[3] != float32(want[3]) {
				t.Errorf("%s: vector %d is %v, want %v", name, i, v, want)
			}
		}
	}
	for name, least := range map[string]int64{model: 1, "claude-sonnet-5-5": 1} {
		if chunk := ask(name, completion.CountTokens, nil); chunk.Result == nil || chunk.Result.Count < least {
			t.Errorf("count of %s: %+v", name, chunk)
		}
	}
	drawn := ask("gemini-3.1-flash-image", completion.Images, &completion.Prompt{Image: &completion.ImageInput{Text: "a cat"}})
	if len(drawn.Result.Pictures) != 1 || string(drawn.Result.Pictures[0].Data) != string(llmtest.GeminiPicture()) {
		t.Errorf("pictures %+v", drawn.Result)
	}
	if tokens := s.VertexTokens(); tokens != 1 {
		t.Errorf("%d tokens for all of it", tokens)
	}
	s.RevokeVertexTokens()
	if chunk := ask(model, completion.Chat, nil); chunk.Delta.Text == "" || s.VertexTokens() != 2 {
		t.Errorf("after tokens were revoked: %+v, %d tokens", chunk, s.VertexTokens())
	}
}

// TestErrorsOfOpenModelsAreRead: in OpenAI's form Google puts its own envelope into a list.
func TestErrorsOfOpenModelsAreRead(t *testing.T) {
	t.Parallel()
	g := &google{answer: func(string) (int, string) {
		return 429, "[{\n  \"error\": {\"code\": 429, \"message\": \"Resource exhausted, please try again later.\", \"status\": \"RESOURCE_EXHAUSTED\"}\n}]"
	}}
	err := send(t, vertex.New(g), call(vertex.BaseURL, "openai/gpt-oss-120b-maas", 1))
	var failure *completion.ProviderError
	if !errors.As(err, &failure) || failure.Class != completion.RateLimited || failure.Message != "Resource exhausted, please try again later." {
		t.Errorf("%v", err)
	}
}

func TestOneFailureEndsAllCallsForVectors(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	c := call(s.VertexURL(), "gemini-embedding-2", 1)
	c.Request.Operation = completion.Embeddings
	c.Request.Decode = func() (*completion.Prompt, error) {
		return &completion.Prompt{Embedding: &completion.EmbeddingInput{Texts: []string{"a", "b", "script:error=rate_limit x", "c"}}}, nil
	}
	_, err := vertex.New(http.DefaultTransport).Start(t.Context(), c)
	var failure *completion.ProviderError
	if !errors.As(err, &failure) || failure.Class != completion.RateLimited {
		t.Errorf("%v", err)
	}
}

func TestKeyTestsSayWhatToDo(t *testing.T) {
	t.Parallel()
	body := func(status, reason, message string) string {
		return `{"error":{"status":"` + status + `","message":"` + message + `","details":[{"reason":"` + reason + `"}]}}`
	}
	for _, c := range []struct {
		status             int
		body, state, hints string
	}{
		{200, `{"totalTokens":1}`, "active", "accepts"},
		{403, body("PERMISSION_DENIED", "IAM_PERMISSION_DENIED", "Permission denied"), "degraded", "Vertex AI User"},
		{403, body("PERMISSION_DENIED", "SERVICE_DISABLED", "disabled"), "degraded", "enable the Vertex AI API"},
		{403, body("PERMISSION_DENIED", "BILLING_DISABLED", "billing"), "quota_exhausted", "billing"},
		{404, body("NOT_FOUND", "", "Publisher Model was not found"), "degraded", "location europe-west4"},
		{401, body("UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED", "x"), "rejected", ""},
		{503, body("UNAVAILABLE", "", "later"), "", "later"},
	} {
		g := &google{answer: func(string) (int, string) { return c.status, c.body }}
		got := vertex.New(g).Test(t.Context(), completion.Place{BaseURL: vertex.BaseURL, Secret: located("europe-west4", "")})
		if got.State != c.state || !strings.Contains(got.Reason, c.hints) || got.Models != nil {
			t.Errorf("%d %s: %+v", c.status, c.body, got)
		}
	}
	if got := vertex.New(&google{}).Test(t.Context(), completion.Place{BaseURL: vertex.BaseURL, Secret: secret.New("{}")}); got.State != "rejected" {
		t.Errorf("no service account: %+v", got)
	}
}

// TestKeyTestsDoNotTrustKeptTokens: a key that was deleted has tokens that hold for an hour.
func TestKeyTestsDoNotTrustKeptTokens(t *testing.T) {
	t.Parallel()
	g := &google{exchange: func(n int) (int, string) {
		if n > 1 {
			return 400, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`
		}
		return 200, `{"access_token":"ya29.a","expires_in":3600}`
	}}
	p := vertex.New(g)
	made := call(vertex.BaseURL, model, 1)
	if err := send(t, p, made); err != nil {
		t.Fatal(err)
	}
	got := p.Test(t.Context(), completion.Place{BaseURL: vertex.BaseURL, Credential: made.Credential, Secret: made.Secret})
	if got.State != "rejected" {
		t.Errorf("%+v", got)
	}
}
