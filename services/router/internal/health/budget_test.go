package health_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/health"
)

// granted is how many of many tries an organization may call once more, and does.
func granted(h *health.Health, orgID string, at *completion.Target) (n int) {
	for range 1000 {
		if h.Again(orgID, at) {
			h.Begin(orgID, at)
			n++
		}
	}
	return n
}

func TestOneOrganizationLeavesOthersTheirRetries(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		calls map[string]int
		order []string
		want  []int
	}{
		"alone, of the least":         {map[string]int{"org_1": 1}, []string{"org_1"}, []int{10}},
		"alone, of a fifth":           {map[string]int{"org_1": 1000}, []string{"org_1"}, []int{200}},
		"one beside others":           {map[string]int{"org_1": 1, "org_2": 1}, []string{"org_1"}, []int{5}},
		"a large one beside one call": {map[string]int{"org_1": 999, "org_2": 1}, []string{"org_1"}, []int{100}},
		"one after the other": {
			map[string]int{"org_1": 1, "org_2": 1},
			[]string{"org_1", "org_2", "org_3", "org_4", "org_1", "org_5", "org_6"},
			[]int{5, 3, 1, 1, 0, 0, 0}, // 10 in all
		},
		"who has not called yet": {map[string]int{"org_1": 1000}, []string{"org_2", "org_1"}, []int{100, 50}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h, at := learn(), target("cred_1")
				for _, orgID := range []string{"org_2", "org_1"} {
					for range test.calls[orgID] {
						h.Begin(orgID, at)
					}
				}
				for i, orgID := range test.order {
					if got := granted(h, orgID, at); got != test.want[i] {
						t.Errorf("number %d, %s, is granted %d, want %d", i+1, orgID, got, test.want[i])
					}
				}
			})
		})
	}
}

// TestAnotherOrganizationCountsForTenSeconds from its last call, to the second.
func TestAnotherOrganizationCountsForTenSeconds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		after time.Duration
		want  int
	}{{9*time.Second + 999*time.Millisecond, 5}, {10 * time.Second, 10}} {
		synctest.Test(t, func(t *testing.T) {
			h, at := learn(), target("cred_1")
			h.Begin("org_2", at)
			h.Begin("org_1", at)
			h.Begin("org_2", at)
			time.Sleep(test.after) //nolint:forbidigo // the time of a synctest bubble
			h.Begin("org_1", at)
			if got := granted(h, "org_1", at); got != test.want {
				t.Errorf("after %v it is granted %d, want %d", test.after, got, test.want)
			}
		})
	}
}

func TestWhatWasGrantedComesBackAfterTenSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, at := learn(), target("cred_1")
		for _, step := range []struct {
			after time.Duration
			want  int
		}{{0, 5}, {9*time.Second + 999*time.Millisecond, 0}, {time.Millisecond, 5}, {5 * time.Second, 0}} {
			time.Sleep(step.after) //nolint:forbidigo // the time of a synctest bubble
			h.Begin("org_2", at)
			if got := granted(h, "org_1", at); got != step.want {
				t.Errorf("%v later it is granted %d, want %d", step.after, got, step.want)
			}
		}
	})
}

func TestPlacesOfOthersHaveBudgetsOfTheirOwn(t *testing.T) {
	t.Parallel()
	h, shared, own := learn(), target("cred_1"), target("cred_2")
	own.Credential.BaseURL = "https://own.example"
	h.Begin("org_1", shared)
	h.Begin("org_2", shared)
	h.Begin("org_1", own)
	if a, b := granted(h, "org_1", shared), granted(h, "org_1", own); a != 5 || b != 10 {
		t.Errorf("granted %d where others call, too, and %d at its own address, want 5 and 10", a, b)
	}
}

// TestAStormMakesAFifthMoreCallsAtMost whatever organizations do, and none that had nothing is refused while there is
// something left. What is granted is compared with a model that remembers every call.
func TestAStormMakesAFifthMoreCallsAtMost(t *testing.T) {
	t.Parallel()
	type event struct {
		second int64
		orgID  string
		again  bool
	}
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_800_000_000, 0)
		h := health.New(health.Options{Now: func() time.Time { return now }, Jitter: func() float64 { return 0 }})
		at := target("cred_1")
		var log []event
		count := func(is func(event) bool) (n int) {
			for _, e := range log {
				if e.second > now.Unix()-10 && is(e) {
					n++
				}
			}
			return n
		}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			orgID := fmt.Sprint("org_", rapid.IntRange(1, 4).Draw(t, "organization"))
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				now = now.Add(time.Duration(rapid.IntRange(0, 12_000).Draw(t, "ms")) * time.Millisecond)
			case 1, 2, 3:
				for range rapid.IntRange(1, 40).Draw(t, "calls") {
					h.Begin(orgID, at)
					log = append(log, event{now.Unix(), orgID, false})
				}
			default:
				calls := count(func(e event) bool { return !e.again })
				repeats := count(func(e event) bool { return e.again })
				has := count(func(e event) bool { return e.again && e.orgID == orgID })
				others := count(func(e event) bool { return !e.again && e.orgID != orgID }) > 0
				left := max((calls-repeats)/5, 10) - repeats // calls are those that were made again, too
				want := left > 0 && (!others || has < left)
				if got := h.Again(orgID, at); got != want {
					t.Fatalf("%s: granted %v, want %v: %d left of %d calls, it has %d, others have called: %v", orgID, got, want, left, calls, has, others)
				}
				if !want && left > 0 && has == 0 {
					t.Fatalf("%s had nothing and is refused with %d left", orgID, left)
				}
				if want { // and so it is made
					h.Begin(orgID, at)
					log = append(log, event{now.Unix(), orgID, true}, event{now.Unix(), orgID, false})
				}
				if first := calls - repeats; repeats > max(first/5, 10) && want {
					t.Fatalf("%d of %d calls were made again", repeats, first)
				}
			}
		}
	})
}

// TestSharesOfRetriesAreBounded in memory: what is forgotten is a share, and never the bound of all.
func TestSharesOfRetriesAreBounded(t *testing.T) {
	t.Parallel()
	const limit = 64
	now := time.Unix(1_800_000_000, 0)
	h := health.New(health.Options{Now: func() time.Time { return now }, Capacity: limit})
	at, all := target("cred_1"), 0
	for i := range 100_000 {
		orgID := fmt.Sprint("org_", i)
		h.Begin(orgID, at)
		if h.Again(orgID, at) {
			all++
		}
	}
	if n := h.Shares(); n > limit {
		t.Errorf("the shares of %d organizations are known, want %d at most", n, limit)
	}
	if all > 100_000/5 {
		t.Errorf("%d of 100,000 calls may be made again", all)
	}
}

func BenchmarkBegin(b *testing.B) {
	h, at := learn(), target("cred_1")
	orgs := [...]string{"org_1", "org_2"}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		trial, _ := h.Begin(orgs[i%2], at)
		h.Left(trial)
	}
}

func BenchmarkAgain(b *testing.B) {
	h, at := learn(), target("cred_1")
	h.Begin("org_2", at)
	b.ReportAllocs()
	for b.Loop() {
		h.Again("org_1", at)
	}
}
