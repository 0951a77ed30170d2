package httpapi

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
)

const (
	// writeTime is how long one write to a slow caller may take before the stream is cut.
	writeTime = 30 * time.Second
	// renewAfter is how old a write deadline may grow before it is moved on: moving it costs as much
	// as a small write.
	renewAfter = 5 * time.Second
	// patience is how long a caller of a stream waits for a status, and silence for the next event, before
	// a heartbeat comes.
	patience = 10 * time.Second
	silence  = 15 * time.Second

	jsonType   = "application/json"
	streamType = "text/event-stream; charset=utf-8"
)

// writer writes pieces of an answer and flushes each, with a deadline that moves along. Into a stream that
// is silent it writes heartbeats.
type writer struct {
	x       *exchange
	rc      *http.ResponseController
	now     func() time.Time
	renewed time.Time
	stream  bool

	// mu keeps heartbeats out of what is being written.
	mu      sync.Mutex
	begun   bool // something has gone out
	stopped bool
	beat    string
	last    time.Time // of the last write
	timer   *time.Timer
}

func (w *writer) init(x *exchange, now func() time.Time, stream bool) {
	w.x, w.rc, w.now, w.stream, w.beat = x, http.NewResponseController(x.w), now, stream, comment
	if !stream {
		return
	}
	w.last = now()
	w.mu.Lock()
	w.timer = time.AfterFunc(patience, w.heartbeat)
	w.mu.Unlock()
}

// heartbeat keeps a silent stream open. If nothing has come at all, it spends the status: other targets
// may still serve, and an error is then told inside the stream.
func (w *writer) heartbeat() {
	if !w.mu.TryLock() { // something is being written: no need for a sign of life
		time.AfterFunc(silence, w.heartbeat)
		return
	}
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	every := silence
	if !w.begun {
		every = patience
	}
	if quiet := w.now().Sub(w.last); quiet < every {
		w.timer.Reset(every - quiet)
		return
	}
	if !w.begun {
		w.head(streamType, -1, w.x.requestID, completion.Told{})
	}
	if w.put([]byte(w.beat)) == nil { // else the caller is gone, and the next write says so
		w.timer.Reset(silence)
	}
}

// beatWith changes what a heartbeat is.
func (w *writer) beatWith(pulse string) {
	w.mu.Lock()
	w.beat = pulse
	w.mu.Unlock()
}

// stop ends the heartbeats and reports whether something has gone out.
func (w *writer) stop() (begun bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.timer != nil {
		w.timer.Stop()
	}
	return w.begun
}

func (w *writer) write(b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.put(b)
}

func (w *writer) put(b []byte) error {
	w.last = w.now()
	if w.last.Sub(w.renewed) > renewAfter {
		_ = w.rc.SetWriteDeadline(w.last.Add(writeTime)) // not every writer can; then the connection's end is the bound
		w.renewed = w.last
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

// header writes status and headers of an answer that begins, unless a heartbeat has.
func (w *writer) header(contentType string, length int, requestID string, told completion.Told) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.begun {
		w.head(contentType, length, requestID, told)
	}
}

func (w *writer) head(contentType string, length int, requestID string, told completion.Told) {
	w.begun = true
	h := w.x.w.Header()
	h["Content-Type"] = []string{contentType}
	h["X-Request-Id"] = []string{requestID}
	if name := w.x.of.idHeader; name != "" {
		h[name] = []string{requestID}
	}
	if w.stream {
		h["Cache-Control"] = []string{"no-cache"}
		h["X-Accel-Buffering"] = []string{"no"}
	}
	if length >= 0 {
		h["Content-Length"] = []string{strconv.Itoa(length)}
	}
	provenance(h, told)
	w.x.status = http.StatusOK
	w.x.w.WriteHeader(http.StatusOK)
}

// provenance tells what served.
func provenance(h http.Header, told completion.Told) {
	for name, value := range told.Headers() {
		h[name] = append(h[name], value)
	}
}
