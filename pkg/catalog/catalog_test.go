package catalog_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/catalog"
	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/pricing"
)

func TestNamesOfOneModelHaveTheSameOffers(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"openai/gpt-4o":                      {"openai/gpt-4o"},
		"gpt-4o":                             {"openai/gpt-4o"},
		"azure/gpt-4o":                       {"azure/gpt-4o"},
		"anthropic/claude-sonnet-4-5":        {"anthropic/claude-sonnet-4-5", "bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0", "vertex/claude-sonnet-4-5@20250929"},
		"anthropic/claude-sonnet-4.5":        {"anthropic/claude-sonnet-4-5", "bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0", "vertex/claude-sonnet-4-5@20250929"},
		"claude-sonnet-4-5":                  {"anthropic/claude-sonnet-4-5", "bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0", "vertex/claude-sonnet-4-5@20250929"},
		"vertex/claude-sonnet-4-5@20250929":  {"anthropic/claude-sonnet-4-5", "bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0", "vertex/claude-sonnet-4-5@20250929"},
		"anthropic/claude-opus-4-5-20251101": {"anthropic/claude-opus-4-5-20251101", "bedrock/anthropic.claude-opus-4-5-20251101-v1:0", "vertex/claude-opus-4-5@20251101"},
		"meta-llama/llama-3.3-70b-instruct":  {"bedrock/meta.llama3-3-70b-instruct-v1:0"},
		"openai/gpt-oss-120b": {
			"groq/openai/gpt-oss-120b", "deepinfra/openai/gpt-oss-120b", "baseten/openai/gpt-oss-120b",
			"bedrock/openai.gpt-oss-120b-1:0", "vertex/openai/gpt-oss-120b-maas",
		},
		"moonshotai/kimi-k2":      {"moonshot/kimi-k2-0711-preview", "groq/moonshotai/kimi-k2-instruct"},
		"google/gemini-3.8-flash": {"google-ai-studio/gemini-3.8-flash", "vertex/gemini-3.8-flash"},
		"x-ai/grok-4.7":           {"xai/grok-4.7"},
		"openai/gpt-5.6":          {"openai/gpt-5.6", "bedrock/openai.gpt-5.6-sol"},
		"openai/gpt-5.6-sol":      {"openai/gpt-5.6-sol", "bedrock/openai.gpt-5.6-sol"},
		// A snapshot is nobody else's, a region is a choice, and vectors of two providers do not mix.
		"openai/gpt-4o-2024-08-06":                          {"openai/gpt-4o-2024-08-06"},
		"baseten/deepseek-ai/DeepSeek-V4-Pro-0813":          {"baseten/deepseek-ai/DeepSeek-V4-Pro-0813"},
		"deepinfra/meta-llama/Llama-3.3-70B-Instruct-Turbo": {"deepinfra/meta-llama/Llama-3.3-70B-Instruct-Turbo"},
		"vertex/gemini-embedding-001":                       {"vertex/gemini-embedding-001"},
		"gemini-embedding-001":                              nil, // of two providers
		"bedrock/eu.anthropic.claude-opus-5":                nil,
		"bedrock/global.anthropic.claude-opus-5":            {"bedrock/global.anthropic.claude-opus-5"},
		"anthropic.claude-opus-5":                           nil,
		"openai/gpt-99":                                     nil,
		"":                                                  nil,
		"/":                                                 nil,
		"OPENAI/GPT-4O":                                     nil,
	} {
		if got := catalog.Offers(name); !slices.Equal(got, want) {
			t.Errorf("Offers(%q) = %q, want %q", name, got, want)
		}
	}
}

// TestRowsHoldTogether checks the file: what an offer may be, that no name means two models, and that all
// names of a model lead to each other.
func TestRowsHoldTogether(t *testing.T) {
	t.Parallel()
	providers := keyform.Providers()
	seen := map[string]string{}
	for _, r := range catalog.Shipped() {
		first := r.Offers[0]
		served := map[string]bool{}
		for _, name := range r.Offers {
			provider, _, _ := strings.Cut(name, "/")
			if !slices.Contains(providers, provider) || provider == "azure" {
				t.Errorf("%s: %q is no provider that a row may have", first, provider)
			}
			if served[provider] {
				t.Errorf("%s: %s offers it twice", first, provider)
			}
			served[provider] = true
			if _, priced := pricing.Book().Named(name); priced == slices.Contains(r.Unpriced, name) {
				t.Errorf("%s: the book knows it: %v, and the row says otherwise", name, priced)
			}
			if !slices.Equal(catalog.Offers(name), r.Offers) {
				t.Errorf("Offers(%q) = %q, want its row %q", name, catalog.Offers(name), r.Offers)
			}
		}
		for _, name := range r.Names {
			if !slices.Equal(catalog.Offers(name), r.Offers) {
				t.Errorf("Offers(%q) = %q, want its row %q", name, catalog.Offers(name), r.Offers)
			}
			if !strings.Contains(name, "/") || strings.ToLower(name) != name {
				t.Errorf("%q is not how makers' models are listed", name)
			}
		}
		for _, name := range r.Spellings {
			provider, _, _ := strings.Cut(name, "/")
			if got := catalog.Offers(name); !served[provider] || !slices.Contains(got, name) || len(got) != len(r.Offers) {
				t.Errorf("Offers(%q) = %q, want its row with it in the place of %s", name, got, provider)
			}
		}
		for _, name := range slices.Concat(r.Offers, r.Names, r.Spellings) {
			if other := seen[name]; other != "" {
				t.Errorf("%s means %s and %s", name, other, first)
			}
			seen[name] = first
			if catalog.Known(name) == slices.Contains(r.Names, name) {
				t.Errorf("Known(%q) = %v", name, catalog.Known(name))
			}
		}
		for _, name := range r.Unpriced {
			if !slices.Contains(r.Offers, name) {
				t.Errorf("%s is said to have no price, and is no offer of %s", name, first)
			}
		}
	}
	if len(seen) < 150 {
		t.Errorf("the catalogue has %d names", len(seen))
	}
}

func TestEveryModelWithAPriceIsOfferedByItself(t *testing.T) {
	t.Parallel()
	for _, m := range pricing.Models() {
		if !slices.Contains(catalog.Offers(m), m) || !catalog.Known(m) {
			t.Errorf("Offers(%q) = %q, Known = %v", m, catalog.Offers(m), catalog.Known(m))
		}
	}
	for _, n := range catalog.Names() {
		if catalog.Offers(n) == nil || !strings.Contains(n, "/") {
			t.Errorf("%q is listed and not known", n)
		}
	}
}

func TestKnownTakesEverySpellingThatHasAPrice(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"openai/gpt-4o": true, "bedrock/eu.anthropic.claude-opus-5": true, "azure/openai/gpt-4o": true,
		"vertex/zai-org/glm-5-maas": true, "groq/openai/gpt-oss-120b": true, "anthropic/claude-opus-4-5-20251101": true,
		"meta-llama/llama-3.3-70b-instruct": false, "openai/gpt-oss-120b": false, "anthropic/claude-sonnet-4.5": false, "gpt-4o": false, "openai/gpt-99": false, "": false, "openai/": false, "policy/main": false,
	} {
		if got := catalog.Known(name); got != want {
			t.Errorf("Known(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestLookUpsAllocateNothing(t *testing.T) {
	catalog.Offers("")
	if n := testing.AllocsPerRun(100, func() {
		for _, name := range [...]string{"openai/gpt-4o", "claude-sonnet-4-5", "openai/gpt-oss-120b", "openai/nothing"} {
			catalog.Offers(name)
		}
		catalog.Known("groq/openai/gpt-oss-120b")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkOffers(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if len(catalog.Offers("openai/gpt-oss-120b")) == 0 {
			b.Fatal("no offers")
		}
	}
}

// FuzzOffers holds for any text: every offer is a name whose own offers include it, and what is known is offered
// by itself or a spelling of the price book.
func FuzzOffers(f *testing.F) {
	for _, name := range []string{"", "/", "openai/", "openai/gpt-4o", "gpt-4o", "policy/main", "openai/gpt-oss-120b", "bedrock/arn:aws:bedrock:eu-west-1:1:inference-profile/eu.amazon.nova-micro-v1:0", "claude-opus-4-5@20251101", "\x00/\xff"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		offers := catalog.Offers(name)
		for _, o := range offers {
			if !slices.Contains(catalog.Offers(o), o) {
				t.Errorf("Offers(%q) has %q, which does not have itself", name, o)
			}
		}
		if _, priced := pricing.Book().Named(name); catalog.Known(name) != (priced || slices.Contains(offers, name)) {
			t.Errorf("Known(%q) = %v with offers %q", name, catalog.Known(name), offers)
		}
	})
}
