package keys

import (
	"slices"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/catalog"
	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/keys/internal/policy"
)

// book is the price book that ships with the product, and the catalogue of models, as checks of policies ask
// them. Routers reckon with the same book. Prices that the operator has added are metering's alone: a line
// that is priced only there is told to have no price, because routers could not compare it.
type book struct{ now func() time.Time }

var _ policy.Prices = book{}

// Known reports whether the book or the catalogue of models names one that a provider can be called by.
func (book) Known(model string) bool { return catalog.Known(model) }

// Offers returns the names under which providers serve a model.
func (book) Offers(model string) []string { return catalog.Offers(model) }

// Priced reports whether the cost of a request can be told in advance.
func (b book) Priced(model string) bool {
	p, ok := pricing.Book().At(model, b.now())
	if !ok {
		return false
	}
	// A call with a prompt alone, as an embedding is; pictures and videos can never be reckoned beforehand.
	_, known, _ := pricing.CostOf(p, pricing.Used{
		Tokens: &pricing.Counts{InputTotal: 1000, InputUncached: 1000}, Units: []pricing.Unit{{Name: "request", Milli: 1000}},
	})
	return known
}

// Models lists the models of a provider that have a price.
func (book) Models(provider string) []string {
	return slices.DeleteFunc(pricing.Models(), func(m string) bool { return !strings.HasPrefix(m, provider+"/") })
}
