package pricing_test

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/pricing"
)

func usd(dollars string) *int64 {
	r, ok := new(big.Rat).SetString(dollars)
	if !ok {
		panic(dollars)
	}
	n := new(big.Rat).Mul(r, big.NewRat(1_000_000_000, 1)).Num().Int64()
	return &n
}

func TestCost(t *testing.T) {
	t.Parallel()
	mini := pricing.Price{Tiers: []pricing.Tier{{Input: usd("0.15"), Output: usd("0.6"), CacheRead: usd("0.075")}}}
	long := pricing.Price{Tiers: []pricing.Tier{
		{Input: usd("2.5"), Output: usd("15")},
		{MinInput: 272_001, Input: usd("5"), Output: usd("22.5")},
	}}
	image := pricing.Price{Tiers: []pricing.Tier{{Input: usd("5"), Output: usd("10"), ImageIn: usd("8"), ImageOut: usd("32")}}}
	half := pricing.Price{Tiers: []pricing.Tier{{Input: new(int64(500_000))}}}
	huge := pricing.Price{Tiers: []pricing.Tier{{Input: new(int64(math.MaxInt64))}}}

	for _, c := range []struct {
		name   string
		price  pricing.Price
		counts pricing.Counts
		nano   int64
		why    string
	}{
		{"one token", mini, pricing.Counts{InputTotal: 1, InputUncached: 1}, 150, ""},
		{"nothing", mini, pricing.Counts{}, 0, ""},
		{"cached", mini, pricing.Counts{InputTotal: 1000, InputUncached: 200, CacheRead: 800, OutputTotal: 50, Reasoning: 20}, 200*150 + 800*75 + 50*600, ""},
		{"short prompt", long, pricing.Counts{InputTotal: 272_000, InputUncached: 272_000, OutputTotal: 1}, 272_000*2500 + 15_000, ""},
		{"long prompt raises output too", long, pricing.Counts{InputTotal: 272_001, InputUncached: 272_001, OutputTotal: 1}, 272_001*5000 + 22_500, ""},
		{"pictures at their rate", image, pricing.Counts{InputTotal: 100, InputUncached: 100, ImageIn: 40, OutputTotal: 10, ImageOut: 10}, 60*5000 + 40*8000 + 10*32_000, ""},
		{"audio at the plain rate", image, pricing.Counts{InputTotal: 100, InputUncached: 100, AudioIn: 40}, 100 * 5000, ""},
		{"half rounds to even, down", half, pricing.Counts{InputTotal: 1, InputUncached: 1}, 0, ""},
		{"half rounds to even, up", half, pricing.Counts{InputTotal: 3, InputUncached: 3}, 2, ""},
		{"pictures from the cache", image, pricing.Counts{InputTotal: 100, InputUncached: 10, CacheRead: 90, ImageIn: 40}, 0, "no rate for cached audio_in or image_in"},
		{"unknown class", mini, pricing.Counts{InputTotal: 5, CacheWrite1h: 5}, 0, "no rate for cache_write_1h"},
		{"unknown output", half, pricing.Counts{OutputTotal: 5}, 0, "no rate for output"},
		{"negative", mini, pricing.Counts{InputTotal: -1, InputUncached: -1}, 0, "input_total is -1, not within 0 and 2^40"},
		{"too many", mini, pricing.Counts{OutputTotal: pricing.MaxCount + 1}, 0, "output_total is 1099511627777, not within 0 and 2^40"},
		{"parts", mini, pricing.Counts{InputTotal: 10, InputUncached: 9}, 0, "the parts of input_total sum to 9, not 10"},
		{"reasoning", mini, pricing.Counts{OutputTotal: 1, Reasoning: 2}, 0, "reasoning is more than output_total"},
		{"audio in", mini, pricing.Counts{AudioIn: 2}, 0, "audio_in and image_in are more than input_total"},
		{"audio out", mini, pricing.Counts{OutputTotal: 3, AudioOut: 2, ImageOut: 2}, 0, "audio_out and image_out are more than output_total"},
		{"no tiers", pricing.Price{}, pricing.Counts{}, 0, "no rates for a prompt of 0 tokens"},
		{"negative rate", pricing.Price{Tiers: []pricing.Tier{{Input: new(int64(-1))}}}, pricing.Counts{InputTotal: 1, InputUncached: 1}, 0, "the rate for input is below zero"},
		{"too dear", huge, pricing.Counts{InputTotal: pricing.MaxCount, InputUncached: pricing.MaxCount}, 0, "the cost does not fit into 64 bits"},
	} {
		nano, ok, why := pricing.Cost(c.price, c.counts)
		if nano != c.nano || ok != (c.why == "") || why != c.why {
			t.Errorf("%s: Cost = %d, %v, %q, want %d, %q", c.name, nano, ok, why, c.nano, c.why)
		}
	}
}

// TestCostIsExact compares with rational numbers: every known cost is the exact sum, rounded once,
// half to even; every unknown one has a reason that the reference sees too.
func TestCostIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		price := drawPrice(t)
		counts := drawCounts(t)
		want, known := reference(price, counts)
		got, ok, why := pricing.Cost(price, counts)
		if ok != known {
			t.Fatalf("Cost ok = %v (%s), want %v", ok, why, known)
		}
		if ok && want.Cmp(big.NewInt(got)) != 0 {
			t.Fatalf("Cost = %d, want %s", got, want)
		}
		if !ok && (got != 0 || why == "") {
			t.Fatalf("unknown Cost = %d, %q, want 0 and a reason", got, why)
		}
	})
}

func drawPrice(t *rapid.T) pricing.Price {
	rate := rapid.Ptr(rapid.OneOf(rapid.Int64Range(0, 200_000_000_000), rapid.Int64Range(0, 1_000_000), rapid.Int64Range(0, math.MaxInt64)), true)
	var p pricing.Price
	from := int64(0)
	for range rapid.IntRange(1, 3).Draw(t, "tiers") {
		p.Tiers = append(p.Tiers, pricing.Tier{
			MinInput: from, Input: rate.Draw(t, "input"), Output: rate.Draw(t, "output"), CacheRead: rate.Draw(t, "read"),
			CacheWrite5m: rate.Draw(t, "5m"), CacheWrite30m: rate.Draw(t, "30m"), CacheWrite1h: rate.Draw(t, "1h"), CacheWrite12h: rate.Draw(t, "12h"),
			AudioIn: rate.Draw(t, "ai"), AudioOut: rate.Draw(t, "ao"), ImageIn: rate.Draw(t, "ii"), ImageOut: rate.Draw(t, "io"),
		})
		from += rapid.Int64Range(1, 300_000).Draw(t, "step")
	}
	return p
}

func drawCounts(t *rapid.T) pricing.Counts {
	n := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 100), rapid.Int64Range(0, 1_000_000), rapid.Int64Range(0, pricing.MaxCount/8))
	c := pricing.Counts{
		InputUncached: n.Draw(t, "uncached"), CacheRead: n.Draw(t, "read"), CacheWrite5m: n.Draw(t, "5m"),
		CacheWrite30m: n.Draw(t, "30m"), CacheWrite1h: n.Draw(t, "1h"), CacheWrite12h: n.Draw(t, "12h"), OutputTotal: n.Draw(t, "output"),
	}
	c.InputTotal = c.InputUncached + c.CacheRead + c.CacheWrite5m + c.CacheWrite30m + c.CacheWrite1h + c.CacheWrite12h
	c.Reasoning = rapid.Int64Range(0, c.OutputTotal).Draw(t, "reasoning")
	c.AudioIn = rapid.Int64Range(0, c.InputTotal).Draw(t, "audio in")
	c.ImageIn = rapid.Int64Range(0, c.InputTotal-c.AudioIn).Draw(t, "image in")
	c.AudioOut = rapid.Int64Range(0, c.OutputTotal).Draw(t, "audio out")
	c.ImageOut = rapid.Int64Range(0, c.OutputTotal-c.AudioOut).Draw(t, "image out")
	return c
}

// reference is the rule in the plainest form, over consistent counts.
func reference(p pricing.Price, c pricing.Counts) (*big.Int, bool) {
	exact, known := exactly(p, c)
	rounded := halfEven(exact)
	return rounded, known && rounded.IsInt64()
}

// exactly is the cost before it is rounded.
func exactly(p pricing.Price, c pricing.Counts) (*big.Rat, bool) {
	var t pricing.Tier
	for _, tier := range p.Tiers {
		if c.InputTotal >= tier.MinInput {
			t = tier
		}
	}
	exact := new(big.Rat)
	known := true
	bill := func(count int64, rate *int64) {
		switch {
		case count == 0:
		case count < 0 || rate == nil:
			known = false
		default:
			exact.Add(exact, new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(count), big.NewInt(*rate)), big.NewInt(1_000_000)))
		}
	}
	in, out := c.InputUncached, c.OutputTotal
	for _, s := range []struct {
		count int64
		rate  *int64
		from  *int64
	}{{c.AudioIn, t.AudioIn, &in}, {c.ImageIn, t.ImageIn, &in}, {c.AudioOut, t.AudioOut, &out}, {c.ImageOut, t.ImageOut, &out}} {
		if s.rate != nil {
			*s.from -= s.count
			bill(s.count, s.rate)
		}
	}
	bill(in, t.Input)
	bill(out, t.Output)
	bill(c.CacheRead, t.CacheRead)
	bill(c.CacheWrite5m, t.CacheWrite5m)
	bill(c.CacheWrite30m, t.CacheWrite30m)
	bill(c.CacheWrite1h, t.CacheWrite1h)
	bill(c.CacheWrite12h, t.CacheWrite12h)
	return exact, known
}

func halfEven(r *big.Rat) *big.Int {
	q, rest := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
	switch twice := new(big.Int).Lsh(rest, 1); twice.Cmp(r.Denom()) {
	case 1:
		q.Add(q, big.NewInt(1))
	case 0:
		q.Add(q, big.NewInt(int64(q.Bit(0))))
	}
	return q
}

func TestBookIsComplete(t *testing.T) {
	t.Parallel()
	book := pricing.Book()
	ids := map[string]bool{}
	for _, p := range book.Rows() {
		if !id.Valid("price", p.ID) || ids[p.ID] {
			t.Errorf("%s from %s: id %q is not valid or not unique", p.Model, p.ValidFrom, p.ID)
		}
		ids[p.ID] = true
		if at, ok := id.Time(p.ID); !ok || !at.Equal(p.ValidFrom) {
			t.Errorf("%s: the id's time is %s, want %s", p.Model, at, p.ValidFrom)
		}
		if len(p.Units) == 0 && p.Tiers[0].Input == nil {
			t.Errorf("%s: no rate for input, or anything else", p.Model)
		}
		if err := pricing.CheckUnits(p.Units); err != nil {
			t.Errorf("%s: %v", p.Model, err)
		}
		if !strings.Contains(p.Source, "as of 202") {
			t.Errorf("%s: source %q has no date", p.Model, p.Source)
		}
	}
	for _, m := range []string{
		"openai/gpt-4o", "openai/gpt-4o-mini", "openai/gpt-4.1", "openai/gpt-4.1-mini", "openai/gpt-4.1-nano", "openai/gpt-5",
		"openai/gpt-5-mini", "openai/gpt-5.6-sol", "openai/gpt-6-sol", "openai/gpt-6-astra", "openai/gpt-6-luna", "openai/gpt-6.1-sol",
		"anthropic/claude-haiku-4-5", "anthropic/claude-haiku-4-5-20251001", "anthropic/claude-haiku-5-5", "anthropic/claude-sonnet-4-5",
		"anthropic/claude-sonnet-5-5", "anthropic/claude-opus-4-5", "anthropic/claude-opus-5-5", "anthropic/claude-fable-5-2",
	} {
		if _, ok := book.At(m, time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)); !ok {
			t.Errorf("no price of %s", m)
		}
	}
	if models := pricing.Models(); len(models) < 60 || !slices.IsSorted(models) || len(slices.Compact(slices.Clone(models))) != len(models) {
		t.Errorf("Models = %d slugs, want at least 60, sorted, each once", len(models))
	}
}

func TestBookPricesAtTheTimeOfUse(t *testing.T) {
	t.Parallel()
	cut := time.Date(2026, 8, 21, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		model  string
		at     time.Time
		counts pricing.Counts
		nano   int64
	}{
		{"openai/gpt-5.6-sol", cut.Add(-time.Nanosecond), pricing.Counts{InputTotal: 10, InputUncached: 10, OutputTotal: 10}, 10*5000 + 10*30_000},
		{"openai/gpt-5.6-sol", cut, pricing.Counts{InputTotal: 10, InputUncached: 10, OutputTotal: 10}, 10*4000 + 10*20_000},
		{"openai/gpt-6-luna", cut, pricing.Counts{InputTotal: 272_001, InputUncached: 1, CacheRead: 272_000, OutputTotal: 2}, 200 + 272_000*20 + 2*750},
		{"openai/gpt-6.1-terra", cut, pricing.Counts{InputTotal: 3, CacheWrite30m: 2, CacheWrite12h: 1}, 2*1250 + 2500},
		{"anthropic/claude-haiku-5-5", cut, pricing.Counts{InputTotal: 100_001, InputUncached: 1, CacheRead: 100_000, OutputTotal: 1}, 500 + 100_000*50 + 2500},
		{"anthropic/claude-sonnet-4-5-20250929", cut, pricing.Counts{InputTotal: 12, InputUncached: 10, CacheWrite5m: 1, CacheWrite1h: 1, OutputTotal: 5}, 10*3000 + 3750 + 6000 + 5*15_000},
	} {
		p, ok := pricing.Book().At(c.model, c.at)
		if !ok {
			t.Fatalf("no price of %s", c.model)
		}
		if got, ok, why := pricing.Cost(p, c.counts); !ok || got != c.nano {
			t.Errorf("%s at %s: Cost = %d, %v %s, want %d", c.model, c.at, got, ok, why, c.nano)
		}
	}
}

func TestTableFindsTheLatestVersion(t *testing.T) {
	t.Parallel()
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	table := pricing.NewTable([]pricing.Price{
		{ID: "c", Model: "p/m", ValidFrom: day(9)}, {ID: "a", Model: "p/m", ValidFrom: day(1)}, {ID: "b", Model: "p/m", ValidFrom: day(5)}, {ID: "o", Model: "p/other", ValidFrom: day(1)},
	})
	for at, want := range map[int]string{1: "a", 4: "a", 5: "b", 8: "b", 9: "c", 20: "c"} {
		if p, ok := table.At("p/m", day(at)); !ok || p.ID != want {
			t.Errorf("At(day %d) = %q, %v, want %q", at, p.ID, ok, want)
		}
	}
	if _, ok := table.At("p/m", day(1).Add(-time.Second)); ok {
		t.Error("At found a version before the first")
	}
	if diff := cmp.Diff([]string{"p/m", "p/other"}, table.Models()); diff != "" {
		t.Errorf("Models (-want +got):\n%s", diff)
	}
}

func TestCheckTiers(t *testing.T) {
	t.Parallel()
	for _, tiers := range [][]pricing.Tier{nil, {{MinInput: 1}}, {{}, {}}, {{}, {MinInput: 5}, {MinInput: 4}}} {
		if err := pricing.CheckTiers(tiers); err == nil {
			t.Errorf("CheckTiers(%v) found nothing wrong", tiers)
		}
	}
}

func BenchmarkCost(b *testing.B) {
	p, _ := pricing.Book().At("openai/gpt-6-sol", time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))
	c := pricing.Counts{InputTotal: 12_345, InputUncached: 2345, CacheRead: 10_000, OutputTotal: 678, Reasoning: 400}
	for b.Loop() {
		if _, ok, why := pricing.Cost(p, c); !ok {
			b.Fatal(why)
		}
	}
}

func ExampleCost() {
	price, _ := pricing.Book().At("openai/gpt-4o-mini", time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))
	nano, ok, _ := pricing.Cost(price, pricing.Counts{InputTotal: 1000, InputUncached: 1000, OutputTotal: 100})
	fmt.Println(nano, ok)
	// Output: 210000 true
}
