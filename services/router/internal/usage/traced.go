package usage

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/telemetry"
)

// The fields of an encoded event that spans and measurements need.
const (
	attemptIDField = 1
	requestIDField = 3
	orgIDField     = 5
	endedField     = 24
	traceIDField   = 34
	spanIDField    = 35

	spanIDSize = 16 // hex digits
)

// traced reports whether an encoded event names a span, which is its last field then. Most events are of
// traces that nobody records, and are looked at no further.
func traced(event []byte) bool {
	tail := len(event) - spanIDSize - 3
	return tail >= 0 && event[tail] == 0x9a && event[tail+1] == 0x02 && event[tail+2] == spanIDSize
}

// eachField calls visit for the fields of an encoded event that hold bytes, as far as it can be read.
func eachField(event []byte, visit func(field int, value []byte)) {
	for len(event) > 0 {
		field, kind, n := protowire.ConsumeTag(event)
		if n < 0 {
			return
		}
		event = event[n:]
		if kind == protowire.BytesType {
			value, size := protowire.ConsumeBytes(event)
			if size < 0 {
				return
			}
			visit(int(field), value)
		}
		if n = protowire.ConsumeFieldValue(field, kind, event); n < 0 {
			return
		}
		event = event[n:]
	}
}

// recorded is an attempt whose trace is recorded.
type recorded struct {
	span                        trace.SpanContext
	orgID, requestID, attemptID string
}

// recordedOf lists the attempts of a frame whose traces are recorded.
func recordedOf(entries []entry) []recorded {
	var out []recorded
	for _, e := range entries {
		if !traced(e.event) {
			continue
		}
		var r recorded
		var traceID, spanID string
		eachField(e.event, func(field int, value []byte) {
			switch field {
			case attemptIDField:
				r.attemptID = string(value)
			case requestIDField:
				r.requestID = string(value)
			case orgIDField:
				r.orgID = string(value)
			case traceIDField:
				traceID = string(value)
			case spanIDField:
				spanID = string(value)
			}
		})
		if r.span = telemetry.Remote(traceID, spanID); r.span.IsValid() {
			out = append(out, r)
		}
	}
	return out
}

// endOf reads when the attempt of an encoded event ended. It is zero if the event does not say.
func endOf(event []byte) time.Time {
	var at time.Time
	eachField(event, func(field int, value []byte) {
		if field != endedField {
			return
		}
		var parts [3]uint64 // seconds and nanoseconds, by field
		for len(value) > 0 {
			part, kind, n := protowire.ConsumeTag(value)
			if n < 0 || kind != protowire.VarintType || int(part) >= len(parts) {
				return
			}
			v, m := protowire.ConsumeVarint(value[n:])
			if m < 0 {
				return
			}
			parts[part], value = v, value[n+m:]
		}
		at = time.Unix(int64(parts[1]), int64(parts[2]))
	})
	return at
}

// lagSeconds are the buckets of the publish lag: a frame waits a tenth of a second in good times, and for
// as long as NATS is away in bad ones.
var lagSeconds = []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200}

// producer is the kind of spans that end in the broker.
var producer = trace.WithSpanKind(trace.SpanKindProducer)

// observer gives frames their spans and measures them.
type observer struct {
	tracer trace.Tracer
	lag    metric.Float64Histogram
	events metric.Int64Counter
	again  metric.Int64Counter
}

func newObserver(t *telemetry.Telemetry) observer {
	o := observer{tracer: t.Tracer()}
	o.lag, _ = t.Meter().Float64Histogram("claviger.publish.lag", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(lagSeconds...),
		metric.WithDescription("From the end of the first attempt in a frame of usage to the broker's acknowledgement."))
	o.events, _ = t.Meter().Int64Counter("claviger.publish.events", metric.WithUnit("{event}"),
		metric.WithDescription("Usage events that the broker has acknowledged."))
	o.again, _ = t.Meter().Int64Counter("claviger.publish.retries", metric.WithUnit("{frame}"),
		metric.WithDescription("Frames that the broker did not acknowledge, which are sent again."))
	return o
}

// sending is a frame on its way.
type sending struct {
	o        *observer
	begin    time.Time
	subject  string
	first    time.Time // when its first attempt ended
	events   int
	attempts []recorded
	span     trace.Span
}

// frame begins the span of a frame, whose context travels with it. It belongs to no request: a frame
// holds events of many, so it is linked to them.
func (o *observer) frame(ctx context.Context, f *frame, router string) (context.Context, *sending) {
	s := &sending{
		o: o, begin: time.Now(), subject: jetstream.Subject(f.key.partition, router),
		first: endOf(f.entries[0].event), events: len(f.entries), attempts: recordedOf(f.entries),
	}
	links := make([]trace.Link, len(s.attempts))
	for i := range s.attempts {
		links[i].SpanContext = s.attempts[i].span
	}
	ctx, span := o.tracer.Start(ctx, "publish usage", producer, trace.WithLinks(links...))
	s.span = span
	if s.span.IsRecording() {
		s.span.SetAttributes(append(s.attributes(), telemetry.MessagingBatchCount.Int(s.events))...)
	}
	return ctx, s
}

func (s *sending) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{telemetry.MessagingSystem.String("nats"), telemetry.MessagingDestination.String(s.subject)}
}

// acknowledged ends the frame's span and gives each recorded attempt in it a span in its own trace.
func (s *sending) acknowledged(ctx context.Context) {
	end := time.Now()
	if !s.first.IsZero() {
		s.o.lag.Record(ctx, max(0, end.Sub(s.first).Seconds()))
	}
	s.o.events.Add(ctx, int64(s.events))
	began, ended := trace.WithTimestamp(s.begin), trace.WithTimestamp(end)
	frame := trace.WithLinks(trace.Link{SpanContext: s.span.SpanContext()})
	for i := range s.attempts {
		a := &s.attempts[i]
		_, span := s.o.tracer.Start(trace.ContextWithRemoteSpanContext(ctx, a.span), "publish", producer, began, frame)
		if span.IsRecording() {
			span.SetAttributes(append(s.attributes(),
				telemetry.OrganizationID.String(a.orgID), telemetry.RequestID.String(a.requestID), telemetry.AttemptID.String(a.attemptID))...)
		}
		span.End(ended)
	}
	s.span.End(ended)
}

// refused notes that the broker did not take the frame this time.
func (s *sending) refused(ctx context.Context) { s.o.again.Add(ctx, 1) }

// abandoned ends the span of a frame that the next start has to send.
func (s *sending) abandoned() {
	telemetry.Failed(s.span, "not_acknowledged")
	s.span.End()
}
