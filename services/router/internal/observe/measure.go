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
	operation, provider, model string
	class                      usage.Class
}

// pieceEvery is which share of the pieces of an answer is measured: recording each would cost a twentieth
// of what passing it on does, and the distribution is the same.
const pieceEvery = 8

// maxServed bounds the combinations that are measured apart.
const maxServed = 1000

// measures are the instruments, and what they are called with.
type measures struct {
	duration, first, piece metric.Float64Histogram
	tokens                 metric.Int64Histogram

	known  *cache[served, *sets]
	failed *telemetry.Sets[failed]

	attempts  tally[ended]
	fallbacks tally[failed]
	retries   tally[failed]
	spent     tally[string]
	hedges    tally[string]

	batch batch
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
		telemetry.GenAIOperation.String(s.operation), telemetry.GenAIProvider.String(ProviderName(s.provider)),
		telemetry.GenAIRequestModel.String(s.model), telemetry.CredentialClass.String(s.class.String()),
	}, more...)
}

func newMeasures(m metric.Meter) *measures {
	ofFailure := func(f failed) []attribute.KeyValue {
		return []attribute.KeyValue{
			telemetry.GenAIProvider.String(ProviderName(f.provider)), telemetry.CredentialClass.String(f.served.class.String()),
			telemetry.ErrorType.String(f.class),
		}
	}
	ofProvider := func(slug string) []attribute.KeyValue {
		return []attribute.KeyValue{telemetry.GenAIProvider.String(ProviderName(slug))}
	}
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
				telemetry.GenAIProvider.String(ProviderName(e.provider)), telemetry.CredentialClass.String(e.class.String()),
				telemetry.Outcome.String(e.outcome.String()),
			}
		}),
		fallbacks: newTally(ofFailure), retries: newTally(ofFailure), spent: newTally(ofProvider), hedges: newTally(ofProvider),
	}
	all.tokens, _ = m.Int64Histogram(telemetry.MetricGenAITokens, metric.WithUnit("{token}"), metric.WithDescription("Tokens of a call, as the provider counts them."))
	// Callbacks come before the instruments are read, so that what waits is not missed.
	all.attempts.register(m, "claviger.attempts", "{attempt}", "Attempts by how they ended.", all.flush)
	all.fallbacks.register(m, "claviger.fallbacks", "{fallback}", "Targets that failed and were followed by another.", func() {})
	all.retries.register(m, "claviger.retries", "{retry}", "Targets that failed and were tried again.", func() {})
	all.spent.register(m, "claviger.retries.refused", "{retry}", "Calls that were not made again, since enough calls of the provider were.", func() {})
	all.hedges.register(m, "claviger.hedges", "{hedge}", "Second calls, by the provider of the one that was slow.", func() {})
	return all
}

// measured is an attempt that has ended, as it is measured.
type measured struct {
	ctx             context.Context //nolint:containedctx // of the exemplar
	of              served
	sets            *sets
	duration, first float64 // seconds; first is 0 for none
	input, output   int64   // -1 for not counted
	failure         string
}

// batchSize is how many attempts are measured at once. An instrument's call is a long way through the
// SDK: one after the other they find it in the processor's caches, which requests have used for other
// things in between.
const batchSize = 64

// batch holds attempts until they are measured: when there are enough, and when somebody asks.
type batch struct {
	mu      sync.Mutex
	waiting []measured
}

// measure notes an attempt that has ended.
func (a *attempt) measure(e *usage.Event) {
	m := a.c.measures
	m.attempts.add(ended{a.of.provider, a.of.class, e.Outcome})
	one := measured{ctx: a.ctx, of: a.of, sets: a.sets, duration: e.Duration.Seconds(), input: -1, output: -1, failure: e.ErrorClass}
	if e.Streamed && e.FirstContent > 0 {
		one.first = e.FirstContent.Seconds()
	}
	if t := counted(e); t != nil {
		one.input, one.output = t.InputTotal, t.OutputTotal
	}
	m.batch.mu.Lock()
	defer m.batch.mu.Unlock()
	m.batch.waiting = append(m.batch.waiting, one)
	if len(m.batch.waiting) >= batchSize {
		m.record()
	}
}

// flush measures what waits, before somebody reads.
func (m *measures) flush() {
	m.batch.mu.Lock()
	defer m.batch.mu.Unlock()
	m.record()
}

// record measures what waits. The lock is held.
func (m *measures) record() {
	for i := range m.batch.waiting {
		one := &m.batch.waiting[i]
		by := one.sets.plain
		if one.failure != "" {
			by = m.failed.Of(failed{one.of, one.failure}).Record
		}
		m.duration.Record(one.ctx, one.duration, by...)
		if one.first > 0 {
			m.first.Record(one.ctx, one.first, one.sets.plain...)
		}
		if one.input >= 0 {
			m.tokens.Record(one.ctx, one.input, one.sets.input...)
			m.tokens.Record(one.ctx, one.output, one.sets.output...)
		}
	}
	clear(m.batch.waiting)
	m.batch.waiting = m.batch.waiting[:0]
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

// register makes the instrument. Before is called when somebody reads.
func (t tally[K]) register(m metric.Meter, name, unit, description string, before func()) {
	_, _ = m.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			before()
			for key, n := range *t.counts.known.Load() {
				o.Observe(n.Load(), metric.WithAttributes(t.attributes(key)...))
			}
			return nil
		}))
}
