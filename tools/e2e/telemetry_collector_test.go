package e2e_test

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	logspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // exporters may compress
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// collector takes traces, measurements and logs over OTLP, and keeps all of them.
type collector struct {
	addr string

	mu       sync.Mutex
	spans    []span
	received []proto.Message
	signals  map[string]int
}

// span is a span with the service that it is of.
type span struct {
	*tracev1.Span
	service string
}

type (
	traceReceiver struct {
		tracepb.UnimplementedTraceServiceServer
		*collector
	}
	metricsReceiver struct {
		metricspb.UnimplementedMetricsServiceServer
		*collector
	}
	logsReceiver struct {
		logspb.UnimplementedLogsServiceServer
		*collector
	}
)

func startCollector(t *testing.T) *collector {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{addr: ln.Addr().String(), signals: map[string]int{}}
	server := grpc.NewServer()
	tracepb.RegisterTraceServiceServer(server, traceReceiver{collector: c})
	metricspb.RegisterMetricsServiceServer(server, metricsReceiver{collector: c})
	logspb.RegisterLogsServiceServer(server, logsReceiver{collector: c})
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(ln) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return c
}

// environ makes a service report here, and all of it, soon.
func (c *collector) environ() []string {
	return []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + c.addr, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_TRACES_SAMPLER=parentbased_always_on",
		"OTEL_BSP_SCHEDULE_DELAY=50", "OTEL_BLRP_SCHEDULE_DELAY=50", "OTEL_METRIC_EXPORT_INTERVAL=200",
	}
}

func (c *collector) keep(signal string, m proto.Message) {
	c.received = append(c.received, m)
	c.signals[signal]++
}

// Export takes spans.
func (c traceReceiver) Export(_ context.Context, req *tracepb.ExportTraceServiceRequest) (*tracepb.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep("traces", req)
	for _, r := range req.GetResourceSpans() {
		service := attributesOf(r.GetResource().GetAttributes())["service.name"]
		for _, s := range r.GetScopeSpans() {
			for _, one := range s.GetSpans() {
				c.spans = append(c.spans, span{one, service})
			}
		}
	}
	return &tracepb.ExportTraceServiceResponse{}, nil
}

// Export takes measurements.
func (c metricsReceiver) Export(_ context.Context, req *metricspb.ExportMetricsServiceRequest) (*metricspb.ExportMetricsServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep("metrics", req)
	return &metricspb.ExportMetricsServiceResponse{}, nil
}

// Export takes log lines.
func (c logsReceiver) Export(_ context.Context, req *logspb.ExportLogsServiceRequest) (*logspb.ExportLogsServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep("logs", req)
	return &logspb.ExportLogsServiceResponse{}, nil
}

// everything is all that has come, as bytes and as readable text.
func (c *collector) everything(t *testing.T) []byte {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []byte
	for _, m := range c.received {
		raw, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		all = append(append(all, raw...), protojson.Format(m)...)
	}
	return all
}

// counts says how many messages have come of each signal.
func (c *collector) counts() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return map[string]int{"traces": c.signals["traces"], "metrics": c.signals["metrics"], "logs": c.signals["logs"]}
}

// trace returns the spans of a trace, by their start.
func (c *collector) trace(traceID string) []span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []span
	for _, s := range c.spans {
		if hex.EncodeToString(s.GetTraceId()) == traceID {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b span) int { return cmp.Compare(a.GetStartTimeUnixNano(), b.GetStartTimeUnixNano()) })
	return out
}

func (s span) id() string     { return hex.EncodeToString(s.GetSpanId()) }
func (s span) parent() string { return hex.EncodeToString(s.GetParentSpanId()) }
func (s span) failed() bool   { return s.GetStatus().GetCode() == tracev1.Status_STATUS_CODE_ERROR }

// attributes are a span's, as text.
func (s span) attributes() map[string]string { return attributesOf(s.GetAttributes()) }

func attributesOf(list []*commonv1.KeyValue) map[string]string {
	out := map[string]string{}
	for _, kv := range list {
		out[kv.GetKey()] = textOf(kv.GetValue())
	}
	return out
}

func textOf(v *commonv1.AnyValue) string {
	switch v := v.GetValue().(type) {
	case *commonv1.AnyValue_StringValue:
		return v.StringValue
	case *commonv1.AnyValue_IntValue:
		return fmt.Sprint(v.IntValue)
	case *commonv1.AnyValue_BoolValue:
		return fmt.Sprint(v.BoolValue)
	case *commonv1.AnyValue_DoubleValue:
		return fmt.Sprint(v.DoubleValue)
	case *commonv1.AnyValue_ArrayValue:
		var parts []string
		for _, one := range v.ArrayValue.GetValues() {
			parts = append(parts, textOf(one))
		}
		return strings.Join(parts, " ")
	}
	return ""
}

// draw draws the spans below a span as a tree, a line each: name, service, kind, and "!" if it failed.
func draw(spans []span, below string) string {
	var b strings.Builder
	var level func(parent, indent string)
	level = func(parent, indent string) {
		for _, s := range spans {
			if s.parent() != parent {
				continue
			}
			kind := strings.ToLower(strings.TrimPrefix(s.GetKind().String(), "SPAN_KIND_"))
			fmt.Fprintf(&b, "%s%s [%s %s]", indent, s.GetName(), strings.TrimPrefix(s.service, "claviger-"), kind)
			if s.failed() {
				b.WriteString(" !")
			}
			b.WriteByte('\n')
			level(s.id(), indent+"  ")
		}
	}
	level(below, "")
	return b.String()
}
