package ingest

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	stream "github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// report measures the counting of usage and makes it part of the traces that it belongs to.
type report struct {
	tracer  trace.Tracer
	lag     metric.Float64Histogram
	events  metric.Int64Counter
	pending atomic.Int64 // frames that wait in the stream; unknown if negative
	sets    map[string]telemetry.Set
}

// What can become of an event.
const (
	counted     = "counted"
	revised     = "revised"
	duplicate   = "duplicate"
	quarantined = "quarantined"
	waiting     = "waiting"
)

func newReport(t *telemetry.Telemetry) *report {
	r := &report{tracer: t.Tracer(), sets: map[string]telemetry.Set{}}
	r.pending.Store(-1)
	for _, outcome := range []string{counted, revised, duplicate, quarantined, waiting} {
		r.sets[outcome] = telemetry.NewSet(telemetry.Outcome.String(outcome))
	}
	// The errors of instruments are mistakes in their names, and tests read what they measure.
	r.lag, _ = t.Meter().Float64Histogram(telemetry.MetricIngestLag, metric.WithUnit("s"),
		metric.WithDescription("From a router's sending a frame of usage to its being counted."))
	r.events, _ = t.Meter().Int64Counter(telemetry.MetricIngestEvents, metric.WithUnit("{event}"),
		metric.WithDescription("Usage events, by what became of them. One that waited is told again when it is judged."))
	_, _ = t.Meter().Int64ObservableGauge(telemetry.MetricIngestPending, metric.WithUnit("{frame}"),
		metric.WithDescription("Frames of usage that wait in the stream, told by the process that counts."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			if n := r.pending.Load(); n >= 0 {
				o.Observe(n)
			}
			return nil
		}))
	return r
}

// fetched notes how many frames are left in the stream.
func (r *report) fetched(msgs []jetstream.Msg) {
	left := int64(0)
	if len(msgs) > 0 {
		if meta, err := msgs[len(msgs)-1].Metadata(); err == nil {
			left = int64(min(meta.NumPending, 1<<62))
		}
	}
	r.pending.Store(left)
}

// batch begins the span of a batch of frames. It is part of the first frame's trace and linked to those
// of the others, which are applied in the same transaction.
func (r *report) batch(ctx context.Context, msgs []jetstream.Msg) (context.Context, trace.Span) {
	var links []trace.Link
	for _, msg := range msgs {
		from := telemetry.Extract(ctx, stream.Carrier(msg.Headers()))
		switch sc := trace.SpanContextFromContext(from); {
		case !sc.IsSampled():
		case !trace.SpanContextFromContext(ctx).IsSampled():
			ctx = from
		default:
			links = append(links, trace.Link{SpanContext: sc})
		}
	}
	ctx, span := r.tracer.Start(ctx, "usage apply", trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(links...))
	if span.IsRecording() {
		span.SetAttributes(telemetry.MessagingSystem.String("nats"), telemetry.MessagingDestination.String(stream.AllFrames),
			telemetry.MessagingBatchCount.Int(len(msgs)))
	}
	return ctx, span
}

// committed tells of a batch that is in the database.
func (r *report) committed(ctx context.Context, begin time.Time, b *builder, a usage.Applied) {
	r.applied(ctx, begin, b.batch.Attempts, a)
	r.count(ctx, quarantined, len(b.batch.Quarantine))
	r.count(ctx, waiting, len(b.batch.Waiting))
	for _, sent := range b.sent {
		r.lag.Record(ctx, min(max(0, b.now().Sub(sent)), maxLate).Seconds())
	}
}

// applied tells of attempts that are in the database, and gives each whose trace is recorded a span
// there: the last step of its request.
func (r *report) applied(ctx context.Context, begin time.Time, attempts []usage.Attempt, a usage.Applied) {
	r.count(ctx, counted, a.Counted)
	r.count(ctx, revised, a.Revised)
	r.count(ctx, duplicate, a.Duplicate)
	end := time.Now()
	links := trace.WithLinks(trace.Link{SpanContext: trace.SpanContextFromContext(ctx)})
	for i := range attempts {
		above := telemetry.Remote(attempts[i].TraceID, attempts[i].SpanID)
		if !above.IsValid() {
			continue
		}
		_, span := r.tracer.Start(trace.ContextWithRemoteSpanContext(ctx, above), "apply usage",
			trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(begin), links)
		if span.IsRecording() {
			span.SetAttributes(telemetry.OrganizationID.String(attempts[i].OrgID), telemetry.RequestID.String(attempts[i].RequestID),
				telemetry.AttemptID.String(attempts[i].AttemptID))
		}
		span.End(trace.WithTimestamp(end))
	}
}

func (r *report) count(ctx context.Context, outcome string, n int) {
	if n > 0 {
		r.events.Add(ctx, int64(n), r.sets[outcome].Add...)
	}
}
