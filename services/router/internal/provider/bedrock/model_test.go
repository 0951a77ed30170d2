package bedrock_test

import (
	"bytes"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/bedrock"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// TestModelsAreCalledByTheProfilesOfTheirRegion: newer models refuse their bare names. A name with a region,
// or an ARN, is the organization's own choice.
func TestModelsAreCalledByTheProfilesOfTheirRegion(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-5"
	for _, test := range []struct {
		name, region string
		listed       []string
		want         string
	}{
		{"anthropic.claude-sonnet-5", "us-east-1", nil, "us.anthropic.claude-sonnet-5"},
		{"anthropic.claude-sonnet-5", "eu-central-1", nil, "eu.anthropic.claude-sonnet-5"},
		{"anthropic.claude-sonnet-5", "ap-northeast-1", nil, "jp.anthropic.claude-sonnet-5"},
		{"anthropic.claude-sonnet-5", "ap-southeast-2", nil, "au.anthropic.claude-sonnet-5"},
		{"anthropic.claude-sonnet-5", "ap-south-1", nil, "global.anthropic.claude-sonnet-5"},
		{"anthropic.claude-sonnet-5", "sa-east-1", nil, "global.anthropic.claude-sonnet-5"},
		{"anthropic.claude-sonnet-5", "cn-north-1", nil, "anthropic.claude-sonnet-5"},
		{"anthropic.claude-sonnet-5", "us-gov-west-1", nil, "us-gov.anthropic.claude-sonnet-5"},
		{"anthropic.claude-sonnet-5", "us-east-1", []string{"anthropic.claude-sonnet-5", "global.anthropic.claude-sonnet-5"}, "global.anthropic.claude-sonnet-5"},
		{"anthropic.claude-sonnet-4-6", "us-east-1", []string{"us.anthropic.claude-sonnet-4-6-v1", "us.anthropic.claude-sonnet-4-60"}, "us.anthropic.claude-sonnet-4-6-v1"},
		{"anthropic.claude-haiku-5-5", "us-east-1", []string{"us.anthropic.claude-haiku-5-5-20261015-v1:0", "us.anthropic.claude-haiku-5-5-mini"}, "us.anthropic.claude-haiku-5-5-20261015-v1:0"},
		{"anthropic.claude-3-7-sonnet-20250219-v1:0", "ap-northeast-1", nil, "apac.anthropic.claude-3-7-sonnet-20250219-v1:0"},
		{"anthropic.claude-3-haiku-20240307-v1:0", "us-east-1", nil, "anthropic.claude-3-haiku-20240307-v1:0"},
		{"claude-haiku-4-5", "us-east-1", nil, "us.anthropic.claude-haiku-4-5-20251001-v1:0"},
		{"anthropic.claude-opus-4-6", "us-east-1", nil, "us.anthropic.claude-opus-4-6-v1"},
		{"claude-opus-5-5", "us-east-1", nil, "us.anthropic.claude-opus-5-5"},
		{"amazon.nova-lite-v1:0", "eu-west-1", nil, "eu.amazon.nova-lite-v1:0"},
		{"amazon.nova-premier-v1:0", "eu-west-1", nil, "amazon.nova-premier-v1:0"},
		{"openai.gpt-oss-120b-1:0", "us-east-1", nil, "openai.gpt-oss-120b-1:0"},
		{"acme.new-model-v1:0", "us-east-1", nil, "acme.new-model-v1:0"},
		{"acme.new-model-v1:0", "us-east-1", []string{"us.acme.new-model-v1:0"}, "us.acme.new-model-v1:0"},
		{"global.anthropic.claude-sonnet-5", "us-east-1", []string{"us.anthropic.claude-sonnet-5"}, "global.anthropic.claude-sonnet-5"},
		{arn, "eu-west-1", nil, arn},
		{"arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123", "us-east-1", nil, "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"},
	} {
		if got := bedrock.Call(test.name, test.region, test.listed); got != test.want {
			t.Errorf("%s in %s is called %s, want %s", test.name, test.region, got, test.want)
		}
	}
	for name, want := range map[string]string{
		"us.anthropic.claude-haiku-4-5-20251001-v1:0": "claude-haiku-4-5-20251001", "anthropic.claude-opus-4-6-v1": "claude-opus-4-6", arn: "claude-sonnet-5",
	} {
		if got := bedrock.ClaudeName(name); got != want {
			t.Errorf("%s is %s to Anthropic, want %s", name, got, want)
		}
	}
	r := &replay{kind: "application/json"}
	if _, err := bedrock.New(r).Start(t.Context(), asked(arn, false, said("hi"))); err != nil {
		t.Fatal(err)
	}
	if got, want := r.sent[0].URL.EscapedPath(), "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Ainference-profile%2Feu.anthropic.claude-sonnet-5/converse"; got != want {
		t.Errorf("sent to %s, want %s", got, want)
	}
}

// TestWhatModelsServeIsSaid before anything is sent.
func TestWhatModelsServeIsSaid(t *testing.T) {
	t.Parallel()
	p := bedrock.New(&http.Transport{})
	for _, test := range []struct {
		model  string
		serves map[completion.Operation]bool
		speaks bool
	}{
		{claude, map[completion.Operation]bool{completion.Chat: true, completion.CountTokens: true}, true},
		{"us." + claude, map[completion.Operation]bool{completion.Chat: true, completion.CountTokens: true}, true},
		{nova, map[completion.Operation]bool{completion.Chat: true}, false},
		{"amazon.titan-embed-text-v2:0", map[completion.Operation]bool{completion.Embeddings: true}, false},
		{"eu.cohere.embed-v4:0", map[completion.Operation]bool{completion.Embeddings: true}, false},
		{"amazon.nova-canvas-v1:0", nil, false},
		{"stability.stable-image-core-v1:1", map[completion.Operation]bool{completion.Images: true}, false},
		{"stability.stable-fast-upscale-v1:0", nil, false},
		{"arn:aws:bedrock:us-east-1:1:application-inference-profile/x", map[completion.Operation]bool{completion.Chat: true, completion.CountTokens: true}, false},
	} {
		for _, op := range []completion.Operation{completion.Chat, completion.Embeddings, completion.Images, completion.CountTokens, completion.Videos} {
			if why := p.Serves(op, test.model, nil); (why == "") != test.serves[op] {
				t.Errorf("%s of %s: %q", op, test.model, why)
			}
		}
		for _, d := range []completion.Dialect{completion.AnthropicMessages, completion.OpenAIChat, completion.AnthropicCount, completion.Typed} {
			if got := p.Speaks(d, &completion.Target{Name: test.model}); got != (test.speaks && (d == completion.AnthropicMessages || d == completion.AnthropicCount)) {
				t.Errorf("%s speaks %s: %v", test.model, d, got)
			}
		}
	}
}

// embedding returns a call for vectors.
func embedding(s *llmtest.Server, model string, in completion.EmbeddingInput) completion.Call {
	call := asked(model, false, &completion.Prompt{Embedding: &in})
	call.BaseURL = s.BedrockURL()
	call.Request.Operation = completion.Embeddings
	return call
}

// TestVectorsComeInOrder: also of models that take one text, or 96, at once; with the tokens of all calls.
func TestVectorsComeInOrder(t *testing.T) {
	t.Parallel()
	many := make([]string, 200)
	for i := range many {
		many[i] = string(rune('a'+i%26)) + " text"
	}
	for _, test := range []struct {
		model string
		in    completion.EmbeddingInput
		size  int
		calls int
	}{
		{"amazon.titan-embed-text-v2:0", completion.EmbeddingInput{Texts: many[:10]}, 8, 10},
		{"amazon.titan-embed-text-v2:0", completion.EmbeddingInput{Texts: many[:1], Dimensions: new(int64(256))}, 256, 1},
		{"cohere.embed-v4:0", completion.EmbeddingInput{Texts: many, Dimensions: new(int64(512)), Purpose: "query"}, 512, 3},
		{"cohere.embed-english-v3", completion.EmbeddingInput{Texts: many[:3]}, 8, 1},
	} {
		s := llmtest.New(t)
		s.Control("", "", -1, llmtest.Script{Input: 7})
		answer, err := bedrock.New(&http.Transport{}).Start(t.Context(), embedding(s, test.model, test.in))
		if err != nil {
			t.Fatalf("%s: %v", test.model, err)
		}
		chunk, err := answer.Next()
		if err != nil || chunk.Result == nil || len(chunk.Result.Vectors) != len(test.in.Texts) || !chunk.Content {
			t.Fatalf("%s: %+v, %v", test.model, chunk, err)
		}
		for i, text := range test.in.Texts {
			if diff := cmp.Diff(llmtest.Vector(text, test.size), chunk.Result.Vectors[i]); diff != "" {
				t.Fatalf("%s: vector %d (-want +got):\n%s", test.model, i, diff)
			}
		}
		total := int64(7 * test.calls)
		if chunk.Usage == nil || chunk.Usage.Tokens != (usage.Tokens{InputTotal: total, InputUncached: total}) || len(s.Ledger()) != test.calls {
			t.Errorf("%s: %+v after %d calls", test.model, chunk.Usage, len(s.Ledger()))
		}
		if head := answer.Head(); head.Status != 200 || head.RequestID == "" || head.Model == "" {
			t.Errorf("%s: %+v", test.model, head)
		}
	}
}

func TestVectorsFailAsOne(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	p := bedrock.New(&http.Transport{})
	s.Queue(llmtest.Script{}, llmtest.Script{}, llmtest.Script{Error: llmtest.ErrRateLimit})
	_, err := p.Start(t.Context(), embedding(s, "amazon.titan-embed-text-v2:0", completion.EmbeddingInput{Texts: []string{"a", "b", "c", "d"}}))
	if failed := failure(t, err); failed.Class != completion.RateLimited || failed.RequestID == "" {
		t.Errorf("%+v", failed)
	}
	s = llmtest.New(t) // calls that were given up may still arrive at the first
	s.Control("", "", -1, llmtest.Script{NoUsage: true})
	answer, err := p.Start(t.Context(), embedding(s, "cohere.embed-v4:0", completion.EmbeddingInput{Texts: []string{"a"}}))
	if err != nil {
		t.Fatal(err)
	}
	if chunk, err := answer.Next(); err != nil || chunk.Usage != nil {
		t.Errorf("without a count: %+v, %v", chunk.Usage, err)
	}
	before := len(s.Ledger())
	for name, in := range map[string]completion.EmbeddingInput{
		"no texts": {}, "too many texts": {Texts: make([]string, 513)}, "dimensions of v3": {Texts: []string{"a"}, Dimensions: new(int64(3))},
	} {
		if _, err := p.Start(t.Context(), embedding(s, "cohere.embed-english-v3", in)); err == nil || len(s.Ledger()) != before {
			t.Errorf("%s: %v after %d calls", name, err, len(s.Ledger())-before)
		}
	}
	for _, body := range []string{`{}`, `[]`, `{"embeddings":[[1],[2]]}`, `{"embeddings":{"float":[]}}`, `{"embedding":[1]}`} {
		call := embedding(s, "cohere.embed-english-v3", completion.EmbeddingInput{Texts: []string{"a"}})
		_, err := bedrock.New(&replay{kind: "application/json", stream: body}).Start(t.Context(), call)
		if failed := failure(t, err); failed.Class != completion.ServerError {
			t.Errorf("%s: %+v", body, failed)
		}
	}
}

// TestTokensAreCounted for free, by the model's own name, in the caller's conversation.
func TestTokensAreCounted(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	prompt := without(schema)
	prompt.Messages[len(prompt.Messages)-1].Parts[0].Text = "script:in=77"
	for _, model := range []string{claude, "us." + claude} {
		call := asked(model, false, prompt)
		call.BaseURL = s.BedrockURL()
		call.Request.Operation = completion.CountTokens
		answer, err := bedrock.New(&http.Transport{}).Start(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		chunk, err := answer.Next()
		if err != nil || chunk.Result == nil || chunk.Result.Count != 77 || chunk.Usage == nil || chunk.Usage.Tokens != (usage.Tokens{}) || !chunk.Usage.Final {
			t.Errorf("%+v, %v", chunk, err)
		}
	}
	for _, body := range []string{`{"model":"x","messages":[{"role":"user","content":"script:in=77"}]}`, `{"max_tokens":9,"messages":[{"role":"user","content":"script:in=77"}],"model":"x"}`} {
		call := passing(false, body)
		call.BaseURL = s.BedrockURL()
		call.Request.Operation, call.Request.Dialect = completion.CountTokens, completion.AnthropicCount
		got, err := collect(t, bedrock.New(&http.Transport{}), call)
		if err != nil || got.Raw != `{"input_tokens":77}` {
			t.Errorf("%s: %s, %v", body, got.Raw, err)
		}
	}
	for _, body := range []string{`{}`, `{"inputTokens":-1}`, `{"inputTokens":"7"}`, `x`} {
		call := asked(claude, false, said("hi"))
		call.Request.Operation = completion.CountTokens
		_, err := collect(t, bedrock.New(&replay{kind: "application/json", stream: body}), call)
		if failed := failure(t, err); failed.Class != completion.ServerError {
			t.Errorf("%s: %+v", body, failed)
		}
	}
}

// TestKeysAreTestedWithTheirModels: models and the profiles they are called by, of all pages.
func TestKeysAreTestedWithTheirModels(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	p := bedrock.New(&http.Transport{})
	test := func(key string) completion.Verdict {
		return p.Test(t.Context(), completion.Place{BaseURL: s.BedrockURL(), Secret: secret.New(key)})
	}
	for _, key := range []string{signed(providertest.Key), bearing(providertest.Key)} {
		got := test(key)
		if got.State != "active" || len(got.Models) != 8+2*4 {
			t.Errorf("%+v", got)
		}
		for _, name := range []string{claude, "us." + claude, "global.amazon.nova-2-lite-v1:0", "amazon.titan-embed-text-v2:0"} {
			if !slices.Contains(got.Models, name) {
				t.Errorf("%s is not among %v", name, got.Models)
			}
		}
	}
	for name, test := range map[string]struct{ key, want string }{
		"wrong secret": {credential(map[string]string{"accessKeyId": "AKIA1", "secretAccessKey": "wrong-secret-0123", "region": "us-east-1"}), "rejected"},
		"wrong bearer": {bearing("ABSK-invalid"), "rejected"},
	} {
		if got := p.Test(t.Context(), completion.Place{BaseURL: s.BedrockURL(), Secret: secret.New(test.key)}); got.State != test.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if len(s.Ledger()) != 0 {
		t.Errorf("%d calls that take tokens", len(s.Ledger()))
	}
}

// TestAGenuineKeyThatMayNotListIsAccepted if it may ask models for something; that is asked for free.
func TestAGenuineKeyThatMayNotListIsAccepted(t *testing.T) {
	t.Parallel()
	for counted, want := range map[int]string{200: "active", 403: "degraded"} {
		list := &replay{kind: "application/json", status: 403, stream: `{"message":"User: arn:aws:iam::1:user/x is not authorized to perform: bedrock:ListFoundationModels"}`, header: http.Header{"X-Amzn-Errortype": {"AccessDeniedException"}}}
		count := &replay{kind: "application/json", status: counted, stream: `{"inputTokens":8}`}
		p := bedrock.New(by{"/foundation-models": list, "/model/anthropic.claude-haiku-4-5-20251001-v1%3A0/count-tokens": count})
		if got := p.Test(t.Context(), completion.Place{Secret: secret.New(signed(providertest.Key))}); got.State != want || got.Reason == "" {
			t.Errorf("counting answers %d: %+v", counted, got)
		}
	}
}

// TestPicturesAreDrawn by the models that draw from words; what they cannot do is refused by name.
func TestPicturesAreDrawn(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t, llmtest.WithCapture())
	draw := func(in completion.ImageInput) (completion.Chunk, error) {
		call := asked("stability.stable-image-core-v1:1", false, &completion.Prompt{Image: &in})
		call.BaseURL = s.BedrockURL()
		call.Request.Operation = completion.Images
		answer, err := bedrock.New(&http.Transport{}).Start(t.Context(), call)
		if err != nil {
			return completion.Chunk{}, err
		}
		return answer.Next()
	}
	for _, test := range []struct {
		in         completion.ImageInput
		sent, kind string
	}{
		{completion.ImageInput{Text: "a dot"}, `{"prompt":"a dot","output_format":"png"}`, "image/png"},
		{completion.ImageInput{Text: "a dot", Size: "1536x1024", Format: "jpeg", Seed: new(int64(7)), Quality: "auto"}, `{"prompt":"a dot","aspect_ratio":"3:2","output_format":"jpeg","seed":7}`, "image/jpeg"},
		{completion.ImageInput{Text: "a dot", Size: "auto", AspectRatio: "16:9", Count: 1}, `{"prompt":"a dot","aspect_ratio":"16:9","output_format":"png"}`, "image/png"},
	} {
		chunk, err := draw(test.in)
		if err != nil || chunk.Result == nil || len(chunk.Result.Pictures) != 1 || chunk.Result.Pictures[0].MediaType != test.kind || !bytes.Equal(chunk.Result.Pictures[0].Data, llmtest.GeminiPicture()) {
			t.Fatalf("%+v: %+v, %v", test.in, chunk, err)
		}
		if diff := cmp.Diff(&completion.Usage{Final: true, Units: []usage.Unit{{Name: "image", Milli: 1000}}}, chunk.Usage); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if sent := s.Requests(); string(sent[len(sent)-1].Body) != test.sent {
			t.Errorf("sent %s, want %s", sent[len(sent)-1].Body, test.sent)
		}
	}
	before := len(s.Requests())
	for param, in := range map[string]completion.ImageInput{
		"prompt": {}, "n": {Text: "x", Count: 2}, "size": {Text: "x", Size: "100x999"}, "quality": {Text: "x", Quality: "high"}, "style": {Text: "x", Style: "vivid"},
		"background": {Text: "x", Background: "transparent"}, "output_format": {Text: "x", Format: "tiff"},
	} {
		_, err := draw(in)
		if f, ok := fault.Of(err); !ok || f.Facts()["param"] != param || len(s.Requests()) != before {
			t.Errorf("%s: %v", param, err)
		}
	}
	_, err := draw(completion.ImageInput{Text: "script:refusal x"})
	if failed := failure(t, err); failed.Class != completion.ContentRefused {
		t.Errorf("%+v", failed)
	}
	for _, body := range []string{`{}`, `{"images":[]}`, `{"images":["!"]}`, `{"images":[""]}`, `[]`} {
		call := asked("stability.sd3-5-large-v1:0", false, &completion.Prompt{Image: &completion.ImageInput{Text: "x"}})
		call.Request.Operation = completion.Images
		_, err := collect(t, bedrock.New(&replay{kind: "application/json", stream: body}), call)
		if failed := failure(t, err); failed.Class != completion.ServerError {
			t.Errorf("%s: %+v", body, failed)
		}
	}
}

// TestOpenAIsModelsAreCalledInItsForm, signed or with a Bedrock API key; those that anybody may run are
// not.
func TestOpenAIsModelsAreCalledInItsForm(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	p := bedrock.New(&http.Transport{})
	for i, raw := range []bool{false, true} {
		call := asked("openai.gpt-5.5", true, said("script:text=two%20words,in=70,cached=20 hi"))
		call.BaseURL, call.Secret, call.Raw = s.BedrockURL(), secret.New(bearing(providertest.Key)), raw
		call.Request.Raw = []byte(`{"model":"x","stream":true,"messages":[{"role":"user","content":"script:text=two%20words,in=70,cached=20 hi"}]}`)
		got, err := collect(t, p, call)
		if err != nil || !strings.Contains(got.Delta.Text+got.Raw, "two") || got.Usage == nil || got.Usage.Tokens.CacheRead != 20 || got.Usage.Tokens.InputTotal != 70 {
			t.Errorf("raw %v: %+v, %v", raw, got, err)
		}
		if e := providertest.Ended(t, s, i+1); e.Model != "openai.gpt-5.5" {
			t.Errorf("raw %v: %+v", raw, e)
		}
	}
	r := &replay{kind: "application/json"}
	if _, err := bedrock.New(r).At(noon).Start(t.Context(), asked("openai.gpt-5.5", false, said("hi"))); err != nil {
		t.Fatal(err)
	}
	sent := r.sent[0]
	if sent.URL.String() != "https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1/chat/completions" ||
		!strings.Contains(sent.Header.Get("Authorization"), "/20261122/us-east-1/bedrock/aws4_request, SignedHeaders=content-length;content-type;host;x-amz-date, ") {
		t.Errorf("sent to %s: %v", sent.URL, sent.Header)
	}
	for message, want := range map[string]completion.Class{
		"The security token included in the request is invalid.": completion.AuthInvalid, "Signature expired: 20261122T120000Z is now earlier": completion.CredentialError,
		"User: arn:aws:iam::1:user/x is not authorized to perform: bedrock:InvokeModel": completion.AuthLimited,
	} {
		_, err := collect(t, bedrock.New(&replay{kind: "application/json", status: 403, stream: `{"message":"` + message + `"}`}), asked("openai.gpt-5.5", true, said("hi")))
		if failed := failure(t, err); failed.Class != want {
			t.Errorf("%s: %+v", message, failed)
		}
	}
	if !p.Speaks(completion.OpenAIChat, &completion.Target{Name: "openai.gpt-5.5"}) || p.Speaks(completion.OpenAIChat, &completion.Target{Name: "openai.gpt-oss-120b-1:0"}) {
		t.Error("which models speak chat completions")
	}
}

// TestARegionWithoutBedrockIsNamed: most such are mistyped.
func TestARegionWithoutBedrockIsNamed(t *testing.T) {
	t.Parallel()
	key := credential(map[string]string{"accessKeyId": "AKIA1", "secretAccessKey": "secret-0123456789", "region": "us-esat-1"})
	got := bedrock.New(nowhere{}).Test(t.Context(), completion.Place{Secret: secret.New(key)})
	if got.State != "" || !strings.Contains(got.Reason, "us-esat-1") {
		t.Errorf("%+v", got)
	}
}

// nowhere is a network without names.
type nowhere struct{}

func (nowhere) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, &net.DNSError{Err: "no such host", Name: r.URL.Host, IsNotFound: true}
}

// TestUsageIsWhatTheLedgerDeclares in all classes, streamed or not, converted or passed.
func TestUsageIsWhatTheLedgerDeclares(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	script := llmtest.Script{Tokens: 5, Input: 900, Cached: 200, CacheWrite: 30, CacheWrite1h: 7, Reasoning: 11, Think: true, Pings: true}
	for i, call := range []completion.Call{
		asked(claude, false, said(script.String())), asked(claude, true, said(script.String())), asked(nova, true, said(script.String())),
		passing(false, `{"max_tokens":900,"messages":[{"role":"user","content":"`+script.String()+`"}]}`),
		passing(true, `{"max_tokens":900,"messages":[{"role":"user","content":"`+script.String()+`"}]}`),
	} {
		call.BaseURL = s.BedrockURL()
		got, err := collect(t, bedrock.New(&http.Transport{}), call)
		declared := providertest.Ended(t, s, i+1)
		if err != nil || got.Usage == nil || declared.Declared == nil || !declared.UsageSent || !declared.Complete {
			t.Fatalf("call %d: %+v, %v, %+v", i, got, err, declared)
		}
		d := declared.Declared
		want := usage.Tokens{
			InputTotal: int64(d.Input), InputUncached: int64(d.Input - d.Cached - d.CacheWrite - d.CacheWrite1h), CacheRead: int64(d.Cached),
			CacheWrite5m: int64(d.CacheWrite), CacheWrite1h: int64(d.CacheWrite1h), OutputTotal: int64(d.Output), Reasoning: int64(d.Reasoning),
		}
		if got.Usage.Tokens != want {
			t.Errorf("call %d: %+v, want %+v", i, got.Usage.Tokens, want)
		}
	}
}

// by answers by path.
type by map[string]*replay

func (b by) RoundTrip(r *http.Request) (*http.Response, error) {
	return b[r.URL.EscapedPath()].RoundTrip(r)
}
