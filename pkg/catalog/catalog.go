// Package catalog says which names of models mean the same model: "anthropic/claude-sonnet-4-5" and
// "vertex/claude-sonnet-4-5@20250929", or "openai/gpt-oss-120b", which is no model of OpenAI's API and is
// served by whoever hosts it.
//
// It is careful: two names are the same where their providers' own lists say so, and nowhere else. A
// snapshot of another day, a copy of weights with fewer bits, an alias that moves and vectors are not the
// same. Of Azure it says nothing: what runs behind a deployment's name, its owner knows alone.
package catalog

import (
	"bytes"
	_ "embed" // the rows
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/claviger/claviger/pkg/pricing"
)

//go:embed catalog.json
var shipped []byte

// file is the form of catalog.json.
type file struct {
	Sources map[string]string `json:"sources"`
	Models  []row             `json:"models"`
}

// row is a model.
type row struct {
	// Offers are who serves it, as "provider/model": one name for each provider, the maker's own first.
	Offers []string `json:"offers"`
	// Names are what it is called where models are listed by their makers, as OpenRouter's list does. No
	// provider is called by them.
	Names []string `json:"names"`
	// Spellings are other names that a provider among the offers has for it: a snapshot that its alias
	// points to, or the name with its publisher.
	Spellings []string `json:"spellings"`
	// Sources say where the row comes from, by the keys of file.Sources.
	Sources []string `json:"sources"`
	// Unpriced are the offers that the price book does not know.
	Unpriced []string `json:"unpriced"`
	Note     string   `json:"note"`
}

// table is what is looked up.
type table struct {
	offers map[string][]string
	known  map[string]bool
}

// Offers returns the "provider/model" names that serve the same model as the given one, in the order in
// which they are to be tried when nobody says otherwise. The given name is among them if a provider can be
// called by it. A name that only says what the model is, such as "meta-llama/llama-3.3-70b-instruct",
// "openai/gpt-oss-120b" or "claude-sonnet-4-5", is not among its own offers. It is nil for names that nothing
// is known of, and of Azure's only the name itself. The caller must not change the answer. Nothing is
// allocated: it is looked up for each request.
func Offers(model string) []string { return loaded().offers[model] }

// Known reports whether a provider can be called by a "provider/model" name, as far as the price book and the
// catalogue know. Names of the price book are known in all their spellings: with a region, a publisher or a
// date. A name that only says what a model is, such as "openai/gpt-oss-120b", is none.
func Known(model string) bool {
	if loaded().known[model] {
		return true
	}
	_, priced := pricing.Book().Named(model)
	return priced
}

// Names returns all names that Offers knows and that begin with a provider or a maker, sorted.
func Names() []string {
	t := loaded()
	names := make([]string, 0, len(t.offers))
	for name := range t.offers {
		if strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

var loaded = sync.OnceValue(func() *table {
	rows, err := read(shipped)
	if err != nil {
		panic("catalog: the shipped rows: " + err.Error()) // a test reads them, so this cannot ship
	}
	return tableOf(rows.Models, pricing.Models())
})

func read(data []byte) (file, error) {
	var rows file
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&rows); err != nil {
		return file{}, err
	}
	for i, r := range rows.Models {
		if len(r.Offers) == 0 || len(r.Sources) == 0 {
			return file{}, fmt.Errorf("row %d has no offers or no sources", i+1)
		}
		for _, source := range r.Sources {
			if rows.Sources[source] == "" {
				return file{}, fmt.Errorf("row %d: unknown source %q", i+1, source)
			}
		}
	}
	return rows, nil
}

// tableOf makes the look-ups of the rows and of the models that have a price. A model with a price that is in
// no row is the same as itself alone.
func tableOf(rows []row, priced []string) *table {
	t := &table{offers: map[string][]string{}, known: map[string]bool{}}
	bare := map[string][]string{}
	for _, r := range rows {
		for _, name := range slices.Concat(r.Offers, r.Names) {
			t.offers[name] = r.Offers
			short(bare, name, r.Offers)
		}
		for _, spelling := range r.Spellings {
			t.offers[spelling] = spelled(r.Offers, spelling)
			short(bare, spelling, t.offers[spelling])
		}
	}
	for i, name := range priced {
		if t.offers[name] == nil {
			t.offers[name] = priced[i : i+1 : i+1]
			short(bare, name, t.offers[name])
		}
	}
	for name, offers := range t.offers {
		t.known[name] = slices.Contains(offers, name)
	}
	for name, offers := range bare {
		if offers != nil && t.offers[name] == nil {
			t.offers[name] = offers
		}
	}
	return t
}

// spelled are the offers with one spelling in its provider's place.
func spelled(offers []string, spelling string) []string {
	out := slices.Clone(offers)
	if i := offeredBy(offers, spelling); i >= 0 {
		out[i] = spelling
	}
	return out
}

// offeredBy finds the offer of the provider that a name begins with.
func offeredBy(offers []string, name string) int {
	provider, _, _ := strings.Cut(name, "/")
	return slices.IndexFunc(offers, func(o string) bool { return strings.HasPrefix(o, provider+"/") })
}

// short takes down what a name is called without its provider or maker. A short name that two models have is
// nobody's; another spelling of a provider among the offers is no other model. Bedrock's names are
// identifiers, and Azure's are the tenant's.
func short(bare map[string][]string, name string, offers []string) {
	provider, _, _ := strings.Cut(name, "/")
	if provider == "azure" || provider == "bedrock" {
		return
	}
	base := name[strings.LastIndexByte(name, '/')+1:]
	before, taken := bare[base]
	switch {
	case !taken:
		bare[base] = offers
	case !slices.Equal(before, offers) && offeredBy(before, name) < 0:
		bare[base] = nil
	}
}
