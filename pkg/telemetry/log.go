package telemetry

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/trace"
)

// Logger returns log with the trace and span id of the context in each line, and with a copy of each
// line going to where logs are exported, if they are. What log hides stays hidden: values are resolved
// by the same rules.
func (t *Telemetry) Logger(log *slog.Logger) *slog.Logger {
	h := handler{next: log.Handler()}
	if t != nil && t.logs != nil {
		h.export = otelslog.NewHandler(scope, otelslog.WithLoggerProvider(t.logs))
	}
	return slog.New(h)
}

type handler struct {
	next   slog.Handler
	export slog.Handler // nil unless logs are exported
}

// Enabled is what the wrapped handler says.
func (h handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle handles a line.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if h.export != nil { // it reads the ids itself; what cannot be sent is told by the SDK
		_ = h.export.Handle(ctx, r.Clone())
	}
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
	}
	return h.next.Handle(ctx, r)
}

// WithAttrs adds attributes to all lines.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.next = h.next.WithAttrs(attrs)
	if h.export != nil {
		h.export = h.export.WithAttrs(attrs)
	}
	return h
}

// WithGroup opens a group, in which the ids of the trace are then, too.
func (h handler) WithGroup(name string) slog.Handler {
	h.next = h.next.WithGroup(name)
	if h.export != nil {
		h.export = h.export.WithGroup(name)
	}
	return h
}
