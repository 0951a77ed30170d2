package health_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/claviger/claviger/services/router/internal/completion"
)

// TestABreakerStaysClosedWhileLessThanHalfFails, however many fail.
func TestABreakerStaysClosedWhileLessThanHalfFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := learn()
		broken := func() bool { return h.Held(target("cred_new")).Why == completion.Broken }
		n := 0
		fails := func() { n++; call(t, h, target(fmt.Sprint("cred_", n)), completion.ServerError) }
		for range 51 {
			call(t, h, target("cred_0"), "")
		}
		for range 50 {
			if fails(); broken() {
				t.Fatalf("open after %d failures beside 51 good calls", n)
			}
		}
		if fails(); !broken() {
			t.Error("not open when half of the calls have failed")
		}
	})
}
