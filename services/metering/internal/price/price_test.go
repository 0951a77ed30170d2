package price_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/metering/internal/price"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// memory is a store of prices.
type memory struct {
	price.Store
	prices []pricing.Price
	loads  int
}

func (m *memory) PriceCount(context.Context) (int64, error) { return int64(len(m.prices)), nil }

func (m *memory) AllPrices(context.Context) ([]pricing.Price, error) {
	m.loads++
	return m.prices, nil
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func version(id string, from time.Time, rate int64) pricing.Price {
	return pricing.Price{ID: id, Model: "p/m", ValidFrom: from, Tiers: []pricing.Tier{{Input: &rate, Output: &rate}}}
}

func TestAttemptIsPricedAtItsOwnTime(t *testing.T) {
	t.Parallel()
	m := &memory{prices: []pricing.Price{version("old", noon.Add(-time.Hour), 1_000_000), version("new", noon, 2_000_000)}}
	book := price.NewBook(m, func() time.Time { return noon.Add(time.Hour) })
	refresh := func() {
		t.Helper()
		if err := book.Refresh(t.Context()); err != nil {
			t.Fatalf("Refresh: %v", err)
		}
	}
	refresh()
	refresh()
	if m.loads != 1 {
		t.Errorf("an unchanged book was loaded %d times", m.loads)
	}
	counts := func(n int64) *pricing.Counts { return &pricing.Counts{InputTotal: n, InputUncached: n} }
	for name, c := range map[string]struct {
		ended  time.Time
		source usage.Source
		tokens *pricing.Counts
		nano   int64 // below zero is unknown
		id     string
		flags  int
	}{
		"before the cut":    {noon.Add(-time.Microsecond), usage.ProviderFinal, counts(5), 5, "old", 0},
		"after the cut":     {noon, usage.ProviderFinal, counts(5), 10, "new", 0},
		"before any price":  {noon.Add(-2 * time.Hour), usage.ProviderFinal, counts(5), -1, "", 0},
		"estimate":          {noon, usage.Estimated, counts(5), 10, "new", 0},
		"no counts":         {noon, usage.ProviderFinal, nil, -1, "", 0},
		"nothing used":      {noon, usage.NoUsage, nil, 0, "", 0},
		"zero used":         {noon, usage.NoUsage, counts(0), 0, "", 0},
		"zero counted":      {noon, usage.ProviderFinal, counts(0), 0, "new", 0},
		"none, but counted": {noon, usage.NoUsage, counts(5), 10, "new", 0},
		"contradiction":     {noon, usage.ProviderFinal, &pricing.Counts{InputTotal: 5}, -1, "", 1},
		"no rate":           {noon, usage.ProviderFinal, &pricing.Counts{InputTotal: 5, CacheRead: 5}, -1, "new", 0},
	} {
		a := usage.Attempt{Event: usage.Event{Model: "p/m", Ended: c.ended, Source: c.source, Tokens: c.tokens}}
		book.Price(&a)
		got := int64(-1)
		if a.CostNano != nil {
			got = *a.CostNano
		}
		if got != c.nano || a.PriceID != c.id || len(a.Flags) != c.flags {
			t.Errorf("%s: cost %d by %q, flags %v, want %d by %q", name, got, a.PriceID, a.Flags, c.nano, c.id)
		}
	}
	m.prices = append(m.prices, version("absurd", noon.Add(time.Minute), math.MaxInt64))
	refresh()
	a := usage.Attempt{Event: usage.Event{Model: "p/m", Ended: noon.Add(time.Hour), Tokens: counts(1_000_000)}}
	if book.Price(&a); a.CostNano != nil || a.PriceID != "absurd" {
		t.Errorf("a cost beyond all bounds = %v by %q, want unknown", a.CostNano, a.PriceID)
	}
}
