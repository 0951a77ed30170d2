package pricing_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/pricing"
)

var lately = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// TestNamesThatCallersWriteFindTheirPrice has names as clients and consoles write them, and the input and
// output rates that they have, in dollars. The rest of the book is as its files say.
func TestNamesThatCallersWriteFindTheirPrice(t *testing.T) {
	t.Parallel()
	for slug, want := range map[string][2]string{
		"openai/gpt-4o":                                                                   {"2.5", "10"},
		"openai/gpt-4o-2024-05-13":                                                        {"5", "15"}, // a snapshot with a price of its own
		"openai/gpt-5.6-sol-2026-07-13":                                                   {"4", "20"}, // one without
		"anthropic/claude-opus-5-5-20260901":                                              {"4", "20"},
		"azure/gpt-4o":                                                                    {"2.5", "10"},
		"azure/openai/gpt-4o":                                                             {"2.5", "10"},
		"azure/openai/gpt-4o-2024-05-13":                                                  {"5", "15"},
		"azure/gpt-5.6-sol":                                                               {"4", "20"},
		"azure/anthropic/claude-opus-5":                                                   {"5", "25"},
		"bedrock/anthropic.claude-opus-5-5":                                               {"4.4", "22"},
		"bedrock/us.anthropic.claude-opus-5-5":                                            {"4.4", "22"},
		"bedrock/us-gov.anthropic.claude-opus-5-5":                                        {"4.4", "22"},
		"bedrock/global.anthropic.claude-opus-5-5":                                        {"4", "20"},
		"bedrock/eu.anthropic.claude-haiku-4-5-20251001-v1:0":                             {"1.1", "5.5"},
		"bedrock/global.anthropic.claude-haiku-4-5-20251001-v1:0":                         {"1", "5"},
		"bedrock/anthropic.claude-haiku-4-5":                                              {"1.1", "5.5"},
		"bedrock/us.anthropic.claude-opus-4-5-20251101-v1:0":                              {"5.5", "27.5"},
		"bedrock/us.anthropic.claude-opus-4-1-20250805-v1:0":                              {"15", "75"},
		"bedrock/anthropic.claude-sonnet-4-6":                                             {"3.3", "16.5"},
		"bedrock/us.amazon.nova-pro-v1:0":                                                 {"0.8", "3.2"},
		"bedrock/amazon.nova-pro-v1:0:300k":                                               {"0.8", "3.2"},
		"bedrock/global.amazon.nova-2-lite-v1:0":                                          {"0.3", "2.5"},
		"bedrock/jp.amazon.nova-2-lite-v1:0":                                              {"0.33", "2.75"},
		"bedrock/global.amazon.nova-pro-v1:0":                                             {"0.8", "3.2"},
		"bedrock/openai.gpt-oss-120b-1:0":                                                 {"0.15", "0.6"},
		"bedrock/amazon.titan-embed-text-v1":                                              {"0.1", ""},
		"bedrock/amazon.titan-embed-text-v2:0":                                            {"0.02", ""},
		"bedrock/arn:aws:bedrock:eu-west-1:1:inference-profile/eu.amazon.nova-micro-v1:0": {"0.035", "0.14"},
		"bedrock/arn:aws:bedrock:eu-west-1::foundation-model/amazon.nova-micro-v1:0":      {"0.035", "0.14"},
		"google-ai-studio/gemini-2.5-pro":                                                 {"1.25", "10"},
		"google-ai-studio/models/gemini-2.5-pro":                                          {"1.25", "10"},
		"vertex/publishers/google/models/gemini-2.5-pro":                                  {"1.25", "10"},
		"vertex/claude-opus-4-5@20251101":                                                 {"5", "25"},
		"vertex/claude-haiku-4-5@default":                                                 {"1", "5"},
		"vertex/anthropic/claude-sonnet-4-5@20250929":                                     {"3", "15"},
		"vertex/claude-opus-4-6":                                                          {"5", "25"},
		"groq/openai/gpt-oss-120b":                                                        {"0.15", "0.6"},
		"deepinfra/openai/gpt-oss-120b":                                                   {"0.039", "0.19"},
		"baseten/openai/gpt-oss-120b":                                                     {"0.1", "0.5"},
		"xai/grok-4.7":                                                                    {"2", "6"},
		"mistral/mistral-large-latest":                                                    {"0.5", "1.5"},
		"moonshot/kimi-k3":                                                                {"3", "15"},
		"perplexity/sonar-pro":                                                            {"3", "15"},
	} {
		p, ok := pricing.Book().At(slug, lately)
		if !ok {
			t.Errorf("%s has no price", slug)
			continue
		}
		if got := p.Tiers[0]; got.Input == nil || *got.Input != *usd(want[0]) || (got.Output == nil) != (want[1] == "") || got.Output != nil && *got.Output != *usd(want[1]) {
			t.Errorf("%s costs %v by %s, want %v", slug, got, p.Model, want)
		}
	}
	for _, slug := range []string{
		"openai/gpt-99", "gpt-4o", "", "bedrock/", "bedrock/us.", "azure/", "/", "groq/gpt-oss-120b", "pollo/kling-ai/kling-v2", "openai/o3/x",
		"bedrock/arn:aws:bedrock:eu-west-1:1:application-inference-profile/amazon.nova-micro-v1:0",
		"bedrock/amazon.titan-embed-text-v3:0", // two versions with two prices: no third
	} {
		if p, ok := pricing.Book().At(slug, lately); ok {
			t.Errorf("%q has the price of %s", slug, p.Model)
		}
	}
}

// TestEveryProviderHasPrices holds the book to the providers that routers know.
func TestEveryProviderHasPrices(t *testing.T) {
	t.Parallel()
	why := map[string]string{
		"pollo": "Pollo.AI bills credits whose worth depends on the contract, and publishes no prices: it reports credits and costs, and an operator adds prices per credit",
	}
	models := map[string]int{}
	for _, m := range pricing.Models() {
		provider, _, _ := strings.Cut(m, "/")
		models[provider]++
	}
	providers := keyform.Providers()
	for _, p := range providers {
		if (models[p] > 0) == (why[p] != "") {
			t.Errorf("%s has %d models with a price, and the reason %q for having none", p, models[p], why[p])
		}
	}
	for p := range models {
		if !slices.Contains(providers, p) {
			t.Errorf("%s is no provider", p)
		}
	}
}

// TestTheBookStaysSmall bounds what each binary carries and reads at its start.
func TestTheBookStaysSmall(t *testing.T) {
	t.Parallel()
	if n := pricing.BookBytes(); n > 128<<10 {
		t.Errorf("the shipped files have %d bytes", n)
	}
	if n := len(pricing.Book().Rows()); n < 500 || n > 1500 {
		t.Errorf("the book has %d versions", n)
	}
}

func TestPricesChangeOnTheirDay(t *testing.T) {
	t.Parallel()
	last := time.Date(2026, 11, 30, 23, 59, 59, 0, time.UTC)
	for _, c := range []struct {
		slug string
		at   time.Time
		want string
	}{
		{"google-ai-studio/gemini-4-argon", last, "2"},
		{"google-ai-studio/gemini-4-argon", last.Add(time.Second), "4"},
		{"vertex/publishers/google/models/gemini-4-argon", last.Add(time.Second), "4"},
		{"google-ai-studio/gemini-3.8-flash", time.Date(2026, 12, 31, 23, 0, 0, 0, time.UTC), "0.75"},
		{"google-ai-studio/gemini-3.8-flash", time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), "1.5"},
		{"azure/gpt-5.6-luna", time.Date(2026, 10, 2, 0, 0, 0, 0, time.UTC), "1"},
		{"azure/gpt-5.6-luna", time.Date(2026, 10, 3, 0, 0, 0, 0, time.UTC), "0.2"},
		{"bedrock/us.openai.gpt-5.6-luna", time.Date(2026, 7, 29, 0, 0, 0, 0, time.UTC), "1.1"},
		{"bedrock/us.openai.gpt-5.6-luna", time.Date(2026, 7, 30, 0, 0, 0, 0, time.UTC), "0.22"},
	} {
		p, ok := pricing.Book().At(c.slug, c.at)
		if !ok || *p.Tiers[0].Input != *usd(c.want) {
			t.Errorf("%s at %s: %+v, want %s", c.slug, c.at, p, c.want)
		}
	}
}

// TestWhatProvidersSayHoldsWhereRatesCannotTell names whose word the book takes.
func TestWhatProvidersSayHoldsWhereRatesCannotTell(t *testing.T) {
	t.Parallel()
	for _, p := range pricing.Book().Rows() {
		provider, _, _ := strings.Cut(p.Model, "/")
		if want := provider == "perplexity" || provider == "xai"; p.Reported != want {
			t.Errorf("%s: reported costs hold: %v, want %v", p.Model, p.Reported, want)
		}
	}
	sonar, _ := pricing.Book().At("perplexity/sonar", lately)
	used := pricing.Used{Tokens: &pricing.Counts{InputTotal: 9, InputUncached: 9, OutputTotal: 2}, Units: []pricing.Unit{{Name: "request", Milli: 1000}}}
	if nano, ok, _ := pricing.CostOf(sonar, used); ok {
		t.Errorf("a search costs %d without its fee", nano)
	}
	clip, _ := pricing.Book().At("xai/grok-imagine-video", lately)
	if nano, ok, why := pricing.CostOf(clip, pricing.Used{Units: []pricing.Unit{{Name: "second", Milli: 1000}}}); !ok || nano != 50_000_000 {
		t.Errorf("a second of video costs %d, %v %s, want what xAI was seen to ask", nano, ok, why)
	}
}

// FuzzNames looks up whatever callers write.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{"bedrock/us.anthropic.claude-opus-4-5-20251101-v1:0", "azure/openai/gpt-4o", "vertex/claude@20250101", "a/b", "/"} {
		f.Add(seed)
	}
	book := pricing.Book()
	f.Fuzz(func(t *testing.T, slug string) {
		p, ok := book.At(slug, lately)
		if !ok {
			return
		}
		if asked, _, _ := strings.Cut(slug, "/"); !strings.HasPrefix(p.Model, asked+"/") {
			t.Errorf("%q has the price of %s, of another provider", slug, p.Model)
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	book := pricing.Book()
	for name, slug := range map[string]string{"own": "openai/gpt-4o", "profile": "bedrock/us.anthropic.claude-opus-4-5-20251101-v1:0", "unknown": "openai/nobody-knows"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				book.At(slug, lately)
			}
		})
	}
}

func BenchmarkBookLoads(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if pricing.LoadBook() == 0 {
			b.Fatal("the book is empty")
		}
	}
}
