package provider_test

import (
	"strings"
	"testing"

	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// FuzzChanged changes, removes and adds members of any object: what comes out is an object in which they are as
// they should be, and all others stand as they stood, byte for byte and in their order.
func FuzzChanged(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a":1}`, `{"b":2}`, `{"a":1,"b":2,"c":3}`, ` { "x" : [1, 2] , "b":{} ,"a" : null } `, `{"b":1,"b":2}`, `{"n":9,"a":1,"n":900}`, `{"\u0061":1}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if !jsonscan.Valid([]byte(body)) || jsonscan.KindOf([]byte(strings.TrimLeft(body, " \t\r\n"))) != jsonscan.ObjectKind {
			return
		}
		got := provider.Changed([]byte(body), provider.To("a", `"new"`), provider.To("b", ""), provider.AtMost("n", 10), provider.To("z", "true"))
		if !jsonscan.Valid(got) {
			t.Fatalf("%s became %s", body, got)
		}
		others := func(object []byte) (out []string) {
			m := jsonscan.Object(object)
			for m.Next() {
				switch string(m.Name) {
				case "a", "b", "n", "z":
				default:
					out = append(out, string(object[m.NameAt:m.ValueAt])+string(m.Value))
				}
			}
			return out
		}
		if before, after := strings.Join(others([]byte(body)), ","), strings.Join(others(got), ","); before != after {
			t.Fatalf("%s became %s", before, after)
		}
		n, _ := jsonscan.Int(jsonscan.Get(got, "n"))
		if string(jsonscan.Get(got, "a")) != `"new"` || jsonscan.Get(got, "b") != nil || string(jsonscan.Get(got, "z")) != "true" || n > 10 {
			t.Fatalf("%s became %s", body, got)
		}
	})
}

// TestABoundHoldsHoweverANumberIsWritten: what a provider may read as more, or as no bound at all, is none.
func TestABoundHoldsHoweverANumberIsWritten(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		`{"n":7}`: `{"n":7}`, `{"n":7.0}`: `{"n":7.0}`, `{"n":1e1}`: `{"n":1e1}`, `{"n":11}`: `{"n":10}`, `{}`: `{"n":10}`, `{"n":null}`: `{"n":10}`,
		`{"n":1e400}`: `{"n":10}`, `{"n":1e300}`: `{"n":10}`, `{"n":99999999999999999999}`: `{"n":10}`, `{"n":100.5}`: `{"n":10}`,
		`{"n":-1}`: `{"n":10}`, `{"n":0}`: `{"n":10}`, `{"n":"100000"}`: `{"n":10}`, `{"n":[9]}`: `{"n":10}`, `{"n":true}`: `{"n":10}`,
	} {
		if got := string(provider.Changed([]byte(given), provider.AtMost("n", 10))); got != want {
			t.Errorf("%s becomes %s, want %s", given, got, want)
		}
	}
}
