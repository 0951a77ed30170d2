package keys

import (
	"slices"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/catalog"
	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/keys/internal/policy"
)

// book is the price book that ships with the product, as checks of policies ask it. Prices that the
// operator has added are metering's, which this service does not follow: a line that is only priced there
// is told to have no price.
type book struct{ now func() time.Time }

var _ policy.Prices = book{}

// Known reports whether the book or the catalogue of models names one that a provider can be called by.
func (book) Known(model string) bool { return catalog.Known(model) }

// Priced reports whether the cost of a request can be told in advance.
func (b book) Priced(model string) bool {
	p, ok := pricing.Book().At(model, b.now())
	if !ok {
		return false
	}
	for _, tier := range p.Tiers {
		if tier.Input != nil {
			return true
		}
	}
	return slices.ContainsFunc(p.Units, func(u pricing.UnitRate) bool { return u.Rate != nil })
}

// Models lists the models of a provider that have a price.
func (book) Models(provider string) []string {
	return slices.DeleteFunc(pricing.Models(), func(m string) bool { return !strings.HasPrefix(m, provider+"/") })
}
