package provider

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// Change says what becomes of a member of an object.
type Change struct {
	Name string
	// With is the member's new value as JSON, given the one that is there; nil is that there is none. An empty
	// one takes the member out, or leaves it out.
	With func(v []byte) string
}

// To is a change to a value, whatever was there.
func To(name, json string) Change { return Change{name, func([]byte) string { return json }} }

// AtMost is a change to a whole number from 1 that is not above a bound. Whatever else stands there becomes the bound:
// providers take texts for numbers, cut off fractions, and some know -1 or a number beyond all as no bound.
func AtMost(name string, most int64) Change {
	return Change{name, func(v []byte) string {
		if n, ok := jsonscan.Int(v); ok && n >= 1 && n <= most {
			return string(v)
		}
		return strconv.FormatInt(most, 10)
	}}
}

// Within is a change inside of an object. What is no object becomes one, unless nothing would be in it.
func Within(name string, changes ...Change) Change {
	return Change{name, func(v []byte) string {
		if jsonscan.KindOf(v) == jsonscan.ObjectKind {
			return string(Changed(v, changes...))
		}
		if made := string(Changed([]byte("{}"), changes...)); made != "{}" {
			return made
		}
		return string(v)
	}}
}

// Number is a number as JSON.
func Number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// Changed returns a copy of an object with changes to its members. Those that are added come first. Every
// other byte stays.
func Changed(object []byte, changes ...Change) []byte {
	cut := jsonscan.Cutter{Edits: make([]jsonscan.Edit, 1, len(changes)+1)}
	seen := make([]bool, len(changes))
	m := jsonscan.Object(object)
	for m.Next() {
		i := slices.IndexFunc(changes, func(c Change) bool { return c.Name == string(m.Name) })
		if i < 0 {
			cut.Keep()
			continue
		}
		seen[i] = true
		switch with := changes[i].With(m.Value); with {
		case "":
			cut.Remove(object, 0, &m)
		case string(m.Value):
			cut.Keep()
		default:
			cut.Keep(jsonscan.Edit{Start: m.ValueAt, End: m.ValueAt + len(m.Value), With: with})
		}
	}
	cut.Close()
	added := ""
	for i, c := range changes {
		if seen[i] {
			continue
		}
		if with := c.With(nil); with != "" {
			added += quote(c.Name) + ":" + with + ","
		}
	}
	if cut.Kept == 0 && added != "" {
		added = added[:len(added)-1]
	}
	at := bytes.IndexByte(object, '{') + 1
	cut.Edits[0] = jsonscan.Edit{Start: at, End: at, With: added}
	return jsonscan.Apply(object, cut.Edits)
}
