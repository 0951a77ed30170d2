package report

import (
	"cmp"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/router/internal/completion"
)

// headroomEvery is how often the same credential and model are told of, unless a cooldown came or went. A
// hundred routers with two hundred busy credentials each are some seven hundred rows a second so, and not
// four thousand.
const headroomEvery = 30 * time.Second

// headroomMemory is how long a cooldown that keys was told of is remembered. None is longer.
const headroomMemory = time.Hour

// Learned visits what was learned of providers' limits since it was called last.
type Learned func(visit func(c *completion.Credential, model string, left completion.Headroom, coolingUntil, at time.Time))

type place struct{ credentialID, model string }

// headroom are the limits that keys has not been told of. Its owner locks.
type headroom struct {
	waiting map[place]*keysv1.HeadroomReport
	told    map[place]told
}

// told is what keys heard last of a place.
type told struct {
	at      time.Time
	cooling bool
}

func newHeadroom() headroom {
	return headroom{waiting: map[place]*keysv1.HeadroomReport{}, told: map[place]told{}}
}

// modelsWaiting bounds of how many models of a credential keys is to be told: callers choose their names, and an address
// of one's own may answer to every name.
const modelsWaiting = 100

// learn takes over what is new.
func (h *headroom) learn(learned Learned) {
	models := map[string]int{} // by credential
	for at := range h.waiting {
		models[at.credentialID]++
	}
	learned(func(c *completion.Credential, model string, left completion.Headroom, coolingUntil, at time.Time) {
		report := &keysv1.HeadroomReport{OrgId: c.OrgID, Headroom: &keysv1.Headroom{
			CredentialId: c.ID, Model: model, Requests: allowance(left.Requests, at), Tokens: allowance(left.Tokens, at), Time: timestamppb.New(at),
		}}
		if coolingUntil.After(at) {
			report.Headroom.CoolingUntil = timestamppb.New(coolingUntil)
		}
		key := place{c.ID, model}
		if h.waiting[key] == nil {
			if models[c.ID] >= modelsWaiting {
				return // told of when there is room, if it is still called
			}
			models[c.ID]++
		}
		h.waiting[key] = report
	})
}

func allowance(a completion.Allowance, at time.Time) *keysv1.Allowance {
	if !a.Known {
		return nil
	}
	out := &keysv1.Allowance{Limit: a.Limit, Remaining: a.Remaining}
	if a.Reset > 0 {
		out.ResetTime = timestamppb.New(at.Add(a.Reset))
	}
	return out
}

// take returns what keys is to be told of now, the newest first.
func (h *headroom) take(now time.Time) []*keysv1.HeadroomReport {
	for at, t := range h.told {
		if age := now.Sub(t.at); age >= headroomEvery && !t.cooling || age >= headroomMemory {
			delete(h.told, at)
		}
	}
	var out []*keysv1.HeadroomReport
	for at, report := range h.waiting {
		last, known := h.told[at]
		if !known || now.Sub(last.at) >= headroomEvery || last.cooling != (report.GetHeadroom().GetCoolingUntil() != nil) {
			out = append(out, report)
		}
	}
	slices.SortFunc(out, func(a, b *keysv1.HeadroomReport) int {
		return cmp.Or(b.GetHeadroom().GetTime().AsTime().Compare(a.GetHeadroom().GetTime().AsTime()), cmp.Compare(placeOf(a).credentialID, placeOf(b).credentialID))
	})
	out = out[:min(len(out), maxKept)]
	for _, report := range out {
		delete(h.waiting, placeOf(report))
		h.told[placeOf(report)] = told{at: now, cooling: report.GetHeadroom().GetCoolingUntil() != nil}
	}
	return out
}

// untold says that what take returned has not reached keys. Newer reports stay.
func (h *headroom) untold(reports []*keysv1.HeadroomReport) {
	for _, report := range reports {
		delete(h.told, placeOf(report))
		if h.waiting[placeOf(report)] == nil {
			h.waiting[placeOf(report)] = report
		}
	}
}

func placeOf(r *keysv1.HeadroomReport) place {
	return place{r.GetHeadroom().GetCredentialId(), r.GetHeadroom().GetModel()}
}
