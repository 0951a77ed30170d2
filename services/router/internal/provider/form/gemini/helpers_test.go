package gemini_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/gemini"
)

// replay is a provider that answers with a body, in reads of the sizes that next says, and keeps what it
// was sent. What it is asked for with GET is a picture.
type replay struct {
	status int
	kind   string
	answer string
	again  string // repeated after it, for ever
	next   func() int
	body   []byte
	url    string
}

const png = "\x89PNG\r\n\x1a\n"

func (r *replay) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodGet {
		return &http.Response{
			StatusCode: 200, Header: http.Header{"Content-Type": {"image/png"}}, Body: io.NopCloser(strings.NewReader(png)),
		}, nil
	}
	r.url = req.URL.String()
	r.body, _ = io.ReadAll(req.Body)
	if r.next == nil {
		r.next = func() int { return 1 << 20 }
	}
	if r.status == 0 {
		r.status = 200
	}
	return &http.Response{
		StatusCode: r.status, Header: http.Header{"Content-Type": {r.kind}}, ContentLength: -1,
		Body: &reads{data: r.answer, next: r.next, again: r.again},
	}, nil
}

type reads struct {
	data, again string
	next        func() int
}

func (r *reads) Read(b []byte) (int, error) {
	if r.data == "" {
		r.data = r.again
	}
	if r.data == "" {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), r.next())], r.data)
	r.data = r.data[n:]
	return n, nil
}

func (*reads) Close() error { return nil }

var (
	studio = gemini.Options{Who: "AI Studio", CallIDs: true, Tiers: true, WrapCounts: true, Files: "https://files.example/"}
	vertex = gemini.Options{Who: "Vertex", Files: "gs://"}
)

const key = "AQ.canary-0123456789abcdef"

// start makes a call of an operation at a replay.
func start(t testing.TB, r *replay, o gemini.Options, model string, op completion.Operation, stream bool, p *completion.Prompt) (completion.Answer, error) {
	t.Helper()
	if r.kind == "" {
		r.kind = "application/json; charset=UTF-8"
		if stream {
			r.kind = "text/event-stream"
		}
	}
	call := completion.Call{AttemptID: "att_1", Model: model, Request: &completion.Request{
		Operation: op, Stream: stream, Decode: func() (*completion.Prompt, error) { return p, nil },
	}}
	return gemini.New(provider.NewClient(r), o).Start(t.Context(), call, func(method string) provider.Route {
		return provider.Route{URL: "http://provider.invalid/models/" + model + ":" + method, Auth: provider.Auth{Header: "X-Goog-Api-Key", Key: secret.New(key)}}
	})
}

func hello() *completion.Prompt {
	return &completion.Prompt{Messages: []completion.Message{{Role: completion.User, Parts: []completion.Part{{Text: "hello"}}}}}
}

const wholeAnswer = `{"candidates":[{"content":{"role":"model","parts":[{"text":"hi"}]},"finishReason":"STOP"}]}`

// sent is the body that a prompt becomes.
func sent(t *testing.T, o gemini.Options, model string, op completion.Operation, p *completion.Prompt) ([]byte, error) {
	t.Helper()
	answer := map[completion.Operation]string{
		completion.Chat: wholeAnswer, completion.CountTokens: `{"totalTokens":1}`, completion.Images: wholeAnswer,
		completion.Embeddings: `{"embeddings":[{"values":[1]},{"values":[2]}]}`,
	}[op]
	r := &replay{answer: answer}
	got, err := start(t, r, o, model, op, false, p)
	if err != nil {
		return nil, err
	}
	_ = got.Close()
	var b bytes.Buffer
	if err := json.Indent(&b, r.body, "", "  "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// golden compares with a file below testdata, which CLAVIGER_UPDATE_GOLDEN=1 rewrites.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name
	if os.Getenv("CLAVIGER_UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
