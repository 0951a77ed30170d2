package usage

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/jetstream/jetstreamtest"
	"github.com/claviger/claviger/pkg/telemetry"
)

const (
	traceA = "0af7651916cd43dd8448eb211c80319c"
	spanA  = "b7ad6b7169203331"
)

func TestOnlyEventsOfRecordedTracesAreFollowed(t *testing.T) {
	t.Parallel()
	e, _ := full()
	for _, c := range []struct {
		traceID, spanID string
		want            bool
	}{{"", "", false}, {traceA, "", false}, {traceA, spanA, true}, {"nonsense", spanA, false}, {traceA, strings.Repeat("0", 16), false}, {traceA, "short", false}} {
		e.TraceID, e.SpanID = c.traceID, c.spanID
		got := recordedOf([]entry{{1, appendEvent(nil, e)}})
		if (len(got) == 1) != c.want {
			t.Errorf("trace %q, span %q: followed %d, want %v", c.traceID, c.spanID, len(got), c.want)
			continue
		}
		if c.want {
			r := got[0]
			if r.orgID != e.OrgID || r.requestID != e.RequestID || r.attemptID != e.AttemptID || r.span.TraceID().String() != traceA || r.span.SpanID().String() != spanA {
				t.Errorf("followed = %+v", r)
			}
		}
	}
	if got := endOf(appendEvent(nil, e)); !got.Equal(e.Ended) {
		t.Errorf("endOf = %v, want %v", got, e.Ended)
	}
	raw := appendEvent(nil, e)
	for i := range raw { // what is cut or damaged is followed or not, and harms nobody
		recordedOf([]entry{{1, raw[:i]}, {2, append(slices.Clone(raw[:i]), 0xff)}})
		endOf(raw[:i])
	}
}

// TestATraceGoesOnAfterARestart leaves a recorded attempt in the journal, and one that never ended: the
// next process publishes both in the trace in which they began.
func TestATraceGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	memory := telemetry.NewMemory(telemetry.MemoryLimits{})
	told, err := telemetry.Start(t.Context(), telemetry.Options{Service: "router", Memory: memory})
	if err != nil {
		t.Fatal(err)
	}
	defer told.Shutdown(context.WithoutCancel(t.Context()))
	nc, js := jetstreamtest.Start(t).Connect()
	if err := jetstream.EnsureStream(t.Context(), js, 1); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	j := openJournal(t, dir, 1<<30)
	ended, open := event(1), event(2)
	ended.AttemptID, ended.TraceID, ended.SpanID = "att_ended", traceA, spanA
	open.AttemptID, open.TraceID, open.SpanID = "att_open", traceA, "c7ad6b7169203331"
	if err := j.Done(begin(t, j, ended), ended); err != nil {
		t.Fatal(err)
	}
	begin(t, j, open)
	j.crash()

	j = openJournal(t, dir, 1<<30)
	if n, since := j.Waiting(); n != 2 || since.IsZero() {
		t.Errorf("waiting = %d since %v, want 2 and a moment", n, since)
	}
	m := startMetering(t, nc, js, "router-1")
	p := startTelling(t, j, nc, js, told)
	waitFor(t, func() bool { return m.count() == 2 && p.Drained() })
	if n, since := j.Waiting(); n != 0 || !since.IsZero() {
		t.Errorf("all is applied, waiting = %d since %v", n, since)
	}
	var got []string
	var frames []telemetry.Span
	waitFor(t, func() bool {
		got = nil
		for _, s := range memory.Trace(traceA) {
			got = append(got, fmt.Sprintf("%s %s below %s of %s", s.Name, s.Attributes["claviger.attempt_id"], s.ParentID, s.Attributes["claviger.org_id"]))
		}
		return len(got) == 2
	})
	slices.Sort(got)
	want := []string{
		"publish att_ended below " + spanA + " of " + ended.OrgID,
		"publish att_open below c7ad6b7169203331 of " + open.OrgID,
	}
	if !slices.Equal(got, want) {
		t.Errorf("spans = %q, want %q", got, want)
	}
	// The frames carry a trace of their own.
	for _, header := range m.headers() {
		parts := strings.Split(header, "-")
		if len(parts) != 4 {
			t.Fatalf("traceparent of a frame = %q", header)
		}
		if raw, err := hex.DecodeString(parts[1]); err != nil || len(raw) != 16 || parts[1] == traceA {
			t.Errorf("traceparent of a frame = %q", header)
		}
		for _, s := range memory.Trace(parts[1]) {
			if s.Name == "publish usage" && s.SpanID == parts[2] && s.Attributes["messaging.system"] == "nats" && s.Attributes["claviger.org_id"] == "" {
				frames = append(frames, s)
			}
		}
	}
	if len(frames) == 0 || len(frames) != len(m.headers()) {
		t.Errorf("%d of %d frames have their span", len(frames), len(m.headers()))
	}
	w := httptest.NewRecorder()
	telemetry.Metrics(told).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	if text := w.Body.String(); !strings.Contains(text, `claviger_publish_events_total{service_name="claviger-router"} 2`) || !strings.Contains(text, "claviger_publish_lag_seconds_count") {
		t.Errorf("publishing is not measured:\n%s", text)
	}
}

func TestTheAgeOfWhatWaitsIsKnownInBoundedMemory(t *testing.T) {
	t.Parallel()
	var m marks
	begin := time.Unix(1_790_000_000, 0)
	const n = 100_000
	for i := range n {
		m.add(int64(i+1), begin.Add(time.Duration(i)*time.Second))
	}
	if len(m.list) > maxMarks {
		t.Errorf("%d marks, want %d at most", len(m.list), maxMarks)
	}
	for _, applied := range []int64{0, 1, 1000, n / 2, n - 1} {
		truth := begin.Add(time.Duration(applied) * time.Second)
		got := m.since(applied)
		if got.After(truth) || truth.Sub(got) > n*time.Second/16 {
			t.Errorf("applied %d: since %v, want a little before %v", applied, got, truth)
		}
	}
}
