package plan

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
)

// outFor is how long a credential that the provider refused is left alone. By then keys has decided
// for all routers; if keys is away, one request in this time tries again.
const outFor = time.Minute

// Memory remembers which credentials a provider has just refused. Reading costs one atomic load
// while all is well.
type Memory struct {
	now   func() time.Time
	count atomic.Int64
	mu    sync.Mutex
	out   map[memoryKey]outEntry
}

type memoryKey struct {
	credentialID string
	revision     int
}

type outEntry struct {
	reason string
	until  time.Time
}

// NewMemory returns an empty memory.
func NewMemory(now func() time.Time) *Memory {
	return &Memory{now: now, out: map[memoryKey]outEntry{}}
}

// Refused notes that a provider refused a credential. A new revision starts afresh.
func (m *Memory) Refused(c *completion.Credential, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for key, e := range m.out {
		if now.After(e.until) {
			delete(m.out, key)
		}
	}
	m.out[memoryKey{c.ID, c.Revision}] = outEntry{reason, now.Add(outFor)}
	m.count.Store(int64(len(m.out)))
}

// Out implements Health.
func (m *Memory) Out(c *completion.Credential, _ string) string {
	if m.count.Load() == 0 {
		return ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.out[memoryKey{c.ID, c.Revision}]
	if !ok || m.now().After(e.until) {
		return ""
	}
	return e.reason
}

// Low implements Health.
func (m *Memory) Low(*completion.Credential, string) bool { return false }

// Latency implements Health.
func (m *Memory) Latency(*completion.Credential, string) time.Duration { return 0 }
