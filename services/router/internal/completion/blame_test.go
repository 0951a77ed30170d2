package completion_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// slow takes its time over each piece, or fails at it.
type slow struct {
	sink
	takes time.Duration
	fails bool
}

func (s *slow) Chunk(c *completion.Chunk) error {
	if s.fails {
		panic("a defect")
	}
	time.Sleep(s.takes) //nolint:forbidigo // the time of a synctest bubble
	return s.sink.Chunk(c)
}

// TestWhoReadsSlowlyMakesNoProviderLookSilent: the pauses that count are the provider's.
func TestWhoReadsSlowlyMakesNoProviderLookSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := perform(func(int, completion.Call) scene { return says(time.Second, "a", "b", "c") }, "a")
		h.plan.Targets[0].Rule = &completion.Rule{Idle: 20 * time.Second}
		out := &slow{takes: 90 * time.Second}
		if err := h.Complete(t.Context(), completion.Caller{OrgID: "org_1"}, request(), out); err != nil || out.text != "abc" {
			t.Errorf("%v after %q", err, out.text)
		}
		h.accounted(t)
	})
}

// TestAnImpatientPolicyMakesNoProviderLookBroken: a provider that was answering is not to blame for bounds that a
// policy sets to the whole answer or to its pauses.
func TestAnImpatientPolicyMakesNoProviderLookBroken(t *testing.T) {
	t.Parallel()
	talks := step{time.Second, text("on and on"), nil}
	for name, test := range map[string]struct {
		rule  completion.Rule
		scene scene
	}{
		"the whole answer":  {completion.Rule{Total: 30 * time.Second}, scene{steps: []step{talks}, loops: true}},
		"a pause inside it": {completion.Rule{Idle: 2 * time.Second}, scene{steps: append(slices.Repeat([]step{talks}, 30), step{3 * time.Second, text("more"), nil})}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := perform(func(int, completion.Call) scene { return test.scene }, "a")
				h.plan.Targets[0].Rule = &test.rule
				for range 30 {
					if _, err := h.complete(t.Context()); !errors.Is(err, completion.ErrBrokenOff) {
						t.Fatal(err)
					}
				}
				target := &h.plan.Targets[0]
				if held, latency := h.health.Held(target), h.health.Latency(target.Credential, target.Model, true); held.Why != completion.NotHeld || latency > time.Second {
					t.Errorf("held for %v, latency %v", held.Why, latency)
				}
			})
		})
	}
}

// TestWhatWasNeverSentCostsNothing: a credential that is switched off while the call is being made ready.
func TestWhatWasNeverSentCostsNothing(t *testing.T) {
	t.Parallel()
	h := perform(func(int, completion.Call) scene { return says(0, "hi") }, "a", "b")
	h.allowed = func(_ *completion.Caller, target *completion.Target) (bool, int64) {
		if target.Name == "a" {
			h.Cut(ofCredential("cred_a"))
		}
		return true, 7
	}
	if out, err := h.complete(t.Context()); err != nil || out.served.Target.Name != "b" || h.models() != "b" {
		t.Errorf("%v, called %s", err, h.models())
	}
	if len(h.recorder.events) != 2 {
		t.Fatalf("%d events", len(h.recorder.events))
	}
	if e := h.recorder.events[0]; e.Outcome != usage.NotSent || e.Source != usage.None || e.Tokens == nil || *e.Tokens != (usage.Tokens{}) || e.ErrorClass != "revoked" {
		t.Errorf("%v %s took %v %+v", e.Outcome, e.ErrorClass, e.Source, e.Tokens)
	}
}

// TestADefectLeavesAnEventAndARouter, whether it is in an adapter or in an edge, with a second call and without.
func TestADefectLeavesAnEventAndARouter(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		hedged, edge bool
		events       string
		panics       bool
	}{
		"an adapter":               {events: "a failed internal", panics: true},
		"an adapter, with a hedge": {hedged: true, events: "a failed internal"},
		"an edge":                  {edge: true, events: "a broken internal", panics: true},
		"an edge, with a hedge":    {hedged: true, edge: true, events: "a broken internal", panics: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := hedged(t, map[string]scene{"a": says(0, "x")}, "a", "b")
				if !test.hedged {
					h.plan.Hedge = nil
				}
				h.play = func(int, completion.Call) scene {
					if !test.edge {
						panic("a defect")
					}
					return says(0, "hi")
				}
				err := func() (err error) {
					defer func() {
						if p := recover(); (p != nil) != test.panics {
							t.Errorf("panics with %v", p)
						}
					}()
					return h.Complete(t.Context(), completion.Caller{}, request(), &slow{fails: test.edge})
				}()
				if !test.panics && fault.KindOf(err) != fault.Internal {
					t.Errorf("%v", err)
				}
				if got := outcomes(h.recorder.events); got != test.events {
					t.Errorf("events %s, want %s", got, test.events)
				}
				for _, e := range h.recorder.events {
					if e.Source != usage.Estimated || e.Tokens.InputTotal == 0 {
						t.Errorf("it took %v %+v, want a marked estimate", e.Source, e.Tokens)
					}
				}
				h.accounted(t)
			})
		})
	}
}

// TestACutLeavesTheProbesOfABreakerFree: a request that has ended is no probe under way.
func TestACutLeavesTheProbesOfABreakerFree(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := perform(func(int, completion.Call) scene { return says(0, "hi") }, "a")
		target := h.plan.Targets[0]
		for i := range 20 {
			other := target
			other.Credential = &completion.Credential{ID: fmt.Sprint("cred_", i), Provider: "openai"}
			trial, _ := h.health.Begin("org_1", &other)
			h.health.Failed(&other, trial, failure(completion.ServerError), time.Second)
		}
		if h.health.Held(&target).Why != completion.Broken {
			t.Fatal("the breaker is not open")
		}
		time.Sleep(16 * time.Second) //nolint:forbidigo // the time of a synctest bubble
		h.planning = func() { h.Cut(ofKey("key_1")) }
		for range 3 {
			if _, err := h.complete(t.Context()); !errors.Is(err, completion.ErrRevoked) {
				t.Fatal(err)
			}
		}
		if trial, ok := h.health.Begin("org_1", &target); !ok {
			t.Error("the place cannot be tried out any more")
		} else {
			h.health.Left(trial)
		}
	})
}

// TestOfARaceThatBothLostNobodyIsAskedAgain for what the other one did.
func TestOfARaceThatBothLostNobodyIsAskedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := hedged(t, map[string]scene{"a": says(0, "x")}, "a", "b")
		h.play = func(_ int, call completion.Call) scene {
			if call.Model == "a" {
				return scene{wait: 4 * time.Second, fails: failure(completion.ServerError)}
			}
			return scene{wait: time.Second, fails: failure(completion.AuthInvalid)}
		}
		_, err := h.complete(t.Context())
		if err == nil || h.models() != "a b" || len(h.evidence.refused) != 1 {
			t.Errorf("%v after %s, evidence %v", err, h.models(), h.evidence.refused)
		}
	})
}

// TestAnAddressOfOnesOwnUsesUpNobodysRetries: who makes calls fail there spends a budget of its own.
func TestAnAddressOfOnesOwnUsesUpNobodysRetries(t *testing.T) {
	t.Parallel()
	h := perform(func(_ int, call completion.Call) scene {
		if call.Model == "a" {
			return fails(completion.ServerError)
		}
		return says(0, "hi")
	}, "a", "b")
	h.plan.Targets[0].Rule = &completion.Rule{Retries: 0}
	for i := range 15 { // each with another credential, or they are left alone
		h.plan.Targets[0].Credential = &completion.Credential{ID: fmt.Sprint("cred_", i), Provider: "openai", BaseURL: "https://own.example"}
		own := h.plan.Targets[0]
		h.health.Again("org_1", &own)
		if out, err := h.complete(t.Context()); err != nil || out.served.Target.Name != "b" {
			t.Fatalf("after %d requests: %v", i, err)
		}
	}
	if !h.health.Again("org_1", &h.plan.Targets[1]) {
		t.Error("the provider may not be asked again, by nobody")
	}
}
