package pricing_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/pricing"
)

func valid() pricing.Price {
	return pricing.Price{
		ID: "price_1", Model: "p/m", ValidFrom: time.Unix(0, 0).UTC(), Tiers: []pricing.Tier{{Input: new(int64(1)), Output: new(int64(2))}, {MinInput: 10, Input: new(int64(3))}},
		Units: []pricing.UnitRate{{Name: "request", Rate: new(int64(5))}, {Name: "image"}},
	}
}

// TestABookFromElsewhereIsCheckedBeforeItIsBelieved has every way in which a version, or a book of them, can be
// broken; and the book that ships, which is not.
func TestABookFromElsewhereIsCheckedBeforeItIsBelieved(t *testing.T) {
	t.Parallel()
	if err := pricing.Book().Check(); err != nil {
		t.Errorf("the book that ships: %v", err)
	}
	if err := pricing.NewTable([]pricing.Price{valid()}).Check(); err != nil {
		t.Errorf("a small book: %v", err)
	}
	for want, breaking := range map[string]func(*pricing.Price){
		"is no id":                     func(p *pricing.Price) { p.ID = "" },
		`is not "provider/name"`:       func(p *pricing.Price) { p.Model = "m" },
		"before 1970":                  func(p *pricing.Price) { p.ValidFrom = time.Unix(-1, 0) },
		"no rates":                     func(p *pricing.Price) { p.Tiers, p.Units = nil, nil },
		"does not begin at 0":          func(p *pricing.Price) { p.Tiers = p.Tiers[1:] },
		"does not begin above":         func(p *pricing.Price) { p.Tiers[1].MinInput = 0 },
		"rate for output is -1":        func(p *pricing.Price) { p.Tiers[0].Output = new(int64(-1)) },
		"rate for image_out is 1":      func(p *pricing.Price) { p.Tiers[1].ImageOut = new(int64(pricing.MaxRate + 1)) },
		"rate for request is below":    func(p *pricing.Price) { p.Units[0].Rate = new(int64(-1)) },
		"rate for request is above":    func(p *pricing.Price) { p.Units[0].Rate = new(int64(pricing.MaxRate + 1)) },
		`"mile" is no unit`:            func(p *pricing.Price) { p.Units[0].Name = "mile" },
		"image is counted twice":       func(p *pricing.Price) { p.Units[0].Name = "image" },
		"price_1 stands there twice":   nil,
		"hold from the same moment":    nil,
		"the book is empty":            nil,
		"after 9999":                   func(p *pricing.Price) { p.ValidFrom = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"rate for cache_read is -9223": func(p *pricing.Price) { p.Tiers[0].CacheRead = new(int64(-1 << 63)) },
	} {
		broken := valid()
		rows := []pricing.Price{broken}
		switch {
		case breaking != nil:
			breaking(&rows[0])
		case strings.Contains(want, "twice"):
			again := valid()
			again.Model = "p/other"
			rows = append(rows, again)
		case strings.Contains(want, "moment"):
			again := valid()
			again.ID = "price_2"
			rows = append(rows, again)
		default:
			rows = nil
		}
		if err := pricing.NewTable(rows).Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check = %v, want an error with %q", err, want)
		}
	}
}

// TestAnEtagStandsForAllThatIsReckonedWith changes one thing after the other of a book.
func TestAnEtagStandsForAllThatIsReckonedWith(t *testing.T) {
	t.Parallel()
	etag := func(rows ...pricing.Price) string { return pricing.NewTable(rows).Etag() }
	seen := map[string]string{etag(valid()): "nothing"}
	other := valid()
	other.ID, other.Model = "price_2", "p/other"
	for what, change := range map[string]func(*pricing.Price){
		"the id": func(p *pricing.Price) { p.ID = "price_3" }, "the model": func(p *pricing.Price) { p.Model = "p/n" },
		"the beginning": func(p *pricing.Price) { p.ValidFrom = p.ValidFrom.Add(time.Microsecond) },
		"a tier":        func(p *pricing.Price) { p.Tiers = p.Tiers[:1] }, "its size": func(p *pricing.Price) { p.Tiers[1].MinInput++ },
		"a unit": func(p *pricing.Price) { p.Units = p.Units[:1] }, "its rate": func(p *pricing.Price) { p.Units[1].Rate = new(int64(0)) },
		"its name": func(p *pricing.Price) { p.Units[1].Name = "second" }, "whose word holds": func(p *pricing.Price) { p.Reported = true },
		"no input": func(p *pricing.Price) { p.Tiers[0].Input = nil }, "input for nothing": func(p *pricing.Price) { p.Tiers[0].Input = new(int64(0)) },
		"output": func(p *pricing.Price) { p.Tiers[0].Output = new(int64(9)) }, "cache reads": func(p *pricing.Price) { p.Tiers[0].CacheRead = new(int64(9)) },
		"5m": func(p *pricing.Price) { p.Tiers[0].CacheWrite5m = new(int64(9)) }, "30m": func(p *pricing.Price) { p.Tiers[0].CacheWrite30m = new(int64(9)) },
		"1h": func(p *pricing.Price) { p.Tiers[0].CacheWrite1h = new(int64(9)) }, "12h": func(p *pricing.Price) { p.Tiers[0].CacheWrite12h = new(int64(9)) },
		"audio in": func(p *pricing.Price) { p.Tiers[0].AudioIn = new(int64(9)) }, "audio out": func(p *pricing.Price) { p.Tiers[0].AudioOut = new(int64(9)) },
		"image in": func(p *pricing.Price) { p.Tiers[0].ImageIn = new(int64(9)) }, "image out": func(p *pricing.Price) { p.Tiers[0].ImageOut = new(int64(9)) },
	} {
		p := valid()
		change(&p)
		got := etag(p)
		if before, taken := seen[got]; taken {
			t.Errorf("%s changes no more than %s does", what, before)
		}
		seen[got] = what
	}
	if one, two := etag(valid(), other), etag(other, valid()); one != two || one == etag(valid()) {
		t.Error("the etag depends on the order of versions, or not on their number")
	}
	empty := valid()
	empty.Units = []pricing.UnitRate{}
	none := valid()
	none.Units = nil
	if etag(empty) != etag(none) {
		t.Error("a list without units is not the same as no list")
	}
	rows := slices.Clone(pricing.Book().Rows())
	slices.Reverse(rows)
	if etag(rows...) != pricing.Book().Etag() {
		t.Error("the book that ships has another etag in another order")
	}
}
