package usage

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
)

// later is a second truth for an event.
func later(e *Event, revision int) *Event {
	cost := int64(1_500_000_000)
	e.Revision, e.Outcome, e.Source, e.Operation = revision, OK, ProviderFinal, "videos"
	e.Units, e.CostNanoUSD = []Unit{{"second", 5000}}, &cost
	return e
}

func TestALaterTruthIsPublishedAsAResultIs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := openJournal(t, dir, 1<<30)
	if err := j.Done(begin(t, j, event(5)), event(5)); err != nil {
		t.Fatal(err)
	}
	for revision := 1; revision <= 2; revision++ {
		if err := j.Revise(later(event(5), revision)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Revise(later(event(10), 1)); err != nil { // another router wrote its result
		t.Fatal(err)
	}
	j.crash()

	j = openJournal(t, dir, 1<<30)
	defer func() { _ = j.Close() }()
	r := newReader(j)
	defer r.close()
	type truth struct {
		attempt  string
		revision int32
		sequence int64
	}
	var got []truth
	for len(got) < 4 {
		batch, err := r.next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range batch {
			var e eventsv1.UsageEvent
			if err := proto.Unmarshal(s.entry.event, &e); err != nil {
				t.Fatal(err)
			}
			if e.GetRevision() > 0 && (e.GetUnits()[0].GetMilli() != 5000 || e.GetReportedCostNanoUsd() != 1_500_000_000) {
				t.Errorf("revision %d came back as %v", e.GetRevision(), &e)
			}
			got = append(got, truth{e.GetAttemptId(), e.GetRevision(), s.entry.sequence})
		}
	}
	want := []truth{{"att_000005", 0, 1}, {"att_000005", 1, 2}, {"att_000005", 2, 3}, {"att_000010", 1, 4}}
	for i, w := range want {
		if got[i] != w {
			t.Errorf("result %d = %+v, want %+v", i, got[i], w)
		}
	}
	if s := j.Stats(); s.Open != 0 {
		t.Errorf("%d attempts are open, want none", s.Open)
	}
}

func TestALaterTruthOfAnUnfinishedAttemptIsNoCrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := openJournal(t, dir, 1<<30)
	begin(t, j, event(5))
	if err := j.Revise(later(event(5), 1)); err != nil {
		t.Fatal(err)
	}
	j.crash()
	j = openJournal(t, dir, 1<<30)
	defer func() { _ = j.Close() }()
	if e := results(t, j, 1)[event(5).AttemptID]; e.GetOutcome() != eventsv1.Outcome_OUTCOME_OK || e.GetRevision() != 1 {
		t.Errorf("the attempt came back as %v, want the truth that was written", e)
	}
}

func TestALaterTruthLeavesSpaceForResults(t *testing.T) {
	t.Parallel()
	j := openJournal(t, t.TempDir(), 64<<10)
	defer func() { _ = j.Close() }()
	ticket := begin(t, j, event(0))
	for n := 0; ; n++ {
		if err := j.Revise(later(event(5), 1)); err != nil {
			if n == 0 || !errors.Is(err, ErrFull) {
				t.Fatalf("Revise number %d = %v, want ErrFull once it is full", n, err)
			}
			break
		}
	}
	if err := j.Done(ticket, event(0)); err != nil {
		t.Errorf("Done = %v", err)
	}
}

func TestARevisionZeroIsNoLaterTruth(t *testing.T) {
	t.Parallel()
	j := openJournal(t, t.TempDir(), 1<<30)
	defer func() { _ = j.Close() }()
	if err := j.Revise(event(1)); err == nil {
		t.Error("Revise took a first truth, which has an intent")
	}
	if n, _ := j.Waiting(); n != 0 {
		t.Errorf("%d results wait, want none", n)
	}
}

// TestARecoveredAttemptKeepsItsSpanLast holds recovered events to what traced looks for.
func TestARecoveredAttemptKeepsItsSpanLast(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := openJournal(t, dir, 1<<30)
	e := later(event(1), 0)
	e.TraceID, e.SpanID = traceA, spanA
	begin(t, j, e)
	j.crash()
	j = openJournal(t, dir, 1<<30)
	defer func() { _ = j.Close() }()
	r := newReader(j)
	defer r.close()
	batch, err := r.next(t.Context())
	if err != nil || len(batch) != 1 {
		t.Fatalf("next = %d, %v", len(batch), err)
	}
	if !traced(batch[0].entry.event) {
		t.Error("the recovered event is not followed in its trace")
	}
	if got := endOf(batch[0].entry.event); time.Since(got) > time.Minute {
		t.Errorf("it ended at %v", got)
	}
}
