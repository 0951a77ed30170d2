package routing_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/policy"
	"github.com/claviger/claviger/services/keys/internal/routing"
)

// tx is an organization without policies but one.
type tx struct {
	routing.Tx
	state  routing.State
	detail []audit.Detail
}

func (t *tx) Routing(context.Context) (routing.State, error) { return t.state, nil }
func (t *tx) UpdateRouting(_ context.Context, s routing.State) error {
	t.state = s
	return nil
}
func (t *tx) Policies(context.Context, string, int) ([]policy.Policy, error) { return nil, nil }
func (t *tx) Policy(_ context.Context, id string) (policy.Policy, error) {
	return policy.Policy{ID: id, Version: 1}, nil
}

func (t *tx) Record(_ context.Context, _, _ string, detail audit.Detail) error {
	t.detail = append(t.detail, detail)
	return nil
}

// TestTheAuditNamesWhatPreferencesWere, field by field, and not what stayed.
func TestTheAuditNamesWhatPreferencesWere(t *testing.T) {
	t.Parallel()
	none := routing.Preferences{}
	some := []routing.ProviderRule{{Provider: "openai", Platform: routing.AfterOwn}}
	for name, c := range map[string]struct {
		from, to routing.Preferences
		want     audit.Detail
	}{
		"nothing":   {none, none, audit.Detail{}},
		"order":     {none, routing.Preferences{Order: []string{"openai"}}, audit.Detail{"order": audit.Change{From: []string(nil), To: []string{"openai"}}}},
		"ignore":    {routing.Preferences{Ignore: []string{"openai"}}, none, audit.Detail{"ignore": audit.Change{From: []string{"openai"}, To: []string(nil)}}},
		"providers": {none, routing.Preferences{Providers: some}, audit.Detail{"providers": audit.Change{From: []routing.ProviderRule(nil), To: some}}},
		"platform":  {routing.Preferences{Platform: routing.Never}, none, audit.Detail{"platform": audit.Change{From: routing.Never, To: routing.Rule("")}}},
		"a policy": {
			routing.Preferences{PolicyID: "pol_1"},
			routing.Preferences{PolicyID: "pol_2", Enforce: true},
			audit.Detail{"policy_id": audit.Change{From: "pol_1", To: "pol_2"}, "enforce_policy": audit.Change{From: false, To: true}},
		},
	} {
		x := &tx{state: routing.State{Preferences: c.from, PreferencesVersion: 1}}
		state, _, err := (&routing.Service{}).UpdatePreferences(t.Context(), x, c.to, x.state.PreferencesETag())
		if err != nil || state.PreferencesVersion != 2 {
			t.Errorf("%s: version %d, %v", name, state.PreferencesVersion, err)
			continue
		}
		if diff := cmp.Diff([]audit.Detail{c.want}, x.detail); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestPreferencesThatNameWhatThereIsNotAreRefused by the field, all of them at once.
func TestPreferencesThatNameWhatThereIsNotAreRefused(t *testing.T) {
	t.Parallel()
	x := &tx{state: routing.State{PreferencesVersion: 1}}
	_, _, err := (&routing.Service{}).UpdatePreferences(t.Context(), x, routing.Preferences{
		Order: []string{"nobody", "groq"}, Ignore: []string{"noone", "groq"},
		Providers: []routing.ProviderRule{{Provider: "none"}, {Provider: "openai"}, {Provider: "openai"}},
	}, x.state.PreferencesETag())
	f, ok := fault.Of(err)
	if !ok || f.Reason() != "PREFERENCES_INVALID" || len(x.detail) != 0 {
		t.Fatalf("%v, audited %v", err, x.detail)
	}
	var fields []string
	for _, v := range f.Violations() {
		fields = append(fields, v.Field)
	}
	want := []string{"preferences.order[0]", "preferences.order[1]", "preferences.ignore[0]", "preferences.providers[0].provider", "preferences.providers[2].provider"}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}
