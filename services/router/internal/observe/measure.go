package observe

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// served is what measurements of attempts are told apart by.
type served struct {
	provider, model string
	class           usage.Class
}

// pieceEvery is which share of the pieces of an answer is measured: recording each would cost a twentieth
// of what passing it on does, and the distribution is the same.
const pieceEvery = 8

// maxServed bounds the combinations that are measured apart. Owners name models, too.
const maxServed = 1000

// measures are the instruments, and what they are called with.
type measures struct {
	duration, first, piece metric.Float64Histogram
	tokens                 metric.Int64Histogram

	known  *cache[served, *sets]
	failed *telemetry.Sets[failed]

	attempts  tally[ended]
	fallbacks tally[failed]
}

// sets are the attributes of one combination, ready for use. One look-up finds all of them.
type sets struct{ plain, input, output []metric.RecordOption }

// ended is what attempts are counted by.
type ended struct {
	provider string
	class    usage.Class
	outcome  usage.Outcome
}

// failed is a combination and the class of its error.
type failed struct {
	served
	class string
}

// attributes are those that the conventions ask for, and who pays.
func (s served) attributes(more ...attribute.KeyValue) []attribute.KeyValue {
	return append([]attribute.KeyValue{
		telemetry.GenAIOperation.String(operation), telemetry.GenAIProvider.String(s.provider),
		telemetry.GenAIRequestModel.String(s.model), telemetry.CredentialClass.String(s.class.String()),
	}, more...)
}

func newMeasures(m metric.Meter) *measures {
	seconds := func(name, description string) metric.Float64Histogram {
		h, _ := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description))
		return h
	}
	all := &measures{
		duration: seconds(telemetry.MetricGenAIDuration, "How long calls of providers took."),
		first:    seconds(telemetry.MetricGenAITimeToFirstChunk, "From the start of a streamed attempt to its first content."),
		piece:    seconds(telemetry.MetricGenAITimePerChunk, "Between pieces of streamed content, of every eighth piece."),
		known: newCache(maxServed, func(s served) *sets {
			return &sets{
				telemetry.NewSet(s.attributes()...).Record,
				telemetry.NewSet(s.attributes(telemetry.GenAITokenType.String("input"))...).Record,
				telemetry.NewSet(s.attributes(telemetry.GenAITokenType.String("output"))...).Record,
			}
		}),
		failed: telemetry.NewSets(func(f failed) []attribute.KeyValue {
			return f.attributes(telemetry.ErrorType.String(f.class))
		}),
		attempts: newTally(func(e ended) []attribute.KeyValue {
			return []attribute.KeyValue{
				telemetry.GenAIProvider.String(e.provider), telemetry.CredentialClass.String(e.class.String()),
				telemetry.Outcome.String(e.outcome.String()),
			}
		}),
		fallbacks: newTally(func(f failed) []attribute.KeyValue {
			return []attribute.KeyValue{
				telemetry.GenAIProvider.String(f.provider), telemetry.CredentialClass.String(f.served.class.String()),
				telemetry.ErrorType.String(f.class),
			}
		}),
	}
	all.tokens, _ = m.Int64Histogram(telemetry.MetricGenAITokens, metric.WithUnit("{token}"), metric.WithDescription("Tokens of a call, as the provider counts them."))
	all.attempts.register(m, "claviger.attempts", "{attempt}", "Attempts by how they ended.")
	all.fallbacks.register(m, "claviger.fallbacks", "{fallback}", "Targets that failed and were followed by another.")
	return all
}

// measure records an attempt that has ended.
func (a *attempt) measure(e *usage.Event) {
	m, ctx := a.c.measures, a.ctx
	m.attempts.add(ended{a.of.provider, a.of.class, e.Outcome})
	if e.Streamed && e.FirstContent > 0 {
		m.first.Record(ctx, e.FirstContent.Seconds(), a.sets.plain...)
	}
	if t := counted(e); t != nil {
		m.tokens.Record(ctx, t.InputTotal, a.sets.input...)
		m.tokens.Record(ctx, t.OutputTotal, a.sets.output...)
	}
	by := a.sets.plain
	if e.ErrorClass != "" {
		by = m.failed.Of(failed{a.of, e.ErrorClass}).Record
	}
	m.duration.Record(ctx, e.Duration.Seconds(), by...)
}

// cache keeps what is made from keys. Looking one up neither locks nor allocates. Keys after the first so
// many share the value of the zero key.
type cache[K comparable, V any] struct {
	limit int
	build func(K) V
	known atomic.Pointer[map[K]V]
	mu    sync.Mutex // of whoever adds
}

func newCache[K comparable, V any](limit int, build func(K) V) *cache[K, V] {
	c := &cache[K, V]{limit: limit, build: build}
	c.known.Store(&map[K]V{})
	return c
}

func (c *cache[K, V]) of(key K) V {
	if v, ok := (*c.known.Load())[key]; ok {
		return v
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known := *c.known.Load()
	if len(known) >= c.limit {
		var none K
		key = none
	}
	if v, ok := known[key]; ok {
		return v
	}
	more := maps.Clone(known)
	more[key] = c.build(key)
	c.known.Store(&more)
	return more[key]
}

// tally is a counter that is read when somebody asks: adding to it costs a tenth of an instrument's call.
type tally[K comparable] struct {
	counts     *cache[K, *atomic.Int64]
	attributes func(K) []attribute.KeyValue
}

func newTally[K comparable](attributes func(K) []attribute.KeyValue) tally[K] {
	return tally[K]{newCache(maxServed, func(K) *atomic.Int64 { return new(atomic.Int64) }), attributes}
}

func (t tally[K]) add(key K) { t.counts.of(key).Add(1) }

func (t tally[K]) register(m metric.Meter, name, unit, description string) {
	_, _ = m.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for key, n := range *t.counts.known.Load() {
				o.Observe(n.Load(), metric.WithAttributes(t.attributes(key)...))
			}
			return nil
		}))
}
