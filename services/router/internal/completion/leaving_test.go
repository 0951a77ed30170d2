package completion_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
)

// triedOut is a theatre whose only place may be tried out by three calls, after a breaker was open.
func triedOut(t *testing.T, play func(n int, call completion.Call) scene) *theatre {
	t.Helper()
	h := perform(func(int, completion.Call) scene { return fails(completion.ServerError) }, "a")
	own := h.plan.Targets[0].Credential
	h.plan.Targets[0].Rule = &completion.Rule{}
	for i := range 20 { // each with another credential: one alone cannot close a place
		h.plan.Targets[0].Credential = &completion.Credential{ID: fmt.Sprint("cred_", i), Provider: "openai"}
		_, _ = h.complete(t.Context())
	}
	h.plan.Targets[0].Credential, h.play = own, play
	if h.health.Held(&h.plan.Targets[0]).Why != completion.Broken {
		t.Fatal("the breaker is not open")
	}
	time.Sleep(16 * time.Second) //nolint:forbidigo // the time of a synctest bubble
	return h
}

// TestCallsThatSayNothingLeaveTheProbesOfABreakerFree: a place that three such calls had tried out would be left
// alone for good.
func TestCallsThatSayNothingLeaveTheProbesOfABreakerFree(t *testing.T) {
	t.Parallel()
	silent := func(int, completion.Call) scene { return scene{wait: time.Hour} }
	murmurs := func(int, completion.Call) scene {
		return scene{steps: []step{{time.Second, completion.Chunk{Raw: []byte("role")}, nil}}, loops: true}
	}
	for name, test := range map[string]struct {
		play func(int, completion.Call) scene
		set  func(h *theatre)
	}{
		"ruled out before the call": {silent, func(h *theatre) {
			h.allowed = func(*completion.Caller, *completion.Target) (bool, int64) { return false, 8 }
		}},
		"switched off while it was called": {silent, func(h *theatre) {
			time.AfterFunc(time.Second, func() { h.Cut(ofCredential("cred_a")) })
		}},
		"a policy's bound for an answer that had begun": {murmurs, func(h *theatre) {
			h.plan.Targets[0].Rule = &completion.Rule{Total: 5 * time.Second}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := triedOut(t, test.play)
				for range 3 {
					test.set(h)
					if _, err := h.complete(t.Context()); err == nil {
						t.Fatal("it was served")
					}
				}
				h.allowed, h.play = nil, func(int, completion.Call) scene { return says(0, "hi") }
				for range 3 {
					if _, err := h.complete(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if n := h.health.Counts()["openai"]; n.Open != 0 || n.Trying != 0 {
					t.Errorf("after three good calls %+v, want that the place is well again", n)
				}
			})
		})
	}
}

// TestOurImpatienceCountsAsTheProvidersFailure where the silence was long enough, and says which silence it was.
func TestOurImpatienceCountsAsTheProvidersFailure(t *testing.T) {
	t.Parallel()
	for words, play := range map[string]scene{
		"no answer in time":        {wait: time.Hour},
		"a pause that is too long": {steps: []step{{0, completion.Chunk{Raw: []byte("role")}, nil}, {time.Hour, text("hi"), nil}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := perform(func(int, completion.Call) scene { return play }, "a")
			h.plan.Targets[0].Rule = &completion.Rule{FirstByte: 20 * time.Second, Idle: 20 * time.Second}
			for range 5 {
				_, err := h.complete(t.Context())
				if e, ok := errors.AsType[*completion.ProviderError](err); !ok || e.Class != completion.TimedOut || e.Message != words {
					t.Fatalf("%v, want that the provider timed out with %s", err, words)
				}
			}
			if held := h.health.Held(&h.plan.Targets[0]); held.Why != completion.Broken {
				t.Errorf("after five of %s it is held for %v, want that it is left alone", words, held.Why)
			}
		})
	}
}

// TestWhoHasGoneStartsNothingMore, although the failure was one after which another would serve.
func TestWhoHasGoneStartsNothingMore(t *testing.T) {
	t.Parallel()
	ctx, leave := context.WithCancel(t.Context())
	h := perform(func(int, completion.Call) scene { leave(); return fails(completion.ServerError) }, "a", "b")
	h.plan.Targets[0].Rule = &completion.Rule{}
	if _, err := h.complete(ctx); err == nil || h.models() != "a" {
		t.Errorf("%v after %s, want no second call for nobody", err, h.models())
	}
	h.accounted(t)
}

// TestWhatIsSwitchedOffBeforeItsCallIsNeverCalled: the API key, between the plan and the call.
func TestWhatIsSwitchedOffBeforeItsCallIsNeverCalled(t *testing.T) {
	t.Parallel()
	h := perform(func(int, completion.Call) scene { return says(0, "hi") }, "a", "b")
	h.allowed = func(*completion.Caller, *completion.Target) (bool, int64) { h.Cut(ofKey("key_1")); return true, 7 }
	if out, err := h.complete(t.Context()); !errors.Is(err, completion.ErrRevoked) || len(h.calls) != 0 || out.begun {
		t.Errorf("%v after %v", err, h.calls)
	}
	if got := outcomes(h.recorder.events); got != "a not_sent revoked" {
		t.Errorf("events %s", got)
	}
}

// TestACutEndsTheSecondOfTwoCallsAlone, and counts what it has ended once.
func TestACutEndsTheSecondOfTwoCallsAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := hedged(t, map[string]scene{"a": says(0, "x")}, "a", "b")
		h.play = func(_ int, call completion.Call) scene {
			if call.Model == "a" {
				return says(9*time.Second, "a")
			}
			return scene{wait: time.Hour}
		}
		cut := make(chan int, 2)
		time.AfterFunc(3*time.Second, func() { cut <- h.Cut(ofCredential("cred_b")) })
		out, err := h.complete(t.Context())
		if n := <-cut; err != nil || out.text != "a" || n != 1 || outcomes(h.recorder.events) != "a ok ; b failed revoked" {
			t.Errorf("%v, %q, %d ended, events %s", err, out.text, n, outcomes(h.recorder.events))
		}
		if got := strings.Join(h.gone, " "); got != "3s b@cred_b" {
			t.Errorf("ended upstream: %s, want the second at once", got)
		}
		h.accounted(t)
	})
}

// TestARequestThatEndsIsCountedOnce: a second kill switch on its way finds nothing to end.
func TestARequestThatEndsIsCountedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := perform(func(int, completion.Call) scene { return scene{wait: time.Hour} }, "a")
		time.AfterFunc(time.Second, func() {
			if first, second := h.Cut(ofKey("key_1")), h.Cut(ofKey("key_1")); first != 1 || second != 0 {
				t.Errorf("ended %d and %d, want 1 and 0", first, second)
			}
		})
		if _, err := h.complete(t.Context()); !errors.Is(err, completion.ErrRevoked) {
			t.Error(err)
		}
	})
}

// TestACutFindsWhoIsLeftWhoeverHasGone from among hundreds of requests, in whatever order.
func TestACutFindsWhoIsLeftWhoeverHasGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const all = 640
		h := perform(func(int, completion.Call) scene { return scene{wait: time.Hour} }, "a")
		var group sync.WaitGroup
		leave := make([]context.CancelFunc, all)
		for i := range all {
			var ctx context.Context
			ctx, leave[i] = context.WithCancel(t.Context())
			group.Go(func() { _, _ = h.complete(ctx) })
		}
		synctest.Wait()
		for i := 0; i < all; i += 3 {
			leave[i]()
			synctest.Wait()
		}
		left := h.Open()
		if n := h.Cut(ofKey("key_1")); int64(n) != left || left != all-(all+2)/3 {
			t.Errorf("ended %d of %d", n, left)
		}
		group.Wait()
		for i := range leave {
			leave[i]()
		}
		if n := h.Cut(ofKey("key_1")); n != 0 || h.Open() != 0 {
			t.Errorf("%d are still there, %d open", n, h.Open())
		}
	})
}

// TestOfTwoThatAnswerAtOnceOneServes: the loser is metered as one, and not as a second answer.
func TestOfTwoThatAnswerAtOnceOneServes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := hedged(t, map[string]scene{"a": says(0, "x")}, "a", "b")
		h.play = func(_ int, call completion.Call) scene {
			if call.Model == "a" {
				return says(3*time.Second, "a")
			}
			return says(time.Second, "b")
		}
		out, err := h.complete(t.Context())
		got := outcomes(h.recorder.events)
		if err != nil || len(out.text) != 1 || got != "a ok ; b canceled hedged" && got != "a canceled hedged; b ok " {
			t.Errorf("%v, the caller has %q, events %s", err, out.text, got)
		}
		h.accounted(t)
	})
}

// TestADrilledTargetIsNotRaced: it would be called for real, and what a drill shows would be something else.
func TestADrilledTargetIsNotRaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := hedged(t, map[string]scene{"a": says(0, "x")}, "a", "b", "c")
		h.plan.Targets[1].Drill = &completion.Drill{ID: "drill_1", Class: completion.RateLimited, Until: h.begun.Add(time.Hour)}
		h.play = func(_ int, call completion.Call) scene {
			if call.Model == "a" {
				return scene{wait: time.Hour}
			}
			return says(0, call.Model)
		}
		if out, err := h.complete(t.Context()); err != nil || out.text != "c" || h.models() != "a c" {
			t.Errorf("%v, called %s", err, h.models())
		}
		h.accounted(t)
	})
}

// TestDrillsCountAsCallsAndAreNamed: a policy's bound of attempts holds in a rehearsal as it would in earnest, and the
// error of a request that nobody served says what was one.
func TestDrillsCountAsCallsAndAreNamed(t *testing.T) {
	t.Parallel()
	for attempts, want := range map[int]string{1: "", 2: "b"} {
		h := perform(func(int, completion.Call) scene { return fails(completion.RateLimited) }, "a", "b", "c")
		h.plan.MaxAttempts = attempts
		h.plan.Targets[0].Drill = &completion.Drill{ID: "drill_1", Class: completion.RateLimited, Until: time.Now().Add(time.Hour)}
		_, err := h.complete(t.Context())
		f, ok := fault.Of(err)
		if !ok || h.models() != want {
			t.Errorf("of %d attempts: %v after %q, want %q", attempts, err, h.models(), want)
			continue
		}
		tried := f.Facts()["tried"]
		if attempts == 2 && tried != `openai/a with credential "label-cred_a": rate_limited in a drill; openai/b with credential "label-cred_b": rate_limited` {
			t.Errorf("tried %q", tried)
		}
		if attempts == 1 && tried != "" {
			t.Errorf("one failure says all, and tried %q besides", tried)
		}
	}
}

// TestADrillUsesUpNobodysRetries: what was rehearsed did not fail at the provider.
func TestADrillUsesUpNobodysRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := perform(func(int, completion.Call) scene { return says(0, "hi") }, "a", "b")
		h.plan.Targets[0].Drill = &completion.Drill{ID: "drill_1", Class: completion.TimedOut, Until: h.begun.Add(time.Hour)}
		h.plan.Targets[0].Rule = &completion.Rule{FirstByte: time.Millisecond}
		for i := range 15 {
			if out, err := h.complete(t.Context()); err != nil || out.served.Target.Name != "b" {
				t.Fatalf("after %d requests: %v", i, err)
			}
		}
	})
}

// TestOnlyTheOtherSecretStandsInWhateverALineSays: the first secret of the same credential with the same model, and
// nothing that merely stands behind it.
func TestOnlyTheOtherSecretStandsInWhateverALineSays(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		second    string
		revisions [2]int
		want      string
	}{
		"the first secret":   {"m@cred_1", [2]int{2, 1}, "m m"},
		"another credential": {"m@cred_2", [2]int{2, 1}, "m"},
		"another model":      {"x@cred_1", [2]int{2, 1}, "m"},
		"a newer secret":     {"m@cred_1", [2]int{1, 2}, "m"},
	} {
		h := perform(func(n int, _ completion.Call) scene {
			if n == 0 {
				return fails(completion.AuthInvalid)
			}
			return says(0, "hi")
		}, "m@cred_1", test.second)
		for i := range h.plan.Targets {
			h.plan.Targets[i].Credential.Revision = test.revisions[i]
		}
		h.plan.Targets[0].Rule = &completion.Rule{MoveOn: []completion.Class{completion.Overloaded}}
		if _, err := h.complete(t.Context()); h.models() != test.want || (err == nil) != (test.want == "m m") {
			t.Errorf("%s: called %s, want %s: %v", name, h.models(), test.want, err)
		}
	}
}

// TestALackOfARightIsHeldAgainstNobodyUntilTheOtherSecretHasTold: a current secret that fails otherwise says nothing
// about the second one's rights.
func TestALackOfARightIsHeldAgainstNobodyUntilTheOtherSecretHasTold(t *testing.T) {
	t.Parallel()
	h := perform(func(n int, _ completion.Call) scene {
		if n == 0 {
			return fails(completion.AuthLimited)
		}
		return fails(completion.ContentRefused)
	}, "m@cred_1", "m@cred_1")
	h.plan.Targets[0].Credential.Revision = 2
	if _, err := h.complete(t.Context()); err == nil || h.models() != "m m" || len(h.evidence.refused)+len(h.evidence.limited) != 0 {
		t.Errorf("%v after %s, evidence %v and %v", err, h.models(), h.evidence.refused, h.evidence.limited)
	}
}
