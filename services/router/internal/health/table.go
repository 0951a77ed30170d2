package health

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// parts is how many locks a table has.
const parts = 64

// sampled is how many entries are looked at to find one that can go.
const sampled = 8

// table keeps what is known of things of one kind, a bounded number of them.
type table[K comparable, V any] struct {
	seed  maphash.Seed
	limit int // of a part
	build func(K) *V
	parts [parts]part[K, V]
}

type part[K comparable, V any] struct {
	mu  sync.RWMutex
	all map[K]*V
	_   [32]byte // parts do not share a line of the processor's cache
}

// kept is what entries have besides.
type kept struct{ used atomic.Int64 } // unix nanoseconds

func (k *kept) usedAt() *atomic.Int64 { return &k.used }

// entry is what a table needs of what it keeps.
type entry interface {
	usedAt() *atomic.Int64
	// heldUntil is until when forgetting it would do harm, in unix nanoseconds.
	heldUntil() int64
}

func newTable[K comparable, V any](limit int, build func(K) *V) *table[K, V] {
	t := &table[K, V]{seed: maphash.MakeSeed(), limit: max(1, limit/parts), build: build}
	for i := range t.parts {
		t.parts[i].all = map[K]*V{}
	}
	return t
}

func (t *table[K, V]) part(key K) *part[K, V] {
	return &t.parts[maphash.Comparable(t.seed, key)%parts]
}

// get returns nil for what is not known.
func (t *table[K, V]) get(key K) *V {
	p := t.part(key)
	p.mu.RLock()
	v := p.all[key]
	p.mu.RUnlock()
	return v
}

// of returns what is known of a thing, from now on.
func (t *table[K, V]) of(key K, now time.Time) *V {
	v := t.get(key)
	if v == nil {
		v = t.add(key, now)
	}
	asEntry(v).usedAt().Store(now.UnixNano())
	return v
}

func (t *table[K, V]) add(key K, now time.Time) *V {
	p := t.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	if v := p.all[key]; v != nil {
		return v
	}
	if len(p.all) >= t.limit {
		p.forget(now.UnixNano())
	}
	v := t.build(key)
	p.all[key] = v
	return v
}

// forget makes room: of a few entries, the one that was not used for the longest time, and one that is held
// only if all are.
func (p *part[K, V]) forget(now int64) {
	var worst K
	var worth [2]int64
	seen := 0
	for key, v := range p.all { // begins anywhere
		e := asEntry(v)
		w := [2]int64{max(0, e.heldUntil()-now), e.usedAt().Load()}
		if seen == 0 || w[0] < worth[0] || w[0] == worth[0] && w[1] < worth[1] {
			worst, worth = key, w
		}
		if seen++; seen == sampled {
			break
		}
	}
	delete(p.all, worst)
}

// each visits everything, holding no lock meanwhile.
func (t *table[K, V]) each(visit func(*V)) {
	var all []*V
	for i := range t.parts {
		p := &t.parts[i]
		p.mu.RLock()
		all = all[:0]
		for _, v := range p.all {
			all = append(all, v)
		}
		p.mu.RUnlock()
		for _, v := range all {
			visit(v)
		}
	}
}

// len is how many are known.
func (t *table[K, V]) len() (n int) {
	for i := range t.parts {
		p := &t.parts[i]
		p.mu.RLock()
		n += len(p.all)
		p.mu.RUnlock()
	}
	return n
}

// asEntry is v as what all kinds of this package are.
func asEntry[V any](v *V) entry {
	e, _ := any(v).(entry)
	return e
}
