package vertex_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/vertex"
)

// half answers the text "paid", and once that was read fails every other one.
type half struct {
	fail  func() (*http.Response, error)
	read  chan struct{}
	mu    sync.Mutex
	calls int
}

type told struct {
	io.Reader
	closed func()
}

func (t told) Close() error { t.closed(); return nil }

func answer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1}
}

func (h *half) RoundTrip(r *http.Request) (*http.Response, error) {
	raw, _ := io.ReadAll(r.Body)
	if strings.HasSuffix(r.URL.Path, "/token") {
		return answer(200, `{"access_token":"ya29.a","expires_in":3599}`), nil
	}
	h.mu.Lock()
	h.calls++
	h.mu.Unlock()
	if !strings.Contains(string(raw), "paid") {
		<-h.read
		return h.fail()
	}
	res := answer(200, `{"embedding":{"values":[0.5]},"usageMetadata":{"promptTokenCount":3}}`)
	res.Body = told{res.Body, sync.OnceFunc(func() { close(h.read) })}
	return res, nil
}

func TestVectorsThatWerePaidAreNotAskedForAgain(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() (*http.Response, error){
		"a token that ends": func() (*http.Response, error) {
			return answer(401, `{"error":{"code":401,"message":"x","status":"UNAUTHENTICATED"}}`), nil
		},
		"a connection that ends": func() (*http.Response, error) { return nil, io.ErrUnexpectedEOF },
	} {
		h := &half{fail: fail, read: make(chan struct{})}
		c := call(vertex.BaseURL, "gemini-embedding-2", 1)
		c.Request.Operation = completion.Embeddings
		c.Request.Decode = func() (*completion.Prompt, error) {
			return &completion.Prompt{Embedding: &completion.EmbeddingInput{Texts: []string{"paid", "other"}}}, nil
		}
		err := send(t, vertex.New(h), c)
		failed, ok := errors.AsType[*completion.ProviderError](err)
		if !ok || !failed.Sent || failed.Unbilled || h.calls != 2 {
			t.Errorf("%s: %+v after %d calls", name, failed, h.calls)
		}
	}
}
