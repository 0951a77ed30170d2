package credential_test

import (
	"os"
	"testing"

	"github.com/claviger/claviger/services/keys/internal/credential"
)

// TestTheDocsShowTheTableOfStates holds CREDENTIAL_STATES.md to the code. CLAVIGER_UPDATE_GOLDEN=1 rewrites it.
func TestTheDocsShowTheTableOfStates(t *testing.T) {
	t.Parallel()
	const path = "../../CREDENTIAL_STATES.md"
	got := credential.Table()
	if os.Getenv("CLAVIGER_UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what the code says; CLAVIGER_UPDATE_GOLDEN=1 rewrites it. The code says:\n%s", path, got)
	}
}

// TestTheTableIsWhole looks for what the table forgets: events without a line or an explanation, states that
// nothing leads to or away from, and lines that another one hides.
func TestTheTableIsWhole(t *testing.T) {
	t.Parallel()
	for _, problem := range credential.Gaps() {
		t.Error(problem)
	}
}
