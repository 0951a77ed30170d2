package intercept

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/telemetry"
)

// Calls are measured by our own few lines. otelconnect v0.12.0 makes the attributes of each call anew, so
// that a call which is not sampled costs nine allocations in place of two; it does not count calls under
// way, and can only leave out a feed's span together with its measurements.

// call is what calls are counted by.
type call struct {
	system, procedure string
	code              connect.Code // 0 is a good end
}

func (c call) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{
		telemetry.RPCSystem.String(c.system), telemetry.RPCMethod.String(strings.TrimPrefix(c.procedure, "/")),
		telemetry.RPCStatusCode.String(codeName(c.code)),
	}
}

func codeName(c connect.Code) string {
	if c == 0 {
		return "ok"
	}
	return c.String()
}

func systemOf(protocol string) string {
	if strings.HasPrefix(protocol, "grpc") {
		return "grpc"
	}
	return "connectrpc"
}

func codeOf(err error) connect.Code {
	if err == nil || errors.Is(err, io.EOF) {
		return 0
	}
	return connect.CodeOf(err)
}

// serverFault tells what the server is to blame for from what a caller did.
func serverFault(c connect.Code) bool {
	switch c {
	case connect.CodeUnknown, connect.CodeDeadlineExceeded, connect.CodeUnimplemented, connect.CodeInternal,
		connect.CodeUnavailable, connect.CodeDataLoss:
		return true
	default:
		return false
	}
}

// feed reports whether a method lasts as long as both sides live. Our contracts call those Watch…: a
// span of one would end with the process and say nothing.
func feed(procedure string) bool {
	return strings.HasPrefix(procedure[strings.LastIndexByte(procedure, '/')+1:], "Watch")
}

// observe gives each call a span below the caller's, and measures it.
func observe(t *telemetry.Telemetry) connect.ServerInterceptor {
	if t == nil {
		return func(next connect.ServerFunc) connect.ServerFunc { return next }
	}
	meter := t.Meter()
	duration, _ := meter.Float64Histogram(telemetry.MetricRPCServerDuration,
		metric.WithUnit("s"), metric.WithDescription("How long answering a call took."))
	active, _ := meter.Int64UpDownCounter(telemetry.MetricRPCServerActive,
		metric.WithUnit("{call}"), metric.WithDescription("Calls under way."))
	ended := telemetry.NewSets(call.attributes)
	underWay := telemetry.NewSets(func(procedure string) []attribute.KeyValue {
		return []attribute.KeyValue{telemetry.RPCMethod.String(strings.TrimPrefix(procedure, "/"))}
	})
	tracer := t.Tracer()
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			begin := time.Now()
			is := call{procedure: spec.Procedure}
			if info, ok := connect.CallInfoForServerContext(ctx); ok {
				is.system = systemOf(info.Protocol)
				ctx = telemetry.Extract(ctx, info.RequestHeader())
			}
			of := underWay.Of(spec.Procedure)
			active.Add(ctx, 1, of.Add...)
			defer active.Add(ctx, -1, of.Add...)
			if feed(spec.Procedure) {
				err := next(ctx, spec, stream)
				is.code = codeOf(err)
				duration.Record(ctx, time.Since(begin).Seconds(), ended.Of(is).Record...)
				return err
			}
			ctx, span := tracer.Start(ctx, strings.TrimPrefix(spec.Procedure, "/"), telemetry.Server...)
			defer span.End()
			err := next(ctx, spec, stream)
			is.code = codeOf(err)
			duration.Record(ctx, time.Since(begin).Seconds(), ended.Of(is).Record...)
			if span.IsRecording() {
				span.SetAttributes(is.attributes()...)
				span.SetAttributes(telemetry.RequestID.String(RequestID(ctx)))
				judge(span, is.code, err)
			}
			return err
		}
	}
}

// judge says on a span how its call ended, by codes and reasons, which are ours; the text of an error
// may quote what was sent.
func judge(span trace.Span, code connect.Code, err error) {
	if f, ok := fault.Of(err); ok {
		span.SetAttributes(telemetry.Reason.String(f.Reason()))
	}
	if serverFault(code) {
		telemetry.Failed(span, codeName(code))
	}
}

// NewTransport gives each unary call over next to another service of ours a span, and tells that
// service of it. Streams between our services are feeds and have none.
func NewTransport(t *telemetry.Telemetry, next connect.Transport) connect.Transport {
	if t == nil {
		return next
	}
	duration, _ := t.Meter().Float64Histogram(telemetry.MetricRPCClientDuration,
		metric.WithUnit("s"), metric.WithDescription("How long a call to another service took."))
	return &tracedTransport{next: next, tracer: t.Tracer(), duration: duration, ended: telemetry.NewSets(call.attributes)}
}

type tracedTransport struct {
	next     connect.Transport
	tracer   trace.Tracer
	duration metric.Float64Histogram
	ended    *telemetry.Sets[call]
}

// NewClientStream begins a call.
func (t *tracedTransport) NewClientStream(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	if spec.StreamType != connect.StreamTypeUnary {
		return t.next.NewClientStream(ctx, spec)
	}
	begin := time.Now()
	ctx, span := t.tracer.Start(ctx, strings.TrimPrefix(spec.Procedure, "/"), telemetry.Client...)
	if info, ok := connect.CallInfoForClientContext(ctx); ok {
		telemetry.Inject(ctx, info.RequestHeader())
	}
	s := &tracedStream{transport: t, ctx: ctx, span: span, begin: begin, is: call{system: "grpc", procedure: spec.Procedure}}
	stream, err := t.next.NewClientStream(ctx, spec)
	if err != nil {
		s.end(err)
		return nil, err
	}
	s.ClientStream = stream
	return s, nil
}

// tracedStream ends its span with the first error, which may be the end of the answer, or when it is
// closed, which a unary call always is.
type tracedStream struct {
	connect.ClientStream
	transport *tracedTransport
	ctx       context.Context //nolint:containedctx // a stream is one call, and this is the call's
	span      trace.Span
	begin     time.Time
	is        call
	once      sync.Once
}

func (s *tracedStream) end(err error) {
	s.once.Do(func() {
		s.is.code = codeOf(err)
		s.transport.duration.Record(s.ctx, time.Since(s.begin).Seconds(), s.transport.ended.Of(s.is).Record...)
		if s.span.IsRecording() {
			s.span.SetAttributes(s.is.attributes()...)
			if s.is.code != 0 {
				telemetry.Failed(s.span, codeName(s.is.code))
			}
		}
		s.span.End()
	})
}

// Send sends msg. If the server has ended the call, Receive says why.
func (s *tracedStream) Send(msg any) error {
	err := s.ClientStream.Send(msg)
	if err != nil && !errors.Is(err, io.EOF) {
		s.end(err)
	}
	return err
}

// Receive receives into msg.
func (s *tracedStream) Receive(msg any) error {
	err := s.ClientStream.Receive(msg)
	if err != nil {
		s.end(err)
	}
	return err
}

// Close gives the call up.
func (s *tracedStream) Close() error {
	s.end(nil)
	return s.ClientStream.Close()
}
