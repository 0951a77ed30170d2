package usage

import "time"

// maxMarks bounds how many moments are remembered per partition.
const maxMarks = 64

// mark says when a sequence number was given out.
type mark struct {
	sequence int64
	at       time.Time
}

// marks remember when results were written, precisely for the newest and ever more roughly for what
// waits long, so that their age is known in bounded memory.
type marks struct {
	list []mark // by sequence
	step time.Duration
}

// add notes a result.
func (m *marks) add(sequence int64, at time.Time) {
	if m.step == 0 {
		m.step = time.Second
	}
	if n := len(m.list); n > 0 && at.Sub(m.list[n-1].at) < m.step {
		return
	}
	if len(m.list) == maxMarks { // keep every second one
		for i := range maxMarks / 2 {
			m.list[i] = m.list[2*i]
		}
		m.list = m.list[:maxMarks/2]
		m.step *= 2
	}
	m.list = append(m.list, mark{sequence, at})
}

// since returns when the oldest result after applied was written, or a little before that. It forgets
// what is applied.
func (m *marks) since(applied int64) time.Time {
	first := 0
	for first+1 < len(m.list) && m.list[first+1].sequence <= applied+1 {
		first++
	}
	m.list = append(m.list[:0], m.list[first:]...)
	if len(m.list) == 0 {
		return time.Time{}
	}
	return m.list[0].at
}

// Waiting returns how many results metering has not confirmed yet, and since when the oldest of them
// has been waiting; zero if none is.
func (j *Journal) Waiting() (events int64, since time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	older := func(at time.Time) {
		if !at.IsZero() && (since.IsZero() || at.Before(since)) {
			since = at
		}
	}
	for p := range partitions {
		applied := int64(0)
		if a := j.applied[j.epoch]; a != nil {
			applied = a[p]
		}
		if n := j.last[p] - applied; n > 0 {
			events += n
			older(j.marks[p].since(applied))
		}
	}
	for _, s := range j.segments { // what earlier processes left
		if s.epoch == j.epoch {
			continue
		}
		applied := j.applied[s.epoch]
		for p, last := range s.last {
			from := s.first[p]
			if applied != nil {
				from = max(from, applied[p]+1)
			}
			if last > 0 && last >= from {
				events += last - from + 1
				older(s.began)
			}
		}
	}
	return events, since
}
