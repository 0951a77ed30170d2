package plan_test

import (
	"strings"

	"github.com/claviger/claviger/pkg/pricing"
)

// book is a small one: input and output in nano-USD per million tokens.
var book = func() *pricing.Table {
	var out []pricing.Price
	for model, rate := range map[string][2]int64{
		"openai/dear": {9_000_000_000, 30_000_000_000}, "openai/m": {1_000_000_000, 4_000_000_000}, "anthropic/c": {3_000_000_000, 15_000_000_000},
		"groq/l": {100_000_000, 200_000_000}, "groq/talks": {10_000_000, 90_000_000_000},
	} {
		out = append(out, pricing.Price{ID: "price_" + strings.ReplaceAll(model, "/", "_"), Model: model, Tiers: []pricing.Tier{{Input: &rate[0], Output: &rate[1]}}})
	}
	return pricing.NewTable(out)
}()

var llama = []string{"groq/l", "openai/l", "anthropic/l"}

// offers is a small catalogue: who has a model under which names.
func offers(model string) []string {
	switch model {
	case "meta/llama", "llama", "openai/llama-open", "groq/l", "openai/l", "anthropic/l":
		return llama
	}
	return nil
}
