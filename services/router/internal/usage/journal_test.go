package usage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/claviger/claviger/pkg/jetstream"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
)

func openJournal(t *testing.T, dir string, maxBytes int64) *Journal {
	t.Helper()
	j, err := OpenJournal(dir, maxBytes, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// crash leaves the journal as a kill would: nothing more is synced, flushed or closed in order.
func (j *Journal) crash() {
	close(j.stop)
	<-j.done
	for _, s := range j.segments {
		if s.file != nil {
			_ = s.file.Close()
		}
	}
}

func begin(t *testing.T, j *Journal, e *Event) *Ticket {
	t.Helper()
	ticket, err := j.Begin(e)
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

func event(i int) *Event {
	return &Event{AttemptID: fmt.Sprintf("att_%06d", i), OrgID: fmt.Sprintf("org_%d", i%5), Tokens: &Tokens{InputTotal: int64(i)}, Source: Estimated}
}

// results reads n results from the start of the journal.
func results(t *testing.T, j *Journal, n int) map[string]*eventsv1.UsageEvent {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r := newReader(j)
	defer r.close()
	out := map[string]*eventsv1.UsageEvent{}
	for count := 0; count < n; {
		batch, err := r.next(ctx)
		if err != nil {
			t.Fatalf("%d of %d results, then %v", count, n, err)
		}
		for _, s := range batch {
			var e eventsv1.UsageEvent
			if err := proto.Unmarshal(s.entry.event, &e); err != nil {
				t.Fatal(err)
			}
			if out[e.GetAttemptId()] != nil {
				t.Fatalf("%s twice", e.GetAttemptId())
			}
			out[e.GetAttemptId()] = &e
			count++
		}
	}
	return out
}

func TestWhatIsWrittenBeforeAKillComesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := openJournal(t, dir, 1<<30)
	for i := range 100 {
		ticket := begin(t, j, event(i))
		if i%10 == 3 {
			j.Checkpoint(event(i).AttemptID, Tokens{InputTotal: int64(i), OutputTotal: 64}, ProviderPartial)
		}
		if i%2 == 0 {
			done := event(i)
			done.Outcome, done.Source = OK, ProviderFinal
			if err := j.Done(ticket, done); err != nil {
				t.Fatal(err)
			}
		}
	}
	j.crash()

	j = openJournal(t, dir, 1<<30)
	defer func() { _ = j.Close() }()
	got := results(t, j, 100)
	for i := range 100 {
		e := got[event(i).AttemptID]
		switch {
		case e == nil:
			t.Fatalf("attempt %d is lost", i)
		case i%2 == 0 && (e.GetOutcome() != eventsv1.Outcome_OUTCOME_OK || e.GetUsageSource() != eventsv1.UsageSource_USAGE_SOURCE_PROVIDER_FINAL):
			t.Errorf("attempt %d finished, but came back as %v", i, e.GetOutcome())
		case i%2 == 1 && (e.GetOutcome() != eventsv1.Outcome_OUTCOME_ROUTER_CRASH || e.GetEndedTime() == nil || e.GetTokens().GetInputTotal() != int64(i)):
			t.Errorf("attempt %d did not finish, but came back as %v", i, e.GetOutcome())
		case i%10 == 3 && (e.GetTokens().GetOutputTotal() != 64 || e.GetUsageSource() != eventsv1.UsageSource_USAGE_SOURCE_PROVIDER_PARTIAL):
			t.Errorf("attempt %d lost its checkpoint: %v", i, e.GetTokens().GetOutputTotal())
		}
	}
	if s := j.Stats(); s.Open != 0 || s.CorruptBytes != 0 {
		t.Errorf("Stats = %+v, want nothing open and nothing corrupt", s)
	}
}

func TestSequencesHaveNoGapsAndNoTwins(t *testing.T) {
	t.Parallel()
	j := openJournal(t, t.TempDir(), 1<<30)
	defer func() { _ = j.Close() }()
	const n = 2000
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() {
			for i := range n / 8 {
				ticket, err := j.Begin(event(w*n + i))
				if err != nil {
					t.Error(err)
					return
				}
				if err := j.Done(ticket, event(w*n+i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen := [partitions][]int64{}
	r := newReader(j)
	defer r.close()
	for count := 0; count < n; {
		batch, err := r.next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range batch {
			seen[s.partition] = append(seen[s.partition], s.entry.sequence)
			count++
		}
	}
	group.Wait()
	for p, numbers := range seen {
		for i, n := range numbers {
			if n != int64(i+1) {
				t.Fatalf("partition %d: sequence %d at place %d", p, n, i)
			}
		}
	}
	heads, _ := j.Heads()
	for _, h := range heads {
		if h.Epoch != j.Epoch() || h.Sequence != int64(len(seen[h.Partition])) {
			t.Errorf("head %+v, want %d", h, len(seen[h.Partition]))
		}
	}
}

func TestAJournalCutAnywhereOpensAndKeepsWhatIsWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := openJournal(t, dir, 1<<30)
	for i := range 5 {
		if err := j.Done(begin(t, j, event(i)), event(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "0000000000000001.seg")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) {
		sub := t.TempDir()
		if err := os.WriteFile(filepath.Join(sub, filepath.Base(path)), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		var want []string
		if cut >= headerSize {
			scan(whole[headerSize:cut], func(tp recordType, payload []byte) {
				if tp == typeIntent {
					id, _ := attemptID(payload)
					want = append(want, id)
				}
			})
		}
		again := openJournal(t, sub, 1<<30)
		for id := range results(t, again, len(want)) {
			if !slices.Contains(want, id) {
				t.Errorf("cut at %d: %s came from nowhere", cut, id)
			}
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOneFlippedBitCostsAtMostOneRecord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := openJournal(t, dir, 1<<30)
	for i := range 4 {
		if err := j.Done(begin(t, j, event(i)), event(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "0000000000000001.seg"))
	if err != nil {
		t.Fatal(err)
	}
	records := func(b []byte) (n int) {
		scan(b[headerSize:], func(recordType, []byte) { n++ })
		return n
	}
	if got := records(whole); got != 8 {
		t.Fatalf("%d records, want 8", got)
	}
	for i := headerSize; i < len(whole); i++ {
		damaged := slices.Clone(whole)
		damaged[i] ^= 1 << (i % 8)
		if got := records(damaged); got != 7 {
			t.Fatalf("bit of byte %d: %d records left, want 7", i, got)
		}
	}
}

func TestAFullJournalRefusesIntentsAndTakesResults(t *testing.T) {
	t.Parallel()
	j := openJournal(t, t.TempDir(), 64<<10)
	defer func() { _ = j.Close() }()
	var tickets []*Ticket
	for {
		ticket, err := j.Begin(event(len(tickets)))
		if err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatalf("Begin = %v, want ErrFull", err)
			}
			break
		}
		tickets = append(tickets, ticket)
	}
	if len(tickets) == 0 {
		t.Fatal("nothing fits")
	}
	for i, ticket := range tickets {
		if err := j.Done(ticket, event(i)); err != nil {
			t.Fatalf("Done = %v", err)
		}
	}
}

func TestAppliedSegmentsGoAndOthersStay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := openJournal(t, dir, 1<<30)
	big := event(1)
	big.Tags = map[string]string{}
	for k := range 16 {
		big.Tags[fmt.Sprint(k)] = string(make([]byte, 256))
	}
	n := int64(0)
	for j.Stats().Segments < 4 {
		if err := j.Done(begin(t, j, big), big); err != nil {
			t.Fatal(err)
		}
		n++
	}
	waitFor(t, func() bool {
		j.Applied(j.Epoch(), jetstream.Partition(big.OrgID), n-1)
		return j.Stats().Segments <= 2
	})
	if files, _ := filepath.Glob(filepath.Join(dir, "*.seg")); len(files) != j.Stats().Segments {
		t.Errorf("%d files for %d segments", len(files), j.Stats().Segments)
	}
	var got []int64
	if err := j.find(j.Epoch(), jetstream.Partition(big.OrgID), n, n+5, func(e entry) { got = append(got, e.sequence) }); err != nil || !slices.Equal(got, []int64{n}) {
		t.Errorf("find(last) = %v, %v, want [%d]", got, err, n)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRecoveredAttemptsAreClosedOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := openJournal(t, dir, 1<<30)
	begin(t, j, event(1))
	j.crash()
	for range 3 {
		j = openJournal(t, dir, 1<<30)
		j.crash()
	}
	j = openJournal(t, dir, 1<<30)
	defer func() { _ = j.Close() }()
	results(t, j, 1)
	heads, _ := j.Heads()
	if len(heads) != 1 {
		t.Errorf("heads = %v, want one", heads)
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("waited 20 s")
		case <-tick.C:
		}
	}
}

func FuzzScan(f *testing.F) {
	good := endRecord(appendEvent(beginRecord(nil, typeIntent), event(1)), 0)
	f.Add(good)
	f.Add(append([]byte{1, 2, 3}, good...))
	f.Fuzz(func(t *testing.T, b []byte) {
		seen := 0
		skipped := scan(b, func(_ recordType, payload []byte) { seen += recordHead + 1 + len(payload) })
		if skipped+seen != len(b) {
			t.Fatalf("skipped %d + seen %d != %d", skipped, seen, len(b))
		}
	})
}

func BenchmarkIntentAndResult(b *testing.B) {
	j, err := OpenJournal(b.TempDir(), 1<<40, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	e, _ := full()
	e.Tags = nil
	b.ReportAllocs()
	for b.Loop() {
		ticket, err := j.Begin(e)
		if err != nil {
			b.Fatal(err)
		}
		if err := j.Done(ticket, e); err != nil {
			b.Fatal(err)
		}
	}
}
