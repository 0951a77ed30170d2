package plan

import (
	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/router/internal/completion"
)

// assumedOutput is the size in tokens of an answer that the request does not bound, where costs are compared.
const assumedOutput = 500

// oneCall counts what every call is.
var oneCall = []pricing.Unit{{Name: "request", Milli: 1000}}

// cost is what a call takes by the price book, as far as that can be known beforehand.
type cost struct {
	nano    int64
	version string
	known   bool
}

// costOf estimates a call from the sizes of its prompt and answer, in tokens.
func (w *walk) costOf(model string, op completion.Operation, input, output int64) cost {
	price, ok := w.prices.At(model, w.now)
	if !ok {
		return cost{}
	}
	out := cost{version: price.ID}
	switch op {
	case completion.CountTokens:
		out.known = true // takes none
		return out
	case completion.Images, completion.Videos:
		return out // nobody knows how many there will be, and of what size
	case completion.Embeddings:
		output = 0
	case completion.Chat:
	}
	counts := pricing.Counts{InputTotal: input, InputUncached: input, OutputTotal: output}
	out.nano, out.known, _ = pricing.CostOf(price, pricing.Used{Tokens: &counts, Units: oneCall})
	return out
}

// dearer says why a model's price is not within the bounds of a request; empty if it is.
func (w *walk) dearer(model string, r *completion.Routing, input int64) Reason {
	price, ok := w.prices.At(model, w.now)
	if !ok {
		return PriceUnknown
	}
	if len(price.Tiers) == 0 {
		return PriceUnknown // paid otherwise than by tokens
	}
	tier := &price.Tiers[0]
	for i := range price.Tiers {
		if price.Tiers[i].MinInput <= input {
			tier = &price.Tiers[i]
		}
	}
	for _, bound := range [...]struct{ rate, most *int64 }{{tier.Input, r.MaxInput}, {tier.Output, r.MaxOutput}} {
		switch {
		case bound.most == nil:
		case bound.rate == nil:
			return PriceUnknown
		case *bound.rate > *bound.most:
			return PriceTooHigh
		}
	}
	return ""
}

// inputTokens is the size of a request's prompt, as the accounts estimate it.
func inputTokens(req *completion.Request) int64 { return int64(req.InputBytes+3) / 4 }

// outputTokens is the most that an answer may have under a line's rule; 0 is no bound.
func outputTokens(req *completion.Request, rule *completion.Rule) int64 {
	most := req.MaxOutput
	if rule != nil && rule.Overrides != nil && rule.Overrides.MaxOutputTokens != nil {
		if bound := *rule.Overrides.MaxOutputTokens; most == 0 || bound < most {
			most = bound
		}
	}
	return most
}
