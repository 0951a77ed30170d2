package genai_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
	vertexai "github.com/anthropics/anthropic-sdk-go/vertex"
	"golang.org/x/oauth2/google"
	"golang.org/x/oauth2/jwt"

	"github.com/claviger/claviger/pkg/llmtest"
)

// claude is Anthropic's own client of Vertex AI, whose tokens come from the scripted token endpoint.
func claude(t *testing.T, s *llmtest.Server) anthropic.Client {
	t.Helper()
	account := &jwt.Config{
		Email: "router@acme-prod.iam.gserviceaccount.com", PrivateKey: []byte(llmtest.VertexKey()), PrivateKeyID: key,
		Scopes: []string{"https://www.googleapis.com/auth/cloud-platform"}, TokenURL: s.VertexURL() + "/token",
	}
	return anthropic.NewClient(
		option.WithHTTPClient(&http.Client{Transport: &http.Transport{}}),
		vertexai.WithCredentials(t.Context(), "global", "acme-prod", &google.Credentials{TokenSource: account.TokenSource(t.Context())}),
		option.WithBaseURL(s.URL), option.WithMaxRetries(0),
		option.WithMiddleware(func(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
			r.URL.Path = "/vertex" + r.URL.Path // its own addresses begin at the root
			return next(r)
		}),
	)
}

func question(s llmtest.Script) anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model: "claude-haiku-4-5@20251001", MaxTokens: 1000,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(s.String() + " please"))},
	}
}

func TestAnthropicsSDKReadsClaudeOnVertex(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	c := claude(t, s)
	script := llmtest.Script{Text: "One, two.", Input: 50, Cached: 7, Output: 9}
	whole, err := c.Messages.New(t.Context(), question(script))
	if err != nil {
		t.Fatal(err)
	}
	if whole.Content[0].Text != "One, two." || whole.Usage.CacheReadInputTokens != 7 || whole.Usage.OutputTokens != 9 {
		t.Errorf("%+v", whole)
	}
	stream := c.Messages.NewStreaming(t.Context(), question(script))
	var put anthropic.Message
	for stream.Next() {
		if err := put.Accumulate(stream.Current()); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.Err(); err != nil || put.Content[0].Text != "One, two." || put.Usage.OutputTokens != 9 {
		t.Errorf("streamed %+v, %v", put, err)
	}
	count, err := c.Messages.CountTokens(t.Context(), anthropic.MessageCountTokensParams{
		Model: "claude-haiku-4-5@20251001", Messages: question(llmtest.Script{Input: 31}).Messages,
	})
	if err != nil || count.InputTokens != 31 {
		t.Errorf("count %+v, %v", count, err)
	}
	var failed *anthropic.Error
	if _, err := c.Messages.New(t.Context(), question(llmtest.Script{Error: llmtest.ErrOverloaded})); !errors.As(err, &failed) || failed.StatusCode != 529 {
		t.Errorf("overloaded: %v", err)
	}
	for _, e := range s.Ledger() {
		if e.Provider != "vertex" || e.KeyHash != llmtest.HashKey(key) || e.Model != "claude-haiku-4-5@20251001" {
			t.Errorf("ledger %+v", e)
		}
	}
	if got := s.VertexTokens(); got != 1 {
		t.Errorf("%d tokens", got)
	}
}
