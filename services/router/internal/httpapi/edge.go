package httpapi

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"time"

	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/anthropic"
	"github.com/claviger/claviger/services/router/internal/dialect/embeddings"
	"github.com/claviger/claviger/services/router/internal/dialect/images"
	"github.com/claviger/claviger/services/router/internal/dialect/openai"
	"github.com/claviger/claviger/services/router/internal/dialect/responses"
)

// family is what routes of one vendor's API have in common.
type family struct {
	// name is what traces call it.
	name string
	// fail turns an error into what the vendor's SDKs expect.
	fail func(err error, requestID string) dialect.Failure
	// pulse is what keeps a waiting stream open, once an answer has begun.
	pulse string
	// idHeader is the header in which SDKs look for the request's id, besides X-Request-Id; it may be empty.
	idHeader string
	// headers are those of a caller's that a provider which speaks the same dialect is told, in the
	// canonical form.
	headers []string
}

// edge is a route on which answers are asked for in a dialect.
type edge struct {
	pattern string
	of      *family
	// decode reads what the router has to know of a body.
	decode func(body []byte) (completion.Request, error)
	// encoder writes an answer that has to be converted.
	encoder func(req *completion.Request, served completion.Served, now time.Time) dialect.Encoder
}

// comment is a heartbeat that every reader of a stream passes over.
const comment = ": keep-alive\n\n"

var openAI = &family{
	name: "openai", pulse: comment,
	fail: func(err error, requestID string) dialect.Failure { return openai.Fail(err, requestID) },
}

// openAIEvents is for streams in which an error is an event with a name.
var openAIEvents = &family{
	name: "openai", pulse: comment,
	fail: func(err error, requestID string) dialect.Failure { return responses.Fail(err, requestID) },
}

var anthropicFamily = &family{
	name: "anthropic", pulse: anthropic.Heartbeat, idHeader: "Request-Id",
	headers: []string{headerVersion, "Anthropic-Beta"},
	fail:    func(err error, requestID string) dialect.Failure { return anthropic.Fail(err, requestID) },
}

// headerVersion is sent with each call by Anthropic's SDKs, and by no others.
const headerVersion = "Anthropic-Version"

// edges are all routes that are answered by a target.
var edges = []edge{
	{
		pattern: "/v1/chat/completions", of: openAI, decode: openai.Decode,
		encoder: func(req *completion.Request, served completion.Served, now time.Time) dialect.Encoder {
			return openai.NewEncoder(req, served.Target.Model, now)
		},
	},
	{
		pattern: "/v1/responses", of: openAIEvents, decode: responses.Decode,
		encoder: func(req *completion.Request, served completion.Served, now time.Time) dialect.Encoder {
			return responses.NewEncoder(req, served.Target.Model, now)
		},
	},
	{
		pattern: "/v1/embeddings", of: openAI, decode: embeddings.Decode,
		encoder: func(req *completion.Request, served completion.Served, _ time.Time) dialect.Encoder {
			return embeddings.NewEncoder(req, served.Target.Model)
		},
	},
	{
		pattern: "/v1/images/generations", of: openAIEvents, decode: images.Decode,
		encoder: func(req *completion.Request, _ completion.Served, now time.Time) dialect.Encoder {
			return images.NewEncoder(req, now)
		},
	},
	{
		pattern: "/v1/messages", of: anthropicFamily, decode: anthropic.Decode,
		encoder: func(req *completion.Request, served completion.Served, _ time.Time) dialect.Encoder {
			return anthropic.NewEncoder(req, served.Target.Model)
		},
	},
	{
		pattern: "/v1/messages/count_tokens", of: anthropicFamily, decode: anthropic.DecodeCount,
		encoder: func(*completion.Request, completion.Served, time.Time) dialect.Encoder {
			return anthropic.CountEncoder{}
		},
	},
}

// complete serves an edge.
func (a *api) complete(e *edge) func(ctx context.Context, x *exchange) {
	return func(ctx context.Context, x *exchange) {
		if x.r.Method != http.MethodPost {
			x.w.Header().Set("Allow", http.MethodPost)
			a.fail(ctx, x, errMethod)
			return
		}
		caller, err := a.caller(x.r)
		if err != nil {
			a.fail(ctx, x, err)
			return
		}
		ctx = telemetry.WithOrganization(ctx, caller.OrgID)
		body, err := a.body(x.w, x.r)
		if err != nil {
			a.fail(ctx, x, err)
			return
		}
		req, err := e.decode(body)
		if err == nil {
			err = addHeaders(x.r, &req, e.of.headers)
		}
		asked := false
		if err == nil {
			asked, err = included(x.r)
		}
		if err != nil {
			a.fail(ctx, x, err)
			return
		}
		req.ID = x.requestID
		out := newSink(e, x, &req, caller.Provenance, a.o.Now)
		defer out.release() // also of an answer that had to be cut
		if asked && req.Stream && caller.Provenance != completion.ProvenanceNone {
			out.teller = newTeller(req.Dialect)
		}
		if err = a.o.Completions.Complete(ctx, caller, &req, out); err != nil {
			a.failed(ctx, x, out, err)
		}
	}
}

// failed tells the caller of an error: with a status if nothing has gone out, else inside the stream.
// A whole answer that broke off while it was written cannot be told of; its connection is cut, so
// that it does not look complete.
func (a *api) failed(ctx context.Context, x *exchange, out *sink, err error) {
	if !out.stop() {
		a.fail(ctx, x, err)
		return
	}
	a.log(ctx, x, err)
	switch {
	case ctx.Err() != nil: // nobody is there to be told
	case out.stream:
		_ = out.spill()
		_ = out.write(x.of.fail(err, x.requestID).AppendEvent(nil)) // the caller may be gone by now
	default:
		panic(http.ErrAbortHandler)
	}
}

// fail answers with an error status.
func (a *api) fail(ctx context.Context, x *exchange, err error) {
	a.log(ctx, x, err)
	// net/http reads what is left of a body before it answers: who never sends it must not hold us.
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(restTime))
	failure := x.of.fail(err, x.requestID)
	status, header := failure.Head()
	switch { // HTTP has words of its own for these two
	case errors.Is(err, errMethod):
		status = http.StatusMethodNotAllowed
	case errors.Is(err, errEncoding):
		status = http.StatusUnsupportedMediaType
	}
	maps.Copy(x.w.Header(), header)
	x.w.Header().Set("Content-Type", jsonType)
	x.w.Header().Set("X-Request-Id", x.requestID)
	x.status = status
	x.w.WriteHeader(status)
	_, _ = x.w.Write(failure.AppendBody(nil)) // the caller may be gone by now
}

// log notes a failure, for the exchange and for people.
func (a *api) log(ctx context.Context, x *exchange, err error) {
	x.failure = err
	level := levelOf(err)
	if a.o.Log.Enabled(ctx, level) {
		a.o.Log.Log(ctx, level, "request failed", "route", x.route, "request_id", x.requestID, "error", err)
	}
}
