package metering

import (
	"context"

	"github.com/claviger/claviger/services/metering/internal/ingest"
)

// Assemble is New with waits that suit a test.
func Assemble(ctx context.Context, d Deps, timing ingest.Timing) (*App, error) {
	return assemble(ctx, d, timing)
}

// Maintain does the housekeeping at once.
func (a *App) Maintain(ctx context.Context) { a.maintain(ctx) }
