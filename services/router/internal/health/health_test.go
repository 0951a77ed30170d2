package health_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/health"
)

func learn() *health.Health {
	return health.New(health.Options{Now: time.Now, Jitter: func() float64 { return 0 }})
}

func target(credential string) *completion.Target {
	return &completion.Target{
		Provider: "openai", Model: "openai/m", Name: "m",
		Credential: &completion.Credential{ID: credential, Provider: "openai", Revision: 1},
	}
}

func failure(class completion.Class, retryAfter time.Duration) *completion.ProviderError {
	return &completion.ProviderError{Class: class, RetryAfter: retryAfter}
}

// call is one whole call. It is false if the target is being tried out by others.
func call(t *testing.T, h *health.Health, at *completion.Target, class completion.Class) bool {
	t.Helper()
	trial, ok := h.Begin("org_1", at)
	if !ok {
		return false
	}
	if class == "" {
		h.Answered(at, trial, time.Second, completion.Headroom{})
	} else {
		h.Failed(at, trial, failure(class, 0), time.Second)
	}
	return true
}

func TestACooldownIsTheLatestThatWasAskedForWithinBounds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		asked []time.Duration
		draw  float64
		want  time.Duration
	}{
		"as asked":             {[]time.Duration{12 * time.Second}, 0, 12 * time.Second},
		"not told":             {[]time.Duration{0}, 0, 5 * time.Second},
		"too short":            {[]time.Duration{time.Millisecond}, 0, time.Second},
		"too long":             {[]time.Duration{24 * time.Hour}, 0, 10 * time.Minute},
		"a shorter one later":  {[]time.Duration{time.Minute, 2 * time.Second}, 0, time.Minute},
		"a longer one later":   {[]time.Duration{2 * time.Second, time.Minute}, 0, time.Minute},
		"jitter only adds":     {[]time.Duration{time.Minute}, 0.5, 63 * time.Second},
		"jitter beyond bounds": {[]time.Duration{24 * time.Hour}, 0.5, 630 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := health.New(health.Options{Now: time.Now, Jitter: func() float64 { return test.draw }})
				at, begun := target("cred_1"), time.Now()
				for _, asked := range test.asked {
					trial, _ := h.Begin("org_1", at)
					h.Failed(at, trial, failure(completion.RateLimited, asked), 0)
				}
				held := h.Held(at)
				if held.Why != completion.Cooling || held.Until.Sub(begun) != test.want {
					t.Fatalf("held for %v until %v, want cooling for %v", held.Why, held.Until.Sub(begun), test.want)
				}
				if out, until := h.Out(at.Credential, at.Model), h.Until(at.Credential, at.Model); out == "" || !until.Equal(held.Until) {
					t.Errorf("Out = %q, Until = %v", out, until)
				}
				other := *at
				other.Model = "openai/other"
				if h.Held(&other).Why != completion.NotHeld || h.Held(target("cred_2")).Why != completion.NotHeld {
					t.Error("another model or credential is held too")
				}
				time.Sleep(test.want - 1) //nolint:forbidigo // the time of a synctest bubble
				if h.Held(at).Why != completion.Cooling {
					t.Error("it ended too early")
				}
				time.Sleep(time.Nanosecond) //nolint:forbidigo // the time of a synctest bubble
				if h.Held(at).Why != completion.NotHeld {
					t.Error("it did not end")
				}
			})
		})
	}
}

func TestOnlyWhatIsAboutTheProviderOpensABreaker(t *testing.T) {
	t.Parallel()
	for _, row := range completion.Handlings() {
		h := learn()
		for i := range 40 {
			call(t, h, target(fmt.Sprintf("cred_%d", i)), row.Class)
		}
		held := h.Held(target("cred_new")).Why
		want := completion.NotHeld
		if row.Effect == completion.Breaks && row.Class != completion.TimedOut { // of one second: that is a policy's impatience
			want = completion.Broken
		}
		if held != want {
			t.Errorf("after 40 times %s a new credential is held for %v, want %v", row.Class, held, want)
		}
	}
}

func TestTheBreakerOpensAtHalfOfTwentyAndIsTriedOutByThree(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, begun := learn(), time.Now()
		broken := func() bool { return h.Held(target("cred_new")).Why == completion.Broken }
		for i := range 9 {
			call(t, h, target(fmt.Sprintf("cred_%d", i)), completion.ServerError)
			call(t, h, target(fmt.Sprintf("cred_%d", i)), "")
		}
		call(t, h, target("cred_9"), "")
		if broken() {
			t.Fatal("open after 19 calls")
		}
		call(t, h, target("cred_10"), completion.Overloaded)
		if !broken() {
			t.Fatal("not open after 20 calls of which 10 failed")
		}
		if until := h.Held(target("cred_new")).Until; until.Sub(begun) != 15*time.Second {
			t.Errorf("open for %v", until.Sub(begun))
		}
		if n := h.Counts()["openai"]; n.Open != 1 {
			t.Errorf("counts %+v", n)
		}
		if _, ok := h.Begin("org_1", target("cred_new")); ok {
			t.Error("an open breaker lets a call through")
		}
		time.Sleep(15*time.Second + 1) //nolint:forbidigo // the time of a synctest bubble
		if broken() {
			t.Fatal("still open after its time")
		}
		var trials []completion.Trial
		for range 3 {
			trial, ok := h.Begin("org_1", target("cred_new"))
			if !ok {
				t.Fatal("a probe is refused")
			}
			trials = append(trials, trial)
		}
		if _, ok := h.Begin("org_1", target("cred_new")); ok {
			t.Error("a fourth call comes in while three try it out")
		}
		h.Left(trials[0]) // whose caller went away: another may try
		if n := h.Counts()["openai"]; n.Trying != 1 || n.Open != 0 {
			t.Errorf("counts %+v", n)
		}
		fourth, ok := h.Begin("org_1", target("cred_new"))
		if !ok {
			t.Fatal("no probe in place of the one that said nothing")
		}
		for _, trial := range []completion.Trial{trials[1], trials[2], fourth} {
			h.Answered(target("cred_new"), trial, time.Second, completion.Headroom{})
		}
		if n := h.Counts()["openai"]; n.Trying != 0 || n.Open != 0 {
			t.Errorf("after three good probes: counts %+v", n)
		}
		if !call(t, h, target("cred_new"), "") {
			t.Error("not closed after three good probes")
		}
	})
}

func TestAFailedProbeOpensTheBreakerAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := learn()
		for i := range 20 {
			call(t, h, target(fmt.Sprintf("cred_%d", i)), completion.ServerError)
		}
		time.Sleep(15*time.Second + 1) //nolint:forbidigo // the time of a synctest bubble
		again := time.Now()
		if !call(t, h, target("cred_new"), completion.Network) {
			t.Fatal("the probe is refused")
		}
		if held := h.Held(target("cred_new")); held.Why != completion.Broken || held.Until.Sub(again) != 15*time.Second {
			t.Errorf("held %+v", held)
		}
	})
}

// TestNoErrorLeavesAProbeOpen: whatever a probe that says nothing of the place ends with, the next one may come.
func TestNoErrorLeavesAProbeOpen(t *testing.T) {
	t.Parallel()
	for _, row := range completion.Handlings() {
		if row.Effect == completion.Breaks {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			h := learn()
			for i := range 20 {
				call(t, h, target(fmt.Sprintf("cred_%d", i)), completion.ServerError)
			}
			time.Sleep(15*time.Second + 1) //nolint:forbidigo // the time of a synctest bubble
			for i := range 10 {
				if !call(t, h, target(fmt.Sprintf("cred_probe_%d", i)), row.Class) {
					t.Fatalf("%s: probe %d is refused", row.Class, i+1)
				}
			}
		})
	}
}

func TestFailuresAreForgottenAfterThirtySeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := learn()
		for i := range 19 {
			call(t, h, target(fmt.Sprintf("cred_%d", i)), completion.ServerError)
		}
		time.Sleep(33 * time.Second) //nolint:forbidigo // the time of a synctest bubble
		call(t, h, target("cred_x"), completion.ServerError)
		if held := h.Held(target("cred_new")).Why; held != completion.NotHeld {
			t.Errorf("held for %v by failures of which 19 are too old", held)
		}
	})
}

// TestALongAnswerThatBreaksOffCounts although its beginning was a success.
func TestALongAnswerThatBreaksOffCounts(t *testing.T) {
	t.Parallel()
	h := learn()
	for i := range 10 {
		at := target(fmt.Sprintf("cred_%d", i))
		trial, _ := h.Begin("org_1", at)
		h.Answered(at, trial, time.Second, completion.Headroom{})
		h.Failed(at, completion.Trial{}, failure(completion.Network, 0), time.Minute)
	}
	if held := h.Held(target("cred_new")).Why; held != completion.Broken {
		t.Errorf("held for %v after ten answers that all broke off", held)
	}
}

func TestACredentialThatFailsInARowIsLeftAloneEverLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, at := learn(), target("cred_1")
		for range 4 {
			call(t, h, at, completion.ServerError)
		}
		if held := h.Held(at).Why; held != completion.NotHeld {
			t.Fatalf("held for %v after four failures", held)
		}
		call(t, h, at, "")
		for range 4 {
			call(t, h, at, completion.ServerError)
		}
		if held := h.Held(at).Why; held != completion.NotHeld {
			t.Fatal("a good answer did not end the row")
		}
		for _, want := range []time.Duration{15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 4 * time.Minute} {
			now := time.Now()
			call(t, h, at, completion.ServerError)
			held := h.Held(at)
			if held.Why != completion.Broken || held.Until.Sub(now) != want {
				t.Fatalf("held for %v, %v, want %v", held.Why, held.Until.Sub(now), want)
			}
			time.Sleep(want) //nolint:forbidigo // the time of a synctest bubble
			if h.Held(at).Why != completion.NotHeld {
				t.Fatal("it did not end")
			}
		}
	})
}

// TestOneCredentialCannotCloseAProviderToOthers by making it fail, or by having no patience.
func TestOneCredentialCannotCloseAProviderToOthers(t *testing.T) {
	t.Parallel()
	h := learn()
	for range 1000 {
		call(t, h, target("cred_1"), completion.ServerError)
	}
	for i := range 1000 {
		call(t, h, target(fmt.Sprintf("cred_hasty_%d", i)), completion.TimedOut)
	}
	if held := h.Held(target("cred_2")).Why; held != completion.NotHeld {
		t.Errorf("another credential is held for %v", held)
	}
	if held := h.Held(target("cred_1")).Why; held != completion.Broken {
		t.Errorf("the failing one is held for %v", held)
	}
}

func TestPlacesOfOneProviderBreakEachForItself(t *testing.T) {
	t.Parallel()
	h := learn()
	placed := func(credential string, base string, s completion.Settings) *completion.Target {
		at := target(credential)
		at.Credential.BaseURL, at.Credential.Settings = base, s
		return at
	}
	deployed := completion.Settings{Deployments: []completion.Deployment{
		{Model: "openai/other", Name: "other", Endpoint: "https://two"}, {Model: "openai/m", Name: "m", Endpoint: "https://one"},
	}}
	for i := range 20 {
		id := fmt.Sprintf("cred_%d", i)
		call(t, h, placed(id, "https://a.example/v1", completion.Settings{}), completion.ServerError)
		call(t, h, placed("r"+id, "", completion.Settings{Region: "eu-west-1"}), completion.ServerError)
		call(t, h, placed("d"+id, "", deployed), completion.ServerError)
	}
	for name, c := range map[string]struct {
		at   *completion.Target
		want completion.HeldFor
	}{
		"its address":       {placed("n", "https://a.example/v1", completion.Settings{}), completion.Broken},
		"another address":   {placed("n", "https://b.example/v1", completion.Settings{}), completion.NotHeld},
		"its region":        {placed("n", "", completion.Settings{Region: "eu-west-1"}), completion.Broken},
		"another region":    {placed("n", "", completion.Settings{Location: "us-east1"}), completion.NotHeld},
		"its deployment":    {placed("n", "", deployed), completion.Broken},
		"the default place": {placed("n", "", completion.Settings{}), completion.NotHeld},
	} {
		if got := h.Held(c.at).Why; got != c.want {
			t.Errorf("%s is held for %v, want %v", name, got, c.want)
		}
	}
}

func TestSlownessCountsAtOnceAndFades(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, at := learn(), target("cred_1")
		latency := func() time.Duration { return h.Latency(at.Credential, at.Model, true) }
		answer := func(took time.Duration) { h.Answered(at, completion.Trial{}, took, completion.Headroom{}) }
		if latency() != 0 {
			t.Fatal("something is known of who was never called")
		}
		answer(time.Second)
		answer(9 * time.Second)
		if got := latency(); got != 9*time.Second {
			t.Fatalf("after a slow answer %v, want it at once", got)
		}
		answer(time.Second)
		if got := latency(); got != 9*time.Second {
			t.Fatalf("one quick answer in the same moment makes it %v", got)
		}
		time.Sleep(10 * time.Second) //nolint:forbidigo // the time of a synctest bubble
		answer(time.Second)
		if got := latency(); got < 3*time.Second || got > 5*time.Second {
			t.Errorf("after ten seconds and a quick answer %v", got)
		}
		before := latency()
		time.Sleep(2 * time.Minute) //nolint:forbidigo // the time of a synctest bubble
		if got := latency(); got != before/2 {
			t.Errorf("after two minutes without a call %v, want half of %v", got, before)
		}
		timesOut := func(took time.Duration) {
			trial, _ := h.Begin("org_1", at)
			h.Failed(at, trial, failure(completion.TimedOut, 0), took)
		}
		timesOut(60 * time.Second)
		if got := latency(); got != 60*time.Second {
			t.Errorf("after a timeout %v", got)
		}
		timesOut(time.Millisecond)
		h.Failed(at, completion.Trial{}, failure(completion.TimedOut, 0), 80*time.Second)
		if got := latency(); got != 60*time.Second {
			t.Errorf("after somebody's impatience, and a pause inside an answer, %v", got)
		}
	})
}

// TestAWholeAnswerMakesNobodyLookSlow to streams, nor a stream quick to whole answers: each kind has its own average,
// silences that were ended included.
func TestAWholeAnswerMakesNobodyLookSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, at := learn(), target("cred_1")
		want := func(when string, streams, wholes time.Duration) {
			t.Helper()
			if s, w := h.Latency(at.Credential, at.Model, true), h.Latency(at.Credential, at.Model, false); s != streams || w != wholes {
				t.Errorf("%s: streams %v, whole answers %v, want %v and %v", when, s, w, streams, wholes)
			}
		}
		answer := func(whole bool, took time.Duration) {
			h.Answered(at, completion.Trial{Whole: whole}, took, completion.Headroom{})
		}
		timesOut := func(whole bool, took time.Duration) {
			trial, _ := h.Begin("org_1", at)
			trial.Whole = whole
			h.Failed(at, trial, failure(completion.TimedOut, 0), took)
		}
		answer(true, 40*time.Second)
		want("after a whole answer", 0, 40*time.Second)
		answer(false, time.Second)
		want("after a stream", time.Second, 40*time.Second)
		answer(true, 50*time.Second)
		want("after a slower whole answer", time.Second, 50*time.Second)
		timesOut(true, 55*time.Second)
		want("after a whole answer that was not waited for", time.Second, 55*time.Second)
		timesOut(false, 12*time.Second)
		want("after a stream that was not waited for", 12*time.Second, 55*time.Second)
		time.Sleep(2 * time.Minute) //nolint:forbidigo // the time of a synctest bubble
		want("after a half-life", 6*time.Second, 27500*time.Millisecond)
		answer(false, 8*time.Second)
		want("after a slower stream", 8*time.Second, 27500*time.Millisecond)
	})
}

// TestImpatienceMakesNobodyLookQuick, nor broken who makes a whole answer: what was waited for is the least that it
// would have taken.
func TestImpatienceMakesNobodyLookQuick(t *testing.T) {
	t.Parallel()
	h, at := learn(), target("cred_1")
	for range 40 {
		trial, _ := h.Begin("org_1", at)
		h.Failed(at, trial, failure(completion.TimedOut, 0), time.Millisecond)
	}
	if got := h.Latency(at.Credential, at.Model, true); got != 0 {
		t.Errorf("latency %v of who has never answered", got)
	}
	for _, test := range []struct {
		took time.Duration
		want completion.HeldFor
	}{{59 * time.Second, completion.NotHeld}, {time.Minute, completion.Broken}} {
		h, at := learn(), target("cred_1")
		for range 40 {
			if trial, ok := h.Begin("org_1", at); ok {
				trial.Whole = true
				h.Failed(at, trial, failure(completion.TimedOut, 0), test.took)
			}
		}
		if got := h.Held(at).Why; got != test.want {
			t.Errorf("whole answers that were waited for %v: held for %v, want %v", test.took, got, test.want)
		}
	}
}

func TestLimitsThatAreAlmostUsedUpAreLowUntilTheyAreWhole(t *testing.T) {
	t.Parallel()
	of := func(limit, remaining int64, reset time.Duration) completion.Allowance {
		return completion.Allowance{Known: true, Limit: limit, Remaining: remaining, Reset: reset}
	}
	for name, test := range map[string]struct {
		left completion.Headroom
		low  time.Duration
	}{
		"nothing told":         {completion.Headroom{}, 0},
		"enough":               {completion.Headroom{Requests: of(100, 6, time.Minute), Tokens: of(1000, 900, time.Minute)}, 0},
		"few requests":         {completion.Headroom{Requests: of(100, 5, 20*time.Second)}, 20 * time.Second},
		"few tokens":           {completion.Headroom{Requests: of(100, 50, time.Second), Tokens: of(1000, 0, 3*time.Second)}, 3 * time.Second},
		"without a limit":      {completion.Headroom{Requests: of(0, 1, 9*time.Second)}, 9 * time.Second},
		"without a reset":      {completion.Headroom{Requests: of(100, 1, 0)}, time.Minute},
		"enough, of no limit":  {completion.Headroom{Requests: of(0, 2, 9*time.Second)}, 0},
		"the later one of two": {completion.Headroom{Requests: of(9, 0, time.Second), Tokens: of(9, 0, 2*time.Second)}, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h, at := learn(), target("cred_1")
				h.Answered(at, completion.Trial{}, time.Second, test.left)
				if got := h.Low(at.Credential, at.Model); got != (test.low > 0) {
					t.Fatalf("Low = %v", got)
				}
				if test.low > 0 {
					time.Sleep(test.low - 1) //nolint:forbidigo // the time of a synctest bubble
					if !h.Low(at.Credential, at.Model) {
						t.Error("whole again too early")
					}
					time.Sleep(time.Nanosecond) //nolint:forbidigo // the time of a synctest bubble
				}
				if h.Low(at.Credential, at.Model) {
					t.Error("still low")
				}
			})
		})
	}
}

func TestRetriesAreAFifthOfCallsOrOneASecond(t *testing.T) {
	t.Parallel()
	for _, perSecond := range []int{1, 5, 50, 1000} {
		synctest.Test(t, func(t *testing.T) {
			h, at := learn(), target("cred_1")
			first, again := 0, 0
			for range 60 {
				for range perSecond {
					h.Begin("org_1", at)
					first++
					for range 2 {
						if h.Again("org_1", at) {
							h.Begin("org_1", at)
							again++
						}
					}
				}
				time.Sleep(time.Second) //nolint:forbidigo // the time of a synctest bubble
			}
			if bound := max(60+10, first/5+10); again > bound {
				t.Errorf("%d/s: %d of %d calls were made again, want %d at most", perSecond, again, first, bound)
			}
			if again < first/5 {
				t.Errorf("%d/s: only %d of %d calls could be made again", perSecond, again, first)
			}
		})
	}
}

func TestUsualIsTheNinetyFifthOfAHundred(t *testing.T) {
	t.Parallel()
	h, at := learn(), target("cred_1")
	for i := range 19 {
		h.Answered(at, completion.Trial{}, time.Duration(i+1)*time.Second, completion.Headroom{})
	}
	if got := h.Usual(at); got != 0 {
		t.Fatalf("Usual of 19 answers = %v, want nothing", got)
	}
	for i := range 281 {
		h.Answered(at, completion.Trial{}, time.Duration(i%20+1)*time.Second, completion.Headroom{})
	}
	if got := h.Usual(at); got < 19*time.Second || got > 23*time.Second {
		t.Errorf("Usual of 1 to 20 s = %v, want 19 s or little more", got)
	}
	for range 3000 {
		h.Answered(at, completion.Trial{}, 50*time.Millisecond, completion.Headroom{})
	}
	if got := h.Usual(at); got > 100*time.Millisecond {
		t.Errorf("Usual = %v after 3000 quick answers", got)
	}
}

func TestASnapshotTellsWhatIsNew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := learn()
		taken := func() (out []string) {
			h.Snapshot(func(c *completion.Credential, model string, left completion.Headroom, cooling, at time.Time) {
				until := "-"
				if !cooling.IsZero() {
					until = cooling.Sub(at).String()
				}
				out = append(out, fmt.Sprintf("%s %s %d %s", c.ID, model, left.Requests.Remaining, until))
			})
			return out
		}
		left := completion.Headroom{Requests: completion.Allowance{Known: true, Limit: 9, Remaining: 4}}
		h.Answered(target("cred_1"), completion.Trial{}, time.Second, left)
		h.Answered(target("cred_2"), completion.Trial{}, time.Second, completion.Headroom{}) // told nothing
		if got := taken(); len(got) != 1 || got[0] != "cred_1 openai/m 4 -" {
			t.Errorf("first %v", got)
		}
		if got := taken(); len(got) != 0 {
			t.Errorf("again %v", got)
		}
		h.Failed(target("cred_1"), completion.Trial{}, failure(completion.RateLimited, 7*time.Second), 0)
		if got := taken(); len(got) != 1 || got[0] != "cred_1 openai/m 4 7s" {
			t.Errorf("after a 429 %v", got)
		}
	})
}

func TestARefusedSecretIsOutForAMinuteAndNotItsSuccessor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, c := learn(), target("cred_1").Credential
		next := *c
		next.Revision++
		h.Refused(c, "was refused by openai just now")
		if got := h.Out(c, "openai/m"); got != "was refused by openai just now" || !h.Until(c, "openai/m").IsZero() {
			t.Errorf("Out = %q", got)
		}
		if got := h.Out(&next, "openai/m"); got != "" {
			t.Errorf("Out of the next revision = %q", got)
		}
		judged := *c // under a later configuration
		if got := h.Out(&judged, "openai/m"); got != "" {
			t.Errorf("Out after keys has changed it = %q", got)
		}
		time.Sleep(time.Minute + 1) //nolint:forbidigo // the time of a synctest bubble
		if got := h.Out(c, "openai/m"); got != "" {
			t.Errorf("Out after a minute = %q", got)
		}
	})
}

// TestMemoryIsBounded: of many credentials × models those are forgotten that were not used for the longest time,
// and those that must wait go last.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	const limit = 4096
	h := health.New(health.Options{Now: time.Now, Capacity: limit})
	for i := range 100 {
		at := target(fmt.Sprintf("cred_cooling_%d", i))
		h.Failed(at, completion.Trial{}, failure(completion.RateLimited, 10*time.Minute), 0)
	}
	for i := range 100_000 {
		at := target(fmt.Sprintf("cred_%d", i))
		at.Model = fmt.Sprintf("openai/model-%d", i)
		trial, ok := h.Begin("org_1", at)
		if !ok {
			t.Fatal("a new place is not called")
		}
		h.Answered(at, trial, time.Second, completion.Headroom{})
		h.Refused(at.Credential, "was refused")
	}
	if credentials, places, refused := h.Known(); credentials > limit || places > limit || refused > limit {
		t.Errorf("%d credentials, %d places, %d refusals are known, want %d at most", credentials, places, refused, limit)
	}
	held := 0
	for i := range 100 {
		if h.Held(target(fmt.Sprintf("cred_cooling_%d", i))).Why == completion.Cooling {
			held++
		}
	}
	if held != 100 {
		t.Errorf("%d of 100 cooldowns are still known", held)
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	h, at := learn(), target("cred_1")
	call(t, h, at, "")
	h.Refused(target("cred_2").Credential, "was refused")
	if n := testing.AllocsPerRun(100, func() {
		h.Out(at.Credential, at.Model)
		h.Low(at.Credential, at.Model)
		h.Latency(at.Credential, at.Model, true)
		h.Until(at.Credential, at.Model)
		h.Held(at)
	}); n != 0 {
		t.Errorf("reading allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		trial, _ := h.Begin("org_1", at)
		h.Answered(at, trial, time.Second, completion.Headroom{})
	}); n > 1 { // the breaker's promise to be told
		t.Errorf("a call allocates %v times", n)
	}
}

func BenchmarkRead(b *testing.B) {
	h := learn()
	targets := make([]*completion.Target, 1000)
	for i := range targets {
		targets[i] = target(fmt.Sprintf("cred_%d", i))
		trial, _ := h.Begin("org_1", targets[i])
		h.Answered(targets[i], trial, time.Second, completion.Headroom{})
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			at := targets[i%len(targets)]
			if h.Out(at.Credential, at.Model) != "" || h.Low(at.Credential, at.Model) || h.Latency(at.Credential, at.Model, true) == 0 || h.Held(at).Why != completion.NotHeld {
				b.Fail()
			}
		}
	})
}

func BenchmarkCall(b *testing.B) {
	h, at := learn(), target("cred_1")
	b.ReportAllocs()
	for b.Loop() {
		trial, ok := h.Begin("org_1", at)
		if !ok {
			b.Fatal("held")
		}
		h.Answered(at, trial, time.Second, completion.Headroom{})
	}
}
