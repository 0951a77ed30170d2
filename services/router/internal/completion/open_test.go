package completion_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

func ofKey(id string) func(*completion.Caller, *completion.Credential) bool {
	return func(caller *completion.Caller, c *completion.Credential) bool {
		return c == nil && caller.APIKeyID == id
	}
}

func ofCredential(id string) func(*completion.Caller, *completion.Credential) bool {
	return func(_ *completion.Caller, c *completion.Credential) bool { return c != nil && c.ID == id }
}

func TestWhatIsSwitchedOffEndsAtOnce(t *testing.T) {
	t.Parallel()
	talks := scene{steps: []step{{time.Second, text("hi"), nil}, {time.Hour, text("more"), nil}}}
	thinks := scene{wait: time.Hour}
	for name, test := range map[string]struct {
		first   scene
		match   func(*completion.Caller, *completion.Credential) bool
		ended   int
		err     error
		outcome string
		text    string
	}{
		"a key inside an answer":        {talks, ofKey("key_1"), 1, completion.ErrRevoked, "a broken revoked", "hi"},
		"a key before an answer":        {thinks, ofKey("key_1"), 1, completion.ErrRevoked, "a failed revoked", ""},
		"another key":                   {talks, ofKey("key_2"), 0, completion.ErrBrokenOff, "a broken timeout", "hi"},
		"a credential inside an answer": {talks, ofCredential("cred_a"), 1, completion.ErrRevoked, "a broken revoked", "hi"},
		"a credential before an answer": {thinks, ofCredential("cred_a"), 1, nil, "a failed revoked; b ok ", "b"},
		"a credential that might have":  {talks, ofCredential("cred_b"), 0, completion.ErrBrokenOff, "a broken timeout", "hi"},
		"one that would have been next": {scene{wait: 5 * time.Second, fails: failure(completion.RateLimited)}, ofCredential("cred_b"), 0, completion.ErrOverloaded, "a failed rate_limited", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := perform(func(_ int, call completion.Call) scene {
					if call.Model == "a" {
						return test.first
					}
					return says(0, "b")
				}, "a", "b")
				cut := make(chan int, 1)
				time.AfterFunc(3*time.Second, func() { cut <- h.Cut(test.match) })
				out, err := h.complete(t.Context())
				took, ended := time.Since(h.begun), <-cut
				if ended != test.ended || out.text != test.text || outcomes(h.recorder.events) != test.outcome {
					t.Errorf("Cut = %d, the caller has %q, events %s", ended, out.text, outcomes(h.recorder.events))
				}
				if ended > 0 && took != 3*time.Second {
					t.Errorf("it ended after %v", took)
				}
				switch {
				case test.err == nil && (err != nil || !out.ended):
					t.Errorf("%v, want the other one's answer", err)
				case errors.Is(test.err, completion.ErrOverloaded): // the failure of the first
					if f, _ := fault.Of(err); f.Reason() != "PROVIDER_RATE_LIMITED" {
						t.Errorf("%v", err)
					}
				case test.err != nil && !errors.Is(err, test.err), out.ended != (test.err == nil):
					t.Errorf("%v, ended %v, want %v", err, out.ended, test.err)
				}
				if len(h.evidence.refused) != 0 || h.health.Held(&h.plan.Targets[0]).Why == completion.Broken {
					t.Error("the provider is blamed for it")
				}
				for _, e := range h.recorder.events {
					if e.ErrorClass == "revoked" && e.Source != usage.Estimated {
						t.Errorf("what was ended took %v, want a marked estimate", e.Source)
					}
				}
				h.accounted(t)
			})
		})
	}
}

// TestACutFindsRequestsThatAreBeingPlanned from the configuration before it.
func TestACutFindsRequestsThatAreBeingPlanned(t *testing.T) {
	t.Parallel()
	for credential, want := range map[string]string{"cred_a": "b", "cred_b": "a", "cred_x": "a"} {
		h := perform(func(int, completion.Call) scene { return says(0, "hi") }, "a", "b")
		h.planning = func() { h.Cut(ofCredential(credential)) }
		if _, err := h.complete(t.Context()); err != nil || h.models() != want {
			t.Errorf("%s is switched off: %v, called %s, want %s", credential, err, h.models(), want)
		}
	}
	h := perform(func(int, completion.Call) scene { return says(0, "hi") }, "a")
	h.planning = func() { h.Cut(ofKey("key_1")) }
	if _, err := h.complete(t.Context()); !errors.Is(err, completion.ErrRevoked) || len(h.calls) != 0 {
		t.Errorf("%v after %v", err, h.calls)
	}
	h.planning = func() { h.Cut(ofCredential("cred_a")) }
	if _, err := h.complete(t.Context()); !errors.Is(err, completion.ErrRevoked) || len(h.calls) != 0 {
		t.Errorf("%v after %v", err, h.calls)
	}
}

// TestManyStreamsAreCutInAMoment and each leaves its event.
func TestManyStreamsAreCutInAMoment(t *testing.T) {
	t.Parallel()
	const streams = 5_000 // the race detector takes 8,128 goroutines
	synctest.Test(t, func(t *testing.T) {
		h := perform(func(int, completion.Call) scene {
			return scene{steps: []step{{0, text("hi"), nil}, {time.Hour, text("more"), nil}}}
		}, "a")
		ended := make(chan error, streams)
		for range streams {
			go func() { _, err := h.complete(t.Context()); ended <- err }()
		}
		synctest.Wait()
		if n := h.Open(); n != streams {
			t.Fatalf("%d are open", n)
		}
		if n := h.Cut(ofKey("key_1")); n != streams {
			t.Errorf("Cut = %d", n)
		}
		for range streams {
			if err := <-ended; !errors.Is(err, completion.ErrRevoked) {
				t.Fatal(err)
			}
		}
		if took := time.Since(h.begun); took != 0 {
			t.Errorf("it took %v", took)
		}
		h.accounted(t)
	})
}

// TestADrainEndsWhatIsStillOpen at its time and not before, and lets what ends by itself end.
func TestADrainEndsWhatIsStillOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := perform(func(n int, _ completion.Call) scene {
			if n == 0 {
				return says(200*time.Second, "in time")
			}
			return scene{steps: []step{{time.Second, text("hi"), nil}}, loops: true}
		}, "a")
		type result struct {
			text string
			err  error
			at   time.Duration
		}
		results := make(chan result, 2)
		for range 2 {
			go func() {
				out, err := h.complete(t.Context())
				results <- result{out.text, err, time.Since(h.begun)}
			}()
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Second)
		defer cancel()
		h.Drain(ctx)
		if took := time.Since(h.begun); took != 300*time.Second {
			t.Errorf("drained after %v", took)
		}
		if r := <-results; r.err != nil || r.text != "in time" || r.at != 200*time.Second {
			t.Errorf("the short one: %+v", r)
		}
		if r := <-results; !errors.Is(r.err, completion.ErrDraining) || r.at != 300*time.Second || !strings.HasPrefix(r.text, "hihi") {
			t.Errorf("the endless one: %v at %v", r.err, r.at)
		}
		if _, err := h.complete(t.Context()); !errors.Is(err, completion.ErrDraining) {
			t.Errorf("a new one: %v", err)
		}
		h.accounted(t)
	})
}

// TestALyingPlannerIsFoundOut before a credential is opened: nothing is sent, it is counted and logged.
func TestALyingPlannerIsFoundOut(t *testing.T) {
	t.Parallel()
	h := perform(func(int, completion.Call) scene { return says(0, "hi") }, "a", "b")
	h.plan.Targets[0].Class = usage.Platform
	version := int64(7)
	h.allowed = func(caller *completion.Caller, target *completion.Target) (bool, int64) {
		return caller.OrgID == "org_1" && target.Class == usage.Own, version
	}
	_, err := h.complete(t.Context())
	if !errors.Is(err, completion.ErrNotAllowed) || fault.KindOf(err) != fault.Internal || h.Violations() != 1 || len(h.calls) != 0 {
		t.Errorf("%v, %d violations, called %v", err, h.Violations(), h.calls)
	}
	if log := h.log.String(); !strings.Contains(log, "credential_class=platform") || !strings.Contains(log, "credential_id=cred_a") {
		t.Errorf("the log says %q", log)
	}
	version = 8 // the rules changed since the plan was made: no mistake, and the next one may serve
	if out, err := h.complete(t.Context()); err != nil || out.served.Target.Name != "b" || h.Violations() != 1 {
		t.Errorf("under newer rules: %v, %d violations", err, h.Violations())
	}
	h.accounted(t)
}

// TestWhoeverADrillHoldsGoesOnWhenItIsStopped, within a second.
func TestWhoeverADrillHoldsGoesOnWhenItIsStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := perform(func(int, completion.Call) scene { return says(0, "hi") }, "a", "b")
		h.plan.Targets[0].Drill = &completion.Drill{ID: "drill_1", Class: completion.TimedOut, Until: h.begun.Add(5 * time.Minute)}
		time.AfterFunc(3500*time.Millisecond, func() { h.stopped.Store(true) })
		_, err := h.complete(t.Context())
		if took := time.Since(h.begun); err != nil || took != 4*time.Second || h.models() != "b" {
			t.Errorf("%v after %v, called %s; want the next one after four seconds", err, took, h.models())
		}
		h.accounted(t)
	})
}

func TestADrillFailsWithoutAnyoneBeingCalled(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		drill   completion.Drill
		targets []string
		rule    *completion.Rule
		took    time.Duration
		heard   drills
		reason  string
		told    string
	}{
		"rate limited": {
			completion.Drill{ID: "drill_1", Class: completion.RateLimited},
			[]string{"a", "b"},
			nil,
			0,
			drills{"met drill_1 true", "served drill_1 b"},
			"", "a:rate_limited:drill_1 b::",
		},
		"refused, and nobody else": {
			completion.Drill{ID: "drill_1", Class: completion.AuthInvalid},
			[]string{"a"},
			nil,
			0,
			drills{"met drill_1 true", "unserved drill_1"},
			"CREDENTIAL_REJECTED", "",
		},
		"slow": {
			completion.Drill{ID: "drill_1", Class: completion.TimedOut},
			[]string{"a", "b"},
			&completion.Rule{FirstByte: 7 * time.Second, Retries: 2},
			7 * time.Second,
			drills{"met drill_1 true", "served drill_1 b"},
			"", "a:timeout:drill_1 b::",
		},
		"slow until it is over": {
			completion.Drill{ID: "drill_1", Class: completion.TimedOut},
			[]string{"a", "b"},
			nil,
			time.Minute,
			drills{"met drill_1 true", "served drill_1 b"},
			"", "a:timeout:drill_1 b::",
		},
		"with two models": {
			completion.Drill{ID: "drill_1", Class: completion.RateLimited},
			[]string{"a", "x@cred_a", "b"},
			nil,
			0,
			drills{"met drill_1 true", "met drill_1 false", "served drill_1 b"},
			"", "a:rate_limited:drill_1 x:rate_limited:drill_1 b::",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := perform(func(int, completion.Call) scene { return says(0, "hi") }, test.targets...)
				drill := test.drill
				drill.Until = h.begun.Add(time.Minute)
				for i := range h.plan.Targets {
					if target := &h.plan.Targets[i]; target.Credential.ID == "cred_a" {
						target.Drill, target.Rule = &drill, test.rule
					}
				}
				out, err := h.complete(t.Context())
				if took := time.Since(h.begun); took != test.took || !slices.Equal(h.drills, test.heard) {
					t.Errorf("after %v was heard %v, want %v after %v", took, h.drills, test.heard, test.took)
				}
				if f, ok := fault.Of(err); ok != (test.reason != "") || ok && (f.Reason() != test.reason || f.Facts()["drill"] != "drill_1") {
					t.Errorf("%v, want %s", err, test.reason)
				}
				var told []string
				for _, a := range out.served.Attempts {
					told = append(told, strings.TrimPrefix(a.Model, "openai/")+":"+a.ErrorClass+":"+a.Drill)
				}
				if got := strings.Join(told, " "); got != test.told {
					t.Errorf("told %q, want %q", got, test.told)
				}
				for _, c := range h.asked {
					if c.Credential.ID == "cred_a" {
						t.Error("the drilled credential was called")
					}
				}
				if len(h.evidence.refused) != 0 || h.health.Held(&h.plan.Targets[0]).Why != completion.NotHeld {
					t.Error("something was learned from a drill")
				}
				h.accounted(t)
				for i, e := range h.recorder.events {
					if e.AttemptNumber != i+1 {
						t.Errorf("event %d is of attempt %d: metering counts requests by their first", i, e.AttemptNumber)
					}
				}
				h.calls = nil
				time.Sleep(2 * time.Minute) //nolint:forbidigo // the time of a synctest bubble
				if _, err := h.complete(t.Context()); err != nil || h.models() != "a" || len(h.drills) != len(test.heard) {
					t.Errorf("when it is over: %v, called %s, heard %v", err, h.models(), h.drills)
				}
			})
		})
	}
}
