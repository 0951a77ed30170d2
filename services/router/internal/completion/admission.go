package completion

import (
	"hash/maphash"
	"strconv"
	"sync"
	"sync/atomic"
)

// perFree is how many requests an organization may have open for each place that is free: it is refused when it has
// so many, or more.
//
// So nobody is refused while a tenth of the places are free, and one organization alone may have nine tenths of them.
// When it becomes tight those that have most are refused first, and who has none never is while there is a place. As
// requests end, the shares become even: with n organizations that want more than they get, each has 9/(9n+1) of
// all places that the others leave, nine tenths of an nth or more (dynamic thresholds, as switches share buffers).
// Who wants less gets all of it. Nothing has to be known for that but the organization's own count and what is free.
const perFree = 9

// admission counts the requests under way, in all and for each organization that has any. One that has none takes no
// memory: of 100,000 organizations those do that share the limit's places, some 50 bytes each. A request allocates
// nothing here. All requests meet at one number, and those of an organization at a lock, which each takes twice for
// less than 100 ns: at 50,000 requests a second of a single organization it is held for a hundredth of the time.
type admission struct {
	limit int64
	taken atomic.Int64
	// full and over count refusals: by the limit, and by an organization's share of it.
	full, over atomic.Int64
	seed       maphash.Seed
	holders    [crowds]holders
}

// holders are organizations with open requests. taken changes for them under the same lock, so that each decision
// is made of the organization's exact count and of what was free at one moment.
type holders struct {
	mu   sync.Mutex
	open map[string]int64
	_    [48]byte // holders do not share a line of the processor's cache
}

func newAdmission(limit int) *admission {
	a := &admission{limit: int64(limit), seed: maphash.MakeSeed()}
	for i := range a.holders {
		a.holders[i].open = map[string]int64{}
	}
	return a
}

// enter takes a place for a request of an organization, or says at once why there is none: nobody waits in a queue.
// What it returns is left with the organization's name.
func (a *admission) enter(orgID string) (*holders, error) {
	h := &a.holders[maphash.String(a.seed, orgID)%crowds]
	has, free := a.take(h, orgID)
	switch {
	case free <= 0:
		a.full.Add(1)
		return nil, ErrOverloaded
	case has >= perFree*free:
		a.over.Add(1)
		return nil, overShare(has)
	}
	return h, nil
}

// take takes a place, if there is one for an organization that has so many while so many are free.
func (a *admission) take(h *holders, orgID string) (has, free int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	has = h.open[orgID]
	for {
		taken := a.taken.Load()
		if free = a.limit - taken; free <= 0 || has >= perFree*free {
			return has, free
		}
		if a.taken.CompareAndSwap(taken, taken+1) {
			h.open[orgID] = has + 1
			return has, free
		}
	}
}

// leave gives a place back.
func (a *admission) leave(h *holders, orgID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if has := h.open[orgID]; has > 1 {
		h.open[orgID] = has - 1
	} else {
		delete(h.open, orgID)
	}
	a.taken.Add(-1)
}

func overShare(has int64) error {
	return errShare.Saying("the router is almost full, and this organization has its share of it with %d open requests", has).
		With("open_requests", strconv.FormatInt(has, 10))
}

// Refused is how many requests were refused because the router was full, and how many because their organization
// had its share of a router that was almost full.
func (s *Service) Refused() (full, share int64) {
	return s.admission.full.Load(), s.admission.over.Load()
}
