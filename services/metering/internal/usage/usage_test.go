package usage_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

func TestTagsetIDTellsSetsApart(t *testing.T) {
	t.Parallel()
	if usage.TagsetID(nil) != "" || usage.TagsetID(map[string]string{}) != "" {
		t.Error("no tags have an id")
	}
	seen := map[string]map[string]string{}
	for _, tags := range []map[string]string{
		{"a": "bc"}, {"ab": "c"}, {"a": "b", "c": ""}, {"a": "b"}, {"a": "", "b": ""}, {"": "ab"}, {"": "a", "b": ""},
	} {
		name := usage.TagsetID(tags)
		if other, taken := seen[name]; taken {
			t.Errorf("%v and %v have the same id", tags, other)
		}
		seen[name] = tags
	}
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "a")
		b := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "b")
		if same := cmp.Equal(a, b); (usage.TagsetID(a) == usage.TagsetID(b)) != same {
			t.Fatalf("ids of %v and %v: equal %v, want %v", a, b, !same, same)
		}
	})
}

func TestContribution(t *testing.T) {
	t.Parallel()
	cost := int64(77)
	base := usage.Attempt{Event: usage.Event{
		OrgID: "org_a", AttemptID: id.New("att"), AttemptNumber: 1, Ended: time.Date(2026, 11, 22, 12, 14, 59, 999_999_000, time.UTC),
		Outcome: usage.OK, Source: usage.ProviderFinal, Tokens: &pricing.Counts{InputTotal: 3, InputUncached: 3},
	}, CostNano: &cost}
	tokens := pricing.Counts{InputTotal: 3, InputUncached: 3}
	for name, c := range map[string]struct {
		change func(*usage.Attempt)
		want   usage.Totals
	}{
		"plain":     {func(*usage.Attempt) {}, usage.Totals{Requests: 1, Attempts: 1, Tokens: tokens, CostNano: 77}},
		"second":    {func(a *usage.Attempt) { a.AttemptNumber = 2 }, usage.Totals{Attempts: 1, Tokens: tokens, CostNano: 77}},
		"failed":    {func(a *usage.Attempt) { a.Outcome = usage.Failed }, usage.Totals{Requests: 1, Attempts: 1, Errors: 1, Tokens: tokens, CostNano: 77}},
		"canceled":  {func(a *usage.Attempt) { a.Outcome = usage.Canceled }, usage.Totals{Requests: 1, Attempts: 1, Tokens: tokens, CostNano: 77}},
		"estimated": {func(a *usage.Attempt) { a.Source = usage.Estimated }, usage.Totals{Requests: 1, Attempts: 1, Tokens: tokens, CostNano: 77, Estimated: 1, EstimatedCostNano: 77}},
		"no cost":   {func(a *usage.Attempt) { a.CostNano = nil }, usage.Totals{Requests: 1, Attempts: 1, Tokens: tokens, UnknownCost: 1}},
		"no counts": {func(a *usage.Attempt) { a.Tokens, a.CostNano = nil, nil }, usage.Totals{Requests: 1, Attempts: 1, UnknownCost: 1}},
	} {
		a := base
		c.change(&a)
		key, got := a.Contribution()
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if want := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).UnixMicro(); key.Bucket != want || key.OrgID != "org_a" {
			t.Errorf("%s: key = %+v", name, key)
		}
		if sum := got.Plus(got, 1).Plus(got, -1).Plus(got, -1); !sum.IsZero() {
			t.Errorf("%s: adding and taking away leaves %+v", name, sum)
		}
	}
	if day, ok := base.Day(); !ok || day != time.Now().Unix()/86_400 {
		t.Errorf("Day = %d, %v, want today", day, ok)
	}
}
