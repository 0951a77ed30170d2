package completion_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// hedged is a theatre whose policy sends a second call after two seconds, and that has seen enough requests for one.
func hedged(t *testing.T, scenes map[string]scene, targets ...string) *theatre {
	t.Helper()
	h := perform(func(_ int, call completion.Call) scene { return scenes[call.Model] }, targets...)
	h.plan.Hedge = &completion.Hedge{After: 2 * time.Second, MaxPercent: 5}
	for range 200 {
		_, _ = h.complete(t.Context()) // each counts as a request
	}
	h.calls, h.recorder.events, h.begun = nil, nil, time.Now()
	return h
}

func outcomes(events []usage.Event) string {
	var out []string
	for _, e := range events {
		out = append(out, strings.TrimPrefix(e.Model, "openai/")+" "+e.Outcome.String()+" "+e.ErrorClass)
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// TestASlowCallIsRacedByASecondOne at exact times: who has content first serves, the other is ended upstream and
// metered, and both are told.
func TestASlowCallIsRacedByASecondOne(t *testing.T) {
	t.Parallel()
	role := step{0, completion.Chunk{Raw: []byte("role")}, nil}
	for name, test := range map[string]struct {
		scenes           map[string]scene
		calls, gone      []string
		text             string
		took             time.Duration
		events, attempts string
		err              error
	}{
		"the first is quick enough": {
			scenes: map[string]scene{"a": says(2*time.Second-1, "a"), "b": says(0, "b")},
			calls:  []string{"0s a@cred_a"}, text: "a", took: 2*time.Second - 1, events: "a ok ", attempts: "a:",
		},
		"the second is quicker": {
			scenes: map[string]scene{"a": {steps: []step{role, {10 * time.Second, text("a"), nil}}}, "b": says(time.Second, "b")},
			calls:  []string{"0s a@cred_a", "2s b@cred_b"}, gone: []string{"3s a@cred_a"}, text: "b", took: 3 * time.Second,
			events: "a canceled hedged; b ok ", attempts: "a:hedged b:",
		},
		"the first is quicker all the same": {
			scenes: map[string]scene{"a": says(3*time.Second, "a"), "b": {wait: time.Hour}},
			calls:  []string{"0s a@cred_a", "2s b@cred_b"}, gone: []string{"3s b@cred_b"}, text: "a", took: 3 * time.Second,
			events: "a ok ; b canceled hedged", attempts: "a: b:hedged",
		},
		"the first fails while the second works": {
			scenes: map[string]scene{"a": {wait: 3 * time.Second, fails: failure(completion.AuthInvalid)}, "b": says(4*time.Second, "b")},
			calls:  []string{"0s a@cred_a", "2s b@cred_b"}, text: "b", took: 6 * time.Second,
			events: "a failed auth_invalid; b ok ", attempts: "a:auth_invalid b:",
		},
		"the second fails while the first works": {
			scenes: map[string]scene{"a": says(9*time.Second, "a"), "b": fails(completion.RateLimited)},
			calls:  []string{"0s a@cred_a", "2s b@cred_b"}, text: "a", took: 9 * time.Second,
			events: "a ok ; b failed rate_limited", attempts: "a: b:rate_limited",
		},
		"both fail, and a third serves": {
			scenes: map[string]scene{"a": {wait: 4 * time.Second, fails: failure(completion.AuthInvalid)}, "b": {wait: time.Second, fails: failure(completion.RateLimited)}, "c": says(0, "c")},
			calls:  []string{"0s a@cred_a", "2s b@cred_b", "4s c@cred_c"}, text: "c", took: 4 * time.Second,
			events: "a failed auth_invalid; b failed rate_limited; c ok ", attempts: "a:auth_invalid b:rate_limited c:",
		},
		"the first fails before its time": {
			scenes: map[string]scene{"a": {wait: time.Second, fails: failure(completion.RateLimited)}, "b": says(0, "b")},
			calls:  []string{"0s a@cred_a", "1s b@cred_b"}, text: "b", took: time.Second,
			events: "a failed rate_limited; b ok ", attempts: "a:rate_limited b:",
		},
		"the winner breaks off": {
			scenes: map[string]scene{"a": {wait: time.Hour}, "b": {steps: []step{{0, text("b"), nil}, {time.Second, completion.Chunk{}, failure(completion.Network)}}}},
			calls:  []string{"0s a@cred_a", "2s b@cred_b"}, gone: []string{"2s a@cred_a"}, text: "b", took: 3 * time.Second,
			events: "a canceled hedged; b broken network", attempts: "a:hedged b:", err: completion.ErrBrokenOff,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := hedged(t, map[string]scene{"a": says(0, "x")}, "a", "b", "c")
				h.play = func(_ int, call completion.Call) scene { return test.scenes[call.Model] }
				out, err := h.complete(t.Context())
				if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) || out.text != test.text || time.Since(h.begun) != test.took {
					t.Errorf("%v, %q after %v", err, out.text, time.Since(h.begun))
				}
				if !slices.Equal(h.calls, test.calls) || !slices.Equal(h.gone, test.gone) {
					t.Errorf("called %v, ended %v", h.calls, h.gone)
				}
				if got := outcomes(h.recorder.events); got != test.events {
					t.Errorf("events %s, want %s", got, test.events)
				}
				var attempts []string
				for _, a := range out.served.Attempts {
					class := a.ErrorClass
					if test.err != nil && a.Model == out.served.Target.Model {
						class = "" // told when it broke off, which is after the beginning
					}
					attempts = append(attempts, strings.TrimPrefix(a.Model, "openai/")+":"+class)
				}
				if got := strings.Join(attempts, " "); got != test.attempts {
					t.Errorf("told %s, want %s", got, test.attempts)
				}
				for _, e := range h.recorder.events {
					if e.ErrorClass == "hedged" && (e.Source != usage.Estimated || e.Tokens.InputTotal == 0) {
						t.Errorf("the loser took %v %+v, want a marked estimate", e.Source, e.Tokens)
					}
				}
				h.accounted(t)
			})
		})
	}
}

func TestWhenACallIsNotHedged(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(h *theatre, req *completion.Request)
		want   int
	}{
		"it is":                    {func(*theatre, *completion.Request) {}, 2},
		"no policy says so":        {func(h *theatre, _ *completion.Request) { h.plan.Hedge = nil }, 1},
		"it is paid for each time": {func(_ *theatre, req *completion.Request) { req.Operation = completion.Images }, 1},
		"there is nobody else":     {func(h *theatre, _ *completion.Request) { h.plan.Targets = h.plan.Targets[:1] }, 1},
		"one attempt is allowed":   {func(h *theatre, _ *completion.Request) { h.plan.MaxAttempts = 1 }, 1},
		"nothing is usual yet": {func(h *theatre, _ *completion.Request) {
			h.plan.Hedge.After = 0
			h.plan.Targets[0].Model = "openai/new"
		}, 1},
		"five seconds are unusual": {func(h *theatre, _ *completion.Request) { h.plan.Hedge.After = 0 }, 2},
		"the other has to wait": {func(h *theatre, _ *completion.Request) {
			h.health.Failed(&h.plan.Targets[1], completion.Trial{}, failure(completion.RateLimited), 0)
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := hedged(t, map[string]scene{"a": says(time.Second, "x")}, "a", "b")
				h.play = func(_ int, call completion.Call) scene {
					if call.Model == "a" {
						return says(5*time.Second, "a")
					}
					return says(0, "b")
				}
				req := request()
				test.change(h, req)
				_ = h.Complete(t.Context(), completion.Caller{OrgID: "org_1"}, req, &sink{}) // the calls are what matters here
				if len(h.calls) != test.want {
					t.Errorf("called %v, want %d calls", h.calls, test.want)
				}
				h.accounted(t)
			})
		})
	}
}

func TestHedgesStayWithinTheirShare(t *testing.T) {
	t.Parallel()
	for _, percent := range []int{5, 50} {
		synctest.Test(t, func(t *testing.T) {
			h := perform(func(_ int, call completion.Call) scene {
				if call.Model == "a" {
					return says(3*time.Second, "a")
				}
				return says(0, "b")
			}, "a", "b")
			h.plan.Hedge = &completion.Hedge{After: time.Second, MaxPercent: percent}
			const requests = 12_000 // more than are counted before the counts are halved
			for i := range requests {
				if _, err := h.complete(t.Context()); err != nil {
					t.Fatal(err)
				}
				if sent := len(h.calls) - i - 1; sent*100 > percent*(i+1) {
					t.Fatalf("%d of %d requests are hedged, want %d %% at most", sent, i+1, percent)
				}
			}
			if sent := len(h.calls) - requests; sent*100 < (percent-1)*requests {
				t.Errorf("%d of %d requests are hedged, want nearly %d %%", sent, requests, percent)
			}
			h.accounted(t)
		})
	}
}

// TestWhoHedgesEverythingLeavesOthersTheirShare of second calls.
func TestWhoHedgesEverythingLeavesOthersTheirShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := hedged(t, map[string]scene{"a": says(0, "x")}, "a", "b")
		h.play = func(_ int, call completion.Call) scene {
			if call.Model == "a" {
				return says(3*time.Second, "a")
			}
			return says(0, "b")
		}
		h.plan.Hedge.MaxPercent = 100
		for range 100 {
			_ = h.Complete(t.Context(), completion.Caller{OrgID: "org_2"}, request(), &sink{}) // the calls are what matters here
		}
		if len(h.calls) != 200 {
			t.Fatalf("%d calls of 100 requests", len(h.calls))
		}
		h.plan.Hedge.MaxPercent = 5
		if out, err := h.complete(t.Context()); err != nil || out.text != "b" {
			t.Errorf("%v, %q: its share was used up by others", err, out.text)
		}
	})
}

// TestManyRacesAtOnce is for the race detector: callers who leave, losers that come in at the same moment, and what
// is switched off meanwhile.
func TestManyRacesAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := hedged(t, map[string]scene{"a": says(0, "x")}, "a", "b", "c")
		h.plan.Hedge.MaxPercent = 100
		h.play = func(n int, call completion.Call) scene {
			switch {
			case n%7 == 0:
				return scene{wait: 3 * time.Second, fails: failure(completion.Overloaded)}
			case call.Model == "a":
				return says(3*time.Second, "a", "a")
			}
			return says(time.Second, "b", "b") // in the same moment as a
		}
		ended := make(chan struct{}, 300)
		for i := range 300 {
			go func() {
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				if i%5 == 0 {
					time.AfterFunc(time.Duration(i)*10*time.Millisecond, leave)
				}
				out, err := h.complete(ctx)
				if err == nil && out.text != "aa" && out.text != "bb" {
					t.Errorf("mixed: %q", out.text)
				}
				ended <- struct{}{}
			}()
		}
		time.AfterFunc(2500*time.Millisecond, func() {
			h.Cut(func(_ *completion.Caller, c *completion.Credential) bool { return c != nil && c.ID == "cred_b" })
		})
		for range 300 {
			<-ended
		}
		h.accounted(t)
	})
}
