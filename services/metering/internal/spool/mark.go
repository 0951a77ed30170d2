// Package spool does the arithmetic of end-to-end acknowledgement: which of a router's sequence
// numbers are applied, which are missing, and up to which moment all routers' usage is in.
//
// It is pure: time and numbers come in, ranges go out. It stores and sends nothing.
package spool

import (
	"cmp"
	"slices"
)

// Range is a closed range of sequence numbers.
type Range struct{ First, Last int64 }

// Key names a sequence: a router's start and a partition.
type Key struct {
	Router    string
	Epoch     string
	Partition int
}

// Mark says which numbers of one sequence are applied: all up to Contiguous, and Ranges above it,
// in order, with gaps between them.
type Mark struct {
	Contiguous int64
	Ranges     []Range
}

// Add returns the mark with more numbers applied. It changes nothing when they were applied before.
func (m Mark) Add(more ...Range) Mark {
	all := make([]Range, 0, len(m.Ranges)+len(more)+1)
	all = append(all, Range{First: 1, Last: m.Contiguous})
	all = append(all, m.Ranges...)
	for _, r := range more {
		if r.First >= 1 && r.Last >= r.First {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	merged := all[:1]
	for _, r := range all[1:] {
		last := &merged[len(merged)-1]
		if r.First <= last.Last+1 {
			last.Last = max(last.Last, r.Last)
			continue
		}
		merged = append(merged, r)
	}
	return Mark{Contiguous: merged[0].Last, Ranges: slices.Clone(merged[1:])}
}

// Covers reports whether everything up to and including n is applied.
func (m Mark) Covers(n int64) bool { return m.Contiguous >= n }

// Highest returns the highest number that is applied.
func (m Mark) Highest() int64 {
	if len(m.Ranges) == 0 {
		return m.Contiguous
	}
	return m.Ranges[len(m.Ranges)-1].Last
}

// Missing returns the gaps up to and including head, at most limit of them, the oldest first.
func (m Mark) Missing(head int64, limit int) []Range {
	var gaps []Range
	next := m.Contiguous + 1
	for _, r := range m.Ranges {
		if next > head || len(gaps) == limit {
			return gaps
		}
		if r.First > next {
			gaps = append(gaps, Range{First: next, Last: min(r.First-1, head)})
		}
		next = r.Last + 1
	}
	if next <= head && len(gaps) < limit {
		gaps = append(gaps, Range{First: next, Last: head})
	}
	return gaps
}
