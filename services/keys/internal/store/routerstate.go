package store

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/services/keys/internal/routerstate"
)

type routerRow struct {
	bun.BaseModel `bun:"table:router_state"`

	Name           string `bun:"name,pk"`
	Epoch          string `bun:"epoch"`
	AppliedVersion int64  `bun:"applied_version"`
	Cuts           string `bun:"cuts"`
	Closed         bool   `bun:"closed"`
	LeaseUntil     int64  `bun:"lease_until"`
	SeenAt         int64  `bun:"seen_at"`
}

func (r routerRow) domain() routerstate.Router {
	return routerstate.Router{
		Name: r.Name, Epoch: r.Epoch, Applied: r.AppliedVersion, Cuts: fromJSON[[]routerstate.Cut](r.Cuts), Closed: r.Closed,
		LeaseUntil: fromMicros(r.LeaseUntil), SeenAt: fromMicros(r.SeenAt),
	}
}

func toRouterRow(r routerstate.Router) routerRow {
	return routerRow{
		Name: r.Name, Epoch: r.Epoch, AppliedVersion: r.Applied, Cuts: toJSON(r.Cuts), Closed: r.Closed,
		LeaseUntil: micros(r.LeaseUntil), SeenAt: micros(r.SeenAt),
	}
}

var _ routerstate.Store = (*Store)(nil)

// SaveRouters stores what routers said last. A report that was under way when its router said goodbye
// does not bring that back.
func (s *Store) SaveRouters(ctx context.Context, routers []routerstate.Router) error {
	rows := each(routers, toRouterRow)
	err := s.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Model(&rows).On("CONFLICT (name) DO UPDATE").
			Set("epoch = EXCLUDED.epoch").Set("applied_version = EXCLUDED.applied_version").Set("cuts = EXCLUDED.cuts").
			Set("closed = EXCLUDED.closed").Set("lease_until = EXCLUDED.lease_until").Set("seen_at = EXCLUDED.seen_at").
			Where("NOT (?TableAlias.closed AND ?TableAlias.epoch = EXCLUDED.epoch)").Exec(ctx)
		return err
	})
	if err != nil {
		return translate(fmt.Errorf("store routers: %w", err))
	}
	return nil
}

// Routers returns the routers that were seen since a time, and the newest version of the configuration.
// A router may name a newer one than there is after the database was restored from an old copy.
func (s *Store) Routers(ctx context.Context, since time.Time) (version int64, routers []routerstate.Router, err error) {
	err = s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := tx.NewRaw("SELECT version FROM config_version").Scan(ctx, &version); err != nil {
			return err
		}
		var rows []routerRow
		err := tx.NewSelect().Model(&rows).Where("seen_at >= ?", micros(since)).Order("name").Scan(ctx)
		routers = each(rows, routerRow.domain)
		return err
	})
	if err != nil {
		return 0, nil, translate(fmt.Errorf("read routers: %w", err))
	}
	for i := range routers {
		if routers[i].Applied > version {
			routers[i].Applied = 0
		}
	}
	return version, routers, nil
}
