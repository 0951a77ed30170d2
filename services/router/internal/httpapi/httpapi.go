// Package httpapi serves the edges that SDKs expect, over plain HTTP: the same use case as package
// rpc, decoded and encoded by a dialect.
package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/snapshot"
)

// bodyTime is how long a caller may take to send a whole body.
const bodyTime = 60 * time.Second

// eagerBody is how much memory an announced length gets before its bytes arrive.
const eagerBody = 256 << 10

// restTime is how long a caller that was refused may take to send the rest of a body.
const restTime = 5 * time.Second

// The faults of this edge.
var (
	errRoute    = fault.New(fault.NotFound, "ROUTE_NOT_SUPPORTED", "this route is not supported here").Hinting("POST to /v1/chat/completions, /v1/responses, /v1/embeddings, /v1/images/generations, /v1/videos and /v1/messages is, and GET /v1/models; the typed API is claviger.router.v1.CompletionService")
	errMethod   = fault.New(fault.Invalid, "METHOD_NOT_SUPPORTED", "this route does not know the method").Hinting("the header Allow names the method that it knows")
	errEncoding = fault.New(fault.Invalid, "CONTENT_ENCODING_NOT_SUPPORTED", "request bodies must not be compressed").Hinting("send the body without Content-Encoding")
	errTooLarge = fault.New(fault.Invalid, "BODY_TOO_LARGE", "the request body is too large").Hinting("shorten the conversation, or name pictures by their address")
	errBody     = fault.New(fault.Invalid, "BODY_INCOMPLETE", "the request body did not arrive whole").Hinting("send it again")
	errGone     = fault.New(fault.Canceled, "CALLER_GONE", "the caller does not take the answer")
	errTags     = fault.New(fault.Invalid, "TAGS_INVALID", `the header x-claviger-tags is not "key=value,key=value"`)
)

// Options configures the edge.
type Options struct {
	Completions *completion.Service
	// Caller says who presents an API key.
	Caller func(presented string) (completion.Caller, error)
	// Models lists what a caller may name.
	Models func(caller completion.Caller) ([]string, error)
	// Media follows jobs; nil has no routes for them. Webhooks are by which providers tell of their end.
	Media    Media
	Webhooks map[string]Webhook
	// MaxBodyBytes bounds a request.
	MaxBodyBytes int64
	Log          *slog.Logger
	Now          func() time.Time
	Telemetry    *telemetry.Telemetry
}

type api struct {
	o        Options
	observer *observer
}

// New returns the handler of /v1.
func New(o Options) http.Handler {
	a := &api{o, newObserver(o.Telemetry)}
	mux := http.NewServeMux()
	for i := range edges {
		mux.HandleFunc(edges[i].pattern, a.handle(edges[i].pattern, edges[i].of, a.complete(&edges[i])))
	}
	a.mountVideos(mux)
	a.mountHooks(mux)
	mux.HandleFunc("/v1/models", a.handle("/v1/models", openAI, a.models))
	mux.HandleFunc("/v1/models/{model...}", a.handle("/v1/models/{model}", openAI, a.model))
	mux.HandleFunc("/v1/", a.handle("/v1/", openAI, func(ctx context.Context, x *exchange) {
		x.of = familyOf(x.r)
		a.fail(ctx, x, errRoute.With("path", x.r.URL.Path))
	}))
	return a.recovering(mux)
}

// recovering tells of a panic, which net/http would hide. Its value may hold anything that was being
// worked on: only its type is told. What has gone out by then cannot be mended; the connection is cut.
func (a *api) recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer a.recovered(r)
		next.ServeHTTP(w, r)
	})
}

// caller authenticates: "Authorization: Bearer", or x-api-key as Anthropic's SDKs send.
func (a *api) caller(r *http.Request) (completion.Caller, error) {
	presented := r.Header.Get("Authorization")
	if presented != "" {
		scheme, token, ok := strings.Cut(presented, " ")
		if !ok || !strings.EqualFold(scheme, "bearer") {
			return completion.Caller{}, snapshot.ErrKeyMissing
		}
		presented = strings.TrimSpace(token)
	} else {
		presented = r.Header.Get("x-api-key")
	}
	if presented == "" {
		return completion.Caller{}, snapshot.ErrKeyMissing
	}
	return a.o.Caller(presented)
}

// body reads the request's body, within bounds of size and time.
func (a *api) body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, errEncoding.With("content_encoding", e)
	}
	if r.ContentLength > a.o.MaxBodyBytes {
		return nil, a.tooLarge()
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTime)) // not every writer can; then the server's bounds hold
	limited := http.MaxBytesReader(w, r.Body, a.o.MaxBodyBytes)
	var body []byte
	var err error
	if r.ContentLength > 0 && r.ContentLength <= eagerBody {
		body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(limited, body)
	} else {
		body, err = io.ReadAll(limited)
	}
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, a.tooLarge()
		}
		return nil, errBody.Because(err)
	}
	_ = rc.SetReadDeadline(time.Time{})
	return body, nil
}

func (a *api) tooLarge() error {
	return errTooLarge.Saying("the request body is larger than %d bytes", a.o.MaxBodyBytes)
}

func (a *api) recovered(r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p != http.ErrAbortHandler { //nolint:errorlint // compared as net/http does
		a.o.Log.ErrorContext(r.Context(), "panic", "route", r.Pattern, "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
	}
	panic(http.ErrAbortHandler)
}

const (
	maxTags     = 16
	maxTagKey   = 64
	maxTagValue = 256
	maxSession  = 256
)

// addHeaders takes tags and session from the request's headers, and those that a provider may be told; a
// tag there wins over one in the body.
func addHeaders(r *http.Request, req *completion.Request, told []string) error {
	for _, name := range told {
		if values := r.Header[name]; len(values) > 0 {
			if req.Headers == nil {
				req.Headers = map[string]string{}
			}
			req.Headers[name] = strings.Join(values, ",")
		}
	}
	if s := r.Header.Get("x-claviger-session"); s != "" {
		if len(s) > maxSession {
			return errTags.Saying("x-claviger-session is longer than %d bytes", maxSession)
		}
		req.Session = s
	}
	if h := r.Header.Get("x-claviger-tags"); h != "" {
		for pair := range strings.SplitSeq(h, ",") {
			key, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
			key = strings.TrimSpace(key)
			if !ok || key == "" || len(key) > maxTagKey || len(value) > maxTagValue {
				return errTags.Hinting("a key has 1 to 64 bytes, a value at most 256")
			}
			if req.Tags == nil {
				req.Tags = map[string]string{}
			}
			req.Tags[key] = strings.TrimSpace(value)
		}
		if len(req.Tags) > maxTags {
			return errTags.Saying("a request may have %d tags, this one has %d", maxTags, len(req.Tags))
		}
	}
	return nil
}

// levelOf tells what an operator should look at from what is a caller's own business.
func levelOf(err error) slog.Level {
	if gone(err) {
		return slog.LevelDebug
	}
	switch fault.KindOf(err) {
	case fault.Internal:
		return slog.LevelError
	case fault.Unavailable, fault.Timeout:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

// gone reports whether a request failed because its caller went away.
func gone(err error) bool { return errors.Is(err, context.Canceled) || errors.Is(err, errGone) }
