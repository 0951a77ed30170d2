package report

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

const (
	// maxDrills bounds the drills that are counted at once; more are not. An organization runs 20 at most.
	maxDrills = 1000
	// drillsAtOnce and maxServed are the contract's bounds.
	drillsAtOnce, maxServed = 100, 256
	// drillMemory is how long after its end a drill is counted: the requests that met it end later.
	drillMemory = time.Hour
)

// Drills counts what comes of rehearsals at this router, each from its beginning.
type Drills struct {
	now func() time.Time

	mu   sync.Mutex
	byID map[string]*rehearsal
}

var _ completion.Drills = (*Drills)(nil)

type rehearsal struct {
	told  *keysv1.DrillProgress
	until time.Time
	news  bool
}

func newDrills(now func() time.Time) *Drills {
	return &Drills{now: now, byID: map[string]*rehearsal{}}
}

// Met implements completion.Drills.
func (d *Drills) Met(drill *completion.Drill, first bool) {
	d.count(drill, func(r *keysv1.DrillReport) {
		r.FailedCalls++
		if first {
			r.Requests++
		}
	})
}

// Unserved implements completion.Drills.
func (d *Drills) Unserved(drill *completion.Drill) {
	d.count(drill, func(r *keysv1.DrillReport) { r.Unserved++ })
}

// Served implements completion.Drills.
func (d *Drills) Served(drill *completion.Drill, by *completion.Target) {
	who := &keysv1.DrillServed{Model: by.Model, PolicyId: by.PolicyID, Requests: 1}
	if by.Class == usage.Own && by.Credential != nil {
		who.CredentialId = by.Credential.ID
	}
	if by.PolicyID != "" {
		who.Line = int32(by.Line) + 1
	}
	d.count(drill, func(r *keysv1.DrillReport) {
		for _, s := range r.GetServed() {
			if s.GetModel() == who.GetModel() && s.GetCredentialId() == who.GetCredentialId() && s.GetPolicyId() == who.GetPolicyId() && s.GetLine() == who.GetLine() {
				s.Requests++
				return
			}
		}
		if len(r.GetServed()) < maxServed {
			r.Served = append(r.Served, who)
		}
	})
}

func (d *Drills) count(drill *completion.Drill, add func(*keysv1.DrillReport)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.byID[drill.ID]
	if r == nil {
		if len(d.byID) >= maxDrills {
			return
		}
		r = &rehearsal{until: drill.Until.Add(drillMemory), told: &keysv1.DrillProgress{OrgId: drill.OrgID, DrillId: drill.ID, Report: &keysv1.DrillReport{}}}
		d.byID[drill.ID] = r
	}
	add(r.told.GetReport())
	r.news = true
}

// take returns the drills of which there is something new, as they are, and forgets those of long ago.
func (d *Drills) take() []*keysv1.DrillProgress {
	now := d.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []*keysv1.DrillProgress
	for id, r := range d.byID {
		switch {
		case r.news && len(out) < drillsAtOnce:
			r.news = false
			out = append(out, proto.CloneOf(r.told))
		case !r.news && now.After(r.until):
			delete(d.byID, id)
		}
	}
	slices.SortFunc(out, func(a, b *keysv1.DrillProgress) int { return cmp.Compare(a.GetDrillId(), b.GetDrillId()) })
	return out
}

// untold says that what take returned has not reached keys.
func (d *Drills) untold(told []*keysv1.DrillProgress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range told {
		if r := d.byID[t.GetDrillId()]; r != nil {
			r.news = true
		}
	}
}
