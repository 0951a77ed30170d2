package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
)

// The parts of credentials, in pieces so short that nothing but knowing them takes them out.
const (
	canaryKey     = "canary.plain-4f1a.9c2e-77d0"
	canarySecret  = "canary.secret-8b3d.1e5f-60aa"
	canarySession = "canary.session-2c9e.7d4b-13bb"
	canaryToken   = "ya29.canary-5a6b.3c2d-98cc"
)

// parrot is a provider that says of every call, as an error, all that it was sent. Tokens it gives out if it
// is told to.
type parrot struct {
	status  int
	kind    string
	body    func(said string) string
	trusts  bool
	heard   []string // the assertions
	answers int
}

func (p *parrot) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	status, kind, text := p.status, p.kind, ""
	if strings.HasSuffix(r.URL.Path, "/token") {
		_, assertion, _ := strings.Cut(string(body), "assertion=")
		assertion, _, _ = strings.Cut(assertion, "&")
		p.heard = append(p.heard, assertion)
		if p.trusts {
			status, kind, text = 200, "application/json", `{"access_token":"`+canaryToken+`","expires_in":3599}`
		}
	}
	if text == "" {
		p.answers++
		said := []string{"no:"}
		for _, name := range slices.Sorted(maps.Keys(r.Header)) {
			said = append(said, name, strings.Join(r.Header[name], " "))
		}
		all := strings.Join(append(said, string(body)), " ")
		if text = p.body(all); kind == "text/event-stream" && strings.HasSuffix(r.URL.Path, "/responses") {
			text = `data: {"type":"response.failed","response":{"id":"r","status":"failed","error":` + envelope(all) + "}}\n\n"
		}
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(text)), ContentLength: -1, Request: r}, nil
}

// everywhere is an error in the envelopes of all providers at once.
func everywhere(said string, inner any) string {
	b, err := json.Marshal(map[string]any{
		"type": "error", "error": inner, "message": said, "__type": said, "code": said, "detail": said, "error_type": said,
		"error_description": said, "issues": []any{map[string]any{"message": said}},
	})
	if err != nil {
		panic(err) // texts always encode
	}
	return string(b)
}

func envelope(said string) string {
	return everywhere(said, map[string]any{
		"message": said, "type": said, "code": said, "param": said, "status": said, "details": []any{map[string]any{"reason": said}},
	})
}

func TestNoPartOfACredentialShowsInWhatAProviderSays(t *testing.T) {
	t.Parallel()
	pem := llmtest.VertexKey()
	credentials := map[string][]string{}
	for _, v := range registered() {
		credentials[v.facts.Slug] = []string{canaryKey}
	}
	credentials["azure"] = nil
	for _, endpoint := range []string{
		"https://acme.openai.azure.com", "https://acme.openai.azure.com/openai/deployments/d", "https://acme.services.ai.azure.com/models",
		"https://acme.services.ai.azure.com/anthropic", "https://acme.swedencentral.models.ai.azure.com", "https://gateway.acme.example/x",
	} {
		credentials["azure"] = append(credentials["azure"], `[{"model_slug":"openai/m","endpoint_url":"`+endpoint+`","api_key":"`+canaryKey+`","model_id":"d"},
			{"model_slug":"openai/m","endpoint_url":"https://other.openai.azure.com","api_key":"`+canarySecret+`","model_id":"d"}]`)
	}
	credentials["bedrock"] = []string{
		`{"accessKeyId":"AKIAIOSFODNN7EXAMPLE","secretAccessKey":"` + canarySecret + `","sessionToken":"` + canarySession + `","region":"us-east-1"}`,
		`{"apiKey":"` + canaryKey + `","region":"us-east-1"}`,
	}
	quoted, _ := json.Marshal(pem) // a text always encodes
	credentials["vertex"] = []string{`{"type":"service_account","project_id":"acme","client_email":"a@acme.iam.gserviceaccount.com","location":"global","private_key_id":"k","private_key":` + string(quoted) + `}`}

	bodies := map[string]func(string) string{
		"an object": envelope,
		"a text":    func(said string) string { return everywhere(said, said) },
		"a list":    func(said string) string { return "[" + envelope(said) + "]" },
		"an event":  func(said string) string { return "event: error\ndata: " + envelope(said) + "\n\n" },
	}
	calls := 0
	for _, v := range registered() {
		models := append(slices.Clone(v.facts.Examples), "openai/m", "m")
		for name, body := range bodies {
			for _, status := range []int{200, 400, 401, 404, 429, 500} {
				for _, text := range credentials[v.facts.Slug] {
					for _, trusts := range []bool{true, false} {
						p := &parrot{status: status, kind: "application/json", body: body, trusts: trusts}
						if name == "an event" {
							p.kind = "text/event-stream"
						}
						said := attack(t.Context(), v.adapt(p), models, secret.New(text))
						calls += p.answers
						for _, part := range append([]string{canaryKey, canarySecret, canarySession, canaryToken}, lines(pem)...) {
							if strings.Contains(said, part) {
								t.Fatalf("%s, %d as %s: %q stands in %.600s", v.facts.Slug, status, name, part, said)
							}
						}
						for _, assertion := range p.heard {
							for at := 0; at+16 <= len(assertion); at += 8 {
								if piece := assertion[at : at+16]; strings.Contains(said, piece) {
									t.Fatalf("%s, %d as %s: %q of the assertion stands in %.600s", v.facts.Slug, status, name, piece, said)
								}
							}
						}
					}
				}
			}
		}
	}
	if calls < 3000 {
		t.Errorf("only %d calls were answered", calls)
	}
}

func lines(pem string) (out []string) {
	for line := range strings.Lines(pem) {
		if line = strings.TrimSpace(line); len(line) > 16 && !strings.HasPrefix(line, "-----") {
			out = append(out, line)
		}
	}
	return out
}

// attack calls a provider in every way, and tests the key. It returns all that may be told of it.
func attack(ctx context.Context, p completion.Provider, models []string, key secret.Text) string {
	var said strings.Builder
	credential := &completion.Credential{ID: "cred_1", OrgID: "org_1", Revision: 1}
	tell := func(err error) {
		fmt.Fprintf(&said, "%v\n", err)
		if failed, ok := errors.AsType[*completion.ProviderError](err); ok {
			fmt.Fprintf(&said, "%+v\n", *failed)
		}
	}
	const base = "https://provider.acme.example"
	chat := []completion.Message{{Role: completion.User, Parts: []completion.Part{{Text: "hi"}}}}
	for _, model := range models {
		for _, op := range []completion.Operation{completion.Chat, completion.Embeddings, completion.Images, completion.CountTokens, completion.Videos} {
			if p.Serves(op, model, credential) != "" {
				continue
			}
			for _, stream := range []bool{false, true} {
				prompt := &completion.Prompt{Messages: chat}
				switch op {
				case completion.Embeddings:
					prompt = &completion.Prompt{Embedding: &completion.EmbeddingInput{Texts: []string{"hi"}}}
				case completion.Images:
					prompt = &completion.Prompt{Image: &completion.ImageInput{Text: "hi"}}
				case completion.Videos:
					prompt = &completion.Prompt{Video: &completion.VideoInput{Text: "hi"}}
				case completion.Chat, completion.CountTokens:
				}
				req := &completion.Request{ID: "req_1", Dialect: completion.Typed, Operation: op, Model: model, Stream: stream && op == completion.Chat, Decode: func() (*completion.Prompt, error) { return prompt, nil }}
				answer, err := p.Start(ctx, completion.Call{AttemptID: "att_1", Model: model, BaseURL: base, Credential: credential, Secret: key, Request: req})
				for err == nil {
					_, err = answer.Next()
				}
				tell(err)
				if answer != nil {
					_ = answer.Close() // nothing is lost: it is read
				}
			}
		}
	}
	for _, model := range models {
		for dialect, op := range map[completion.Dialect]completion.Operation{
			completion.OpenAIChat: completion.Chat, completion.OpenAIResponses: completion.Chat, completion.AnthropicMessages: completion.Chat,
			completion.AnthropicCount: completion.CountTokens, completion.OpenAIEmbeddings: completion.Embeddings, completion.OpenAIImages: completion.Images,
		} {
			if p.Serves(op, model, credential) != "" || !p.Speaks(dialect, &completion.Target{Name: model, Credential: credential}) {
				continue
			}
			for _, stream := range []bool{false, true} {
				body := fmt.Sprintf(`{"model":"m","max_tokens":9,"stream":%v,"input":"hi","prompt":"hi","messages":[{"role":"user","content":"hi"}]}`, stream)
				req := &completion.Request{ID: "req_1", Dialect: dialect, Operation: op, Model: model, Stream: stream && op != completion.CountTokens && op != completion.Embeddings, Raw: []byte(body)}
				answer, err := p.Start(ctx, completion.Call{AttemptID: "att_1", Model: model, BaseURL: base, Credential: credential, Secret: key, Request: req, Raw: true})
				for err == nil {
					var chunk completion.Chunk
					chunk, err = answer.Next()
					fmt.Fprintf(&said, "%s\n", chunk.Raw)
				}
				tell(err)
				if answer != nil {
					_ = answer.Close() // nothing is lost: it is read
				}
			}
		}
	}
	verdict := p.Test(ctx, completion.Place{BaseURL: base, Credential: credential, Secret: key})
	fmt.Fprintf(&said, "%+v\n", verdict)
	return said.String()
}
