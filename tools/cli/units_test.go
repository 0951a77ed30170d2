package cli_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/tools/cli"
)

func TestUnitsAreReadAtAGlance(t *testing.T) {
	t.Parallel()
	for want, units := range map[string][]*eventsv1.UnitCount{
		"":                           nil,
		"1 image":                    {{Name: "image", Milli: 1000}},
		"2 images, 5.04 seconds":     {{Name: "image", Milli: 2000}, {Name: "second", Milli: 5040}},
		"0 images":                   {{Name: "image"}},
		"0.001 credits":              {{Name: "credit", Milli: 1}},
		"1,234.5 characters":         {{Name: "character", Milli: 1_234_500}},
		"1.05 megapixels, 1 request": {{Name: "megapixel", Milli: 1050}, {Name: "request", Milli: 1000}},
	} {
		if got := cli.UnitText(units); got != want {
			t.Errorf("units = %q, want %q", got, want)
		}
	}
}

func TestARequestShowsWhatTheProviderSays(t *testing.T) {
	t.Parallel()
	cost, said := int64(5_000_000), int64(5_020_000)
	attempt := func(change func(*meteringv1.Attempt)) *meteringv1.Attempt {
		a := &meteringv1.Attempt{
			CostNanoUsd: &cost, CostSource: meteringv1.CostSource_COST_SOURCE_PRICE,
			Event: &eventsv1.UsageEvent{AttemptNumber: 1, Model: "openai/gpt-4o", Tokens: &eventsv1.TokenCounts{InputTotal: 9}},
		}
		if change != nil {
			change(a)
		}
		return a
	}
	shown := func(attempts ...*meteringv1.Attempt) string {
		text, err := cli.ShownAttempts(t.Context(), &meteringv1.GetRequestResponse{Attempts: attempts})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	plain := shown(attempt(nil))
	if strings.Contains(plain, "PROVIDER SAYS") || strings.Contains(plain, "UNITS") || !strings.Contains(plain, "price") {
		t.Errorf("an attempt of which the provider says nothing is shown as\n%s", plain)
	}
	text := shown(attempt(nil), attempt(func(a *meteringv1.Attempt) {
		a.CostNanoUsd, a.CostSource = &said, meteringv1.CostSource_COST_SOURCE_PROVIDER
		a.Event.ReportedCostNanoUsd, a.Event.Units = &said, []*eventsv1.UnitCount{{Name: "request", Milli: 1000}}
	}), attempt(func(a *meteringv1.Attempt) {
		a.Event.ReportedCostNanoUsd = &said
	}), attempt(func(a *meteringv1.Attempt) { a.CostNanoUsd, a.CostSource = nil, 0 }))
	for i, want := range [][]string{
		{"COST BY", "PROVIDER SAYS", "UNITS"},
		{"$0.005 ", "price", " - "},
		{"$0.00502", "provider", "$0.00502", "1 request"},
		{"$0.005 ", "price", "$0.00502"},
		{"unknown", " - "},
	} {
		line := strings.Split(strings.TrimSpace(text), "\n")[i]
		for _, part := range want {
			at := strings.Index(line+" ", part)
			if at < 0 {
				t.Errorf("line %d has no %q after what came before:\n%s", i, part, text)
				break
			}
			line = line[at:]
		}
	}
}

func TestUsageShowsUnitsAndWhoseCostsAre(t *testing.T) {
	t.Parallel()
	answer := &meteringv1.QueryUsageResponse{Total: &meteringv1.UsageTotals{
		Requests: 2, Attempts: 2, CostNanoUsd: 3_000_000_000, ProviderCostNanoUsd: 1_250_000_000, ReportedCostNanoUsd: 1_250_000_000,
		Units: []*eventsv1.UnitCount{{Name: "image", Milli: 2000}, {Name: "second", Milli: 5040}},
	}}
	text, err := cli.ShownUsage(t.Context(), answer)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"UNITS", "2 images, 5.04 seconds", "$3.00", "As providers say: $1.25 of the cost"} {
		if !strings.Contains(text, want) {
			t.Errorf("the usage does not say %q:\n%s", want, text)
		}
	}
	answer.Total.Units, answer.Total.ProviderCostNanoUsd = nil, 0
	if text, err = cli.ShownUsage(t.Context(), answer); err != nil || strings.Contains(text, "UNITS") || strings.Contains(text, "As providers say") {
		t.Errorf("without units the usage says, %v:\n%s", err, text)
	}
}

// TestACredentialSaysOnceWhenItWasUsed: keys knows of the secret, metering of the credential, and a member that
// is there twice is no JSON that others read alike, and no YAML at all.
func TestACredentialSaysOnceWhenItWasUsed(t *testing.T) {
	t.Parallel()
	told := timestamppb.New(time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC))
	counted := map[string]*timestamppb.Timestamp{"cred_1": timestamppb.New(told.AsTime().Add(time.Minute))}
	for name, c := range map[string]struct {
		form string
		told *timestamppb.Timestamp
		uses map[string]*timestamppb.Timestamp
		want string
	}{
		"both, JSON":       {"json", told, counted, `"lastUseTime":"2026-01-01T10:01:00Z"`},
		"both, YAML":       {"yaml", told, counted, `lastUseTime: "2026-01-01T10:01:00Z"`},
		"metering alone":   {"json", nil, counted, `"lastUseTime":"2026-01-01T10:01:00Z"`},
		"metering is away": {"json", told, nil, `"lastUseTime":"2026-01-01T10:00:00Z"`},
	} {
		got, err := cli.CredentialObject(c.form, &keysv1.Credential{Id: "cred_1", LastUseTime: c.told}, c.uses)
		if err != nil || !strings.Contains(got, c.want) || strings.Count(got, "lastUseTime") != 1 {
			t.Errorf("%s: %s, %v, want %s once", name, got, err, c.want)
		}
	}
}
