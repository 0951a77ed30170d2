package completion_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

func TestAFailedTargetIsTriedAgainAfterPausesThatDouble(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rule   *completion.Rule
		pauses []time.Duration // the longest that each may be; the shortest is half of it
	}{
		"by default":                    {nil, []time.Duration{250 * time.Millisecond, 500 * time.Millisecond}},
		"as the line":                   {&completion.Rule{Retries: 3, Backoff: 2 * time.Second}, []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second}},
		"not at all":                    {&completion.Rule{}, nil},
		"the rest of a line by default": {&completion.Rule{Retries: -1}, []time.Duration{250 * time.Millisecond, 500 * time.Millisecond}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var at []time.Duration
				h := perform(nil, "a", "b")
				h.play = func(_ int, call completion.Call) scene {
					at = append(at, time.Since(h.begun))
					if call.Model == "a" {
						return fails(completion.Overloaded)
					}
					return says(0, "hi")
				}
				h.plan.Targets[0].Rule = test.rule
				h.plan.MaxAttempts = 9
				out, err := h.complete(t.Context())
				if err != nil || out.text != "hi" || len(at) != len(test.pauses)+2 {
					t.Fatalf("%v, %q after calls at %v", err, out.text, at)
				}
				for i, most := range test.pauses {
					if pause := at[i+1] - at[i]; pause < most/2 || pause > most {
						t.Errorf("pause %d is %v, want %v to %v", i+1, pause, most/2, most)
					}
				}
				if last := len(at) - 1; at[last] != at[last-1] {
					t.Errorf("the next target was called %v later", at[last]-at[last-1])
				}
				h.accounted(t)
			})
		})
	}
}

func TestOnlyWhatMayHelpIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, row := range completion.Handlings() {
		synctest.Test(t, func(t *testing.T) {
			h := perform(func(int, completion.Call) scene { return fails(row.Class) }, "a", "b")
			h.plan.MaxAttempts = 9
			_, err := h.complete(t.Context())
			want := "a"
			switch {
			case row.Class == completion.StateRefused: // once more without the state, in all
				want = "a a b"
			case row.Again:
				want = "a a a b b b"
			case row.MoveOn:
				want = "a b"
			}
			if got := h.models(); got != want || err == nil {
				t.Errorf("%s: called %s, %v, want %s", row.Class, got, err, want)
			}
			h.accounted(t)
		})
	}
}

func TestALineSaysAfterWhichErrorsAnotherServes(t *testing.T) {
	t.Parallel()
	for class, want := range map[completion.Class]string{
		completion.ContentRefused: "a b", completion.Overloaded: "a", completion.RateLimited: "a", completion.AuthInvalid: "a", completion.ModelNotFound: "a b",
	} {
		h := perform(func(_ int, call completion.Call) scene {
			if call.Model == "a" {
				return fails(class)
			}
			return says(0, "hi")
		}, "a", "b")
		h.plan.Targets[0].Rule = &completion.Rule{MoveOn: []completion.Class{completion.ContentRefused, completion.ModelNotFound}}
		if _, err := h.complete(t.Context()); h.models() != want || (err == nil) != (want == "a b") {
			t.Errorf("%s: called %s, %v, want %s", class, h.models(), err, want)
		}
	}
}

func TestAProviderThatAsksForTimeGetsIt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		wait     time.Duration
		targets  []string
		deadline time.Duration
		want     []string
	}{
		"and is alone":                 {7 * time.Second, []string{"a"}, 0, []string{"0s a@cred_a", "7s a@cred_a"}},
		"more than callers wait":       {11 * time.Second, []string{"a"}, 0, []string{"0s a@cred_a"}},
		"and another may serve":        {7 * time.Second, []string{"a", "b"}, 0, []string{"0s a@cred_a", "0s b@cred_b"}},
		"more than this caller waits":  {7 * time.Second, []string{"a"}, 7 * time.Second, []string{"0s a@cred_a"}},
		"less than this caller waits":  {7 * time.Second, []string{"a"}, 8 * time.Second, []string{"0s a@cred_a", "7s a@cred_a"}},
		"less than we wait on our own": {time.Millisecond, []string{"a"}, time.Millisecond, []string{"0s a@cred_a"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := perform(func(n int, _ completion.Call) scene {
					if n == 0 {
						return asksToWait(completion.Overloaded, test.wait)
					}
					return says(0, "hi")
				}, test.targets...)
				ctx := t.Context()
				if test.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				_, err := h.complete(ctx)
				if !slices.Equal(h.calls, test.want) || (err == nil) != (len(test.want) == 2) {
					t.Errorf("called %v, %v, want %v", h.calls, err, test.want)
				}
				if took := time.Since(h.begun); len(test.want) == 1 && took != 0 {
					t.Errorf("it waited %v for nothing", took)
				}
			})
		})
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	t.Parallel()
	for bound, want := range map[int]string{0: "a a a b", 1: "a", 2: "a a", 5: "a a a b b", 16: "a a a b b b c c c"} {
		synctest.Test(t, func(t *testing.T) {
			h := perform(func(int, completion.Call) scene { return fails(completion.ServerError) }, "a", "b", "c")
			h.plan.MaxAttempts = bound
			if _, err := h.complete(t.Context()); err == nil || h.models() != want {
				t.Errorf("at most %d: called %s, want %s", bound, h.models(), want)
			}
			h.accounted(t)
		})
	}
}

func TestTheErrorOfARequestThatNobodyServedNamesWhatWasTried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := perform(func(_ int, call completion.Call) scene {
			if call.Model == "a" {
				return fails(completion.Overloaded)
			}
			return fails(completion.AuthInvalid)
		}, "a", "b")
		h.plan.Targets[1].Class = usage.Platform
		_, err := h.complete(t.Context())
		const tried = `openai/a with credential "label-cred_a": overloaded, 3 times; openai/b with a platform credential: auth_invalid`
		f, ok := fault.Of(err)
		if !ok || f.Facts()["tried"] != tried || !strings.HasSuffix(f.Message(), "(tried: "+tried+")") || f.Reason() != "CREDENTIAL_REJECTED" {
			t.Errorf("%v, facts %v", err, f.Facts())
		}
	})
}

func TestTimesOfALine(t *testing.T) {
	t.Parallel()
	rule := &completion.Rule{FirstByte: 3 * time.Second, Idle: 2 * time.Second, Total: 20 * time.Second, Retries: 2}
	ping := completion.Chunk{}
	for name, test := range map[string]struct {
		rule   *completion.Rule
		scene  scene
		stream bool
		took   time.Duration
		want   error
		events int
	}{
		"no first byte":                      {rule, scene{wait: time.Hour}, true, 3 * time.Second, nil, 1},
		"no first byte, by default":          {nil, scene{wait: time.Hour}, true, 300 * time.Second, nil, 1},
		"a pause before content":             {rule, scene{steps: []step{{time.Second, ping, nil}, {time.Hour, text("a"), nil}}}, true, 3 * time.Second, nil, 1},
		"a pause inside":                     {rule, scene{steps: []step{{time.Second, text("a"), nil}, {time.Hour, text("b"), nil}}}, true, 3 * time.Second, completion.ErrBrokenOff, 1},
		"a pause inside, by default":         {nil, scene{steps: []step{{time.Second, text("a"), nil}, {time.Hour, text("b"), nil}}}, true, 61 * time.Second, completion.ErrBrokenOff, 1},
		"never-ending":                       {rule, scene{steps: []step{{time.Second, text("a"), nil}}, loops: true}, true, 20 * time.Second, completion.ErrBrokenOff, 1},
		"never-ending, by default":           {nil, scene{steps: []step{{time.Second, text("a"), nil}}, loops: true}, true, 30 * time.Minute, completion.ErrBrokenOff, 1},
		"signs of life and nothing else":     {nil, scene{steps: []step{{time.Second, ping, nil}}, loops: true}, true, 30 * time.Minute, nil, 1},
		"a whole answer that takes too long": {nil, scene{steps: []step{{time.Second, ping, nil}}, loops: true}, false, 10 * time.Minute, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := perform(func(int, completion.Call) scene { return test.scene }, "a")
				h.plan.Targets[0].Rule = test.rule
				req, out := request(), &sink{}
				req.Stream = test.stream
				err := h.Complete(t.Context(), completion.Caller{}, req, out)
				if took := time.Since(h.begun); took != test.took || err == nil || out.ended {
					t.Errorf("%v after %v, ended %v, want an error after %v", err, took, out.ended, test.took)
				}
				if test.want != nil && !errors.Is(err, test.want) {
					t.Errorf("%v, want %v", err, test.want)
				}
				if e := h.recorder.events[0]; e.ErrorClass != "timeout" || len(h.recorder.events) != test.events {
					t.Errorf("%d events, the first of class %q", len(h.recorder.events), e.ErrorClass)
				}
				h.accounted(t)
			})
		})
	}
}

// TestWhoIsToldToWaitIsLeftAlone for exactly that long, by all requests, for this model alone.
func TestWhoIsToldToWaitIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limited := true
		h := perform(func(_ int, call completion.Call) scene {
			if call.Credential.ID == "cred_1" && limited {
				return asksToWait(completion.RateLimited, 12*time.Second)
			}
			return says(0, "hi")
		}, "m@cred_1", "m@cred_2")
		ask := func() {
			if _, err := h.complete(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		ask()
		limited = false
		ask()
		time.Sleep(12*time.Second - 1) //nolint:forbidigo // the time of a synctest bubble
		ask()
		time.Sleep(time.Nanosecond) //nolint:forbidigo // the time of a synctest bubble
		ask()
		want := []string{"0s m@cred_1", "0s m@cred_2", "0s m@cred_2", "11.999999999s m@cred_2", "12s m@cred_1"}
		if !slices.Equal(h.calls, want) {
			t.Errorf("called %v, want %v", h.calls, want)
		}
		h.accounted(t)
	})
}

// TestWhoComesBackWhenToldIsServed: a credential is left alone for a second at least, whatever its provider asks for,
// and the caller is told how long that is.
func TestWhoComesBackWhenToldIsServed(t *testing.T) {
	t.Parallel()
	for _, asked := range []time.Duration{20 * time.Millisecond, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			limited := true
			h := perform(func(int, completion.Call) scene {
				if limited {
					return asksToWait(completion.RateLimited, asked)
				}
				return says(0, "hi")
			}, "m")
			_, err := h.complete(t.Context())
			f, _ := fault.Of(err)
			if e, ok := errors.AsType[*completion.ProviderError](err); !ok || f.RetryAfter() == asked || e.RetryAfter != f.RetryAfter() {
				t.Errorf("%v, to be sent again after %v", err, f.RetryAfter())
			}
			limited = false
			time.Sleep(f.RetryAfter()) //nolint:forbidigo // the time of a synctest bubble
			if _, err := h.complete(t.Context()); err != nil {
				t.Errorf("asked for %v, told %v: %v", asked, f.RetryAfter(), err)
			}
			h.accounted(t)
		})
	}
}

func TestIfAllHaveToWaitTheCallerIsToldTheShortestTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		waits := map[string]time.Duration{"a": 10 * time.Second, "b": 40 * time.Second, "c": 90 * time.Second}
		h := perform(func(_ int, call completion.Call) scene { return asksToWait(completion.RateLimited, waits[call.Model]) }, "a", "b", "c")
		h.plan.Targets[2].Class = usage.Platform
		_, err := h.complete(t.Context())
		f, _ := fault.Of(err)
		if e, ok := errors.AsType[*completion.ProviderError](err); !ok || f.Reason() != "PROVIDER_RATE_LIMITED" || f.RetryAfter() != 10*time.Second || e.RetryAfter != 10*time.Second {
			t.Errorf("%v, to be sent again after %v", err, f.RetryAfter())
		}
		time.Sleep(3*time.Second + 500*time.Millisecond) //nolint:forbidigo // the time of a synctest bubble
		_, err = h.complete(t.Context())
		f, _ = fault.Of(err)
		const want = `everything that could serve this request was told to wait by its provider: ` +
			`openai/a with credential "label-cred_a" for 7s; openai/b with credential "label-cred_b" for 37s; openai/c with a platform credential for 1m27s`
		if !errors.Is(err, completion.ErrCoolingDown) || f.Kind() != fault.Exhausted || f.RetryAfter() != 6500*time.Millisecond || f.Message() != want {
			t.Errorf("%v, to be sent again after %v", err, f.RetryAfter())
		}
		if len(h.calls) != 3 {
			t.Errorf("called %v", h.calls)
		}
		h.accounted(t)
	})
}

// TestWhoFailsAgainAndAgainIsPassedOver, and called all the same if there is nobody else: once, without retries.
func TestWhoFailsAgainAndAgainIsPassedOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := true
		h := perform(func(_ int, call completion.Call) scene {
			if call.Model == "a" && down {
				return fails(completion.ServerError)
			}
			return says(0, "hi")
		}, "a", "b")
		for range 2 {
			if _, err := h.complete(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		// Five failures in a row: the sixth call did not come about.
		if got := h.models(); got != "a a a b a a b" {
			t.Fatalf("called %s", got)
		}
		h.calls = nil
		if _, err := h.complete(t.Context()); err != nil || h.models() != "b" {
			t.Errorf("%v, called %s, want b alone", err, h.models())
		}
		both := h.plan.Targets
		h.calls, h.plan.Targets = nil, both[:1]
		if _, err := h.complete(t.Context()); err == nil || h.models() != "a" {
			t.Errorf("%v, called %s, want a once", err, h.models())
		}
		down, h.calls = false, nil
		if _, err := h.complete(t.Context()); err != nil || h.models() != "a" {
			t.Errorf("%v, called %s", err, h.models())
		}
		h.calls, h.plan.Targets = nil, both
		time.Sleep(time.Minute) //nolint:forbidigo // the time of a synctest bubble
		if _, err := h.complete(t.Context()); err != nil || h.models() != "a" {
			t.Errorf("when it is well again: %v, called %s", err, h.models())
		}
	})
}

// TestAStormIsNotMadeWorse: a provider that fails every call, at 100 requests a second of 1,000 credentials, sees a
// fifth more calls than there are requests at most.
func TestAStormIsNotMadeWorse(t *testing.T) {
	t.Parallel()
	for _, share := range []int{2, 10, 100} { // every second, tenth, hundredth call is good
		synctest.Test(t, func(t *testing.T) {
			h := perform(func(n int, _ completion.Call) scene {
				if n%share == 0 {
					return says(0, "hi")
				}
				return fails(completion.ServerError)
			}, "m")
			const requests = 6000
			for i := range requests {
				target := h.plan.Targets[0]
				target.Credential = &completion.Credential{ID: fmt.Sprintf("cred_%d", i%1000), Provider: "openai"}
				h.plan.Targets = []completion.Target{target}
				_, _ = h.complete(t.Context())    // most fail
				time.Sleep(10 * time.Millisecond) //nolint:forbidigo // the time of a synctest bubble
			}
			if ratio := float64(len(h.calls)) / requests; ratio > 1.2 || ratio < 0.99 {
				t.Errorf("one good call in %d: %d calls for %d requests (%.3f)", share, len(h.calls), requests, ratio)
			}
			if len(h.recorder.events) != len(h.calls) {
				t.Errorf("%d events for %d calls", len(h.recorder.events), len(h.calls))
			}
		})
	}
}

// TestStateThatAProviderRefusesIsLeftOutFromThenOn, once, and never in a loop.
func TestStateThatAProviderRefusesIsLeftOutFromThenOn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		refuses func(call completion.Call) bool
		then    completion.Class
		want    string
	}{
		"it was the state": {func(c completion.Call) bool { return !c.StripState }, "", "a a-"},
		"and it is down":   {func(c completion.Call) bool { return !c.StripState }, completion.AuthInvalid, "a a- b-"},
		"whatever is sent": {func(completion.Call) bool { return true }, "", "a a- b-"},
	} {
		h := perform(func(_ int, call completion.Call) scene {
			switch {
			case test.refuses(call):
				return fails(completion.StateRefused)
			case test.then != "" && call.Model == "a":
				return fails(test.then)
			}
			return says(0, "hi")
		}, "a", "b")
		_, _ = h.complete(t.Context()) // the calls are what matters here
		var got []string
		for _, c := range h.asked {
			mark := ""
			if c.StripState {
				mark = "-"
			}
			got = append(got, c.Model+mark)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: called %v, want %s", name, got, test.want)
		}
		h.accounted(t)
	}
}

// TestARotationFailsNoRequest: a second secret that is refused makes way for the first at once, whatever the line
// says, and is evidence about itself alone.
func TestARotationFailsNoRequest(t *testing.T) {
	t.Parallel()
	for _, class := range []completion.Class{completion.AuthInvalid, completion.AuthLimited} {
		synctest.Test(t, func(t *testing.T) {
			h := perform(func(_ int, call completion.Call) scene {
				if call.Credential.Revision == 2 {
					return fails(class)
				}
				return says(0, "hi")
			}, "m@cred_1", "m@cred_1")
			h.plan.Targets[0].Credential.Revision = 2
			h.plan.Targets[0].Rule = &completion.Rule{MoveOn: []completion.Class{completion.Overloaded}}
			if out, err := h.complete(t.Context()); err != nil || out.served.Target.Credential.Revision != 1 || time.Since(h.begun) != 0 {
				t.Errorf("%s: %v", class, err)
			}
			if want := "cred_1 " + string(class); len(h.evidence.refused) != 1 || h.evidence.refused[0] != want || len(h.evidence.limited) != 0 {
				t.Errorf("evidence %v and %v, want that it refused %s", h.evidence.refused, h.evidence.limited, want)
			}
			if e := h.recorder.events; len(e) != 2 || e[0].CredentialRevision != 2 || e[1].CredentialRevision != 1 {
				t.Errorf("events %+v", e)
			}
		})
	}
}

// TestNobodyUndoesARotationByWhatNoSecretMay do: a right that the current secret lacks, too, is no evidence against
// the second one.
func TestNobodyUndoesARotationByWhatNoSecretMayDo(t *testing.T) {
	t.Parallel()
	h := perform(func(int, completion.Call) scene { return fails(completion.AuthLimited) }, "m@cred_1", "m@cred_1")
	h.plan.Targets[0].Credential.Revision = 2
	if _, err := h.complete(t.Context()); err == nil || h.models() != "m m" {
		t.Errorf("%v after %s", err, h.models())
	}
	if len(h.evidence.refused) != 0 || len(h.evidence.limited) != 2 {
		t.Errorf("evidence %v and %v, want that both lack a right", h.evidence.refused, h.evidence.limited)
	}
}

func TestACallCarriesWhatItsLineOverrides(t *testing.T) {
	t.Parallel()
	cold := 0.0
	h := perform(func(int, completion.Call) scene { return says(0, "hi") }, "a")
	h.plan.Targets[0].Rule = &completion.Rule{Overrides: &completion.Overrides{Temperature: &cold}}
	if _, err := h.complete(t.Context()); err != nil || h.asked[0].Overrides == nil || h.asked[0].Overrides.Temperature != &cold {
		t.Errorf("%v, asked %+v", err, h.asked)
	}
}

func TestWhoWaitsForARetryIsNotHeldUp(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		interrupt func(t *testing.T, h *theatre, leave context.CancelFunc)
		want      error // nil is any
	}{
		"by a caller who leaves": {func(_ *testing.T, _ *theatre, leave context.CancelFunc) { leave() }, nil},
		"by a drain": {func(t *testing.T, h *theatre, _ context.CancelFunc) {
			t.Helper()
			over, cancel := context.WithCancel(t.Context())
			cancel()
			h.Drain(over)
		}, completion.ErrDraining},
		"by a key that is switched off": {func(t *testing.T, h *theatre, _ context.CancelFunc) {
			t.Helper()
			h.Cut(func(caller *completion.Caller, c *completion.Credential) bool {
				return c == nil && caller.APIKeyID == "key_1"
			})
		}, completion.ErrRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := perform(func(int, completion.Call) scene { return asksToWait(completion.Overloaded, 9*time.Second) }, "a")
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				time.AfterFunc(4*time.Second, func() { test.interrupt(t, h, leave) })
				_, err := h.complete(ctx)
				if took := time.Since(h.begun); err == nil || took != 4*time.Second || len(h.calls) != 1 {
					t.Errorf("%v after %v and calls %v", err, took, h.calls)
				}
				if test.want != nil && !errors.Is(err, test.want) {
					t.Errorf("%v, want %v", err, test.want)
				}
				h.accounted(t)
			})
		})
	}
}

// TestEachWayThroughTheLoopIsObserved: what metrics count.
func TestEachWayThroughTheLoopIsObserved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := perform(func(_ int, call completion.Call) scene {
			if call.Model == "a" {
				return fails(completion.ServerError)
			}
			return says(0, "hi")
		}, "a", "b")
		for range 20 { // uses up what may be made again
			h.health.Again("org_1", &h.plan.Targets[0])
		}
		h.plan.Targets[1].Provider = "openai"
		_, _ = h.complete(t.Context()) // what was seen is what matters here
		want := []string{"again a", "spent a", "spent b"}
		if !slices.Equal(h.moves.seen, want) {
			t.Errorf("seen %v, want %v", h.moves.seen, want)
		}
	})
}

// TestWhoAlwaysFailsLeavesOthersTheirRetries: an organization that has used up its part is not tried again, and another
// one at the same provider is.
func TestWhoAlwaysFailsLeavesOthersTheirRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bad := true
		h := perform(func(int, completion.Call) scene {
			if bad = !bad; bad {
				return says(0, "hi")
			}
			return fails(completion.ServerError)
		}, "a")
		h.health.Begin("org_2", &h.plan.Targets[0])
		for range 20 {
			h.health.Again("org_1", &h.plan.Targets[0])
		}
		for _, test := range []struct{ orgID, seen, calls string }{{"org_1", "spent a", "a"}, {"org_2", "again a", "a a"}} {
			bad, h.calls, h.moves.seen = true, nil, nil
			err := h.Complete(t.Context(), completion.Caller{OrgID: test.orgID}, request(), &sink{})
			if got := h.moves.seen[len(h.moves.seen)-1]; got != test.seen || h.models() != test.calls || (err == nil) != (test.calls == "a a") {
				t.Errorf("%s: %v, seen %v, called %s", test.orgID, err, h.moves.seen, h.models())
			}
		}
	})
}

// TestWhoIsAloneHasAllRetries: calls are counted as their organization's.
func TestWhoIsAloneHasAllRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, granted := perform(func(int, completion.Call) scene { return says(0, "hi") }, "a"), 0
		if _, err := h.complete(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if h.health.Again("org_1", &h.plan.Targets[0]) {
				granted++
			}
		}
		if granted != 10 {
			t.Errorf("%d calls may be made again, want all 10", granted)
		}
	})
}

// TestAnAnswerThatBreaksOffAnywhereIsNeverMixed cuts a stream after every piece, with retries and a second target:
// the caller has all of one answer, or a beginning of one with an error, and each call left one event.
func TestAnAnswerThatBreaksOffAnywhereIsNeverMixed(t *testing.T) {
	t.Parallel()
	pieces := func(model string) []step {
		role := completion.Chunk{Raw: []byte("<role " + model + ">")}
		out := []step{{0, role, nil}, {0, completion.Chunk{Raw: []byte("<ping>")}, nil}}
		for i := range 5 {
			out = append(out, step{0, text(fmt.Sprintf("%s%d ", model, i)), nil})
		}
		return append(out, step{0, completion.Chunk{Raw: []byte("<end " + model + ">"), Finish: completion.Stop}, nil})
	}
	whole := func(model string) string {
		text := ""
		for _, s := range pieces(model) {
			text += string(s.chunk.Raw)
		}
		return text
	}
	for _, raw := range []bool{false, true} {
		for at := range len(pieces("a")) + 1 {
			synctest.Test(t, func(t *testing.T) {
				h := perform(func(_ int, call completion.Call) scene {
					steps := pieces(call.Model)
					if call.Model == "a" {
						steps = append(steps[:at:at], step{0, completion.Chunk{}, &completion.ProviderError{Class: completion.Network, Status: 200, Sent: true}})
					}
					return scene{steps: steps}
				}, "a", "b")
				h.raw = raw
				out, err := h.complete(t.Context())
				switch begun := at > 2; {
				case begun && (!errors.Is(err, completion.ErrBrokenOff) || out.ended || len(h.calls) != 1 || strings.Contains(out.raw, "b")):
					t.Errorf("raw %v, cut after %d: %v, ended %v, called %v, %q", raw, at, err, out.ended, h.calls, out.raw)
				case begun && raw && out.raw != whole("a")[:len(out.raw)]:
					t.Errorf("cut after %d: %q is no beginning", at, out.raw)
				case !begun && (err != nil || !out.ended || raw && out.raw != whole("b") || out.text != "b0 b1 b2 b3 b4 "):
					t.Errorf("raw %v, cut after %d: %v, ended %v, %q", raw, at, err, out.ended, out.raw)
				}
				h.accounted(t)
			})
		}
	}
}
