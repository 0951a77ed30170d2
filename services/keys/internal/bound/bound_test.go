package bound_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/keys/internal/bound"
)

// TestWhatIsAboveABoundMayShrink has one who came before the bound did.
func TestWhatIsAboveABoundMayShrink(t *testing.T) {
	t.Parallel()
	most := bound.Policies.Most
	for _, c := range []struct {
		before, after int64
		refused       bool
	}{
		{0, 1, false},
		{most - 1, most, false},
		{most, most + 1, true},
		{most, most, false},
		{most + 9, most + 9, false},
		{most + 9, most + 8, false},
		{most + 9, most + 10, true},
	} {
		if err := bound.Policies.Check(c.before, c.after); errors.Is(err, bound.Policies.Err()) != c.refused || err != nil && !c.refused {
			t.Errorf("Check(%d, %d) = %v, want refused %v", c.before, c.after, err, c.refused)
		}
	}
}

func TestAnErrorNamesTheBoundAndWhatToDo(t *testing.T) {
	t.Parallel()
	for _, b := range append(bound.All(), bound.CredentialsOf("openai")) {
		f, ok := fault.Of(b.Check(b.Most, b.Most+1))
		if !ok || f.Kind() != fault.Precondition || !strings.Contains(f.Message(), b.What) || f.Facts()["bound"] == "" || f.Hint() == "" {
			t.Errorf("beyond the bound of %s: %v, want its name, its size and what to do", b.What, f)
		}
	}
}
