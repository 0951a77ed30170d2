package embeddings_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/embeddings"
	"github.com/claviger/claviger/services/router/internal/usage"
)

const key = "sk-canary-0123456789abcdef"

func converted(in completion.EmbeddingInput) completion.Call {
	return completion.Call{AttemptID: "att_1", Model: "text-embedding-3-small", Secret: secret.New(key), Request: &completion.Request{
		Dialect: completion.Typed, Operation: completion.Embeddings,
		Decode: func() (*completion.Prompt, error) { return &completion.Prompt{Embedding: &in, User: "u1"}, nil },
	}}
}

func passing(raw string) completion.Call {
	return completion.Call{AttemptID: "att_1", Model: "text-embedding-3-small", Secret: secret.New(key), Raw: true, Request: &completion.Request{
		Dialect: completion.OpenAIEmbeddings, Operation: completion.Embeddings, Raw: []byte(raw),
	}}
}

// play makes a call and returns its one piece.
func play(t *testing.T, rt http.RoundTripper, v embeddings.Vendor, url string, call completion.Call) (completion.Chunk, completion.AnswerHead, error) {
	t.Helper()
	answer, err := embeddings.New(provider.NewClient(rt), v).Start(t.Context(), call, provider.Route{URL: url, Auth: provider.Bearer(call.Secret)})
	if err != nil {
		return completion.Chunk{}, completion.AnswerHead{}, err
	}
	defer answer.Close() //nolint:errcheck // a test
	chunk, err := answer.Next()
	if err != nil {
		return chunk, answer.Head(), err
	}
	if _, end := answer.Next(); !errors.Is(end, io.EOF) {
		t.Errorf("after the answer: %v", end)
	}
	return chunk, answer.Head(), nil
}

func TestVectorsAreThoseOfTheirTexts(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t, llmtest.WithCapture())
	for _, v := range []embeddings.Vendor{{}, {Floats: true}} {
		in := completion.EmbeddingInput{Texts: []string{"one", "two <&> ünï"}, Dimensions: new(int64(6)), Base64: true}
		chunk, head, err := play(t, http.DefaultTransport, v, s.OpenAIURL()+"/embeddings", converted(in))
		if err != nil {
			t.Fatal(err)
		}
		want := [][]float32{llmtest.Vector(in.Texts[0], 6), llmtest.Vector(in.Texts[1], 6)}
		if diff := cmp.Diff(want, chunk.Result.Vectors); diff != "" {
			t.Errorf("floats %v (-want +got):\n%s", v.Floats, diff)
		}
		declared := s.Ledger()[len(s.Ledger())-1].Declared
		if u := chunk.Usage; u == nil || !u.Final || u.Tokens != (usage.Tokens{InputTotal: int64(declared.Input), InputUncached: int64(declared.Input)}) {
			t.Errorf("usage %+v, declared %+v", u, declared)
		}
		if !chunk.Content || chunk.Pieces != 0 || chunk.Raw != nil || head.Model != "text-embedding-3-small" || head.RequestID == "" {
			t.Errorf("chunk %+v, head %+v", chunk, head)
		}
	}
	want := []string{
		`{"dimensions":6,"encoding_format":"base64","input":["one","two <&> ünï"],"model":"text-embedding-3-small","user":"u1"}`,
		`{"dimensions":6,"input":["one","two <&> ünï"],"model":"text-embedding-3-small","user":"u1"}`,
	}
	for i, r := range s.Requests() {
		if string(r.Body) != want[i] {
			t.Errorf("sent %s, want %s", r.Body, want[i])
		}
	}
}

func TestVendorsHaveTheirOwnWords(t *testing.T) {
	t.Parallel()
	a := &fixed{body: `{"data":[{"embedding":[1]}],"usage":{"total_tokens":3,"cost":0.5}}`}
	v := embeddings.Vendor{
		Dimensions: "output_dimension", Floats: true,
		Members: func(in *completion.EmbeddingInput) map[string]any { return map[string]any{"task": in.Purpose} },
		Cost:    func([]byte) (int64, bool) { return 500, true },
	}
	chunk, _, err := play(t, a, v, "http://provider.invalid/v1/embed", converted(completion.EmbeddingInput{Texts: []string{"a"}, Dimensions: new(int64(1)), Purpose: "query"}))
	if err != nil || *chunk.Usage.CostNanoUSD != 500 || chunk.Usage.Tokens.InputTotal != 3 {
		t.Errorf("%+v, %v", chunk.Usage, err)
	}
	if want := `{"input":["a"],"model":"text-embedding-3-small","output_dimension":1,"task":"query","user":"u1"}`; string(a.sent) != want {
		t.Errorf("sent %s, want %s", a.sent, want)
	}
}

func TestEmbeddingsPassByteForByte(t *testing.T) {
	t.Parallel()
	answer := "{\r\n \"object\":\"list\",\"data\":[{\"embedding\":\"AACAPw==\",\"index\":0}], \"model\":\"m-1\",\"usage\":{\"prompt_tokens\":7,\"total_tokens\":7}}\n"
	a := &fixed{body: answer}
	raw := `{ "model":"openai/x","input":[[1,2],[3]],"encoding_format":"base64","claviger":{"session":"s"} ,"new":1}`
	chunk, head, err := play(t, a, embeddings.Vendor{}, "http://provider.invalid/v1/embeddings", passing(raw))
	if err != nil || string(chunk.Raw) != answer || chunk.Result != nil || chunk.Usage.Tokens.InputTotal != 7 || head.Model != "m-1" {
		t.Errorf("%+v, %+v, %v", chunk, head, err)
	}
	if want := `{ "model":"text-embedding-3-small","input":[[1,2],[3]],"encoding_format":"base64","new":1}`; string(a.sent) != want {
		t.Errorf("sent %s, want %s", a.sent, want)
	}
}

func TestWrongVectorsAreAProvidersFailure(t *testing.T) {
	t.Parallel()
	two := completion.EmbeddingInput{Texts: []string{"a", "b"}}
	nan := base64.StdEncoding.EncodeToString(binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(math.NaN()))))
	for _, body := range []string{
		"", "[]", "{}", `{"data":{}}`, `{"data":[]}`, `{"data":[{"embedding":[1]}]}`, `{"data":[{"embedding":[1]},{"embedding":[]}]}`,
		`{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}`, `{"data":[{"index":0,"embedding":[1]},{"index":2,"embedding":[1]}]}`,
		`{"data":[{"embedding":[1]},{"embedding":["1"]}]}`, `{"data":[{"embedding":[1]},{"embedding":"AAA="}]}`, `{"data":[{"embedding":[1]},{"embedding":"` + nan + `"}]}`,
		`{"data":[{"embedding":[1]},{"embedding":[1e99]}]}`, `{"data":[{"embedding":[1]},{"embedding":[1]},{"embedding":[1]}]}`, `{"error":{"message":"out of order"}}`,
	} {
		_, _, err := play(t, &fixed{body: body}, embeddings.Vendor{}, "http://provider.invalid", converted(two))
		var failure *completion.ProviderError
		if !errors.As(err, &failure) || failure.Class != completion.ServerError || failure.Unbilled || !failure.Sent {
			t.Errorf("%q: %v", body, err)
		}
	}
	ordered, _, err := play(t, &fixed{body: `{"data":[{"index":1,"embedding":[2]},{"index":0,"embedding":[1]}],"usage":{"prompt_tokens":-1}}`}, embeddings.Vendor{}, "http://provider.invalid", converted(two))
	if diff := cmp.Diff([][]float32{{1}, {2}}, ordered.Result.Vectors); diff != "" || err != nil || ordered.Usage != nil {
		t.Errorf("%v, usage %+v (-want +got):\n%s", err, ordered.Usage, diff)
	}
}

func TestEmbeddingsFailAsOpenAIFails(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	for name, want := range map[llmtest.Failure]completion.Class{
		llmtest.ErrAuth: completion.AuthInvalid, llmtest.ErrRateLimit: completion.RateLimited, llmtest.ErrQuota: completion.QuotaExhausted,
		llmtest.ErrModel: completion.ModelNotFound, llmtest.ErrServer: completion.ServerError, llmtest.ErrGatewayHTML: completion.ServerError,
	} {
		in := completion.EmbeddingInput{Texts: []string{llmtest.Script{Error: name, Echo: true}.String() + " x"}}
		_, _, err := play(t, http.DefaultTransport, embeddings.Vendor{}, s.OpenAIURL()+"/embeddings", converted(in))
		var failure *completion.ProviderError
		if !errors.As(err, &failure) || failure.Class != want || !failure.Unbilled || strings.Contains(failure.Message, key) {
			t.Errorf("%s: %v, want class %s", name, err, want)
		}
	}
	judged := embeddings.Vendor{Judge: func(e *completion.ProviderError) { e.Class = completion.QuotaExhausted }}
	_, _, err := play(t, http.DefaultTransport, judged, s.OpenAIURL()+"/embeddings", converted(completion.EmbeddingInput{Texts: []string{"script:error=forbidden x"}}))
	var failure *completion.ProviderError
	if !errors.As(err, &failure) || failure.Class != completion.QuotaExhausted {
		t.Errorf("the vendor's own judgement: %v", err)
	}
	if _, _, err := play(t, http.DefaultTransport, embeddings.Vendor{}, s.OpenAIURL()+"/embeddings", converted(completion.EmbeddingInput{Texts: []string{"script:nousage x"}})); err != nil {
		t.Error(err)
	}
	no := converted(completion.EmbeddingInput{})
	no.Request.Decode = func() (*completion.Prompt, error) { return &completion.Prompt{}, nil }
	if _, _, err := play(t, http.DefaultTransport, embeddings.Vendor{}, s.URL, no); !errors.Is(err, completion.ErrUnsupported) {
		t.Errorf("a prompt without texts: %v", err)
	}
}

// fixed is a provider that always answers the same, and keeps what it was sent.
type fixed struct {
	body string
	sent []byte
}

func (f *fixed) RoundTrip(r *http.Request) (*http.Response, error) {
	f.sent, _ = io.ReadAll(r.Body)
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(f.body)), ContentLength: -1, Request: r}, nil
}

func FuzzAnswer(f *testing.F) {
	f.Add(`{"data":[{"index":1,"embedding":[2,-0.5e-3]},{"index":0,"embedding":"AACAPw=="}],"usage":{"prompt_tokens":3}}`)
	f.Add(`{"data":[{"embedding":[]}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		chunk, _, err := play(t, &fixed{body: body}, embeddings.Vendor{}, "http://provider.invalid", converted(completion.EmbeddingInput{Texts: []string{"a", "b"}}))
		if err != nil {
			return
		}
		if len(chunk.Result.Vectors) != 2 || len(chunk.Result.Vectors[0]) == 0 {
			t.Fatalf("%q: %+v", body, chunk.Result)
		}
		if _, err := json.Marshal(chunk.Result.Vectors); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
	})
}
