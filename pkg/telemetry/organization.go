package telemetry

import (
	"context"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

type organizationKey struct{}

// WithOrganization says that the current span, and each that begins below the returned context,
// belongs to an organization. Without a recorded span it costs nothing.
func WithOrganization(ctx context.Context, orgID string) context.Context {
	span := trace.SpanFromContext(ctx)
	if orgID == "" || !span.IsRecording() {
		return ctx
	}
	span.SetAttributes(OrganizationID.String(orgID))
	return context.WithValue(ctx, organizationKey{}, orgID)
}

// organizations puts the organization of the context on every span that begins, so that no
// instrumented line can forget it.
type organizations struct{}

// OnStart marks a span.
func (organizations) OnStart(ctx context.Context, s sdktrace.ReadWriteSpan) {
	if orgID, ok := ctx.Value(organizationKey{}).(string); ok {
		s.SetAttributes(OrganizationID.String(orgID))
	}
}

// OnEnd does nothing.
func (organizations) OnEnd(sdktrace.ReadOnlySpan) {}

// Shutdown does nothing.
func (organizations) Shutdown(context.Context) error { return nil }

// ForceFlush does nothing.
func (organizations) ForceFlush(context.Context) error { return nil }
