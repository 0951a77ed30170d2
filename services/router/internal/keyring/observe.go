package keyring

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/telemetry"
)

// observer measures how credentials are opened. Which one it was is in the log.
type observer struct {
	tracer trace.Tracer
	opens  metric.Float64Histogram
	sets   *telemetry.Sets[string]
}

func newObserver(t *telemetry.Telemetry) observer {
	o := observer{tracer: t.Tracer(), sets: telemetry.NewSets(func(failure string) []attribute.KeyValue {
		if failure == "" {
			return nil
		}
		return []attribute.KeyValue{telemetry.ErrorType.String(failure)}
	})}
	o.opens, _ = t.Meter().Float64Histogram("claviger.keyring.open.duration", metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
		metric.WithDescription("How long opening a credential took."))
	return o
}

// opening begins to open a credential, within the trace of who asked for it.
func (o *observer) opening(ctx context.Context) (context.Context, func(error)) {
	begin := time.Now()
	var span trace.Span = noop.Span{} // what is opened ahead of requests belongs to no trace
	if trace.SpanFromContext(ctx).IsRecording() {
		ctx, span = o.tracer.Start(ctx, "open credential", telemetry.Client...)
	}
	return ctx, func(err error) {
		failure := ""
		if err != nil {
			failure = "internal"
			if f, ok := fault.Of(err); ok {
				failure = f.Reason()
			}
			telemetry.Failed(span, failure)
		}
		o.opens.Record(ctx, time.Since(begin).Seconds(), o.sets.Of(failure).Record...)
		span.End()
	}
}
