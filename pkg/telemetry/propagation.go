package telemetry

import (
	"context"
	"net/http"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// The headers of W3C Trace Context. They are lower case on NATS, too, whose names know no case: the
// broker and other clients look for these. Baggage is neither read nor sent: it would carry what
// callers say about themselves to everybody behind us.
const (
	traceparent = "traceparent"
	tracestate  = "tracestate"
)

// Headers are where a trace context travels: http.Header, *connect.Header and nats.Header are some.
type Headers interface {
	Get(key string) string
	Set(key, value string)
}

var w3c propagation.TraceContext

// Extract returns ctx with the caller's span as its remote parent. Headers without one, or with one
// that is not valid, change nothing.
func Extract(ctx context.Context, h Headers) context.Context {
	c := carrier{h}
	if h == nil || c.Get(traceparent) == "" {
		return ctx
	}
	return w3c.Extract(ctx, c)
}

// Inject writes the span of ctx into headers. Without a span it writes nothing.
//
// It is for our own services. Providers are not told: a trace id would let them link the requests of
// one caller.
func Inject(ctx context.Context, h Headers) {
	if trace.SpanContextFromContext(ctx).IsValid() {
		w3c.Inject(ctx, carrier{h})
	}
}

type carrier struct{ Headers }

// Get asks for the form of the name that costs no conversion where names know no case: it is done for
// each call, and most have no trace context.
func (c carrier) Get(key string) string {
	switch c.Headers.(type) {
	case http.Header, *connect.Header:
		if key == traceparent {
			key = "Traceparent"
		} else {
			key = "Tracestate"
		}
	}
	return c.Headers.Get(key)
}

// Keys is never asked for by trace context.
func (carrier) Keys() []string { return []string{traceparent, tracestate} }

// Remote returns the span of a trace context in hex, as events carry it, so that a later span can be
// its child or link to it. It is not valid unless both ids are; it is taken as sampled, since ids are
// only kept of spans that are.
func Remote(traceID, spanID string) trace.SpanContext {
	t, err := trace.TraceIDFromHex(traceID)
	if err != nil {
		return trace.SpanContext{}
	}
	s, err := trace.SpanIDFromHex(spanID)
	if err != nil {
		return trace.SpanContext{}
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: t, SpanID: s, TraceFlags: trace.FlagsSampled, Remote: true})
}
