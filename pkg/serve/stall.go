package serve

import (
	"net/http"
	"time"
)

const (
	// writeTime is how long one write of an answer may take, and renewAfter how old its deadline may grow before
	// it is moved on: moving it costs as much as a small write.
	writeTime  = 30 * time.Second
	renewAfter = 5 * time.Second
)

// timedWrites ends answers whose callers have stopped reading. There is no other end of such a call: its
// connection lives, and whoever writes waits for room in it.
func timedWrites(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&timedWriter{ResponseWriter: w, rc: http.NewResponseController(w)}, r)
	})
}

type timedWriter struct {
	http.ResponseWriter
	rc      *http.ResponseController
	renewed time.Time
}

// Unwrap lets a response controller find what it controls.
func (w *timedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *timedWriter) Write(p []byte) (int, error) {
	w.renew()
	return w.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (w *timedWriter) Flush() {
	w.renew()
	_ = w.rc.Flush() // the next write says so
}

// FlushError is Flush for response controllers.
func (w *timedWriter) FlushError() error {
	w.renew()
	return w.rc.Flush()
}

func (w *timedWriter) renew() {
	if now := time.Now(); now.Sub(w.renewed) > renewAfter {
		_ = w.rc.SetWriteDeadline(now.Add(writeTime)) // not every writer can
		w.renewed = now
	}
}
