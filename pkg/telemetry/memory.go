package telemetry

import (
	"container/list"
	"context"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// MemoryLimits bound what a Memory keeps. Zero values take the defaults.
type MemoryLimits struct {
	Traces        int // 1000
	SpansPerTrace int // 500
	Bytes         int // 16 MiB, as an estimate
}

// Memory keeps the spans of the last traces, so that "claviger dev" can show them without a
// collector. Several services may share one. The trace that began first goes first.
type Memory struct {
	limits MemoryLimits

	mu     sync.Mutex
	traces map[trace.TraceID]*list.Element // of *kept
	order  *list.List                      // the oldest in front
	bytes  int
}

type kept struct {
	id    trace.TraceID
	spans []keptSpan
	bytes int
}

type keptSpan struct {
	service    string
	name       string
	id, parent trace.SpanID
	start, end time.Time
	failed     bool
	attributes []attribute.KeyValue
}

// Span is one step of a kept trace.
type Span struct {
	// SpanID and ParentID are in hex. ParentID is empty for the first step of a trace.
	SpanID, ParentID string
	Name             string
	// Service is who did it: "keys", "router" or "metering".
	Service    string
	Start      time.Time
	Duration   time.Duration
	Error      bool
	Attributes map[string]string
}

// NewMemory returns an empty Memory.
func NewMemory(limits MemoryLimits) *Memory {
	if limits.Traces <= 0 {
		limits.Traces = 1000
	}
	if limits.SpansPerTrace <= 0 {
		limits.SpansPerTrace = 500
	}
	if limits.Bytes <= 0 {
		limits.Bytes = 16 << 20
	}
	return &Memory{limits: limits, traces: map[trace.TraceID]*list.Element{}, order: list.New()}
}

// Trace returns the kept spans of a trace, whose id is in hex, by their start. It returns those of all
// organizations: a trace id is the caller's choice, so whoever shows spans compares OrganizationID.
func (m *Memory) Trace(traceID string) []Span {
	id, err := trace.TraceIDFromHex(traceID)
	if m == nil || err != nil {
		return nil
	}
	m.mu.Lock()
	e := m.traces[id]
	if e == nil {
		m.mu.Unlock()
		return nil
	}
	found := slices.Clone(of(e).spans)
	m.mu.Unlock()
	slices.SortStableFunc(found, func(a, b keptSpan) int { return a.start.Compare(b.start) })
	spans := make([]Span, len(found))
	for i, s := range found {
		spans[i] = s.export()
	}
	return spans
}

func (s keptSpan) export() Span {
	out := Span{
		SpanID: s.id.String(), Name: s.name, Service: s.service, Start: s.start, Duration: s.end.Sub(s.start),
		Error: s.failed, Attributes: make(map[string]string, len(s.attributes)),
	}
	if s.parent.IsValid() {
		out.ParentID = s.parent.String()
	}
	for _, kv := range s.attributes {
		out.Attributes[string(kv.Key)] = kv.Value.String()
	}
	return out
}

func of(e *list.Element) *kept {
	k, _ := e.Value.(*kept) // nothing else is ever in the list
	return k
}

// spanBytes is what a span or an attribute takes besides its texts.
const (
	spanBytes      = 200
	attributeBytes = 80
)

func (m *Memory) add(service string, s sdktrace.ReadOnlySpan) {
	span := keptSpan{
		service: service, name: s.Name(), id: s.SpanContext().SpanID(), parent: s.Parent().SpanID(),
		start: s.StartTime(), end: s.EndTime(), failed: s.Status().Code == codes.Error, attributes: s.Attributes(),
	}
	size := spanBytes + len(span.name)
	for _, kv := range span.attributes {
		size += attributeBytes + len(kv.Key)
		switch kv.Value.Type() {
		case attribute.STRING:
			size += len(kv.Value.AsString())
		case attribute.BOOL, attribute.INT64, attribute.FLOAT64:
		default: // lists
			size += len(kv.Value.String())
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.traces[s.SpanContext().TraceID()]
	if e == nil {
		e = m.order.PushBack(&kept{id: s.SpanContext().TraceID()})
		m.traces[s.SpanContext().TraceID()] = e
	}
	k := of(e)
	if len(k.spans) >= m.limits.SpansPerTrace {
		return
	}
	k.spans = append(k.spans, span)
	k.bytes += size
	m.bytes += size
	for m.bytes > m.limits.Bytes || m.order.Len() > m.limits.Traces {
		oldest := of(m.order.Front())
		m.order.Remove(m.order.Front())
		delete(m.traces, oldest.id)
		m.bytes -= oldest.bytes
	}
}

// remember is the span processor of one service.
type remember struct {
	memory  *Memory
	service string
}

// OnStart does nothing.
func (remember) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd keeps the span.
func (r remember) OnEnd(s sdktrace.ReadOnlySpan) { r.memory.add(r.service, s) }

// Shutdown keeps what there is: other services may still look.
func (remember) Shutdown(context.Context) error { return nil }

// ForceFlush does nothing.
func (remember) ForceFlush(context.Context) error { return nil }
