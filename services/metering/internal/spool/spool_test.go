package spool_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/claviger/claviger/services/metering/internal/spool"
)

var start = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

// TestMarkIsTheSetOfItsNumbers compares a mark with a plain set of numbers.
func TestMarkIsTheSetOfItsNumbers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var mark spool.Mark
		set := map[int64]bool{}
		for range rapid.IntRange(0, 20).Draw(t, "adds") {
			first := rapid.Int64Range(1, 60).Draw(t, "first")
			last := first + rapid.Int64Range(0, 8).Draw(t, "length")
			mark = mark.Add(spool.Range{First: first, Last: last})
			for n := first; n <= last; n++ {
				set[n] = true
			}
		}
		contiguous := int64(0)
		for set[contiguous+1] {
			contiguous++
		}
		if mark.Contiguous != contiguous {
			t.Fatalf("Contiguous = %d, want %d", mark.Contiguous, contiguous)
		}
		if highest := slices.Max(append(slices.Collect(maps.Keys(set)), 0)); mark.Highest() != highest {
			t.Fatalf("Highest = %d, want %d", mark.Highest(), highest)
		}
		head := rapid.Int64Range(0, 80).Draw(t, "head")
		missing := map[int64]bool{}
		for _, r := range mark.Missing(head, 1000) {
			for n := r.First; n <= r.Last; n++ {
				missing[n] = true
			}
		}
		for n := int64(1); n <= 80; n++ {
			if want := n <= head && !set[n]; missing[n] != want {
				t.Fatalf("Missing(%d) has %d: %v, want %v", head, n, missing[n], want)
			}
		}
	})
}

func key(epoch string) spool.Key { return spool.Key{Router: "r1", Epoch: epoch, Partition: 3} }

func head(seconds int, sequences map[spool.Key]int64) spool.Head {
	return spool.Head{Router: "r1", Time: at(seconds), Sequences: sequences}
}

func TestCompleteIsTheNewestHeadThatIsApplied(t *testing.T) {
	t.Parallel()
	tracker := spool.NewTracker(spool.DefaultTiming, nil, nil)
	tracker.Heard(head(1, map[spool.Key]int64{key("e"): 5}), at(1))
	tracker.Heard(head(2, map[spool.Key]int64{key("e"): 9}), at(2))
	through := func() time.Time { return spool.Complete(tracker.Routers(), at(2)).Through }
	if got := through(); !got.IsZero() {
		t.Fatalf("Through before anything is applied = %v, want none", got)
	}
	tracker.Applied(map[spool.Key]spool.Mark{key("e"): {Contiguous: 7}})
	if got := through(); !got.Equal(at(1)) {
		t.Fatalf("Through = %v, want the first head", got)
	}
	tracker.Applied(map[spool.Key]spool.Mark{key("e"): {Contiguous: 9}})
	if got := through(); !got.Equal(at(2)) {
		t.Fatalf("Through = %v, want the second head", got)
	}
}

func TestGapIsNamedAfterAWhile(t *testing.T) {
	t.Parallel()
	tracker := spool.NewTracker(spool.DefaultTiming, nil, nil)
	tracker.Heard(head(0, map[spool.Key]int64{key("e"): 20}), at(0))
	tracker.Applied(map[spool.Key]spool.Mark{key("e"): {Contiguous: 4, Ranges: []spool.Range{{First: 8, Last: 10}}}})
	missing := func(drained bool, now int) []spool.Range {
		got := tracker.Feedback("r1", drained, at(now))
		if len(got) != 1 || got[0].Contiguous != 4 {
			t.Fatalf("Feedback = %+v, want one sequence at 4", got)
		}
		return got[0].Missing
	}
	if got := missing(true, 0); got != nil {
		t.Fatalf("a fresh gap is named at once: %v", got)
	}
	if got := missing(false, 10); got != nil {
		t.Fatalf("a gap is named while frames wait in the stream: %v", got)
	}
	if diff := cmp.Diff([]spool.Range{{First: 5, Last: 7}, {First: 11, Last: 20}}, missing(true, 11)); diff != "" {
		t.Fatalf("Missing (-want +got):\n%s", diff)
	}
	if got := missing(true, 12); got != nil {
		t.Fatalf("the gap is named again after a second: %v", got)
	}
	if diff := cmp.Diff([]spool.Range{{First: 5, Last: 7}}, missing(false, 70)); diff != "" {
		t.Fatalf("Missing with a long backlog (-want +got):\n%s", diff)
	}
}

func TestClosingRouterHoldsNothingBackOnceApplied(t *testing.T) {
	t.Parallel()
	tracker := spool.NewTracker(spool.DefaultTiming, []spool.Router{{Name: "r2", HeardAt: at(0), CompleteAt: at(500)}}, nil)
	h := head(1, map[spool.Key]int64{key("e"): 3})
	h.Closing = true
	tracker.Heard(h, at(1))
	if got := spool.Complete(tracker.Routers(), at(1)); !got.Through.IsZero() {
		t.Fatalf("Through with an unapplied closing router = %v, want none", got.Through)
	}
	tracker.Applied(map[spool.Key]spool.Mark{key("e"): {Contiguous: 3}})
	got := spool.Complete(tracker.Routers(), at(600))
	if !got.Through.Equal(at(500)) {
		t.Fatalf("Through = %v, want the other router's", got.Through)
	}
	if diff := cmp.Diff([]string{"r2"}, got.Silent); diff != "" {
		t.Fatalf("Silent (-want +got):\n%s", diff)
	}
}

func TestLostPartOfAJournalIsTold(t *testing.T) {
	t.Parallel()
	tracker := spool.NewTracker(spool.DefaultTiming, nil, map[spool.Key]spool.Mark{key("a"): {Contiguous: 6}, key("b"): {Contiguous: 4}})
	tracker.Heard(head(1, map[spool.Key]int64{key("a"): 9, key("b"): 4}), at(1))
	lost := tracker.Heard(head(2, map[spool.Key]int64{key("c"): 0}), at(2))
	if diff := cmp.Diff(map[spool.Key][]spool.Range{key("a"): {{First: 7, Last: 9}}}, lost); diff != "" {
		t.Fatalf("lost (-want +got):\n%s", diff)
	}
}

func TestTrackerGoesOnFromTheStore(t *testing.T) {
	t.Parallel()
	first := spool.NewTracker(spool.DefaultTiming, nil, nil)
	first.Heard(head(1, map[spool.Key]int64{key("e"): 5}), at(1))
	saved := first.Changed()
	if again := first.Changed(); len(again) != 0 {
		t.Fatalf("Changed again = %v, want nothing", again)
	}
	first.Restore(saved)
	if again := first.Changed(); len(again) != 1 {
		t.Fatalf("Changed after Restore = %v, want the router", again)
	}
	second := spool.NewTracker(spool.DefaultTiming, saved, map[spool.Key]spool.Mark{key("e"): {Contiguous: 5}})
	if got := spool.Complete(second.Routers(), at(2)).Through; !got.Equal(at(1)) {
		t.Fatalf("Through after a restart = %v, want %v", got, at(1))
	}
	if !second.Settled("r1") || len(second.Unsettled()) != 0 {
		t.Fatal("the router is not settled")
	}
}

func TestManyPendingHeadsStayBounded(t *testing.T) {
	t.Parallel()
	tracker := spool.NewTracker(spool.DefaultTiming, nil, nil)
	for i := range 5000 {
		tracker.Heard(head(i, map[spool.Key]int64{key("e"): int64(i + 1)}), at(i))
	}
	tracker.Applied(map[spool.Key]spool.Mark{key("e"): {Contiguous: 4999}})
	if got := spool.Complete(tracker.Routers(), at(5000)).Through; got.Before(at(4500)) {
		t.Fatalf("Through = %v, want one of the newest heads", got)
	}
	tracker.Applied(map[spool.Key]spool.Mark{key("e"): {Contiguous: 5000}})
	if got := spool.Complete(tracker.Routers(), at(5000)).Through; !got.Equal(at(4999)) {
		t.Fatalf("Through = %v, want the newest head", got)
	}
}
