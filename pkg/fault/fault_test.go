package fault_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/claviger/claviger/pkg/fault"
)

var errNotFound = fault.New(fault.NotFound, "THING_NOT_FOUND", "thing not found")

func TestACopyWithFactsIsStillItsDeclaration(t *testing.T) {
	t.Parallel()
	cause := errors.New("sql: no rows")
	err := fmt.Errorf("load thing: %w", errNotFound.With("thing", "a").Because(cause).Hinting("list them"))
	if !errors.Is(err, errNotFound) || !errors.Is(err, cause) {
		t.Fatalf("errors.Is does not find declaration and cause in %v", err)
	}
	f, ok := fault.Of(err)
	if !ok || f.Message() != "thing not found" || f.Facts()["thing"] != "a" || f.Hint() != "list them" || f.Blame() != fault.Caller {
		t.Fatalf("fault.Of = %+v, %v", f, ok)
	}
	if len(errNotFound.Facts()) != 0 || errors.Unwrap(errNotFound) != nil {
		t.Fatal("the declaration was changed")
	}
	if got := fault.KindOf(errors.New("x")); got != fault.Internal {
		t.Fatalf("KindOf(other) = %v, want Internal", got)
	}
}
