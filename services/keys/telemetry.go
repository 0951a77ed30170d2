package keys

import (
	"context"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/pkg/transit"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
)

// shownSealer shows that a secret was sealed and how long it took. What was sealed is not its business.
type shownSealer struct{ transit.Sealer }

// Seal seals plaintext.
func (s shownSealer) Seal(ctx context.Context, plaintext secret.Text, bound transit.Context) (string, error) {
	ctx, span := telemetry.Child(ctx, "seal credential", telemetry.Client...)
	defer span.End()
	sealed, err := s.Sealer.Seal(ctx, plaintext, bound)
	if span.IsRecording() {
		span.SetAttributes(telemetry.CredentialID.String(bound.CredentialID))
		if err != nil {
			telemetry.Failed(span, "not_sealed")
		}
	}
	return sealed, err
}

// reportVersion says which version of the configuration this replica hands out.
func (a *App) reportVersion() error {
	_, err := a.deps.Telemetry.Meter().Int64ObservableGauge(telemetry.MetricConfigVersion,
		metric.WithDescription("The version of the configuration."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			version, _, _ := a.news.Newest()
			o.Observe(version)
			return nil
		}))
	return err
}

// countWatchers counts who follows the configuration, by service.
func countWatchers(t *telemetry.Telemetry) connect.ServerInterceptor {
	watchers, _ := t.Meter().Int64UpDownCounter(telemetry.MetricConfigWatchers,
		metric.WithUnit("{watcher}"), metric.WithDescription("Services that follow the configuration."))
	sets := telemetry.NewSets(func(service string) []attribute.KeyValue {
		return []attribute.KeyValue{telemetry.Watcher.String(service)}
	})
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			if spec.Procedure != keysv1connect.ConfigServiceWatchConfigProcedure {
				return next(ctx, spec, stream)
			}
			set := sets.Of(authn.FromContext(ctx).Service)
			watchers.Add(ctx, 1, set.Add...)
			defer watchers.Add(ctx, -1, set.Add...)
			return next(ctx, spec, stream)
		}
	}
}
