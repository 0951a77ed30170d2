package router

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/services/router/internal/observe"
)

const (
	// object is what a configuration consists of.
	object = attribute.Key("claviger.config.object")
	// state is what a breaker is, and hold why a credential is left alone.
	state = attribute.Key("claviger.breaker.state")
	hold  = attribute.Key("claviger.credential.hold")
	// bound is what refused a request: the router's limit, or an organization's share of it.
	bound = attribute.Key("claviger.streams.bound")
)

// measure makes the measurements that are looked up when somebody asks for them.
func (a *App) measure(t *telemetry.Telemetry) error {
	m := t.Meter()
	var all []metric.Observable
	gauge := func(name, unit, description string) metric.Int64ObservableGauge {
		g, _ := m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
		all = append(all, g)
		return g
	}
	age := func(name, description string) metric.Float64ObservableGauge {
		g, _ := m.Float64ObservableGauge(name, metric.WithUnit("s"), metric.WithDescription(description))
		all = append(all, g)
		return g
	}
	streams := gauge(telemetry.MetricStreamsOpen, "{request}", "Completions under way.")
	jobs := gauge("claviger.jobs.open", "{job}", "Media jobs that this router follows.")
	events := gauge(telemetry.MetricJournalEvents, "{event}", "Usage events that metering has not confirmed.")
	oldest := age("claviger.journal.oldest", "How long the oldest usage event that metering has not confirmed has been waiting.")
	size := gauge(telemetry.MetricJournalBytes, "By", "The journal on disk.")
	limit := gauge("claviger.journal.limit", "By", "What the journal may grow to.")
	version := gauge(telemetry.MetricConfigVersion, "{version}", "The configuration being served.")
	since := age("claviger.config.age", "How old the configuration being served is.")
	silence := age("claviger.config.silence", "How long keys has said nothing, heartbeats included.")
	objects := gauge("claviger.config.objects", "{object}", "What the configuration consists of.")
	opened := gauge("claviger.keyring.credentials", "{credential}", "Credentials that are open in memory.")

	breakers := gauge("claviger.breakers", "{breaker}", "Places × models of providers that are left alone, or tried out.")
	held := gauge("claviger.credentials.held", "{credential}", "Credentials × models that were told to wait, or are left alone after failures.")
	violations, _ := m.Int64ObservableCounter("claviger.router.class_violations", metric.WithUnit("{violation}"),
		metric.WithDescription("Targets that were planned and not allowed. Nothing was sent. Anything but 0 is a defect."))
	refused, _ := m.Int64ObservableCounter("claviger.streams.refused", metric.WithUnit("{request}"),
		metric.WithDescription("Requests that were refused because as many are served as may be, by all or by their organization."))
	all = append(all, violations, refused)

	_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(streams, a.completions.Open())
		o.ObserveInt64(violations, a.completions.Violations())
		full, share := a.completions.Refused()
		o.ObserveInt64(refused, full, metric.WithAttributes(bound.String("router")))
		o.ObserveInt64(refused, share, metric.WithAttributes(bound.String("organization")))
		for slug, n := range a.learned.Counts() {
			provider := telemetry.GenAIProvider.String(observe.ProviderName(slug))
			o.ObserveInt64(breakers, int64(n.Open), metric.WithAttributes(provider, state.String("open")))
			o.ObserveInt64(breakers, int64(n.Trying), metric.WithAttributes(provider, state.String("half_open")))
			o.ObserveInt64(held, int64(n.Cooling), metric.WithAttributes(provider, hold.String("cooling_down")))
			o.ObserveInt64(held, int64(n.Ejected), metric.WithAttributes(provider, hold.String("failing")))
		}
		o.ObserveInt64(jobs, int64(a.media.Open()))
		waiting, from := a.journal.Waiting()
		o.ObserveInt64(events, waiting)
		o.ObserveFloat64(oldest, a.secondsSince(from))
		stats := a.journal.Stats()
		o.ObserveInt64(size, stats.Bytes)
		o.ObserveInt64(limit, stats.MaxBytes)
		o.ObserveInt64(opened, int64(a.ring.Len()))
		o.ObserveFloat64(silence, a.secondsSince(a.follower.Heard()))
		config, err := a.follower.State()
		if err != nil {
			return nil //nolint:nilerr // no configuration yet: nothing to tell
		}
		o.ObserveInt64(version, config.Version())
		o.ObserveFloat64(since, a.secondsSince(config.Issued()))
		for kind, n := range config.Size() {
			o.ObserveInt64(objects, int64(n), metric.WithAttributes(object.String(kind)))
		}
		return nil
	}, all...)
	return err
}

// secondsSince is 0 for a moment that never was.
func (a *App) secondsSince(at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return max(0, a.d.Now().Sub(at).Seconds())
}
