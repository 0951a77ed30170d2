package pricing

import "time"

// Bill is what there is to know about the cost of one attempt.
type Bill struct {
	// Model is the model's slug, and Ended the moment whose price holds.
	Model string
	Ended time.Time
	Used  Used
	// Reported is what the provider itself says that it costs, in nano-USD; nil is that it does not.
	Reported *int64
	// Nothing says that nothing was generated: the attempt is free unless something of it was counted.
	Nothing bool
}

// Basis says what a cost rests on.
type Basis uint8

// The bases.
const (
	Unknown    Basis = iota
	ByPrice          // a version of the price book
	ByProvider       // what the provider itself says
	Free             // nothing was taken
)

// MaxCost is about 1.15 billion dollars. An attempt cannot cost that much, and sums of less cannot leave 63
// bits within any time that matters.
const MaxCost = 1 << 60

// Settled is a bill that was reckoned.
type Settled struct {
	// Nano is the cost in nano-USD; it means nothing if Basis is Unknown.
	Nano  int64
	Basis Basis
	// PriceID is the version that holds for the model, also where it lacks a rate; empty if there is none.
	PriceID string
}

// Settle says what an attempt costs. The book decides, so that an operator's own prices hold. What the
// provider says decides in two cases alone: where a version says that it does, and where the book knows no
// cost. What is not known stays unknown, and is never zero.
func (b *Table) Settle(bill Bill) Settled {
	tokens := bill.Used.Tokens
	if bill.Nothing && bill.Reported == nil && len(bill.Used.Units) == 0 && (tokens == nil || *tokens == Counts{}) {
		return Settled{Basis: Free}
	}
	var out Settled
	version, ok := b.At(bill.Model, bill.Ended)
	ok = ok && (tokens == nil || tokens.Consistent())
	if ok && (tokens != nil || len(version.Units) > 0 || version.Reported) {
		out.PriceID = version.ID // also when a rate is unknown: it says which version lacks it
	}
	if ok && (!version.Reported || bill.Reported == nil) {
		if nano, known, _ := CostOf(version, bill.Used); known && nano <= MaxCost {
			out.Nano, out.Basis = nano, ByPrice
			return out
		}
	}
	if bill.Reported != nil && *bill.Reported >= 0 && *bill.Reported <= MaxCost {
		out.Nano, out.Basis = *bill.Reported, ByProvider
	}
	return out
}
