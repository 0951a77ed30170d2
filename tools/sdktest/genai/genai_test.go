package genai_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"cloud.google.com/go/auth"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genai"

	"github.com/claviger/claviger/pkg/llmtest"
)

const (
	key   = "AQ.Ab-canary-0123456789"
	model = "gemini-3.8-flash"
)

// studio is a client of AI Studio at the scripted server.
func studio(t *testing.T, s *llmtest.Server, key string) *genai.Client {
	t.Helper()
	return client(t, &genai.ClientConfig{
		APIKey: key, Backend: genai.BackendGeminiAPI,
		HTTPOptions: genai.HTTPOptions{BaseURL: s.URL + "/google-ai-studio"},
	})
}

// vertex is a client of Vertex AI whose tokens come from the scripted token endpoint.
func vertex(t *testing.T, s *llmtest.Server) *genai.Client {
	t.Helper()
	provider, err := auth.New2LOTokenProvider(&auth.Options2LO{
		Email: "router@acme-prod.iam.gserviceaccount.com", PrivateKey: []byte(llmtest.VertexKey()), PrivateKeyID: key,
		Scopes: []string{"https://www.googleapis.com/auth/cloud-platform"}, TokenURL: s.VertexURL() + "/token",
	})
	if err != nil {
		t.Fatal(err)
	}
	credentials := auth.NewCredentials(&auth.CredentialsOptions{TokenProvider: provider})
	return client(t, &genai.ClientConfig{
		Backend: genai.BackendVertexAI, Project: "acme-prod", Location: "global", Credentials: credentials,
		HTTPClient:  &http.Client{Transport: bearer{credentials}},
		HTTPOptions: genai.HTTPOptions{BaseURL: s.VertexURL()},
	})
}

// bearer signs calls with tokens, as the SDK's own transport does where it may only use TLS.
type bearer struct{ *auth.Credentials }

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := b.Token(r.Context())
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token.Value)
	return http.DefaultTransport.RoundTrip(r)
}

func client(t *testing.T, config *genai.ClientConfig) *genai.Client {
	t.Helper()
	c, err := genai.NewClient(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// both are the backends, each with its own server.
func both(t *testing.T, test func(t *testing.T, s *llmtest.Server, c *genai.Client)) {
	t.Helper()
	for name, make := range map[string]func(*testing.T, *llmtest.Server) *genai.Client{
		"studio": func(t *testing.T, s *llmtest.Server) *genai.Client { t.Helper(); return studio(t, s, key) },
		"vertex": vertex,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := llmtest.New(t)
			test(t, s, make(t, s))
		})
	}
}

func ask(s llmtest.Script) []*genai.Content { return genai.Text(s.String() + " please") }

// streamed puts a streamed answer together.
func streamed(ctx context.Context, c *genai.Client, contents []*genai.Content, config *genai.GenerateContentConfig) (*genai.GenerateContentResponse, []*genai.Part, error) {
	var last *genai.GenerateContentResponse
	var parts []*genai.Part
	for chunk, err := range c.Models.GenerateContentStream(ctx, model, contents, config) {
		if err != nil {
			return last, parts, err
		}
		if len(chunk.Candidates) > 0 && chunk.Candidates[0].Content != nil {
			parts = append(parts, chunk.Candidates[0].Content.Parts...)
		}
		last = chunk
	}
	return last, parts, nil
}

func TestTheSDKReadsWholeAndStreamedAnswers(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, s *llmtest.Server, c *genai.Client) {
		text := "One, two. \"Three\" \\ ünïcode 🔑 end"
		script := llmtest.Script{Text: text, Input: 500, Cached: 100, Reasoning: 40, Audio: 7, CRLF: true, Pings: true}
		whole, err := c.Models.GenerateContent(t.Context(), model, ask(script), nil)
		if err != nil {
			t.Fatal(err)
		}
		if whole.Text() != text || whole.Candidates[0].FinishReason != genai.FinishReasonStop || whole.ModelVersion != model || whole.ResponseID == "" {
			t.Errorf("whole answer %+v", whole)
		}
		last, parts, err := streamed(t.Context(), c, ask(script), nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, p := range parts {
			got += p.Text
		}
		if got != text || last.Candidates[0].FinishReason != genai.FinishReasonStop {
			t.Errorf("streamed %q, %+v", got, last)
		}
		for _, u := range []*genai.GenerateContentResponseUsageMetadata{whole.UsageMetadata, last.UsageMetadata} {
			if u.PromptTokenCount != 500 || u.CachedContentTokenCount != 100 || u.ThoughtsTokenCount != 40 ||
				u.CandidatesTokenCount != 7 || u.TotalTokenCount != 547 {
				t.Errorf("usage %+v", u)
			}
			if audio := u.PromptTokensDetails[1]; audio.Modality != genai.MediaModalityAudio || audio.TokenCount != 7 {
				t.Errorf("details %+v", audio)
			}
		}
		for _, e := range s.Ledger() {
			if e.KeyHash != llmtest.HashKey(key) || e.Declared == nil || e.Model != model {
				t.Errorf("ledger %+v", e)
			}
		}
	})
}

func TestTheSDKReadsToolCallsAndSendsThemBack(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, s *llmtest.Server, c *genai.Client) {
		config := &genai.GenerateContentConfig{Tools: []*genai.Tool{{FunctionDeclarations: []*genai.FunctionDeclaration{{
			Name: "look_up", Description: "Looks something up.", ParametersJsonSchema: map[string]any{"type": "object"},
		}}}}}
		script := llmtest.Script{Tool: "look_up", Args: `{"q":"a","n":[1,2]}`, Calls: 2, Reasoning: 3, Think: true}
		whole, err := c.Models.GenerateContent(t.Context(), model, ask(script), config)
		if err != nil {
			t.Fatal(err)
		}
		_, parts, err := streamed(t.Context(), c, ask(script), config)
		if err != nil {
			t.Fatal(err)
		}
		for what, parts := range map[string][]*genai.Part{"whole": whole.Candidates[0].Content.Parts, "stream": parts} {
			var calls []*genai.Part
			thought := ""
			for _, p := range parts {
				if p.Thought {
					thought += p.Text
				}
				if p.FunctionCall != nil {
					calls = append(calls, p)
				}
			}
			if thought == "" || len(calls) != 2 || len(calls[0].ThoughtSignature) == 0 || len(calls[1].ThoughtSignature) != 0 {
				t.Fatalf("%s: thought %q, calls %+v", what, thought, calls)
			}
			if diff := cmp.Diff(map[string]any{"q": "a", "n": []any{1.0, 2.0}}, calls[0].FunctionCall.Args); diff != "" {
				t.Errorf("%s: arguments (-want +got):\n%s", what, diff)
			}
		}
		answers := &genai.Content{Role: "user", Parts: []*genai.Part{
			genai.NewPartFromFunctionResponse("look_up", map[string]any{"output": "x"}),
			genai.NewPartFromFunctionResponse("look_up", map[string]any{"output": "y"}),
		}}
		next := append(ask(llmtest.Script{}), whole.Candidates[0].Content, answers)
		if _, err := c.Models.GenerateContent(t.Context(), model, next, config); err != nil {
			t.Errorf("answers of tools: %v", err)
		}
		whole.Candidates[0].Content.Parts = slices.DeleteFunc(whole.Candidates[0].Content.Parts, func(p *genai.Part) bool {
			p.ThoughtSignature = nil
			return false
		})
		if _, err := c.Models.GenerateContent(t.Context(), model, next, config); apiError(t, err).Code != 400 {
			t.Errorf("calls without their signature: %v", err)
		}
	})
}

func apiError(t *testing.T, err error) genai.APIError {
	t.Helper()
	var failed genai.APIError
	if !errors.As(err, &failed) {
		t.Fatalf("error %v, want an APIError", err)
	}
	return failed
}

func TestTheSDKReadsErrors(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, _ *llmtest.Server, c *genai.Client) {
		for failure, status := range map[llmtest.Failure]string{
			llmtest.ErrRateLimit: "RESOURCE_EXHAUSTED", llmtest.ErrServer: "INTERNAL", llmtest.ErrOverloaded: "UNAVAILABLE",
			llmtest.ErrModel: "NOT_FOUND", llmtest.ErrBadRequest: "INVALID_ARGUMENT",
		} {
			script := llmtest.Script{Error: failure, RetryAfter: 20 * time.Second}
			_, err := c.Models.GenerateContent(t.Context(), model, ask(script), nil)
			failed := apiError(t, err)
			if failed.Status != status || failed.Message == "" {
				t.Errorf("%s: %+v", failure, failed)
			}
			retry := failed.Details[len(failed.Details)-1]
			if retry["@type"] != "type.googleapis.com/google.rpc.RetryInfo" || retry["retryDelay"] != "20s" {
				t.Errorf("%s: details %v", failure, failed.Details)
			}
			for _, bare := range []bool{false, true} {
				script.InStream, script.At, script.Tokens, script.NoDone = true, 2, 9, bare
				_, parts, err := streamed(t.Context(), c, ask(script), nil)
				if bare { // the SDK reads line by line, and a bare object has many
					if err == nil {
						t.Errorf("%s in the stream, bare: no error", failure)
					}
				} else if failed := apiError(t, err); failed.Status != status {
					t.Errorf("%s in the stream: %+v", failure, failed)
				}
				if len(parts) < 2 {
					t.Errorf("%s in the stream: %d parts came before", failure, len(parts))
				}
			}
		}
	})
}

func TestTheSDKReadsBlockedPrompts(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, _ *llmtest.Server, c *genai.Client) {
		script := llmtest.Script{Refusal: true}
		whole, err := c.Models.GenerateContent(t.Context(), model, ask(script), nil)
		if err != nil || len(whole.Candidates) != 0 || whole.PromptFeedback.BlockReason != genai.BlockedReasonProhibitedContent {
			t.Errorf("%+v, %v", whole, err)
		}
		last, parts, err := streamed(t.Context(), c, ask(script), nil)
		if err != nil || len(parts) != 0 || last.PromptFeedback == nil {
			t.Errorf("streamed: %+v, %v", last, err)
		}
	})
}

func TestTheSDKReadsVectorsCountsModelsAndPictures(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, _ *llmtest.Server, c *genai.Client) {
		size := int32(4)
		vectors, err := c.Models.EmbedContent(t.Context(), "text-embedding-005", append(genai.Text("a"), genai.Text("b")...), &genai.EmbedContentConfig{OutputDimensionality: &size})
		if err != nil || len(vectors.Embeddings) != 2 || len(vectors.Embeddings[1].Values) != 4 {
			t.Errorf("vectors %+v, %v", vectors, err)
		}
		if one, err := c.Models.EmbedContent(t.Context(), "gemini-embedding-2", genai.Text("a"), nil); err != nil || len(one.Embeddings) != 1 && one.Embeddings != nil {
			t.Errorf("one vector %+v, %v", one, err)
		}
		count, err := c.Models.CountTokens(t.Context(), model, ask(llmtest.Script{Input: 77}), nil)
		if err != nil || count.TotalTokens != 77 {
			t.Errorf("count %+v, %v", count, err)
		}
		var names []string
		for m, err := range c.Models.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, m.Name)
		}
		if !slices.Contains(names, "models/"+model) && !slices.Contains(names, "publishers/google/models/"+model) {
			t.Errorf("models %v", names)
		}
		drawn, err := c.Models.GenerateContent(t.Context(), "gemini-3.1-flash-image", genai.Text("a cat"), &genai.GenerateContentConfig{
			ResponseModalities: []string{"TEXT", "IMAGE"}, ImageConfig: &genai.ImageConfig{AspectRatio: "16:9"},
		})
		if err != nil {
			t.Fatal(err)
		}
		parts := drawn.Candidates[0].Content.Parts
		if blob := parts[len(parts)-1].InlineData; blob == nil || blob.MIMEType != "image/png" || !slices.Equal(blob.Data, llmtest.GeminiPicture()) {
			t.Errorf("picture %+v", blob)
		}
	})
}

func TestTheSDKSeesWrongKeys(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	_, err := studio(t, s, "AQ.invalid").Models.GenerateContent(t.Context(), model, ask(llmtest.Script{}), nil)
	failed := apiError(t, err)
	if failed.Code != 400 || failed.Details[0]["reason"] != "API_KEY_INVALID" {
		t.Errorf("%+v", failed)
	}
	s.SetKeys("vertex")
	if _, err := vertex(t, s).Models.GenerateContent(t.Context(), model, ask(llmtest.Script{}), nil); err == nil {
		t.Error("a service account that is not accepted gets a token")
	}
}

func TestTheSDKSpeaksExpressMode(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	c := client(t, &genai.ClientConfig{APIKey: key, Backend: genai.BackendVertexAI, HTTPOptions: genai.HTTPOptions{BaseURL: s.VertexURL()}})
	got, err := c.Models.GenerateContent(t.Context(), model, ask(llmtest.Script{Text: "hello"}), nil)
	if err != nil || got.Text() != "hello" {
		t.Errorf("%+v, %v", got, err)
	}
}
