package pricing_test

import (
	"fmt"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/claviger/claviger/pkg/pricing"
)

func TestUnitsAreBilledBesideTokensOrInsteadOfThem(t *testing.T) {
	t.Parallel()
	image := pricing.Price{Units: []pricing.UnitRate{{"image", usd("0.02")}}}
	clip := pricing.Price{Units: []pricing.UnitRate{{"second", usd("0.05")}}}
	search := pricing.Price{Tiers: []pricing.Tier{{Input: usd("1"), Output: usd("1")}}, Units: []pricing.UnitRate{{"request", usd("0.005")}}}
	fee := pricing.Price{Tiers: search.Tiers, Units: []pricing.UnitRate{{Name: "request"}}}
	half := pricing.Price{Units: []pricing.UnitRate{{"second", new(int64(500))}}}
	both := pricing.Price{Tiers: []pricing.Tier{{Input: new(int64(500_000))}}, Units: half.Units}
	dear := pricing.Price{Units: []pricing.UnitRate{{"image", new(int64(math.MaxInt64))}}}
	tokens := &pricing.Counts{InputTotal: 9, InputUncached: 9, OutputTotal: 2}
	one := &pricing.Counts{InputTotal: 1, InputUncached: 1}

	for _, c := range []struct {
		name  string
		price pricing.Price
		used  pricing.Used
		nano  int64
		why   string
	}{
		{"two pictures", image, pricing.Used{Units: []pricing.Unit{{"image", 2000}}}, 40_000_000, ""},
		{"tokens are not billed", image, pricing.Used{Tokens: tokens, Units: []pricing.Unit{{"image", 1000}}}, 20_000_000, ""},
		{"no picture, and that is known", image, pricing.Used{Units: []pricing.Unit{{"image", 0}}}, 0, ""},
		{"part of a second", clip, pricing.Used{Units: []pricing.Unit{{"second", 5040}}}, 252_000_000, ""},
		{"tokens and a request", search, pricing.Used{Tokens: tokens, Units: []pricing.Unit{{"request", 1000}}}, 11*1000 + 5_000_000, ""},
		{"what is not billed", clip, pricing.Used{Units: []pricing.Unit{{"request", 1000}, {"second", 1000}}}, 50_000_000, ""},
		{"halves round to even", half, pricing.Used{Units: []pricing.Unit{{"second", 1}}}, 0, ""},
		{"one rounding for all", both, pricing.Used{Tokens: one, Units: []pricing.Unit{{"second", 1}}}, 1, ""},
		{"not counted", image, pricing.Used{Tokens: tokens}, 0, "no count of image"},
		{"counted in something else", image, pricing.Used{Units: []pricing.Unit{{"megapixel", 1000}}}, 0, "no count of image"},
		{"the fee is not counted", search, pricing.Used{Tokens: tokens}, 0, "no count of request"},
		{"the fee is not known", fee, pricing.Used{Tokens: tokens, Units: []pricing.Unit{{"request", 1000}}}, 0, "no rate for request"},
		{"tokens are not counted", search, pricing.Used{Units: []pricing.Unit{{"request", 1000}}}, 0, "no counts of tokens"},
		{"nothing is known", image, pricing.Used{}, 0, "no count of image"},
		{"below zero", image, pricing.Used{Units: []pricing.Unit{{"image", -1}}}, 0, "image is -1 thousandths, not within 0 and 2^40"},
		{"twice", image, pricing.Used{Units: []pricing.Unit{{"image", 1}, {"image", 1}}}, 0, "image is counted twice"},
		{"no unit", image, pricing.Used{Units: []pricing.Unit{{"token", 1}}}, 0, `"token" is no unit`},
		{"too dear", dear, pricing.Used{Units: []pricing.Unit{{"image", pricing.MaxCount}}}, 0, "the cost does not fit into 64 bits"},
		{"negative rate", pricing.Price{Units: []pricing.UnitRate{{"image", new(int64(-1))}}}, pricing.Used{Units: []pricing.Unit{{"image", 1}}}, 0, "the rate for image is below zero"},
	} {
		nano, ok, why := pricing.CostOf(c.price, c.used)
		if nano != c.nano || ok != (c.why == "") || why != c.why {
			t.Errorf("%s: CostOf = %d, %v, %q, want %d, %q", c.name, nano, ok, why, c.nano, c.why)
		}
	}
}

// TestCostOfUnitsIsExact compares with rational numbers, as TestCostIsExact does.
func TestCostOfUnitsIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var price pricing.Price
		used := pricing.Used{}
		exact, known := new(big.Rat), true
		if rapid.Bool().Draw(t, "tokens") {
			price, used.Tokens = drawPrice(t), new(drawCounts(t))
			exact, known = exactly(price, *used.Tokens)
		}
		for _, name := range pricing.UnitNames {
			counted, billed := rapid.Bool().Draw(t, "counted"), rapid.Bool().Draw(t, "billed")
			milli := rapid.OneOf(rapid.Int64Range(0, 3000), rapid.Int64Range(0, pricing.MaxCount)).Draw(t, "milli")
			rate := rapid.Ptr(rapid.OneOf(rapid.Int64Range(0, 1_000_000), rapid.Int64Range(0, 1<<50)), true).Draw(t, "rate")
			if counted {
				used.Units = append(used.Units, pricing.Unit{Name: name, Milli: milli})
			}
			if !billed {
				continue
			}
			price.Units = append(price.Units, pricing.UnitRate{Name: name, Rate: rate})
			if !counted || rate == nil && milli > 0 {
				known = false
			} else if rate != nil {
				exact.Add(exact, new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(milli), big.NewInt(*rate)), big.NewInt(1000)))
			}
		}
		if len(price.Tiers) == 0 && len(price.Units) == 0 {
			return // a price of nothing, which TestCost has
		}
		got, ok, why := pricing.CostOf(price, used)
		want := halfEven(exact)
		if known = known && want.IsInt64(); ok != known {
			t.Fatalf("CostOf ok = %v (%s), want %v", ok, why, known)
		}
		if ok && want.Cmp(big.NewInt(got)) != 0 {
			t.Fatalf("CostOf = %d, want %s", got, want)
		}
		if !ok && (got != 0 || why == "") {
			t.Fatalf("unknown CostOf = %d, %q, want 0 and a reason", got, why)
		}
	})
}

func TestCheckUnits(t *testing.T) {
	t.Parallel()
	for _, rates := range [][]pricing.UnitRate{{{Name: "token"}}, {{Name: "image"}, {Name: "image"}}, {{Name: "image", Rate: new(int64(-1))}}} {
		if err := pricing.CheckUnits(rates); err == nil {
			t.Errorf("CheckUnits(%v) found nothing wrong", rates)
		}
	}
	if err := pricing.CheckUnits([]pricing.UnitRate{{"image", usd("1")}, {Name: "request"}}); err != nil {
		t.Errorf("CheckUnits = %v", err)
	}
}

func ExampleCostOf() {
	price := pricing.Price{Units: []pricing.UnitRate{{Name: "second", Rate: new(int64(50_000_000))}}}
	nano, ok, _ := pricing.CostOf(price, pricing.Used{Units: []pricing.Unit{{Name: "second", Milli: 4500}}})
	fmt.Println(nano, ok)
	// Output: 225000000 true
}
