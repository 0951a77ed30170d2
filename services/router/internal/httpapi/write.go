package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
)

const (
	// writeTime is how long one write to a slow caller may take before the stream is cut.
	writeTime = 30 * time.Second
	// renewAfter is how old a write deadline may grow before it is moved on: moving it costs as much
	// as a small write.
	renewAfter = 5 * time.Second
)

// writer writes pieces of an answer and flushes each, with a deadline that moves along.
type writer struct {
	x       *exchange
	rc      *http.ResponseController
	now     func() time.Time
	renewed time.Time
	stream  bool
}

func newWriter(x *exchange, now func() time.Time, stream bool) writer {
	return writer{x: x, rc: http.NewResponseController(x.w), now: now, stream: stream}
}

func (w *writer) write(b []byte) error {
	if now := w.now(); now.Sub(w.renewed) > renewAfter {
		_ = w.rc.SetWriteDeadline(now.Add(writeTime)) // not every writer can; then the connection's end is the bound
		w.renewed = now
	}
	_, err := w.x.w.Write(b)
	if err == nil && w.stream {
		err = w.rc.Flush()
	}
	if err != nil {
		return errGone.Because(err)
	}
	return nil
}

// header writes status and headers of an answer that has begun.
func (w *writer) header(contentType string, length int, requestID string, level completion.Provenance, served completion.Served) {
	h := w.x.w.Header()
	h["Content-Type"] = []string{contentType}
	h["X-Request-Id"] = []string{requestID}
	if w.stream {
		h["Cache-Control"] = []string{"no-cache"}
		h["X-Accel-Buffering"] = []string{"no"}
	}
	if length >= 0 {
		h["Content-Length"] = []string{strconv.Itoa(length)}
	}
	provenance(h, level, served)
	w.x.status = http.StatusOK
	w.x.w.WriteHeader(http.StatusOK)
}

// provenance tells what served, as far as the API key may see it.
func provenance(h http.Header, level completion.Provenance, served completion.Served) {
	if level == completion.ProvenanceNone {
		return
	}
	t := served.Target
	h["X-Claviger-Model"] = []string{t.Model}
	h["X-Claviger-Class"] = []string{t.Class.String()}
	if level != completion.ProvenanceFull {
		return
	}
	h["X-Claviger-Provider"] = []string{t.Provider}
	h["X-Claviger-Attempts"] = []string{strconv.Itoa(len(served.Attempts))}
	if t.Class.String() == "own" {
		h["X-Claviger-Credential"] = []string{t.Credential.ID}
	}
	if t.PolicyName != "" {
		h["X-Claviger-Policy"] = []string{t.PolicyName + "@" + strconv.FormatInt(t.PolicyVersion, 10)}
	}
}
