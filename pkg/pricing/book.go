package pricing

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // the price seed
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The price book that ships: rows that people wrote, and rows that tools/pricebook makes of a public
// collection. No model stands in both.
var (
	//go:embed book.json
	byHand []byte
	//go:embed genai.json
	collected []byte
)

// Table is a set of price versions with a lookup by model and time. It is immutable.
type Table struct {
	rows   []Price
	models map[string][]Price // by ValidFrom upwards
	plain  map[string]string  // plain names to the models that have them; see plainName
}

// NewTable returns a table of the given versions.
func NewTable(rows []Price) *Table {
	b := &Table{rows: slices.Clone(rows), models: make(map[string][]Price, len(rows))}
	slices.SortStableFunc(b.rows, func(x, y Price) int {
		return cmp.Or(cmp.Compare(x.Model, y.Model), x.ValidFrom.Compare(y.ValidFrom))
	})
	for _, p := range b.rows {
		b.models[p.Model] = append(b.models[p.Model], p)
	}
	b.plain = plainNames(b.models)
	return b
}

// At returns the version of model that holds at t: the one with the latest ValidFrom that is not
// after t. It is false when there is none; the price is then unknown. A model without versions of its
// own has those of the model with the same plain name: a region or a date in a name changes no price
// unless the book says so.
func (b *Table) At(model string, t time.Time) (Price, bool) {
	name, ok := b.Named(model)
	if !ok {
		return Price{}, false
	}
	for _, version := range slices.Backward(b.models[name]) {
		if !version.ValidFrom.After(t) {
			return version, true
		}
	}
	return Price{}, false
}

// Rows returns all versions by model and time. The caller must not change them.
func (b *Table) Rows() []Price { return b.rows }

// Models returns the slugs that have a price, sorted.
func (b *Table) Models() []string {
	models := make([]string, 0, len(b.models))
	for m := range b.models {
		models = append(models, m)
	}
	slices.Sort(models)
	return models
}

var shipped = sync.OnceValue(load)

func load() *Table {
	var rows []Price
	for _, file := range [][]byte{byHand, collected} {
		prices, err := parse(file)
		if err != nil {
			panic("pricing: the shipped book: " + err.Error()) // a test reads it, so this cannot ship
		}
		rows = append(rows, prices...)
	}
	return NewTable(rows)
}

// Book returns the price book that ships with the product.
func Book() *Table { return shipped() }

// Models returns the slugs that the shipped price book knows, sorted.
func Models() []string { return Book().Models() }

// bookFile is the form of the shipped files. Rates are decimal US dollars per million tokens or per unit,
// as price pages write them.
type bookFile struct {
	License string            `json:"license"`
	Sources map[string]string `json:"sources"`
	Prices  []bookRow         `json:"prices"`
}

type bookRow struct {
	Models []string `json:"models"`
	// ValidFrom is a day; empty means that no earlier price is known.
	ValidFrom string     `json:"valid_from"`
	AsOf      string     `json:"as_of"`
	Source    string     `json:"source"`
	Note      string     `json:"note"`
	Tiers     []bookTier `json:"tiers"`
	// Units are rates by name; an empty one is not known.
	Units    map[string]string `json:"units"`
	Reported bool              `json:"reported"`
}

type bookTier struct {
	MinInput      int64  `json:"min_input_tokens"`
	Input         string `json:"input"`
	Output        string `json:"output"`
	CacheRead     string `json:"cache_read"`
	CacheWrite5m  string `json:"cache_write_5m"`
	CacheWrite30m string `json:"cache_write_30m"`
	CacheWrite1h  string `json:"cache_write_1h"`
	CacheWrite12h string `json:"cache_write_12h"`
	AudioIn       string `json:"audio_in"`
	AudioOut      string `json:"audio_out"`
	ImageIn       string `json:"image_in"`
	ImageOut      string `json:"image_out"`
}

func parse(data []byte) ([]Price, error) {
	var file bookFile
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		return nil, err
	}
	var prices []Price
	for i, row := range file.Prices {
		expanded, err := row.prices(file.Sources)
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i+1, err)
		}
		prices = append(prices, expanded...)
	}
	return prices, nil
}

func (r bookRow) prices(sources map[string]string) ([]Price, error) {
	from := time.Unix(0, 0).UTC()
	if r.ValidFrom != "" {
		var err error
		if from, err = time.Parse(time.DateOnly, r.ValidFrom); err != nil {
			return nil, err
		}
	}
	if _, err := time.Parse(time.DateOnly, r.AsOf); err != nil {
		return nil, err
	}
	source, ok := sources[r.Source]
	if !ok {
		return nil, fmt.Errorf("unknown source %q", r.Source)
	}
	source += ", as of " + r.AsOf
	if r.Note != "" {
		source += "; " + r.Note
	}
	tiers := make([]Tier, 0, len(r.Tiers))
	for _, t := range r.Tiers {
		tier, err := t.tier()
		if err != nil {
			return nil, err
		}
		tiers = append(tiers, tier)
	}
	if len(tiers) > 0 || len(r.Units) == 0 {
		if err := CheckTiers(tiers); err != nil {
			return nil, err
		}
	}
	units, err := r.units()
	if err != nil {
		return nil, err
	}
	prices := make([]Price, 0, len(r.Models))
	for _, m := range r.Models {
		prices = append(prices, Price{ID: seedID(m, from), Model: m, ValidFrom: from, Tiers: tiers, Units: units, Reported: r.Reported, Source: source})
	}
	return prices, nil
}

// units returns the unit rates, in the order of UnitNames.
func (r bookRow) units() ([]UnitRate, error) {
	var units []UnitRate
	for _, name := range UnitNames {
		usd, ok := r.Units[name]
		if !ok {
			continue
		}
		rate := UnitRate{Name: name}
		if usd != "" {
			nano, err := parseUSD(usd)
			if err != nil {
				return nil, err
			}
			rate.Rate = &nano
		}
		units = append(units, rate)
	}
	if len(units) < len(r.Units) {
		return nil, fmt.Errorf("one of the units %v is none", r.Units)
	}
	return units, nil
}

func (t bookTier) tier() (Tier, error) {
	tier := Tier{MinInput: t.MinInput}
	for _, f := range [...]struct {
		usd  string
		rate **int64
	}{
		{t.Input, &tier.Input},
		{t.Output, &tier.Output},
		{t.CacheRead, &tier.CacheRead},
		{t.CacheWrite5m, &tier.CacheWrite5m},
		{t.CacheWrite30m, &tier.CacheWrite30m},
		{t.CacheWrite1h, &tier.CacheWrite1h},
		{t.CacheWrite12h, &tier.CacheWrite12h},
		{t.AudioIn, &tier.AudioIn},
		{t.AudioOut, &tier.AudioOut},
		{t.ImageIn, &tier.ImageIn},
		{t.ImageOut, &tier.ImageOut},
	} {
		if f.usd == "" {
			continue
		}
		nano, err := parseUSD(f.usd)
		if err != nil {
			return Tier{}, err
		}
		*f.rate = &nano
	}
	return tier, nil
}

// CheckTiers says what is wrong with the tiers of a price: they begin at 0 and go upwards.
func CheckTiers(tiers []Tier) error {
	if len(tiers) == 0 || tiers[0].MinInput != 0 {
		return fmt.Errorf("the first tier does not begin at 0 tokens")
	}
	for i := 1; i < len(tiers); i++ {
		if tiers[i].MinInput <= tiers[i-1].MinInput {
			return fmt.Errorf("tier %d does not begin above the tier before it", i+1)
		}
	}
	return nil
}

// parseUSD reads a decimal number of dollars exactly, as nano-USD.
func parseUSD(s string) (int64, error) {
	whole, fraction, _ := strings.Cut(s, ".")
	if len(fraction) > 9 {
		return 0, fmt.Errorf("%q has more than nine decimals", s)
	}
	nano, err := strconv.ParseUint(whole+fraction+strings.Repeat("0", 9-len(fraction)), 10, 62)
	if err != nil {
		return 0, fmt.Errorf("%q is no amount of dollars", s)
	}
	return int64(nano), nil
}

// seedID derives the id of a shipped version from what it is, so that every router and every metering
// name the same version by the same id, without asking each other. Its time is the version's.
func seedID(model string, from time.Time) string {
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	sum := sha256.Sum256([]byte("claviger-price\x00" + model + "\x00" + from.Format(time.RFC3339)))
	var u [16]byte
	binary.BigEndian.PutUint64(u[:8], uint64(from.UnixMilli())<<16)
	copy(u[6:], sum[:])
	u[6] = u[6]&0x0f | 0x80 // version 8: ours to define
	u[8] = u[8]&0x3f | 0x80
	text := make([]byte, 26)
	hi, lo := binary.BigEndian.Uint64(u[:8]), binary.BigEndian.Uint64(u[8:])
	for i := len(text) - 1; i >= 0; i-- { // from the right: 26 digits of 5 bits
		text[i] = alphabet[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return "price_" + string(text)
}
