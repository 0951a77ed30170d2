package telemetry

import (
	"maps"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Set is a set of attributes in the forms that instruments take, made once: making it for each
// measurement costs more than the measurement.
//
//	duration.Record(ctx, seconds, set.Record...)
type Set struct {
	Record  []metric.RecordOption
	Add     []metric.AddOption
	Observe []metric.ObserveOption
}

// NewSet makes a set.
func NewSet(attributes ...attribute.KeyValue) Set {
	option := metric.WithAttributeSet(attribute.NewSet(attributes...))
	return Set{Record: []metric.RecordOption{option}, Add: []metric.AddOption{option}, Observe: []metric.ObserveOption{option}}
}

// maxSets bounds the sets of one Sets, and so the time series of its instruments.
const maxSets = 2000

var overflow = NewSet(attribute.Bool("otel.metric.overflow", true))

// Sets keeps sets by what they are made from. Looking one up does not allocate.
type Sets[K comparable] struct {
	build func(K) []attribute.KeyValue
	known atomic.Pointer[map[K]Set]
	mu    sync.Mutex // of whoever adds
}

// NewSets returns an empty Sets. build says what stands in the set of a key.
func NewSets[K comparable](build func(K) []attribute.KeyValue) *Sets[K] {
	s := &Sets[K]{build: build}
	s.known.Store(&map[K]Set{})
	return s
}

// Of returns the set of key. After 2000 keys, new ones share a set that says so.
func (s *Sets[K]) Of(key K) Set {
	if set, ok := (*s.known.Load())[key]; ok {
		return set
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := *s.known.Load()
	if set, ok := known[key]; ok {
		return set
	}
	if len(known) >= maxSets {
		return overflow
	}
	more := maps.Clone(known)
	more[key] = NewSet(s.build(key)...)
	s.known.Store(&more)
	return more[key]
}
