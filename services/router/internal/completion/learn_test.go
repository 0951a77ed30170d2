package completion_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
)

// TestTheTimeToTheFirstContentIsWhatIsLearned of a stream, and not that of signs of life before it, nor that of its
// end. By it the strategy lowest_latency puts lines in order.
func TestTheTimeToTheFirstContentIsWhatIsLearned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		role := completion.Chunk{Raw: []byte("role")}
		h := perform(func(int, completion.Call) scene {
			return scene{steps: []step{{time.Second, role, nil}, {2 * time.Second, text("a"), nil}, {50 * time.Second, text("b"), nil}}}
		}, "a")
		out, err := h.complete(t.Context())
		if err != nil || out.text != "ab" || time.Since(h.begun) != 53*time.Second {
			t.Fatalf("%v, %q after %v", err, out.text, time.Since(h.begun))
		}
		target := &h.plan.Targets[0]
		time.Sleep(70 * time.Second) //nolint:forbidigo // the time of a synctest bubble: a half-life after it was measured
		if got := h.health.Latency(target.Credential, target.Model, true); got != 1500*time.Millisecond {
			t.Errorf("learned %v, want half of three seconds after two minutes", got)
		}
		if e := h.recorder.events[0]; e.FirstContent != 3*time.Second {
			t.Errorf("the event says %v, want three seconds", e.FirstContent)
		}
		h.accounted(t)
	})
}

// TestAWholeAnswerIsLearnedAsOne: it comes when all of it was made, and says nothing of when a stream would begin.
func TestAWholeAnswerIsLearnedAsOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := perform(func(int, completion.Call) scene { return says(40*time.Second, "all of it") }, "a")
		req := request()
		req.Stream = false
		if err := h.Complete(t.Context(), completion.Caller{OrgID: "org_1"}, req, &sink{}); err != nil {
			t.Fatal(err)
		}
		target := &h.plan.Targets[0]
		streams, wholes := h.health.Latency(target.Credential, target.Model, true), h.health.Latency(target.Credential, target.Model, false)
		if streams != 0 || wholes != 40*time.Second {
			t.Errorf("learned %v of streams and %v of whole answers, want nothing and forty seconds", streams, wholes)
		}
	})
}
