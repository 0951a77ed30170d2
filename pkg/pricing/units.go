package pricing

import "fmt"

// Unit is a number of something other than tokens, in thousandths.
type Unit struct {
	// Name is one of UnitNames.
	Name  string
	Milli int64
}

// UnitNames are what can be counted, in the order of Units.
var UnitNames = [...]string{"image", "second", "megapixel", "request", "credit", "character"}

// Units are sums of units, in thousandths, one for each of UnitNames.
type Units [len(UnitNames)]int64

// UnitIndex is the place of a name in Units. It is false of a name that is none.
func UnitIndex(name string) (int, bool) {
	for i, n := range UnitNames {
		if n == name {
			return i, true
		}
	}
	return 0, false
}

// UnitRate is what one unit costs, in nano-USD.
type UnitRate struct {
	// Name is one of UnitNames.
	Name string
	// Rate is nil where the unit is billed at a rate that is not known.
	Rate *int64
}

// ValidateUnits says what is out of bounds: a number below zero or above MaxCount, a name that is none or
// that comes twice. Nothing that fails here may be summed.
func ValidateUnits(units []Unit) error {
	var seen [len(UnitNames)]bool
	for _, u := range units {
		i, ok := UnitIndex(u.Name)
		switch {
		case !ok:
			return fmt.Errorf("%q is no unit", u.Name)
		case seen[i]:
			return fmt.Errorf("%s is counted twice", u.Name)
		case u.Milli < 0 || u.Milli > MaxCount:
			return fmt.Errorf("%s is %d thousandths, not within 0 and 2^40", u.Name, u.Milli)
		}
		seen[i] = true
	}
	return nil
}

// CheckUnits says what is wrong with the unit rates of a price: a name that is none or that comes twice,
// or a rate below zero.
func CheckUnits(rates []UnitRate) error {
	units := make([]Unit, len(rates))
	for i, r := range rates {
		units[i].Name = r.Name
		if r.Rate != nil && *r.Rate < 0 {
			return fmt.Errorf("the rate for %s is below zero", r.Name)
		}
	}
	return ValidateUnits(units)
}

// addUnits adds what units cost to sum. Each unit that the price names has to be counted; why says what is
// missing. Units that it does not name are no part of what is billed.
func (p Price) addUnits(sum *uint128, units []Unit) (why string) {
	if len(p.Units) == 0 {
		return ""
	}
	if err := ValidateUnits(units); err != nil {
		return err.Error()
	}
	for _, r := range p.Units {
		milli, counted := int64(0), false
		for _, u := range units {
			if u.Name == r.Name {
				milli, counted = u.Milli, true
			}
		}
		switch {
		case !counted:
			return "no count of " + r.Name
		case milli == 0:
		case r.Rate == nil:
			return "no rate for " + r.Name
		case *r.Rate < 0:
			return "the rate for " + r.Name + " is below zero"
		default:
			sum.addProduct(uint64(milli)*(perMillion/milliPerUnit), uint64(*r.Rate))
		}
	}
	return ""
}

// milliPerUnit is how Milli counts.
const milliPerUnit = 1000
