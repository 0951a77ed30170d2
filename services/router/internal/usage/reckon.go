package usage

import "github.com/claviger/claviger/pkg/pricing"

// Reckon sets what the attempt costs by a price book, from what it took so far. Metering decides, by the same rules
// and the book that ours follows: ours is what a caller is told at once. What is not known stays nil.
func (e *Event) Reckon(book *pricing.Table) {
	bill := pricing.Bill{Model: e.Model, Ended: e.Ended, Reported: e.CostNanoUSD, Nothing: e.Source == None}
	if e.Tokens != nil {
		bill.Used.Tokens = (*pricing.Counts)(e.Tokens)
	}
	if len(e.Units) > 0 { // few attempts take any
		bill.Used.Units = make([]pricing.Unit, len(e.Units))
		for i := range e.Units {
			bill.Used.Units[i] = pricing.Unit(e.Units[i])
		}
	}
	e.ReckonedNanoUSD, e.PriceVersion = nil, ""
	settled := book.Settle(bill)
	e.PriceVersion = settled.PriceID
	if settled.Basis != pricing.Unknown {
		e.ReckonedNanoUSD = &settled.Nano
	}
}
