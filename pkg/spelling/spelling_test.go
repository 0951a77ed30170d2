package spelling_test

import (
	"testing"

	"github.com/claviger/claviger/pkg/spelling"
)

func TestNearestIsWhatWasProbablyMeant(t *testing.T) {
	t.Parallel()
	known := []string{"policies", "credentials", "api_keys", "to"}
	for word, want := range map[string]string{
		"policys": "policies", "credential": "credentials", "api-keys": "api_keys", "credentials": "credentials",
		"members": "", "": "", "x": "", "polices!": "policies",
	} {
		if got := spelling.Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
