package usage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

const readBytes = 256 << 10

// stamped is a result with its place.
type stamped struct {
	epoch     string
	partition int
	entry     entry
}

// reader follows the results that are on disk, oldest first. It holds one buffer, however many
// results wait.
type reader struct {
	j     *Journal
	pos   position
	epoch string
	file  *os.File
	buf   []byte
}

func newReader(j *Journal) *reader { return &reader{j: j} }

func (r *reader) close() {
	if r.file != nil {
		_ = r.file.Close() // read only
		r.file = nil
	}
}

// next returns the next results, waiting until there are some. Their bytes are the caller's.
func (r *reader) next(ctx context.Context) ([]stamped, error) {
	for {
		limit, progress := r.limit()
		if r.file == nil || r.pos.offset >= limit {
			moved, err := r.advance()
			if err != nil {
				return nil, err
			}
			if moved {
				continue
			}
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-progress:
				continue
			}
		}
		out, err := r.read(limit)
		if err != nil || len(out) > 0 {
			return out, err
		}
	}
}

// limit returns how far the current segment may be read, and a channel that closes when that changes.
func (r *reader) limit() (int64, <-chan struct{}) {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	if r.pos.segment == r.j.synced.segment {
		return r.j.synced.offset, r.j.progress
	}
	for _, s := range r.j.segments {
		if s.number == r.pos.segment && s.number < r.j.synced.segment {
			return s.size, r.j.progress
		}
	}
	return 0, r.j.progress // not opened yet, or removed
}

// advance opens the segment after the current one, if it may be read.
func (r *reader) advance() (bool, error) {
	r.j.mu.Lock()
	i := slices.IndexFunc(r.j.segments, func(s *segment) bool { return s.number > r.pos.segment && s.number <= r.j.synced.segment })
	if i < 0 {
		r.j.mu.Unlock()
		return false, nil
	}
	s := *r.j.segments[i]
	r.j.mu.Unlock()
	f, err := os.Open(s.path)
	if errors.Is(err, os.ErrNotExist) { // removed since: metering has it all
		r.close()
		r.pos = position{segment: s.number}
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("open journal segment: %w", err)
	}
	r.close()
	r.file, r.epoch, r.pos = f, s.epoch, position{s.number, int64(headerSize)}
	return true, nil
}

// read parses one buffer of the current segment.
func (r *reader) read(limit int64) ([]stamped, error) {
	want := min(limit-r.pos.offset, readBytes)
	for {
		buf := slices.Grow(r.buf[:0], int(want))[:want]
		r.buf = buf
		if _, err := r.file.ReadAt(buf, r.pos.offset); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read journal segment: %w", err)
		}
		var out []stamped
		used := 0
		for used < len(buf) {
			t, payload, size, ok := parseRecord(buf[used:])
			if !ok {
				if r.pos.offset+int64(len(buf)) < limit && len(buf)-used <= recordHead+maxPayload+1 {
					break // cut by the buffer, or damaged: the next read tells
				}
				used++
				continue
			}
			if t == typeResult {
				p, e := result(payload)
				out = append(out, stamped{r.epoch, p % partitions, entry{e.sequence, slices.Clone(e.event)}})
			}
			used += size
		}
		if used > 0 {
			r.pos.offset += int64(used)
			return out, nil
		}
		if want == min(limit-r.pos.offset, recordHead+maxPayload+2) {
			r.pos.offset++ // damaged
			return nil, nil
		}
		want = min(limit-r.pos.offset, recordHead+maxPayload+2)
	}
}

// find calls visit for every result of an epoch and partition in [first, last] that the journal
// still holds.
func (j *Journal) find(epoch string, partition int, first, last int64, visit func(entry)) error {
	j.mu.Lock()
	var segments []segment
	for _, s := range j.segments {
		if s.epoch == epoch && s.last[partition] >= first && s.number <= j.synced.segment {
			segments = append(segments, *s)
		}
	}
	synced := j.synced
	j.mu.Unlock()
	for _, s := range segments {
		raw, err := os.ReadFile(s.path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read journal segment: %w", err)
		}
		if s.number == synced.segment {
			raw = raw[:min(int64(len(raw)), synced.offset)]
		}
		if len(raw) < headerSize {
			continue
		}
		scan(raw[headerSize:], func(t recordType, payload []byte) {
			if t != typeResult {
				return
			}
			if p, e := result(payload); p == partition && e.sequence >= first && e.sequence <= last {
				visit(entry{e.sequence, slices.Clone(e.event)})
			}
		})
	}
	return nil
}
