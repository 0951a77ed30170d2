// Package gemini is the form of Google's generateContent, which AI Studio and Vertex AI speak: answers
// whole and streamed, vectors, pictures and counts.
//
// No caller speaks it, so every call is encoded from the neutral prompt; what the API cannot do is refused
// by name, and what a model cannot do is taken from the table in model.go. A stream has no mark of its
// end: it is whole if it gave a reason to finish.
package gemini

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// Options are how the vendors of this form differ.
type Options struct {
	// Who is what callers know the vendor as.
	Who string
	// CallIDs says that tool calls and their answers may name the call's id.
	CallIDs bool
	// Tiers says that the body may choose a service tier.
	Tiers bool
	// Files is how addresses of files begin that the vendor itself keeps; empty is none.
	Files string
	// WrapCounts says that counts name the model and wrap the request, as AI Studio's do.
	WrapCounts bool
	// Vectors says how vectors are asked for with a model.
	Vectors func(model string) Vectors
}

// At is where a method of the call's model goes.
type At func(method string) provider.Route

// Form sends calls in this form.
type Form struct {
	client  provider.Client
	options Options
	now     func() time.Time
}

// New returns the form over a client.
func New(client provider.Client, o Options) *Form {
	return &Form{client: client, options: o, now: time.Now}
}

// Start sends the call. See completion.Provider.
func (f *Form) Start(ctx context.Context, call completion.Call, at At) (completion.Answer, error) {
	prompt, err := call.Prompt()
	if err != nil {
		return nil, err
	}
	switch call.Request.Asks() {
	case completion.Embeddings:
		return f.embed(ctx, call, prompt, at)
	case completion.CountTokens:
		return f.count(ctx, call, prompt, at)
	case completion.Images:
		return f.draw(ctx, call, prompt, at)
	case completion.Chat, completion.Videos:
	}
	return f.generate(ctx, call, prompt, at)
}

// The methods of a model.
const (
	methodGenerate = "generateContent"
	methodStream   = "streamGenerateContent?alt=sse"
	methodCount    = "countTokens"
)

// generate asks for the next turn of a conversation.
func (f *Form) generate(ctx context.Context, call completion.Call, prompt *completion.Prompt, at At) (completion.Answer, error) {
	e, err := f.encode(ctx, prompt, call.Model)
	if err != nil {
		return nil, err
	}
	method := methodGenerate
	if call.Request.Stream {
		method = methodStream
	}
	reads := &format{seed: seed(call.AttemptID), mayGoOn: true}
	send := func(ctx context.Context, token string) (completion.Answer, error) {
		w := e.w
		w.ContinuationToken = token
		return f.answer(ctx, call, at(method), &w, reads)
	}
	first, err := send(ctx, "")
	if err != nil {
		return nil, err
	}
	return &continued{format: reads, stream: call.Request.Stream, again: send, ctx: ctx, current: first}, nil
}

// answer sends a request and returns what it gives of the answer.
func (f *Form) answer(ctx context.Context, call completion.Call, route provider.Route, w *wireRequest, reads *format) (completion.Answer, error) {
	res, key, err := f.post(ctx, call, route, w, call.Request.Stream)
	if err != nil {
		return nil, err
	}
	reads.key = key
	if !call.Request.Stream {
		return provider.NewWhole(res, reads.whole), nil
	}
	if kind := res.Header.Get("Content-Type"); strings.HasPrefix(kind, "application/json") || strings.HasPrefix(kind, "text/html") {
		return nil, reads.notStreamed(res)
	}
	res.Body = newBare(res.Body)
	return provider.NewStream(res, reads, false), nil
}

// seed makes ids of tool calls, which must be the same however an answer is cut and others in every
// answer of a conversation.
func seed(attemptID string) string {
	sum := sha256.Sum256([]byte(attemptID))
	return "call_" + hex.EncodeToString(sum[:8]) + "_"
}

// post sends a body and returns a good answer.
func (f *Form) post(ctx context.Context, call completion.Call, route provider.Route, w any, stream bool) (*provider.Response, secret.Text, error) {
	b, err := body(w)
	if err != nil {
		return nil, route.Auth.Key, err
	}
	res, err := f.client.Send(ctx, provider.Outgoing{
		Method: http.MethodPost, URL: route.URL, Body: b, Stream: stream, AttemptID: call.AttemptID, Auth: route.Auth, Header: route.Header,
	})
	if err != nil {
		return nil, route.Auth.Key, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, route.Auth.Key, f.refused(res, route.Auth.Key)
	}
	return res, route.Auth.Key, nil
}

// refused is the error of an error status. Nothing was generated.
func (f *Form) refused(res *provider.Response, key secret.Text) *completion.ProviderError {
	failure := parseError(res.StatusCode, res.ErrorBody(), key)
	failure.RequestID, failure.Sent, failure.Unbilled = res.RequestID(), true, true
	failure.RetryAfter = max(failure.RetryAfter, provider.RetryAfter(res.Header, f.now()))
	return failure
}

// count asks for the number of a prompt's tokens, which is free.
func (f *Form) count(ctx context.Context, call completion.Call, prompt *completion.Prompt, at At) (completion.Answer, error) {
	e, err := f.encode(ctx, prompt, call.Model)
	if err != nil {
		return nil, err
	}
	w := wireRequest{Contents: e.w.Contents, SystemInstruction: e.w.SystemInstruction, Tools: e.w.Tools}
	var out any = w
	if f.options.WrapCounts {
		w.Model = "models/" + call.Model
		out = struct {
			Request wireRequest `json:"generateContentRequest"`
		}{w}
	}
	res, key, err := f.post(ctx, call, at(methodCount), out, false)
	if err != nil {
		return nil, err
	}
	reads := &format{key: key}
	return provider.NewWhole(res, reads.counted), nil
}

// counted reads {"totalTokens":n}.
func (f *format) counted(body []byte) (completion.Chunk, string, error) {
	if err := f.errorIn(body); err != nil {
		return completion.Chunk{}, "", err
	}
	n, ok := jsonscan.Int(jsonscan.Get(body, "totalTokens"))
	if !ok || n < 0 || n > maxTokens {
		return completion.Chunk{}, "", f.nonsense("the provider answered something that is not a count of tokens")
	}
	return completion.Chunk{Result: &completion.Result{Count: n}, Usage: &completion.Usage{Final: true}}, "", nil
}

// Count asks how many tokens a word is, which shows that a credential may use a model and takes none.
func (f *Form) Count(ctx context.Context, route provider.Route) *completion.ProviderError {
	text := "hi"
	res, key, err := f.post(ctx, completion.Call{}, route, wireRequest{
		Contents: []wireContent{{Role: roleUser, Parts: []wirePart{{Text: &text}}}},
	}, false)
	if err != nil {
		return failureOf(err)
	}
	reads := &format{key: key, id: res.RequestID()}
	if _, _, err = reads.counted(res.ErrorBody()); err != nil { // bounded: it is one number
		return failureOf(err)
	}
	return nil
}

const (
	// maxPages bounds how many pages of a list of models are read, maxListed how many names are kept.
	maxPages  = 10
	maxListed = 1000
)

// List asks for the models that a credential may use, page by page. Of a list that is too long none is
// named.
func (f *Form) List(ctx context.Context, route provider.Route) (names []string, failure *completion.ProviderError) {
	token := ""
	for page := 0; ; page++ {
		query := "?pageSize=" + strconv.Itoa(maxListed)
		if token != "" {
			query += "&pageToken=" + token
		}
		res, err := f.client.Send(ctx, provider.Outgoing{Method: http.MethodGet, URL: route.URL + query, Auth: route.Auth, Header: route.Header})
		if err != nil {
			return nil, failureOf(err)
		}
		if res.StatusCode != http.StatusOK {
			return nil, f.refused(res, route.Auth.Key)
		}
		body, err := res.Whole()
		if err != nil {
			return nil, failureOf(err)
		}
		list := jsonscan.Get(body, "models")
		if jsonscan.KindOf(list) != jsonscan.ArrayKind {
			if page == 0 {
				return nil, &completion.ProviderError{Class: completion.ServerError, Message: "the address answers, but not with a list of models; check the endpoint"}
			}
			return names, nil
		}
		entries := jsonscan.Array(list)
		for entries.Next() {
			if jsonscan.KindOf(entries.Value) != jsonscan.ObjectKind {
				continue
			}
			name, _ := jsonscan.Text(jsonscan.Get(entries.Value, "name"))
			if name = strings.TrimPrefix(name, "models/"); ModelName(name) {
				names = append(names, name)
			}
		}
		token, _ = jsonscan.Text(jsonscan.Get(body, "nextPageToken"))
		if token == "" {
			return names, nil
		}
		if len(names) > maxListed || page+1 >= maxPages || !pageToken(token) {
			return nil, nil
		}
	}
}

// pageToken reports whether a token can stand in a query as it is.
func pageToken(token string) bool {
	return len(token) <= 1024 && strings.IndexFunc(token, func(r rune) bool {
		return !strings.ContainsRune("-_=.~", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
}

// ModelName reports whether a name can stand in a path: callers choose it.
func ModelName(name string) bool {
	return name != "" && len(name) <= 256 && name != "." && name != ".." && strings.IndexFunc(name, func(r rune) bool {
		return !strings.ContainsRune("-_.@", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
}
