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

// TestProvidersWordIsShownAndNotTakenSilently prices attempts of which the provider says the cost: the book
// decides, unless it says that the provider does, or does not know.
func TestProvidersWordIsShownAndNotTakenSilently(t *testing.T) {
	t.Parallel()
	rate := int64(1_000_000)
	book := price.NewBook(&memory{prices: []pricing.Price{
		version("known", noon, 1_000_000),
		{ID: "word", Model: "p/word", ValidFrom: noon, Tiers: []pricing.Tier{{Input: &rate, Output: &rate}}, Reported: true},
		{ID: "fee", Model: "p/fee", ValidFrom: noon, Tiers: []pricing.Tier{{Input: &rate}}, Units: []pricing.UnitRate{{Name: "request"}}},
		{ID: "clip", Model: "p/clip", ValidFrom: noon, Units: []pricing.UnitRate{{Name: "second", Rate: &rate}}},
	}}, func() time.Time { return noon })
	if err := book.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	said, nothing := int64(77), int64(0)
	tokens := &pricing.Counts{InputTotal: 5, InputUncached: 5}
	for name, c := range map[string]struct {
		event  usage.Event
		nano   int64 // below zero is unknown
		source usage.CostSource
		id     string
	}{
		"the book knows":               {usage.Event{Model: "p/m", Tokens: tokens, ReportedNano: &said}, 5, usage.CostByPrice, "known"},
		"the book says: the provider":  {usage.Event{Model: "p/word", Tokens: tokens, ReportedNano: &said}, 77, usage.CostByProvider, "word"},
		"free, says the provider":      {usage.Event{Model: "p/word", Tokens: tokens, ReportedNano: &nothing}, 0, usage.CostByProvider, "word"},
		"the provider is silent":       {usage.Event{Model: "p/word", Tokens: tokens}, 5, usage.CostByPrice, "word"},
		"the book has no price":        {usage.Event{Model: "p/other", Tokens: tokens, ReportedNano: &said}, 77, usage.CostByProvider, ""},
		"the book lacks a rate":        {usage.Event{Model: "p/fee", Tokens: tokens, Units: []pricing.Unit{{Name: "request", Milli: 1000}}, ReportedNano: &said}, 77, usage.CostByProvider, "fee"},
		"nobody knows":                 {usage.Event{Model: "p/fee", Tokens: tokens, Units: []pricing.Unit{{Name: "request", Milli: 1000}}}, -1, usage.CostUnknown, "fee"},
		"no counts":                    {usage.Event{Model: "p/m", ReportedNano: &said}, 77, usage.CostByProvider, ""},
		"contradicting counts":         {usage.Event{Model: "p/m", Tokens: &pricing.Counts{InputTotal: 5}, ReportedNano: &said}, 77, usage.CostByProvider, ""},
		"seconds":                      {usage.Event{Model: "p/clip", Units: []pricing.Unit{{Name: "second", Milli: 2500}}}, 2_500_000, usage.CostByPrice, "clip"},
		"seconds are not known":        {usage.Event{Model: "p/clip"}, -1, usage.CostUnknown, "clip"},
		"nothing used":                 {usage.Event{Model: "p/clip", Source: usage.NoUsage}, 0, usage.CostNothing, ""},
		"nothing used, but a cost":     {usage.Event{Model: "p/other", Source: usage.NoUsage, ReportedNano: &said}, 77, usage.CostByProvider, ""},
		"nothing used, but some units": {usage.Event{Model: "p/clip", Source: usage.NoUsage, Units: []pricing.Unit{{Name: "second", Milli: 1000}}}, 1_000_000, usage.CostByPrice, "clip"},
	} {
		a := usage.Attempt{Event: c.event}
		a.Ended = noon
		book.Price(&a)
		got := int64(-1)
		if a.CostNano != nil {
			got = *a.CostNano
		}
		if got != c.nano || a.CostSource != c.source || a.PriceID != c.id {
			t.Errorf("%s: cost %d from %q by %q, want %d from %q by %q", name, got, a.CostSource, a.PriceID, c.nano, c.source, c.id)
		}
		if a.ReportedNano != c.event.ReportedNano {
			t.Errorf("%s: what the provider says was changed", name)
		}
	}
}
