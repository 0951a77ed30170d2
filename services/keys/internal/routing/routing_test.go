package routing_test

import (
	"testing"

	"github.com/claviger/claviger/services/keys/internal/routing"
)

// TestARuleOfAProviderThatSaysNothingWidensNothing: routers read it so, and a check that read it otherwise would
// publish lines that never serve.
func TestARuleOfAProviderThatSaysNothingWidensNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		all, one routing.Rule
		forbids  bool
	}{
		"nothing within never":  {routing.Never, "", true},
		"policies within never": {routing.Never, routing.Policies, false},
		"never within policies": {routing.Policies, routing.Never, true},
		"nothing within none":   {"", "", false},
	} {
		s := routing.State{Preferences: routing.Preferences{Platform: c.all, Providers: []routing.ProviderRule{{Provider: "openai", Platform: c.one}}}}
		if got := s.ForbidsPlatform("openai"); got != c.forbids {
			t.Errorf("%s: forbids = %v, want %v", name, got, c.forbids)
		}
	}
}
