// Package telemetry starts OpenTelemetry once per service and passes it down: nothing of it is global,
// and a nil *Telemetry does nothing, so that a test needs none.
//
// An instrumented part gets a *Telemetry with its other dependencies and makes its instruments once:
//
//	type metrics struct {
//		duration metric.Float64Histogram
//		sets     *telemetry.Sets[served]
//	}
//
//	func newMetrics(t *telemetry.Telemetry) metrics {
//		duration, _ := t.Meter().Float64Histogram(telemetry.MetricGenAIDuration, metric.WithUnit("s"))
//		return metrics{duration, telemetry.NewSets(func(s served) []attribute.KeyValue {
//			return []attribute.KeyValue{telemetry.GenAIProvider.String(s.provider), telemetry.GenAIRequestModel.String(s.model)}
//		})}
//	}
//
// and then, for each piece of work,
//
//	ctx, span := t.Tracer().Start(telemetry.Extract(ctx, r.Header), "chat gpt-4o-mini", telemetry.Client...)
//	defer span.End()
//	ctx = telemetry.WithOrganization(ctx, orgID) // once it is known; for all spans below, too
//	if span.IsRecording() {                      // attributes cost, so only where someone will see them
//		span.SetAttributes(telemetry.RequestID.String(id))
//	}
//	m.duration.Record(ctx, time.Since(begin).Seconds(), m.sets.Of(served{provider, model}).Record...)
//	_, opening := telemetry.Child(ctx, "open credential") // a step: no Telemetry needed, free if not sampled
//	opening.End()
//	telemetry.Inject(ctx, msg.Header)            // to our own services only
//	telemetry.Failed(span, "upstream_timeout")   // if it is our fault or the provider's
//
// What must never be in a span, a measurement or a log: prompts, answers, secrets, and texts of errors
// that may quote them. An error is told by its class.
//
// Measurements are always on /metrics. Traces, measurements and logs are sent to a collector if the
// standard OTEL_* variables say where, and not otherwise.
package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/sync/errgroup"

	"github.com/claviger/claviger/pkg/id"
)

// scope names our instrumentation.
const scope = "github.com/claviger/claviger"

// Options say who reports.
type Options struct {
	// Service is "keys", "router" or "metering"; service.name is "claviger-" and that.
	Service string
	// Environment is the name of the installation.
	Environment string
	// Instance is a stable name of this process. Empty makes one up.
	Instance string
	// Version of the binary. Empty is what it was built from.
	Version string
	// Memory keeps traces in this process, in which other services may run, too. Nil keeps none.
	Memory *Memory
	// Log is told of what cannot be exported, once a minute. Nil is not.
	Log *slog.Logger
}

// Telemetry is what a service reports through. Its methods may be called on nil.
type Telemetry struct {
	tracer   trace.Tracer
	meter    metric.Meter
	logs     *sdklog.LoggerProvider // nil unless logs are exported
	registry *prometheus.Registry
	log      *slog.Logger
	closers  []func(context.Context) error
}

// Start starts telemetry. The error is one of the settings, which are the OTEL_* variables: a
// collector that is away is none.
func Start(ctx context.Context, o Options) (*Telemetry, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	t := &Telemetry{registry: prometheus.NewRegistry(), log: o.Log}
	who, err := identity(ctx, o)
	if err == nil {
		err = t.startTraces(ctx, o, who)
	}
	if err == nil {
		err = t.startMetrics(ctx, who)
	}
	if err == nil {
		err = t.startLogs(ctx, who)
	}
	if err != nil {
		t.Shutdown(ctx)
		return nil, err
	}
	return t, nil
}

// identity is the resource of all that is reported. There is no host name and no command line in it:
// an argument may be a secret.
func identity(ctx context.Context, o Options) (*resource.Resource, error) {
	if o.Instance == "" {
		o.Instance = id.New("inst")
	}
	attributes := []attribute.KeyValue{
		attribute.String("service.name", "claviger-"+o.Service),
		attribute.String("service.instance.id", o.Instance),
		attribute.String("deployment.environment.name", o.Environment),
	}
	if o.Version == "" {
		o.Version = built()
	}
	if o.Version != "" {
		attributes = append(attributes, attribute.String("service.version", o.Version))
	}
	if o.Memory != nil { // services share the process and its environment: each keeps its own name
		return resource.New(ctx, resource.WithFromEnv(), resource.WithAttributes(attributes...))
	}
	// What an operator says in OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES wins over ours.
	return resource.New(ctx, resource.WithAttributes(attributes...), resource.WithFromEnv())
}

// built is the version or the revision that the binary was built from.
func built() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}

// maxAttribute bounds a text on a span. Ours are short; a provider's may not be.
const maxAttribute = 1024

func (t *Telemetry) startTraces(ctx context.Context, o Options, who *resource.Resource) error {
	exporter, err := spanExporter(ctx)
	if err != nil {
		return err
	}
	if exporter == nil && o.Memory == nil {
		// Nobody would see a span. The caller's context still passes through to what we call.
		t.tracer = nooptrace.NewTracerProvider().Tracer(scope)
		return nil
	}
	limits := sdktrace.NewSpanLimits()
	if limits.AttributeValueLengthLimit < 0 || limits.AttributeValueLengthLimit > maxAttribute {
		limits.AttributeValueLengthLimit = maxAttribute
	}
	options := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(who), sdktrace.WithRawSpanLimits(limits), sdktrace.WithSpanProcessor(organizations{}),
	}
	choose, err := sampler(o.Memory != nil)
	if err != nil {
		return err
	}
	if choose != nil {
		options = append(options, sdktrace.WithSampler(choose))
	}
	if o.Memory != nil {
		options = append(options, sdktrace.WithSpanProcessor(remember{o.Memory, o.Service}))
	}
	if exporter != nil {
		t.report()
		options = append(options, sdktrace.WithBatcher(exporter)) // drops what it cannot send, and never waits
	}
	provider := sdktrace.NewTracerProvider(options...)
	t.closers = append(t.closers, provider.Shutdown)
	t.tracer = provider.Tracer(scope)
	return nil
}

func (t *Telemetry) startMetrics(ctx context.Context, who *resource.Resource) error {
	// The name of the service is a label, since one process may run several.
	scraped, err := otelprometheus.New(otelprometheus.WithRegisterer(t.registry), otelprometheus.WithoutScopeInfo(),
		otelprometheus.WithResourceAsConstantLabels(attribute.NewAllowKeysFilter("service.name")))
	if err != nil {
		return err
	}
	options := []sdkmetric.Option{sdkmetric.WithResource(who), sdkmetric.WithReader(scraped)}
	for name, bounds := range buckets {
		options = append(options, sdkmetric.WithView(sdkmetric.NewView(
			sdkmetric.Instrument{Name: name},
			sdkmetric.Stream{Aggregation: sdkmetric.AggregationExplicitBucketHistogram{Boundaries: bounds}})))
	}
	sent, err := metricReader(ctx, scraped)
	if err != nil {
		return err
	}
	var sending *sdkmetric.MeterProvider
	switch {
	case sent == nil:
	case cumulative():
		// A measurement is recorded once for every reader of its provider, which a busy router feels. So
		// what is sent is read from what is scraped, by a provider without instruments of its own.
		sending = sdkmetric.NewMeterProvider(sdkmetric.WithResource(who), sdkmetric.WithReader(sent))
	default:
		options = append(options, sdkmetric.WithReader(sent))
	}
	if sent != nil {
		t.report()
	}
	provider := sdkmetric.NewMeterProvider(options...)
	t.closers = append(t.closers, func(ctx context.Context) error {
		var last error
		if sending != nil { // before the one that it reads from
			last = sending.Shutdown(ctx)
		}
		return errors.Join(last, provider.Shutdown(ctx))
	})
	t.meter = provider.Meter(scope)
	return runtime.Start(runtime.WithMeterProvider(provider))
}

func (t *Telemetry) startLogs(ctx context.Context, who *resource.Resource) error {
	exporter, err := logExporter(ctx)
	if err != nil || exporter == nil {
		return err
	}
	t.report()
	t.logs = sdklog.NewLoggerProvider(sdklog.WithResource(who), sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter)))
	t.closers = append(t.closers, t.logs.Shutdown)
	return nil
}

// report sends the SDK's own errors to our log in place of standard error. It is the one thing that is
// global: the SDK has no other way to tell them.
func (t *Telemetry) report() {
	var told atomic.Int64
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		now, last := time.Now().Unix(), told.Load()
		if now-last >= 60 && told.CompareAndSwap(last, now) {
			t.log.Warn("telemetry is not exported", "error", err)
		}
	}))
}

// shutdownTimeout bounds the last export.
const shutdownTimeout = 5 * time.Second

// Shutdown sends what is left, for five seconds at most. What cannot be sent is lost and told to the
// log: a service does not fail for it.
func (t *Telemetry) Shutdown(ctx context.Context) {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	var group errgroup.Group
	for _, closer := range t.closers {
		group.Go(func() error { return closer(ctx) })
	}
	if err := group.Wait(); err != nil && !errors.Is(err, sdkmetric.ErrReaderShutdown) {
		t.log.WarnContext(ctx, "the last telemetry is lost", "error", err)
	}
	t.closers = nil
}

// Tracer begins spans.
func (t *Telemetry) Tracer() trace.Tracer {
	if t == nil {
		return nooptrace.Tracer{}
	}
	return t.tracer
}

// Meter makes instruments. Their errors are mistakes in names, which tests find; the instrument that
// comes with one works or does nothing.
func (t *Telemetry) Meter() metric.Meter {
	if t == nil {
		return noopmetric.Meter{}
	}
	return t.meter
}

// Metrics serves the measurements of services in one process, for GET /metrics. Whoever asks for
// OpenMetrics gets exemplars, too.
func Metrics(services ...*Telemetry) http.Handler {
	var all prometheus.Gatherers
	var helps sync.Map // by name
	for _, t := range services {
		if t == nil {
			continue
		}
		// Prometheus refuses a name that is explained in two ways, as each service may in its own words.
		all = append(all, prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
			families, err := t.registry.Gather()
			for _, f := range families {
				if help, known := helps.LoadOrStore(f.GetName(), f.Help); known {
					f.Help, _ = help.(*string)
				}
			}
			return families, err
		}))
	}
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

var noSpan trace.Span = nooptrace.Span{}

// Child begins a span below the one of ctx if that is recorded, through the same Telemetry, and costs
// nothing if not. It is for steps that are not worth a trace of their own, such as a transaction, and
// needs nothing passed down.
func Child(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	above := trace.SpanFromContext(ctx)
	if !above.IsRecording() {
		return ctx, noSpan
	}
	return above.TracerProvider().Tracer(scope).Start(ctx, name, options...) //nolint:spancheck // the caller ends it
}

// The options of spans by kind, made once.
var (
	Server   = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer)}
	Client   = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient)}
	Producer = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindProducer)}
	Consumer = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer)}
)

// Failed marks a span as failed by the class of its error. The text of the error is not taken: it may
// quote what was being worked on.
func Failed(span trace.Span, class string) {
	if span.IsRecording() {
		span.SetStatus(codes.Error, class)
		span.SetAttributes(ErrorType.String(class))
	}
}
