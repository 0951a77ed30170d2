package httpapi

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/telemetry"
)

// exchange is one request and what becomes of it.
type exchange struct {
	w         http.ResponseWriter
	r         *http.Request
	requestID string
	// route is the pattern that was registered: logs name it, since a path may hold what opens a job.
	route string
	of    *family
	// status is the answer's, 0 before it has one.
	status int
	// failure is what went wrong, if anything did: in a stream the status does not tell.
	failure error
}

// kind is what exchanges are counted by.
type kind struct {
	method, route string
	status        int
	failure       string
}

func (k kind) attributes() []attribute.KeyValue {
	out := []attribute.KeyValue{telemetry.HTTPMethod.String(k.method), telemetry.HTTPRoute.String(k.route)}
	if k.status != 0 {
		out = append(out, telemetry.HTTPStatusCode.Int(k.status))
	}
	if k.failure != "" {
		out = append(out, telemetry.ErrorType.String(k.failure))
	}
	return out
}

// observer gives exchanges their spans and measures them.
type observer struct {
	tracer   trace.Tracer
	duration metric.Float64Histogram
	ended    *telemetry.Sets[kind]
	active   []*route
}

// route is a route with the requests under way on it. They are read when somebody asks, which costs a
// request less than telling.
type route struct {
	pattern string
	active  atomic.Int64
	names   map[string]string // of spans, by method
}

func newObserver(t *telemetry.Telemetry) *observer {
	o := &observer{tracer: t.Tracer(), ended: telemetry.NewSets(kind.attributes)}
	o.duration, _ = t.Meter().Float64Histogram(telemetry.MetricHTTPServerDuration,
		metric.WithUnit("s"), metric.WithDescription("How long answering a request took."))
	_, _ = t.Meter().Int64ObservableUpDownCounter(telemetry.MetricHTTPServerActive,
		metric.WithUnit("{request}"), metric.WithDescription("Requests under way."),
		metric.WithInt64Callback(func(_ context.Context, seen metric.Int64Observer) error {
			for _, r := range o.active {
				seen.Observe(r.active.Load(), metric.WithAttributes(telemetry.HTTPRoute.String(r.pattern)))
			}
			return nil
		}))
	return o
}

// route adds a route. All are added before the first request.
func (o *observer) route(pattern string) *route {
	r := &route{pattern: pattern, names: map[string]string{}}
	for _, method := range append(methods, otherMethod) {
		r.names[method] = method + " " + pattern
	}
	o.active = append(o.active, r)
	return r
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

const otherMethod = "_OTHER"

// methodOf bounds what a caller may write as a method.
func methodOf(r *http.Request) string {
	if slices.Contains(methods, r.Method) {
		return r.Method
	}
	return otherMethod
}

// handle serves a route with a span below the caller's. The route is what was registered, and not what a
// caller wrote.
func (a *api) handle(pattern string, of *family, serve func(ctx context.Context, x *exchange)) http.HandlerFunc {
	o := a.observer
	route := o.route(pattern)
	return func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		x := &exchange{w: w, r: r, requestID: id.New("req"), route: pattern, of: of}
		seen := kind{method: methodOf(r), route: pattern}
		ctx, span := o.tracer.Start(telemetry.Extract(r.Context(), r.Header), route.names[seen.method], telemetry.Server...)
		route.active.Add(1)
		served := false
		defer func() {
			route.active.Add(-1)
			seen.status, seen.failure = x.status, blame(x.failure)
			if !served { // a panic, or an answer that had to be cut
				seen.failure = "broken_off"
			}
			o.duration.Record(ctx, time.Since(begin).Seconds(), o.ended.Of(seen).Record...)
			if span.IsRecording() {
				span.SetAttributes(append(seen.attributes(), telemetry.RequestID.String(x.requestID), telemetry.Edge.String(x.of.name))...)
				if f, ok := fault.Of(x.failure); ok {
					span.SetAttributes(telemetry.Reason.String(f.Reason()))
				}
				if seen.failure != "" {
					telemetry.Failed(span, seen.failure)
				}
			}
			span.End()
		}()
		serve(ctx, x)
		served = true
	}
}

// blame is the reason of a failure that is not the caller's, empty for none.
func blame(err error) string {
	if err == nil || gone(err) {
		return ""
	}
	f, ok := fault.Of(err)
	if !ok {
		return "INTERNAL"
	}
	switch f.Kind() {
	case fault.Internal, fault.Unavailable, fault.Timeout:
		return f.Reason()
	case fault.Invalid, fault.Unauthenticated, fault.Denied, fault.NotFound, fault.Conflict, fault.Precondition, fault.Exhausted, fault.Canceled:
	}
	return ""
}
