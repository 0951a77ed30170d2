package ingest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/telemetry"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
)

func observed(t *testing.T) (*rig, *telemetry.Memory) {
	t.Helper()
	r, memory := onSQLite(t), telemetry.NewMemory(telemetry.MemoryLimits{})
	var err error
	r.tel, err = telemetry.Start(t.Context(), telemetry.Options{Service: "metering", Environment: "test", Memory: memory})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.tel.Shutdown(t.Context()) })
	return r, memory
}

func (r *rig) metrics() string {
	w := httptest.NewRecorder()
	telemetry.Metrics(r.tel).ServeHTTP(w, httptest.NewRequestWithContext(r.t.Context(), http.MethodGet, "/metrics", http.NoBody))
	return w.Body.String()
}

func TestCountingIsTheLastStepOfARequestsTrace(t *testing.T) {
	t.Parallel()
	r, memory := observed(t)
	const batchTrace = "0af7651916cd43dd8448eb211c80319c"
	traceIDs := []string{"4bf92f3577b34da6a3ce929d0e0e4736", "4bf92f3577b34da6a3ce929d0e0e4737"}
	const attemptSpan, frameSpan = "00f067aa0ba902b7", "b7ad6b7169203331"
	var events []*eventsv1.UsageEvent
	for _, traceID := range append(traceIDs, "not a trace", "") {
		events = append(events, r.a.event(func(e *eventsv1.UsageEvent) { e.TraceId, e.SpanId = traceID, attemptSpan }))
	}
	f := frame(entries(1, events...), nil)
	payload, err := proto.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	msg := jetstream.NewFrame(int(f.GetPartition()), "r1", "1", payload)
	ctx := trace.ContextWithRemoteSpanContext(t.Context(), telemetry.Remote(batchTrace, frameSpan))
	telemetry.Inject(ctx, jetstream.Carrier(msg.Header))
	if msg.Header["traceparent"] == nil {
		t.Fatalf("header = %v", msg.Header)
	}
	r.send(msg)
	r.start()
	r.wantAttempts(r.a, 4)
	r.eventually("the batch's trace", func() error {
		if spans := memory.Trace(batchTrace); len(spans) < 2 {
			return fmt.Errorf("spans = %+v", spans)
		}
		return nil
	})
	batch := memory.Trace(batchTrace)[0]
	if batch.Name != "usage apply" || batch.ParentID != frameSpan || batch.Error || batch.Attributes["claviger.org_id"] != "" {
		t.Errorf("batch = %+v", batch)
	}
	if tx := memory.Trace(batchTrace)[1]; !strings.Contains(tx.Name, "transaction") || tx.ParentID != batch.SpanID {
		t.Errorf("step = %+v, want a transaction of the batch", tx)
	}
	for i, traceID := range traceIDs {
		spans := memory.Trace(traceID)
		if len(spans) != 1 {
			t.Fatalf("trace of event %d = %+v, want one span", i, spans)
		}
		s := spans[0]
		if s.Name != "apply usage" || s.Service != "metering" || s.ParentID != attemptSpan || s.Duration <= 0 ||
			s.Attributes["claviger.org_id"] != r.a.org || s.Attributes["claviger.request_id"] != events[i].GetRequestId() ||
			s.Attributes["claviger.attempt_id"] != events[i].GetAttemptId() {
			t.Errorf("span of event %d = %+v", i, s)
		}
	}
}

func TestIngestIsMeasured(t *testing.T) {
	t.Parallel()
	r, _ := observed(t)
	twice := r.a.event(nil)
	r.publish(frame(entries(1, r.a.event(nil), twice), nil))
	r.publish(frame(entries(3, twice), nil))
	r.publish(frame(entries(4, r.a.event(func(e *eventsv1.UsageEvent) { e.ApiKeyId = "key_of_nobody" })), nil))
	r.start()
	r.applied()
	for _, want := range []string{
		`claviger_ingest_events_total{claviger_outcome="counted",service_name="claviger-metering"} 2`,
		`claviger_ingest_events_total{claviger_outcome="duplicate",service_name="claviger-metering"} 1`,
		`claviger_ingest_events_total{claviger_outcome="quarantined",service_name="claviger-metering"} 1`,
		`claviger_ingest_lag_seconds_count{service_name="claviger-metering"} 3`,
		`claviger_ingest_pending{service_name="claviger-metering"} 0`,
	} {
		r.eventually("measurements", func() error {
			if text := r.metrics(); !strings.Contains(text, want+"\n") {
				return fmt.Errorf("metrics have no %s:\n%s", want, text)
			}
			return nil
		})
	}
	text := r.metrics()
	for _, never := range []string{r.a.org, r.a.key, r.a.member, r.a.credential} {
		if strings.Contains(text, never) {
			t.Errorf("metrics name %s", never)
		}
	}
}
