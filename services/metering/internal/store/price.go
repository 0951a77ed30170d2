package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/services/metering/internal/price"
)

// priceRow is a row of price.
type priceRow struct {
	bun.BaseModel `bun:"table:price"`

	ID        string `bun:"id,pk"`
	Model     string `bun:"model"`
	ValidFrom int64  `bun:"valid_from"`
	Tiers     string `bun:"tiers"`
	Units     string `bun:"units"`
	Reported  bool   `bun:"reported"`
	Source    string `bun:"source"`
	CreatedBy string `bun:"created_by"`
	CreatedAt int64  `bun:"created_at"`
}

// tierJSON is a tier as it is stored. An absent rate is unknown.
type tierJSON struct {
	MinInput      int64  `json:"min_input_tokens"`
	Input         *int64 `json:"input,omitempty"`
	Output        *int64 `json:"output,omitempty"`
	CacheRead     *int64 `json:"cache_read,omitempty"`
	CacheWrite5m  *int64 `json:"cache_write_5m,omitempty"`
	CacheWrite30m *int64 `json:"cache_write_30m,omitempty"`
	CacheWrite1h  *int64 `json:"cache_write_1h,omitempty"`
	CacheWrite12h *int64 `json:"cache_write_12h,omitempty"`
	AudioIn       *int64 `json:"audio_in,omitempty"`
	AudioOut      *int64 `json:"audio_out,omitempty"`
	ImageIn       *int64 `json:"image_in,omitempty"`
	ImageOut      *int64 `json:"image_out,omitempty"`
}

// unitJSON is the rate of a unit as it is stored. An absent rate is unknown.
type unitJSON struct {
	Name string `json:"name"`
	Rate *int64 `json:"rate,omitempty"`
}

func toPriceRow(v price.Version) *priceRow {
	tiers := make([]tierJSON, len(v.Tiers))
	for i, t := range v.Tiers {
		tiers[i] = tierJSON(t)
	}
	units := make([]unitJSON, len(v.Units))
	for i, u := range v.Units {
		units[i] = unitJSON(u)
	}
	return &priceRow{
		ID: v.ID, Model: v.Model, ValidFrom: v.ValidFrom.UnixMicro(), Tiers: toJSON(tiers), Units: toJSON(units), Reported: v.Reported,
		Source: v.Source, CreatedBy: v.CreatedBy, CreatedAt: micros(v.CreatedAt),
	}
}

func (r *priceRow) version() (price.Version, error) {
	var tiers []tierJSON
	if err := json.Unmarshal([]byte(r.Tiers), &tiers); err != nil {
		return price.Version{}, fmt.Errorf("decode price %s: %w", r.ID, err)
	}
	var units []unitJSON
	if err := json.Unmarshal([]byte(r.Units), &units); err != nil {
		return price.Version{}, fmt.Errorf("decode price %s: %w", r.ID, err)
	}
	v := price.Version{
		Price:     pricing.Price{ID: r.ID, Model: r.Model, ValidFrom: time.UnixMicro(r.ValidFrom).UTC(), Reported: r.Reported, Source: r.Source},
		CreatedBy: r.CreatedBy, CreatedAt: fromMicros(r.CreatedAt),
	}
	for _, t := range tiers {
		v.Tiers = append(v.Tiers, pricing.Tier(t))
	}
	for _, u := range units {
		v.Units = append(v.Units, pricing.UnitRate(u))
	}
	return v, nil
}

func versionsOf(rows []priceRow) ([]price.Version, error) {
	out := make([]price.Version, len(rows))
	for i := range rows {
		v, err := rows[i].version()
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// idempotencyRow is a row of idempotency.
type idempotencyRow struct {
	bun.BaseModel `bun:"table:idempotency"`

	OrgID     string `bun:"org_id,pk"`
	Method    string `bun:"method,pk"`
	Key       string `bun:"idempotency_key,pk"`
	Digest    string `bun:"digest"`
	Result    string `bun:"result"`
	CreatedAt int64  `bun:"created_at"`
}

// InsertPrice adds a version, or returns the one that the same request added before.
func (s *Store) InsertPrice(ctx context.Context, v price.Version, once price.Idempotency) (price.Version, error) {
	var out price.Version
	err := s.db.InOrgTx(ctx, once.OrgID, func(ctx context.Context, tx bun.Tx) error {
		note := &idempotencyRow{
			OrgID: once.OrgID, Method: once.Method, Key: once.Key, Digest: once.Digest, Result: v.ID, CreatedAt: micros(v.CreatedAt),
		}
		// The note goes first: two calls with one key wait for each other here.
		result, err := tx.NewInsert().Model(note).On("CONFLICT DO NOTHING").Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 1 {
			if err != nil {
				return err
			}
			out = v
			_, err = tx.NewInsert().Model(toPriceRow(v)).Exec(ctx)
			return err
		}
		var earlier idempotencyRow
		err = tx.NewSelect().Model(&earlier).
			Where("org_id = ? AND method = ? AND idempotency_key = ?", once.OrgID, once.Method, once.Key).Scan(ctx)
		if err != nil {
			return err
		}
		if earlier.Digest != once.Digest {
			return price.ErrKeyReused
		}
		var row priceRow
		if err := tx.NewSelect().Model(&row).Where("id = ?", earlier.Result).Scan(ctx); err != nil {
			return err
		}
		out, err = row.version()
		return err
	})
	if _, exists := sqldb.UniqueViolation(err); exists {
		return price.Version{}, price.ErrExists.With("model", v.Model).Because(err)
	}
	return out, err
}

// SeedPrices adds the versions that are not there.
func (s *Store) SeedPrices(ctx context.Context, versions []price.Version) error {
	rows := make([]*priceRow, len(versions))
	for i, v := range versions {
		rows[i] = toPriceRow(v)
	}
	slices.SortFunc(rows, func(a, b *priceRow) int { return cmp.Compare(a.ID, b.ID) })
	return s.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error { return insertNew(ctx, tx, rows) })
}

// ListPrices lists versions by model, the newest first for each.
func (s *Store) ListPrices(ctx context.Context, l price.List) (versions []price.Version, more bool, err error) {
	err = s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var rows []priceRow
		query := tx.NewSelect().Model(&rows).OrderExpr("model, valid_from DESC").Limit(int64(l.PageSize) + 1)
		if l.Model != "" {
			query = query.Where("model = ?", l.Model)
		}
		if l.After != nil {
			query = query.Where("(model > ? OR model = ? AND valid_from < ?)", l.After.Model, l.After.Model, l.After.ValidFrom)
		}
		if err := query.Scan(ctx); err != nil {
			return err
		}
		if more = len(rows) > l.PageSize; more {
			rows = rows[:l.PageSize]
		}
		versions, err = versionsOf(rows)
		return err
	})
	return versions, more, err
}

// PriceCount counts the versions.
func (s *Store) PriceCount(ctx context.Context) (int64, error) {
	var n int64
	err := s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM price").Scan(&n)
	})
	return n, err
}

// AllPrices returns all versions.
func (s *Store) AllPrices(ctx context.Context) ([]pricing.Price, error) {
	var prices []pricing.Price
	err := s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		prices = nil
		var rows []priceRow
		if err := tx.NewSelect().Model(&rows).Scan(ctx); err != nil {
			return err
		}
		versions, err := versionsOf(rows)
		for _, v := range versions {
			prices = append(prices, v.Price)
		}
		return err
	})
	return prices, err
}
