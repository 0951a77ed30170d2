package suite

import (
	"context"
	"log/slog"

	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/services/metering"
)

// reports are what the services report through. The last traces of all three lie in one memory, so that
// a request can be shown as a whole.
type reports struct {
	memory                 *telemetry.Memory
	keys, router, metering *telemetry.Telemetry
}

func (s *suite) openReports(ctx context.Context) error {
	s.reports.memory = telemetry.NewMemory(telemetry.MemoryLimits{})
	for service, report := range map[string]**telemetry.Telemetry{
		"keys": &s.reports.keys, "router": &s.reports.router, "metering": &s.reports.metering,
	} {
		started, err := telemetry.Start(ctx, telemetry.Options{
			Service: service, Environment: Environment, Instance: service + "-1", Memory: s.reports.memory, Log: s.log.With("service", service),
		})
		if err != nil {
			return err
		}
		*report = started
		s.closers = append(s.closers, func() error { started.Shutdown(ctx); return nil })
	}
	return nil
}

// logOf is the log of a service, whose lines name their traces.
func (s *suite) logOf(service string, report *telemetry.Telemetry) *slog.Logger {
	return report.Logger(s.log.With("service", service))
}

// traces shows metering the memory. Who may see a span is decided there.
type traces struct{ memory *telemetry.Memory }

// Spans returns what is kept of a trace.
func (t traces) Spans(traceID string) []metering.Span {
	kept := t.memory.Trace(traceID)
	spans := make([]metering.Span, len(kept))
	for i, s := range kept {
		spans[i] = metering.Span(s)
	}
	return spans
}
