package dialect

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/services/router/internal/completion"
)

// ask reads the fields of a body.
func ask(body string) (completion.Request, error) {
	var a Asked
	req := completion.Request{Model: "openai/gpt-4o"}
	err := Walk([]byte(body), a.Take)
	if err == nil {
		err = a.Into(&req)
	}
	return req, err
}

func TestRoutingIsReadAsOpenRoutersUsersWriteIt(t *testing.T) {
	t.Parallel()
	n := func(n int64) *int64 { return &n }
	for body, want := range map[string]completion.Routing{
		`{}`: {},
		`{"models":null,"provider":null,"route":null,"claviger":null}`: {},
		`{"models":[],"provider":{},"route":"fallback"}`:               {},
		`{"models":["anthropic/claude-sonnet-5","policy/main"]}`:       {Models: []string{"anthropic/claude-sonnet-5", "policy/main"}},
		`{"provider":{"order":["Azure","openai","azure"],"only":["google-vertex","amazon-bedrock"],"ignore":["x-ai"],"sort":null}}`: {
			Order: []string{"azure", "openai"}, Only: []string{"vertex", "bedrock"}, Ignore: []string{"xai"},
		},
		`{"provider":{"order":["Google AI Studio","DeepInfra","moonshotai"]}}`: {Order: []string{"google-ai-studio", "deepinfra", "moonshot"}},
		`{"provider":{"sort":"price","allow_fallbacks":false,"require_parameters":true}}`: {
			Sort: "price", NoFallbacks: true, RequireParameters: true,
		},
		`{"provider":{"allow_fallbacks":true,"sort":"latency"}}`: {Sort: "latency"},
		// What asks for nothing is not refused.
		`{"provider":{"data_collection":"allow","zdr":false,"quantizations":[],"enforce_distillable_text":false,"preferred_max_latency":null}}`: {},
		`{"provider":{"max_price":{"prompt":1,"completion":"2.5","request":null}}}`:                                                             {MaxInput: n(1_000_000_000), MaxOutput: n(2_500_000_000)},
		`{"provider":{"max_price":{"prompt":0.1,"completion":0.3}}}`:                                                                            {MaxInput: n(100_000_000), MaxOutput: n(300_000_000)},
		`{"provider":{"max_price":{"completion":1e-3}}}`:                                                                                        {MaxOutput: n(1_000_000)},
		`{"provider":{"max_price":{"prompt":0}}}`:                                                                                               {MaxInput: n(0)},
	} {
		got, err := ask(body)
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if diff := cmp.Diff(want, got.Routing); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
}

// TestWhatCannotBeKeptIsRefusedByName has every field that OpenRouter knows and we do not, and every value that
// is not as it should be: the error names the field.
func TestWhatCannotBeKeptIsRefusedByName(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]struct{ param, says string }{
		`{"models":"a/b"}`:     {"models", "array of strings"},
		`{"models":["a/b",3]}`: {"models[1]", "must be a string"},
		`{"models":[""]}`:      {"models[0]", "not empty"},
		`{"models":["` + strings.Repeat("x", 257) + `"]}`:        {"models[0]", "too long"},
		`{"models":[` + strings.Repeat(`"a/b",`, 16) + `"a/b"]}`: {"models", "more than 16"},
		`{"models":["a/b"],"models":["c/d"]}`:                    {"models", "twice"},
		`{"route":"cheapest"}`:                                   {"route", "fallback"},
		`{"provider":"openai"}`:                                  {"provider", "must be an object"},
		`{"provider":{"order":"openai"}}`:                        {"provider.order", "array of strings"},
		`{"provider":{"order":["openai","together"]}}`:           {"provider.order[1]", `"together"`},
		`{"provider":{"only":["google"]}}`:                       {"provider.only[0]", "two providers"},
		`{"provider":{"only":["deepinfra/turbo"]}}`:              {"provider.only[0]", "where a provider serves from"},
		`{"provider":{"ignore":[null]}}`:                         {"provider.ignore[0]", "not empty"},
		`{"provider":{"sort":"throughput"}}`:                     {"provider.sort", "not measured"},
		`{"provider":{"sort":{"by":"price"}}}`:                   {"provider.sort", "price, latency"},
		`{"provider":{"allow_fallbacks":"no"}}`:                  {"provider.allow_fallbacks", "true or false"},
		`{"provider":{"data_collection":"deny"}}`:                {"provider.data_collection", "not supported"},
		`{"provider":{"zdr":true}}`:                              {"provider.zdr", "not supported"},
		`{"provider":{"enforce_distillable_text":true}}`:         {"provider.enforce_distillable_text", "not supported"},
		`{"provider":{"quantizations":["fp8"]}}`:                 {"provider.quantizations", "not supported"},
		`{"provider":{"preferred_min_throughput":50}}`:           {"provider.preferred_min_throughput", "no provider promises"},
		`{"provider":{"only":["openai"],"only":[]}}`:             {"provider.only", "twice"},
		`{"provider":{"fastest":true}}`:                          {"provider.fastest", "order, only, ignore, sort"},
		`{"provider":{"max_price":1}}`:                           {"provider.max_price", "must be an object"},
		`{"provider":{"max_price":{"prompt":-1}}}`:               {"provider.max_price.prompt", "US dollars per million"},
		`{"provider":{"max_price":{"prompt":"1 USD"}}}`:          {"provider.max_price.prompt", "US dollars per million"},
		`{"provider":{"max_price":{"prompt":" 1"}}}`:             {"provider.max_price.prompt", "US dollars per million"},
		`{"provider":{"max_price":{"image":1}}}`:                 {"provider.max_price.image", "not supported"},
		`{"provider":{"max_price":{"tokens":1}}}`:                {"provider.max_price.tokens", "not known"},
		`{"provider":{"max_price":{"prompt":1,"prompt":2}}}`:     {"provider.max_price.prompt", "twice"},
		`{"claviger":{"order":[]}}`:                              {"claviger.order", "not known"},
	} {
		_, err := ask(body)
		f, ok := fault.Of(err)
		if !ok || f.Facts()["param"] != want.param || !strings.Contains(f.Message(), want.says) || f.Kind() != fault.Invalid {
			t.Errorf("%s: %v, want %q to be named and %q to be said", body, err, want.param, want.says)
		}
	}
}

func TestEveryProviderIsKnownByItsSlugAndItsName(t *testing.T) {
	t.Parallel()
	for _, p := range keyform.Known() {
		for _, name := range []string{p.Slug, p.Name, strings.ToUpper(p.Slug)} {
			if slug, err := Provider("provider.only[0]", name); err != nil || slug != p.Slug {
				t.Errorf("%q is %q, %v, want %q", name, slug, err, p.Slug)
			}
		}
	}
	for name, slug := range elsewhere {
		if _, err := Provider("", slug); err != nil {
			t.Errorf("%q stands for %q, which nobody knows", name, slug)
		}
	}
}

// FuzzNanoDollars compares with exact arithmetic: what is read is the number, cut off below a billionth and
// bounded above.
func FuzzNanoDollars(f *testing.F) {
	for _, s := range []string{"0", "1", "0.1", "2.50", "1e-3", "1E+2", "0.0000000019", "9223372036.854775807", "9223372037", "1e400", "1e-400", "00", "1.", ".5", "-1", "0x1", "1_0", "1e", " 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := nanoDollars(text)
		if !ok {
			return
		}
		exact, valid := new(big.Rat).SetString(text)
		if !valid || exact.Sign() < 0 {
			t.Fatalf("%q was read as %d", text, got)
		}
		exact.Mul(exact, new(big.Rat).SetInt64(1_000_000_000))
		want := new(big.Int).Quo(exact.Num(), exact.Denom())
		if !want.IsInt64() {
			want.SetInt64(math.MaxInt64)
		}
		if want.Int64() != got {
			t.Fatalf("%q is %d, want %s", text, got, want)
		}
	})
}

func TestABodyWithoutRoutingCostsNoAllocation(t *testing.T) {
	body := []byte(`{"model":"a/b","temperature":1,"messages":[],"prov":1}`)
	req := completion.Request{Model: "a/b"}
	var a Asked
	take := a.Take
	if n := testing.AllocsPerRun(100, func() {
		a = Asked{}
		if err := Walk(body, take); err != nil {
			t.Fatal(err)
		}
		if err := a.Into(&req); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestManyAndLongNamesCostNothing: a body may have millions of members, and a name as long as a body.
func TestManyAndLongNamesCostNothing(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	many.WriteString(`{"provider":{"only":["openai"]`)
	for i := range 500_000 {
		fmt.Fprintf(&many, `,"%d":null`, i)
	}
	many.WriteString("}}")
	long := strings.Repeat("é", 1<<20)
	for body, says := range map[string]string{
		many.String():                     "has more members",
		`{"claviger":{"` + long + `":1}}`: "is not known",
		`{"provider":{"` + long + `":1}}`: "is not known",
	} {
		_, err := ask(body)
		f, ok := fault.Of(err)
		if !ok || !strings.Contains(f.Message(), says) || len(f.Message()) > 1000 || len(f.Facts()["param"]) > 300 {
			t.Errorf("%.40s: %.200v", body, err)
		}
	}
	if f := Unknown("tools[0]." + long); len(f.Message()) > 1000 || !utf8.ValidString(f.Message()) {
		t.Errorf("a path is told in %d bytes", len(f.Message()))
	}
}
