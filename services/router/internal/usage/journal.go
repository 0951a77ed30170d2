package usage

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/jetstream"
)

const (
	segmentBytes = 16 << 20
	// reserve is kept free for the results of intents that are open: they must never be refused.
	reserve = 4 << 10
	// syncDelay lets records of many requests share one fsync. It is the most that a power cut takes.
	syncDelay  = 5 * time.Millisecond
	partitions = jetstream.Partitions
)

// The errors of the journal.
var (
	ErrFull   = fault.New(fault.Unavailable, "USAGE_SPOOL_FULL", "the router cannot record usage: its journal is full").Hinting("try again later; an operator has to look at NATS and metering").RetryingAfter(5 * time.Second)
	ErrBroken = fault.New(fault.Unavailable, "USAGE_SPOOL_BROKEN", "the router cannot record usage: its disk failed").Hinting("try again; another router may answer; an operator has to look at this router's disk").RetryingAfter(time.Second)
)

// Journal is the router's append-only record of attempts. Intents and results are written, so that
// they survive a kill, before the call goes on; a few milliseconds later they are synced, so that
// they survive a power cut. Only what is synced is ever published: a sequence number that others
// have seen can never come back for another event.
//
// Cost: one write of about 300 bytes per intent and per result; memory does not grow with the
// number of unsent records, which are read back from the files.
type Journal struct {
	dir   string
	max   int64
	log   *slog.Logger
	now   func() time.Time
	epoch string

	mu       sync.Mutex
	buf      []byte
	segments []*segment // oldest first; the last is written to
	total    int64
	open     int64 // intents without a result
	last     [partitions]int64
	marks    [partitions]marks
	broken   error
	unsynced []*segment // rotated out, not synced yet
	closed   bool

	// Guarded by mu, advanced by sync: what is on disk for certain.
	synced     position
	syncedLast [partitions]int64
	syncedTime time.Time
	applied    map[string]*[partitions]int64 // by epoch: metering has these

	dirty    chan struct{} // has a token while something is not synced
	progress chan struct{} // closed and renewed when synced moves on
	stop     chan struct{}
	done     chan struct{}

	corrupt int64 // bytes that were skipped at start
}

type segment struct {
	number int64
	path   string
	file   *os.File // nil once closed for writing
	epoch  string
	size   int64
	open   int               // intents here without a result
	last   [partitions]int64 // highest sequence here
	// first are the lowest sequences here, and began is when the first result was written. They are only
	// known of segments that an earlier process left.
	first [partitions]int64
	began time.Time
}

// position is a place in the journal: everything before it.
type position struct {
	segment int64
	offset  int64
}

// Ticket is an intent that waits for its result.
type Ticket struct{ segment *segment }

// OpenJournal opens the journal in dir, and closes the books on what an earlier process left
// unfinished: an intent without a result becomes an event with outcome RouterCrash and estimated
// counts. We cannot know whether the call was sent, and money spent unseen is the worse mistake.
func OpenJournal(dir string, maxBytes int64, now func() time.Time, log *slog.Logger) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	var random [epochSize / 2]byte
	_, _ = rand.Read(random[:]) // never fails, as documented
	j := &Journal{
		dir: dir, max: maxBytes, log: log, now: now, epoch: hex.EncodeToString(random[:]),
		applied: map[string]*[partitions]int64{}, dirty: make(chan struct{}, 1), progress: make(chan struct{}),
		stop: make(chan struct{}), done: make(chan struct{}), syncedTime: now(),
	}
	unfinished, err := j.recover()
	if err != nil {
		return nil, err
	}
	if err := j.rotate(); err != nil {
		return nil, err
	}
	j.synced = position{segment: j.segments[len(j.segments)-1].number, offset: int64(headerSize)}
	for _, raw := range unfinished {
		if _, err := j.append(typeResult, nil, raw.partition, raw.event); err != nil {
			return nil, fmt.Errorf("recover journal: %w", err)
		}
	}
	if err := j.syncNow(); err != nil {
		return nil, err
	}
	for _, s := range j.segments[:len(j.segments)-1] {
		s.open = 0 // their results are in the new segment now, on disk
	}
	if len(unfinished) > 0 || j.corrupt > 0 {
		log.Warn("journal recovered", "unfinished_attempts", len(unfinished), "corrupt_bytes", j.corrupt)
	}
	go j.syncLoop()
	return j, nil
}

// Epoch names this start of the router.
func (j *Journal) Epoch() string { return j.epoch }

// Begin writes the intent of an attempt. After it returns, a kill of this process cannot hide the attempt.
func (j *Journal) Begin(e *Event) (*Ticket, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.total+(j.open+1)*reserve > j.max {
		return nil, ErrFull
	}
	s, err := j.appendEvent(typeIntent, e)
	if err != nil {
		return nil, err
	}
	s.open++
	j.open++
	return &Ticket{segment: s}, nil
}

// Checkpoint writes how far an answer has come, for the estimate after a crash.
func (j *Journal) Checkpoint(attemptID string, tokens Tokens, source Source) {
	j.mu.Lock()
	defer j.mu.Unlock()
	// A checkpoint that cannot be written costs precision after a crash, nothing else.
	_, _ = j.appendEvent(typeCheckpoint, &Event{AttemptID: attemptID, Tokens: &tokens, Source: source})
}

// Done writes the result of an attempt. It is never refused for space.
func (j *Journal) Done(t *Ticket, e *Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, err := j.appendEvent(typeResult, e)
	if err == nil {
		t.segment.open--
		j.open--
	}
	return err
}

// Revise writes a later truth of an attempt whose result this or another router has written before: it is
// kept and published as a result is. Its revision is 1 or more, and it says everything that the result
// said, since it takes its place. Unlike a result it may be refused for space; then the caller still has
// to find out the same truth again.
func (j *Journal) Revise(e *Event) error {
	if e.Revision < 1 {
		return fmt.Errorf("journal: revision %d of %s is none", e.Revision, e.AttemptID)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.total+(j.open+1)*reserve > j.max {
		return ErrFull
	}
	_, err := j.appendEvent(typeResult, e)
	return err
}

func (j *Journal) appendEvent(t recordType, e *Event) (*segment, error) {
	return j.append(t, e, jetstream.Partition(e.OrgID), nil)
}

// append writes one record: e, or an event that is encoded already.
func (j *Journal) append(t recordType, e *Event, partition int, encoded []byte) (*segment, error) {
	if j.broken != nil || j.closed {
		return nil, ErrBroken.Because(j.broken)
	}
	current := j.segments[len(j.segments)-1]
	if current.size >= segmentBytes {
		if err := j.rotate(); err != nil {
			return nil, ErrBroken.Because(err)
		}
		current = j.segments[len(j.segments)-1]
	}
	sequence := j.last[partition] + 1
	b := beginRecord(j.buf[:0], t)
	if t == typeResult {
		b = append(b, byte(partition))
		b = binary.LittleEndian.AppendUint64(b, uint64(sequence))
	}
	if e != nil {
		b = appendEvent(b, e)
	} else {
		b = append(b, encoded...)
	}
	j.buf = endRecord(b, 0)
	if len(b) > recordHead+maxPayload {
		return nil, fmt.Errorf("journal: an event of %d bytes", len(b))
	}
	if err := j.write(current, j.buf); err != nil {
		return nil, err
	}
	if t == typeResult {
		j.last[partition] = sequence
		current.last[partition] = sequence
		j.marks[partition].add(sequence, j.now())
	}
	select {
	case j.dirty <- struct{}{}:
	default:
	}
	return current, nil
}

// write appends b to the segment. A write that fails half way is undone; if that fails too, the
// segment ends here and nothing more is accepted.
func (j *Journal) write(s *segment, b []byte) error {
	n, err := s.file.WriteAt(b, s.size)
	if err == nil {
		s.size += int64(n)
		j.total += int64(n)
		return nil
	}
	if undo := s.file.Truncate(s.size); undo != nil {
		j.broken = errors.Join(err, undo)
	}
	return ErrFull.Because(err)
}

// rotate starts a new segment. The old one is synced by the sync loop.
func (j *Journal) rotate() error {
	number := int64(1)
	if n := len(j.segments); n > 0 {
		number = j.segments[n-1].number + 1
		if last := j.segments[n-1]; last.file != nil {
			j.unsynced = append(j.unsynced, last)
		}
	}
	path := filepath.Join(j.dir, fmt.Sprintf("%016x.seg", number))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("new journal segment: %w", err)
	}
	if _, err := f.Write([]byte(magic + j.epoch)); err != nil {
		return fmt.Errorf("new journal segment: %w", errors.Join(err, f.Close(), os.Remove(path)))
	}
	j.segments = append(j.segments, &segment{number: number, path: path, file: f, epoch: j.epoch, size: int64(headerSize)})
	j.total += int64(headerSize)
	return syncDir(j.dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync journal folder: %w", err)
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync journal folder: %w", err)
	}
	return nil
}

func (j *Journal) syncLoop() {
	defer close(j.done)
	for {
		select {
		case <-j.stop:
			return
		case <-j.dirty:
		}
		timer := time.NewTimer(syncDelay)
		select {
		case <-j.stop:
			timer.Stop()
			return
		case <-timer.C:
		}
		if err := j.syncNow(); err != nil {
			j.log.Error("journal does not sync; nothing more is accepted", "error", err)
			return
		}
	}
}

// syncNow brings everything written so far to disk, tells readers, and removes segments whose
// every result metering has. A failed fsync is final: what the kernel did with the pages is unknown.
func (j *Journal) syncNow() error {
	j.mu.Lock()
	current := j.segments[len(j.segments)-1]
	upTo, last, at := position{current.number, current.size}, j.last, j.now()
	old := j.unsynced
	j.unsynced = nil
	removable := j.removable()
	j.mu.Unlock()

	var errs []error
	for _, s := range old {
		errs = append(errs, s.file.Sync(), s.file.Close())
	}
	errs = append(errs, current.file.Sync())
	if err := errors.Join(errs...); err != nil {
		j.mu.Lock()
		j.broken = err
		j.mu.Unlock()
		return fmt.Errorf("sync journal: %w", err)
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range old {
		s.file = nil
	}
	j.synced, j.syncedLast, j.syncedTime = upTo, last, at
	close(j.progress)
	j.progress = make(chan struct{})
	j.remove(removable)
	return nil
}

// removable lists segments that may go after the next sync: no open intents (their results are
// written, and synced by then), and every result applied.
func (j *Journal) removable() []*segment {
	var out []*segment
	for _, s := range j.segments[:len(j.segments)-1] {
		applied := j.applied[s.epoch]
		ok := s.open == 0
		for p, last := range s.last {
			ok = ok && (last == 0 || applied != nil && applied[p] >= last)
		}
		if ok {
			out = append(out, s)
		}
	}
	return out
}

func (j *Journal) remove(segments []*segment) {
	for _, s := range segments {
		if s.file != nil { // rotated out in the meantime and not synced yet: next time
			continue
		}
		if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			j.log.Warn("journal segment not removed", "segment", s.number, "error", err)
			continue
		}
		j.total -= s.size
		j.segments = slices.DeleteFunc(j.segments, func(o *segment) bool { return o == s })
	}
}

// Applied notes that metering has every result of an epoch and partition up to a sequence.
func (j *Journal) Applied(epoch string, partition int, upTo int64) {
	if partition < 0 || partition >= partitions {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	a := j.applied[epoch]
	if a == nil {
		if !slices.ContainsFunc(j.segments, func(s *segment) bool { return s.epoch == epoch }) {
			return // long forgotten here
		}
		a = new([partitions]int64)
		j.applied[epoch] = a
	}
	if upTo > a[partition] {
		a[partition] = upTo
		if len(j.removable()) > 0 {
			select {
			case j.dirty <- struct{}{}: // the sync loop removes
			default:
			}
		}
	}
}

// Head is the last sequence on disk of one epoch and partition.
type Head struct {
	Epoch     string
	Partition int
	Sequence  int64
}

// Heads returns what is on disk, per epoch and partition, and the moment up to which that holds
// every finished attempt.
func (j *Journal) Heads() ([]Head, time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	last := map[string]*[partitions]int64{j.epoch: &j.syncedLast}
	for _, s := range j.segments {
		if s.epoch == j.epoch {
			continue
		}
		if last[s.epoch] == nil {
			last[s.epoch] = new([partitions]int64)
		}
		for p, n := range s.last {
			last[s.epoch][p] = max(last[s.epoch][p], n)
		}
	}
	var out []Head
	for epoch, l := range last {
		for p, n := range l {
			if n > 0 {
				out = append(out, Head{epoch, p, n})
			}
		}
	}
	at := j.syncedTime
	if current := j.segments[len(j.segments)-1]; j.synced == (position{current.number, current.size}) {
		at = j.now() // nothing was written since: idle is complete
	}
	slices.SortFunc(out, func(a, b Head) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Partition, b.Partition))
	})
	return out, at
}

// Stats are figures for operators.
type Stats struct {
	Bytes, MaxBytes int64
	Open            int64 // attempts under way
	Segments        int
	CorruptBytes    int64
	Broken          bool
}

// Stats returns the journal's figures.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	return Stats{j.total, j.max, j.open, len(j.segments), j.corrupt, j.broken != nil}
}

// Close syncs and closes the files.
func (j *Journal) Close() error {
	close(j.stop)
	<-j.done
	err := j.syncNow()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	for _, s := range j.segments {
		if s.file != nil {
			err = errors.Join(err, s.file.Close())
		}
	}
	return err
}
