package apikey

import (
	"context"
	"time"

	"github.com/claviger/claviger/services/keys/internal/audit"
)

const (
	// Retention is how long a revoked key is kept, so that its name still stands beside a year's usage.
	Retention = 400 * 24 * time.Hour
	// Kept is how many of an organization's revoked keys are: routers keep them too. They are the last revoked.
	Kept = 100_000
	// AtOnce is how many are forgotten in one change.
	AtOnce = 1000
)

// Forget removes revoked keys that are not kept any more, and returns how many it was: AtOnce if there may be more.
func (s *Service) Forget(ctx context.Context, tx Tx) (int, error) {
	before := s.Now().Add(-Retention)
	forgotten, err := tx.ForgetAPIKeys(ctx, before, Kept, AtOnce)
	if err != nil || forgotten == 0 {
		return forgotten, err
	}
	return forgotten, tx.Record(ctx, "api_key.forget", "", audit.Detail{"count": forgotten})
}
