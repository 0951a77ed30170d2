package observe

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// recorder is a histogram with its sets of attributes.
type recorder struct {
	seconds metric.Float64Histogram
	count   metric.Int64Histogram
	sets    *telemetry.Sets[served]
}

// counter is a counter with its sets of attributes.
type counter struct {
	n    metric.Int64Counter
	sets *telemetry.Sets[served]
}

func (c counter) add(ctx context.Context, of served) { c.n.Add(ctx, 1, c.sets.Of(of).Add...) }

// genAI are the attributes that the conventions ask for, and who pays.
func genAI(s served) []attribute.KeyValue {
	out := []attribute.KeyValue{
		telemetry.GenAIOperation.String(operation), telemetry.GenAIProvider.String(s.provider),
		telemetry.GenAIRequestModel.String(s.model), telemetry.CredentialClass.String(s.class.String()),
	}
	if s.failure != "" {
		out = append(out, telemetry.ErrorType.String(s.failure))
	}
	return out
}

// instruments makes them.
func (c *Completions) instruments(m metric.Meter) {
	seconds := func(name, description string) recorder {
		h, _ := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description))
		return recorder{seconds: h, sets: telemetry.NewSets(genAI)}
	}
	c.duration = seconds(telemetry.MetricGenAIDuration, "How long calls of providers took.")
	c.first = seconds(telemetry.MetricGenAITimeToFirstChunk, "From the start of a streamed attempt to its first content.")
	c.piece = seconds(telemetry.MetricGenAITimePerChunk, "Between pieces of streamed content.")
	tokens, _ := m.Int64Histogram(telemetry.MetricGenAITokens, metric.WithUnit("{token}"), metric.WithDescription("Tokens of a call, as the provider counts them."))
	c.tokens = recorder{count: tokens, sets: telemetry.NewSets(func(s served) []attribute.KeyValue {
		return append(genAI(s), telemetry.GenAITokenType.String(s.detail))
	})}
	attempts, _ := m.Int64Counter("claviger.attempts", metric.WithUnit("{attempt}"), metric.WithDescription("Attempts by how they ended."))
	c.attempts = counter{attempts, telemetry.NewSets(func(s served) []attribute.KeyValue {
		return []attribute.KeyValue{
			telemetry.GenAIProvider.String(s.provider), telemetry.CredentialClass.String(s.class.String()), telemetry.Outcome.String(s.detail),
		}
	})}
	fallbacks, _ := m.Int64Counter("claviger.fallbacks", metric.WithUnit("{fallback}"), metric.WithDescription("Targets that failed and were followed by another."))
	c.fallbacks = counter{fallbacks, telemetry.NewSets(func(s served) []attribute.KeyValue {
		return []attribute.KeyValue{
			telemetry.GenAIProvider.String(s.provider), telemetry.CredentialClass.String(s.class.String()), telemetry.ErrorType.String(s.failure),
		}
	})}
}

// measure records an attempt that has ended.
func (a *attempt) measure(e *usage.Event) {
	c, of := a.c, a.of
	c.attempts.add(a.ctx, served{provider: of.provider, class: of.class, detail: e.Outcome.String()})
	if e.Streamed && e.FirstContent > 0 {
		c.first.seconds.Record(a.ctx, e.FirstContent.Seconds(), c.first.sets.Of(of).Record...)
	}
	if t := counted(e); t != nil {
		of.detail = "input"
		c.tokens.count.Record(a.ctx, t.InputTotal, c.tokens.sets.Of(of).Record...)
		of.detail = "output"
		c.tokens.count.Record(a.ctx, t.OutputTotal, c.tokens.sets.Of(of).Record...)
		of.detail = ""
	}
	of.failure = e.ErrorClass
	c.duration.seconds.Record(a.ctx, e.Duration.Seconds(), c.duration.sets.Of(of).Record...)
}
