package googleaistudio_test

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/googleaistudio"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// pages answers each path with the body, or status and body, that is given for it.
type pages map[string]string

func (p pages) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := 200, ""
	for path, answer := range p {
		if strings.HasSuffix(r.URL.RequestURI(), path) {
			body = answer
		}
	}
	if code, rest, found := strings.Cut(body, " "); found && len(code) == 3 {
		status, _ = strconv.Atoi(code)
		body = rest
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1,
	}, nil
}

func failing(status int, word, reason string) string {
	return strconv.Itoa(status) + ` {"error":{"code":` + strconv.Itoa(status) + `,"message":"no","status":"` + word + `","details":[{"reason":"` + reason + `"}]}}`
}

const (
	first  = `{"models":[{"name":"models/gemini-embedding-001"},{"name":"models/a b"},{"name":7},null],"nextPageToken":"p2"}`
	second = `{"models":[{"name":"models/gemini-3.8-flash"},{"name":"tunedModels/x/../y"}]}`
	word   = "gemini-3.8-flash:countTokens"
	list   = "/models?pageSize=1000"
	next   = "/models?pageSize=1000&pageToken=p2"
	one    = `{"totalTokens":1}`
)

func TestKeyTestsListAndCount(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pages         pages
		state, reason string
		models        []string
	}{
		"good":               {pages{list: first, next: second, word: one}, "active", "accepts", []string{"gemini-embedding-001", "gemini-3.8-flash"}},
		"no list":            {pages{list: `{}`}, "", "list of models", nil},
		"lists only":         {pages{list: first, next: second, word: failing(401, "UNAUTHENTICATED", "ACCESS_TOKEN_TYPE_UNSUPPORTED")}, "rejected", "AIza", nil},
		"wrong":              {pages{list: failing(400, "INVALID_ARGUMENT", "API_KEY_INVALID")}, "rejected", "AIza", nil},
		"second page":        {pages{list: first, next: failing(500, "INTERNAL", "")}, "", "test again later", nil},
		"blocked":            {pages{list: failing(403, "PERMISSION_DENIED", "API_KEY_SERVICE_BLOCKED")}, "degraded", "genuine", nil},
		"no quota":           {pages{list: failing(429, "RESOURCE_EXHAUSTED", "")}, "", "the key is genuine", nil},
		"model is gone":      {pages{list: first, next: second, word: failing(404, "NOT_FOUND", "")}, "active", "accepts", []string{"gemini-embedding-001", "gemini-3.8-flash"}},
		"model cannot count": {pages{list: second, word: failing(400, "INVALID_ARGUMENT", "")}, "active", "accepts", []string{"gemini-3.8-flash"}},
		"location":           {pages{list: second, word: failing(403, "PERMISSION_DENIED", "")}, "degraded", "genuine", nil},
		"token is no name":   {pages{list: strings.Replace(first, "p2", "p2&key=x", 1), word: one}, "active", "accepts", nil},
	} {
		got := googleaistudio.New(c.pages).Test(t.Context(), completion.Place{BaseURL: googleaistudio.BaseURL, Secret: secret.New(providertest.Key)})
		if got.State != c.state || !strings.Contains(got.Reason, c.reason) || !slices.Equal(got.Models, c.models) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestNamesOfModelsDoNotLeaveTheirPath(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "..", "a/b", "a:b", "a?b", "models/../x", "models/models/x"} {
		call := providertest.Converted(googleaistudio.BaseURL, name, false, llmtest.Script{})
		_, err := googleaistudio.New(pages{}).Start(t.Context(), call)
		var failure *completion.ProviderError
		if !errors.As(err, &failure) || failure.Class != completion.ModelNotFound || failure.Sent {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestEveryOperationIsAnswered goes against the provider that Google's own SDK reads.
func TestEveryOperationIsAnswered(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	p := googleaistudio.New(http.DefaultTransport)
	ask := func(name string, op completion.Operation, prompt *completion.Prompt) completion.Chunk {
		t.Helper()
		if why := p.Serves(op, name, nil); why != "" {
			t.Fatalf("%s of %s: %s", op, name, why)
		}
		call := providertest.Converted(s.GeminiURL(), name, false, llmtest.Script{Input: 31})
		call.Request.Operation = op
		if prompt != nil {
			call.Request.Decode = func() (*completion.Prompt, error) { return prompt, nil }
		}
		answer, err := p.Start(t.Context(), call)
		if err != nil {
			t.Fatalf("%s of %s: %v", op, name, err)
		}
		defer answer.Close() //nolint:errcheck // a test
		chunk, err := answer.Next()
		if err != nil {
			t.Fatalf("%s of %s: %v", op, name, err)
		}
		return chunk
	}
	texts := make([]string, 250)
	for i := range texts {
		texts[i] = "text " + strconv.Itoa(i)
	}
	chunk := ask("gemini-embedding-001", completion.Embeddings, &completion.Prompt{Embedding: &completion.EmbeddingInput{Texts: texts, Dimensions: new(int64(3))}})
	if calls := len(s.Ledger()); calls != 3 || chunk.Usage != nil {
		t.Errorf("%d calls for 250 texts, usage %+v although the provider says nothing", calls, chunk.Usage)
	}
	for i, v := range chunk.Result.Vectors {
		if want := llmtest.GeminiVector(texts[i], 3); len(v) != 3 || v[1] != float32(want[1]) {
			t.Fatalf("vector %d is %v, want %v", i, v, want)
		}
	}
	if chunk := ask(model, completion.CountTokens, nil); chunk.Result.Count != 31 || !chunk.Usage.Final {
		t.Errorf("count %+v", chunk)
	}
	chunk = ask("gemini-3.1-flash-image", completion.Images, &completion.Prompt{Image: &completion.ImageInput{Text: "a cat"}})
	if len(chunk.Result.Pictures) != 1 || string(chunk.Result.Pictures[0].Data) != string(llmtest.GeminiPicture()) || chunk.Usage == nil {
		t.Errorf("pictures %+v", chunk)
	}
}

// TestPicturesAndSoundAreCountedAsDeclared, to the model and from it.
func TestPicturesAndSoundAreCountedAsDeclared(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		s := llmtest.New(t)
		p := googleaistudio.New(http.DefaultTransport)
		call := providertest.Converted(s.GeminiURL(), model, stream, llmtest.Script{Input: 100, Cached: 30, Audio: 40, Reasoning: 5, Tokens: 3})
		prompt, err := call.Request.Decode()
		if err != nil {
			t.Fatal(err)
		}
		message := &prompt.Messages[0]
		message.Parts = append([]completion.Part{{ImageData: llmtest.GeminiPicture(), MediaType: "image/png"}}, message.Parts...)
		call.Request.Decode = func() (*completion.Prompt, error) { return prompt, nil }
		draw := providertest.Converted(s.GeminiURL(), "gemini-3.1-flash-image", stream, llmtest.Script{})
		draw.Request.Operation = completion.Images
		draw.Request.Decode = func() (*completion.Prompt, error) {
			return &completion.Prompt{Image: &completion.ImageInput{Text: "a cat"}}, nil
		}
		for i, c := range []completion.Call{call, draw} {
			answer, err := p.Start(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			got, err := providertest.Collect(answer)
			if err != nil || got.Usage == nil || !got.Usage.Final {
				t.Fatalf("%+v, %v", got, err)
			}
			u := providertest.Ended(t, s, i+1).Declared
			want := usage.Tokens{
				InputTotal: int64(u.Input), InputUncached: int64(u.Input - u.Cached), CacheRead: int64(u.Cached), AudioIn: int64(u.Audio), ImageIn: int64(u.ImageIn),
				OutputTotal: int64(u.Output), Reasoning: int64(u.Reasoning), ImageOut: int64(u.ImageOut),
			}
			if got.Usage.Tokens != want || u.ImageIn+u.ImageOut == 0 {
				t.Errorf("stream %v, call %d: %+v, want %+v", stream, i, got.Usage.Tokens, want)
			}
			_ = answer.Close()
		}
	}
}

func FuzzListOfModels(f *testing.F) {
	for _, s := range []string{first, second, `{"models":[[]]}`, `[]`, ``} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		p := googleaistudio.New(pages{list: body, next: second, "countTokens": one})
		got := p.Test(t.Context(), completion.Place{BaseURL: googleaistudio.BaseURL, Secret: secret.New(providertest.Key)})
		if got.Reason == "" || strings.Contains(got.Reason, providertest.Key) {
			t.Fatalf("%+v", got)
		}
		for _, name := range got.Models {
			if name == "" || strings.ContainsAny(name, "/?#% ") {
				t.Fatalf("model %q", name)
			}
		}
	})
}
