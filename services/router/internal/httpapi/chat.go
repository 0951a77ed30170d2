package httpapi

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/openai"
)

const (
	jsonType   = "application/json"
	streamType = "text/event-stream; charset=utf-8"
)

// chat is POST /v1/chat/completions.
func (a *api) chat(w http.ResponseWriter, r *http.Request) {
	requestID := id.New("req")
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		a.fail(w, r, requestID, errMethod)
		return
	}
	caller, err := a.caller(r)
	if err != nil {
		a.fail(w, r, requestID, err)
		return
	}
	body, err := a.body(w, r)
	if err != nil {
		a.fail(w, r, requestID, err)
		return
	}
	req, err := openai.Decode(body)
	if err == nil {
		err = addHeaders(r, &req)
	}
	if err != nil {
		a.fail(w, r, requestID, err)
		return
	}
	req.ID = requestID
	out := &chatSink{writer: newWriter(w, a.o.Now, req.Stream), req: &req, level: caller.Provenance}
	if err := a.o.Completions.Complete(r.Context(), caller, &req, out); err != nil {
		a.failed(r.Context(), w, r, out, err)
	}
	out.release()
}

// failed tells the caller of an error: with a status if nothing has gone out, else inside the stream.
// A whole answer that broke off while it was written cannot be told of; its connection is cut, so
// that it does not look complete.
func (a *api) failed(ctx context.Context, w http.ResponseWriter, r *http.Request, out *chatSink, err error) {
	switch {
	case !out.written:
		a.fail(w, r, out.req.ID, err)
	case ctx.Err() != nil:
		a.log(ctx, r, out.req.ID, err) // nobody is there to be told
	case out.stream:
		failure := openai.Fail(err, out.req.ID)
		a.log(ctx, r, out.req.ID, err)
		_ = out.write(failure.AppendEvent(nil)) // the caller may be gone by now
	default:
		a.log(ctx, r, out.req.ID, err)
		panic(http.ErrAbortHandler)
	}
}

// fail answers with an error status.
func (a *api) fail(w http.ResponseWriter, r *http.Request, requestID string, err error) {
	a.log(r.Context(), r, requestID, err)
	// net/http reads what is left of a body before it answers: who never sends it must not hold us.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(restTime))
	failure := openai.Fail(err, requestID)
	switch { // HTTP has words of its own for these two
	case errors.Is(err, errMethod):
		failure.Status = http.StatusMethodNotAllowed
	case errors.Is(err, errEncoding):
		failure.Status = http.StatusUnsupportedMediaType
	}
	maps.Copy(w.Header(), failure.Header())
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("X-Request-Id", requestID)
	w.WriteHeader(failure.Status)
	_, _ = w.Write(failure.AppendBody(nil)) //nolint:gosec // JSON by its content type, and escaped; the caller may be gone by now
}

func (a *api) log(ctx context.Context, r *http.Request, requestID string, err error) {
	level := levelOf(err)
	if a.o.Log.Enabled(ctx, level) {
		a.o.Log.Log(ctx, level, "request failed", "path", r.URL.Path, "request_id", requestID, "error", err)
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
func (a *api) models(w http.ResponseWriter, r *http.Request) {
	names, requestID, ok := a.named(w, r)
	if !ok {
		return
	}
	list := make([]openai.Model, 0, len(names))
	for _, name := range names {
		list = append(list, a.described(name))
	}
	a.answer(w, requestID, openai.AppendModels(nil, list))
}

// model is GET /v1/models/{model}.
func (a *api) model(w http.ResponseWriter, r *http.Request) {
	names, requestID, ok := a.named(w, r)
	if !ok {
		return
	}
	for _, name := range names {
		if name == r.PathValue("model") {
			a.answer(w, requestID, openai.AppendModel(nil, a.described(name)))
			return
		}
	}
	a.fail(w, r, requestID, completion.ErrModelUnknown.Saying("there is no model %q", r.PathValue("model")).With("param", "model"))
}

func (a *api) named(w http.ResponseWriter, r *http.Request) (names []string, requestID string, ok bool) {
	requestID = id.New("req")
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		a.fail(w, r, requestID, errMethod)
		return nil, requestID, false
	}
	caller, err := a.caller(r)
	if err == nil {
		names, err = a.o.Models(caller)
	}
	if err != nil {
		a.fail(w, r, requestID, err)
		return nil, requestID, false
	}
	return names, requestID, true
}

// described is a model as the list tells it. Nobody can say when most were made; SDKs want a number.
func (a *api) described(name string) openai.Model {
	owner, _, _ := strings.Cut(name, "/")
	return openai.Model{ID: name, OwnedBy: owner}
}

func (a *api) answer(w http.ResponseWriter, requestID string, body []byte) {
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("X-Request-Id", requestID)
	_, _ = w.Write(body) //nolint:gosec // JSON by its content type, and escaped; the caller may be gone by now
}
