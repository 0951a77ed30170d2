package bedrock_test

import (
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
)

// replay answers with a body, in reads of the sizes that next says; again is repeated for ever. It keeps
// what was sent.
type replay struct {
	stream, again string
	next          func() int
	kind          string
	status        int
	header        http.Header

	mu     sync.Mutex
	sent   []*http.Request
	bodies []string
}

func (r *replay) RoundTrip(req *http.Request) (*http.Response, error) {
	body := ""
	if req.Body != nil {
		b, _ := io.ReadAll(req.Body)
		body = string(b)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent, r.bodies = append(r.sent, req), append(r.bodies, body)
	if r.next == nil {
		r.next = func() int { return 1 << 20 }
	}
	header := r.header.Clone()
	if header == nil {
		header = http.Header{}
	}
	if r.kind == "" {
		r.kind = mediaStream
	}
	header.Set("Content-Type", r.kind)
	if r.status == 0 {
		r.status = 200
	}
	return &http.Response{
		StatusCode: r.status, Header: header, ContentLength: -1, Body: &reads{data: r.stream, next: r.next, again: r.again}, Request: req,
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
	n := copy(b[:min(len(b), max(1, r.next()))], r.data)
	r.data = r.data[n:]
	return n, nil
}

func (r *reads) Close() error { return nil }

// asked returns a call whose prompt is converted.
func asked(model string, stream bool, prompt *completion.Prompt) completion.Call {
	call := providertest.Converted("", model, stream, llmtest.Script{})
	call.Secret = secret.New(signed(providertest.Key))
	if prompt != nil {
		call.Request.Decode = func() (*completion.Prompt, error) { return prompt, nil }
	}
	return call
}

// passing returns a call of a caller who speaks Anthropic's messages.
func passing(stream bool, body string) completion.Call {
	return completion.Call{
		AttemptID: "att_1", Model: claude, Secret: secret.New(signed(providertest.Key)), Raw: true,
		Request: &completion.Request{Dialect: completion.AnthropicMessages, Stream: stream, Raw: []byte(body)},
	}
}

// said is a prompt of one text.
func said(text string) *completion.Prompt {
	return &completion.Prompt{Messages: []completion.Message{{Role: completion.User, Parts: []completion.Part{{Text: text}}}}}
}

// collect starts a call and reads its answer to the end.
func collect(t *testing.T, p completion.Provider, call completion.Call) (providertest.Answer, error) {
	t.Helper()
	answer, err := p.Start(t.Context(), call)
	if err != nil {
		return providertest.Answer{}, err
	}
	defer answer.Close() //nolint:errcheck // a test
	return providertest.Collect(answer)
}
