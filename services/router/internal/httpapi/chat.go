package httpapi

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/openai"
)

const (
	jsonType   = "application/json"
	streamType = "text/event-stream; charset=utf-8"
)

// chat is POST /v1/chat/completions.
func (a *api) chat(ctx context.Context, x *exchange) {
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
	req, err := openai.Decode(body)
	if err == nil {
		err = addHeaders(x.r, &req)
	}
	if err != nil {
		a.fail(ctx, x, err)
		return
	}
	req.ID = x.requestID
	out := &chatSink{writer: newWriter(x, a.o.Now, req.Stream), req: &req, level: caller.Provenance}
	if err := a.o.Completions.Complete(ctx, caller, &req, out); err != nil {
		a.failed(ctx, x, out, err)
	}
	out.release()
}

// failed tells the caller of an error: with a status if nothing has gone out, else inside the stream.
// A whole answer that broke off while it was written cannot be told of; its connection is cut, so
// that it does not look complete.
func (a *api) failed(ctx context.Context, x *exchange, out *chatSink, err error) {
	if !out.written {
		a.fail(ctx, x, err)
		return
	}
	a.log(ctx, x, err)
	switch {
	case ctx.Err() != nil: // nobody is there to be told
	case out.stream:
		_ = out.write(openai.Fail(err, x.requestID).AppendEvent(nil)) // the caller may be gone by now
	default:
		panic(http.ErrAbortHandler)
	}
}

// fail answers with an error status.
func (a *api) fail(ctx context.Context, x *exchange, err error) {
	a.log(ctx, x, err)
	// net/http reads what is left of a body before it answers: who never sends it must not hold us.
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(restTime))
	failure := openai.Fail(err, x.requestID)
	switch { // HTTP has words of its own for these two
	case errors.Is(err, errMethod):
		failure.Status = http.StatusMethodNotAllowed
	case errors.Is(err, errEncoding):
		failure.Status = http.StatusUnsupportedMediaType
	}
	maps.Copy(x.w.Header(), failure.Header())
	x.w.Header().Set("Content-Type", jsonType)
	x.w.Header().Set("X-Request-Id", x.requestID)
	x.status = failure.Status
	x.w.WriteHeader(failure.Status)
	_, _ = x.w.Write(failure.AppendBody(nil)) // the caller may be gone by now
}

// log notes a failure, for the exchange and for people.
func (a *api) log(ctx context.Context, x *exchange, err error) {
	x.failure = err
	level := levelOf(err)
	if a.o.Log.Enabled(ctx, level) {
		a.o.Log.Log(ctx, level, "request failed", "path", x.r.URL.Path, "request_id", x.requestID, "error", err)
	}
}

// buffers hold what is encoded for callers whose dialect is not the provider's.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// chatSink writes an answer as OpenAI's chat completions do.
type chatSink struct {
	writer
	req     *completion.Request
	level   completion.Provenance
	served  completion.Served
	written bool // something has gone out

	events *openai.Stream // of a converted stream
	buf    *[]byte
	whole  completion.Chunk // of a converted answer in one piece
}

func (s *chatSink) release() {
	if s.buf != nil {
		*s.buf = (*s.buf)[:0]
		buffers.Put(s.buf)
	}
}

// Begin implements completion.Sink.
func (s *chatSink) Begin(served completion.Served) error {
	s.served = served
	if !served.Raw {
		s.buf, _ = buffers.Get().(*[]byte)
	}
	if !s.stream {
		return nil // the header waits for the length
	}
	if !served.Raw {
		s.events = openai.NewStream(s.req.ID, served.Target.Model, s.now(), s.req.IncludeUsage)
	}
	s.written = true
	s.header(streamType, -1, s.req.ID, s.level, served)
	return nil
}

// Chunk implements completion.Sink.
func (s *chatSink) Chunk(c *completion.Chunk) error {
	switch {
	case s.served.Raw && len(c.Raw) == 0:
		return nil
	case s.served.Raw:
		if !s.stream && !s.written {
			s.written = true
			s.header(jsonType, len(c.Raw), s.req.ID, s.level, s.served)
		}
		return s.write(c.Raw)
	case s.stream:
		*s.buf = s.events.AppendChunk((*s.buf)[:0], c)
		if len(*s.buf) == 0 {
			return nil
		}
		return s.write(*s.buf)
	}
	s.gather(c)
	return nil
}

// gather joins the pieces of a converted answer; providers give it in one.
func (s *chatSink) gather(c *completion.Chunk) {
	d := &s.whole.Delta
	d.Text += c.Delta.Text
	d.Reasoning += c.Delta.Reasoning
	d.Refusal += c.Delta.Refusal
	d.ToolCalls = append(d.ToolCalls, c.Delta.ToolCalls...)
}

// End implements completion.Sink.
func (s *chatSink) End(final completion.Final) error {
	if s.served.Raw {
		return nil
	}
	if s.stream {
		*s.buf = s.events.AppendEnd((*s.buf)[:0], final.Tokens)
		return s.write(*s.buf)
	}
	s.whole.Finish = final.Finish
	*s.buf = openai.AppendCompletion((*s.buf)[:0], s.req.ID, s.served.Target.Model, s.now(), &s.whole, final.Tokens)
	s.written = true
	s.header(jsonType, len(*s.buf), s.req.ID, s.level, s.served)
	return s.write(*s.buf)
}

// models is GET /v1/models.
func (a *api) models(ctx context.Context, x *exchange) {
	names, ok := a.named(ctx, x)
	if !ok {
		return
	}
	list := make([]openai.Model, 0, len(names))
	for _, name := range names {
		list = append(list, a.described(name))
	}
	a.answer(x, openai.AppendModels(nil, list))
}

// model is GET /v1/models/{model}.
func (a *api) model(ctx context.Context, x *exchange) {
	names, ok := a.named(ctx, x)
	if !ok {
		return
	}
	asked := x.r.PathValue("model")
	for _, name := range names {
		if name == asked {
			a.answer(x, openai.AppendModel(nil, a.described(name)))
			return
		}
	}
	a.fail(ctx, x, completion.ErrModelUnknown.Saying("there is no model %q", asked).With("param", "model"))
}

func (a *api) named(ctx context.Context, x *exchange) (names []string, ok bool) {
	if x.r.Method != http.MethodGet {
		x.w.Header().Set("Allow", http.MethodGet)
		a.fail(ctx, x, errMethod)
		return nil, false
	}
	caller, err := a.caller(x.r)
	if err == nil {
		ctx = telemetry.WithOrganization(ctx, caller.OrgID)
		names, err = a.o.Models(caller)
	}
	if err != nil {
		a.fail(ctx, x, err)
		return nil, false
	}
	return names, true
}

// described is a model as the list tells it. Nobody can say when most were made; SDKs want a number.
func (a *api) described(name string) openai.Model {
	owner, _, _ := strings.Cut(name, "/")
	return openai.Model{ID: name, OwnedBy: owner}
}

func (a *api) answer(x *exchange, body []byte) {
	x.w.Header().Set("Content-Type", jsonType)
	x.w.Header().Set("X-Request-Id", x.requestID)
	x.status = http.StatusOK
	_, _ = x.w.Write(body) // the caller may be gone by now
}
