package telemetry

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// defaultRatio of new traces are exported if nothing else is said. A trace of a completion has about
// ten spans, and one in twenty shows every kind of delay of a busy installation within seconds; the
// metrics count all. A caller that samples its own trace has ours with it.
const defaultRatio = 0.05

// asked reports whether the environment wants a signal exported: autoexport alone would send
// everything to localhost if nothing is set.
func asked(signal string) bool {
	if disabled, _ := strconv.ParseBool(os.Getenv("OTEL_SDK_DISABLED")); disabled {
		return false
	}
	switch exporter := os.Getenv("OTEL_" + signal + "_EXPORTER"); exporter {
	case "":
		return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") != ""
	case "none":
		return false
	case "prometheus": // there is /metrics already; a second one would open a listener of its own
		return signal != "METRICS"
	default:
		return true
	}
}

func spanExporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	if !asked("TRACES") {
		return nil, nil //nolint:nilnil // none is an answer
	}
	e, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("export traces as OTEL_* says: %w", err)
	}
	return e, nil
}

// reading is a producer of what a reader already has.
type reading struct{ sdkmetric.Reader }

// Produce reads all measurements.
func (r reading) Produce(ctx context.Context) ([]metricdata.ScopeMetrics, error) {
	var all metricdata.ResourceMetrics
	err := r.Collect(ctx, &all)
	return all.ScopeMetrics, err
}

// producing guards autoexport's producer, which is global there.
var producing sync.Mutex

// metricReader returns a reader that sends, or nil if nothing is to be sent. If it sends cumulative sums
// it reads them from of; otherwise it needs a provider with instruments.
func metricReader(ctx context.Context, of sdkmetric.Reader) (sdkmetric.Reader, error) {
	if !asked("METRICS") {
		return nil, nil //nolint:nilnil // none is an answer
	}
	producing.Lock()
	defer producing.Unlock()
	if cumulative() {
		autoexport.WithFallbackMetricProducer(func(context.Context) (sdkmetric.Producer, error) { return reading{of}, nil })
		defer autoexport.WithFallbackMetricProducer(nil)
	}
	r, err := autoexport.NewMetricReader(ctx)
	if err != nil {
		return nil, fmt.Errorf("export metrics as OTEL_* says: %w", err)
	}
	return r, nil
}

// cumulative reports whether measurements are to be sent as /metrics shows them, since the start, and
// nothing else beside them.
func cumulative() bool {
	if os.Getenv("OTEL_METRICS_PRODUCERS") != "" {
		return false
	}
	switch strings.ToLower(os.Getenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE")) {
	case "", "cumulative":
		return true
	default:
		return false
	}
}

func logExporter(ctx context.Context) (sdklog.Exporter, error) {
	if !asked("LOGS") {
		return nil, nil //nolint:nilnil // none is an answer
	}
	e, err := autoexport.NewLogExporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("export logs as OTEL_* says: %w", err)
	}
	return e, nil
}

var samplers = []string{
	"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
}

// sampler returns nil if the environment names one, which the SDK then reads. The SDK would take a
// name that it does not know for "all", so that is an error here.
func sampler(memory bool) (sdktrace.Sampler, error) {
	name := os.Getenv("OTEL_TRACES_SAMPLER")
	switch {
	case name == "" && memory: // somebody tries things out, and looks at each trace
		return sdktrace.ParentBased(sdktrace.AlwaysSample()), nil
	case name == "":
		return sdktrace.ParentBased(sdktrace.TraceIDRatioBased(defaultRatio)), nil
	case !slices.Contains(samplers, name):
		return nil, fmt.Errorf("OTEL_TRACES_SAMPLER=%q: give one of %s", name, strings.Join(samplers, ", "))
	}
	if arg := os.Getenv("OTEL_TRACES_SAMPLER_ARG"); arg != "" && strings.HasSuffix(name, "traceidratio") {
		if ratio, err := strconv.ParseFloat(arg, 64); err != nil || ratio < 0 || ratio > 1 {
			return nil, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG=%q: give a share from 0 to 1", arg)
		}
	}
	return nil, nil //nolint:nilnil // the SDK's answer
}
