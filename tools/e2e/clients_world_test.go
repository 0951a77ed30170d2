package e2e_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	"github.com/claviger/claviger/tools/seed"
	"github.com/claviger/claviger/tools/suite"
)

// scriptedURLs are where the scripted server stands in for each provider, as routers are told it.
func scriptedURLs(s *llmtest.Server) map[string]string {
	out := map[string]string{
		"anthropic": s.AnthropicURL(), "bedrock": s.BedrockURL(), "fal": s.FalURL(), "google-ai-studio": s.GeminiURL(),
		"openai": s.OpenAIURL(), "pollo": s.PolloURL(), "vertex": s.VertexURL(),
	}
	for _, slug := range []string{"baseten", "deepinfra", "groq", "mistral", "moonshot", "perplexity", "xai"} {
		out[slug] = s.URL + "/" + slug + "/v1"
	}
	return out
}

// chatModels is one model of each provider that holds conversations, as callers name it.
var chatModels = map[string]string{
	"anthropic": "claude-haiku-4-5", "baseten": "deepseek-ai/DeepSeek-V3.1", "bedrock": "us.anthropic.claude-haiku-4-5-20251001-v1:0",
	"deepinfra": "deepseek-ai/DeepSeek-V3.1", "google-ai-studio": "gemini-3.8-flash", "groq": "openai/gpt-oss-120b",
	"mistral": "mistral-small-latest", "moonshot": "kimi-k2.6", "openai": "gpt-4o-mini", "vertex": "gemini-3.8-flash", "xai": "grok-4.6",
}

// startProviders is an edge whose organization acme brought a credential of every provider.
func startProviders(t *testing.T) *edge {
	t.Helper()
	provider := llmtest.New(t)
	dir := t.TempDir()
	s, err := suite.Start(t.Context(), "127.0.0.1:0", suite.Options{
		Dir: dir, Log: slog.New(slog.DiscardHandler), EgressAllow: []string{strings.TrimPrefix(provider.URL, "http://")},
		ProviderURLs: scriptedURLs(provider),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("suite: %v", err)
		}
	})
	w := &edge{
		town:   &town{Running: s, dir: dir, provider: provider, tokens: map[string]string{}, keys: map[string]string{}},
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	t.Cleanup(w.client.CloseIdleConnections)
	secrets := map[string]string{
		"bedrock": fmt.Sprintf(`{"accessKeyId":%q,"secretAccessKey":%q,"region":"us-east-1"}`, awsKeyID, llmtest.AWSSecret(awsKeyID)),
		"fal":     "0123abcd-key:0123456789abcdef0123456789abcdef",
		"vertex":  llmtest.VertexAccount("acme-key"),
	}
	doc := &seed.Document{
		Organization: seed.Organization{Slug: "acme"},
		Policies:     []seed.Policy{{Name: "main", Spec: seed.Rule(seed.Own("openai/gpt-4o-mini"))}},
		APIKeys:      []seed.APIKey{{Name: "app", Policy: "main", WriteTo: "acme.key"}},
	}
	for slug := range scriptedURLs(provider) {
		text := secrets[slug]
		if text == "" {
			text = "sk-" + slug + "-0123456789abcdef"
		}
		doc.Credentials = append(doc.Credentials, seed.Credential{Provider: slug, Label: slug, Secret: secret.New(text)})
	}
	w.plant(t, doc)
	raw, err := os.ReadFile(filepath.Join(dir, "acme.key"))
	if err != nil {
		t.Fatal(err)
	}
	w.keys["acme"] = strings.TrimSpace(string(raw))
	w.tokens[owner] = w.signIn(t, "acme", ownerOf("acme"))
	for slug, model := range chatModels {
		w.await(t, w.keys["acme"], slug+"/"+model, http.StatusOK, "")
	}
	return w
}

// TestTheClientsThatPeopleHaveWorkUnmodified runs the clients for JavaScript.
func TestTheClientsThatPeopleHaveWorkUnmodified(t *testing.T) {
	t.Parallel()
	folder := nodePackages(t, "clients")
	w := startProviders(t)
	models := []string{}
	for slug, model := range chatModels {
		models = append(models, slug+"/"+model)
	}
	input := map[string]any{"baseURL": w.BaseURL, "key": w.keys["acme"], "unknownKey": unknownKey(), "models": models}
	for file, checks := range map[string]int{"anthropic.mjs": 33, "openai.mjs": 32, "langchain.mjs": 37, "vercel.mjs": 46} {
		t.Run(file, func(t *testing.T) { runChecks(t, folder, file, checks, input) })
	}
	for _, session := range []string{"abort-anthropic-passed", "abort-anthropic-converted", "abort-langchain", "abort-vercel"} {
		w.awaitOutcome(t, session, eventsv1.Outcome_OUTCOME_CANCELED)
	}
}
