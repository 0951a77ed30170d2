// Package drill holds rehearsals: one of an organization's credentials seems to fail for one of its API
// keys, for five minutes at most. Routers fail those calls themselves: none reaches a provider, none is
// used to judge the credential, and none is usage.
package drill

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/services/keys/internal/apikey"
	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/member"
)

const (
	// Longest and Usual are how long a drill runs at most, and if nothing is said.
	Longest, Usual = 5 * time.Minute, time.Minute
	// AtOnce is how many may run in one organization.
	AtOnce = 20
	// Lateness is how long after its end routers may tell of a drill: the requests that met it end later.
	Lateness = time.Hour
	// Retention is how long a drill is kept.
	Retention = 90 * 24 * time.Hour
	// Kept is how many of an organization's drills are, the newest.
	Kept = 1000
)

// The errors of this package.
var (
	ErrNotFound = fault.New(fault.NotFound, "DRILL_NOT_FOUND", "drill not found")
	ErrRunning  = fault.New(fault.Conflict, "DRILL_RUNNING", "a drill of this credential for this API key is running already").
			Hinting("stop it or wait for its end")
	ErrTooMany = fault.New(fault.Precondition, "TOO_MANY_DRILLS", "20 drills are running already").Hinting("stop one or wait for an end")
	ErrKeyGone = fault.New(fault.Precondition, "API_KEY_REVOKED", "the API key is revoked: nobody can call with it").Hinting("choose another API key")
)

// Fault is what the credential seems to do.
type Fault string

// The faults.
const (
	RateLimited  Fault = "rate_limited"
	Unauthorized Fault = "unauthorized"
	Slow         Fault = "slow"
)

// Drill is a rehearsal.
type Drill struct {
	OrgID, ID              string
	CredentialID, APIKeyID string
	Fault                  Fault
	StartedAt              time.Time
	// EndsAt is when it ends, or was stopped.
	EndsAt    time.Time
	StartedBy string
	// Running says that routers are told of it. One whose time is over is not running, even if they still are.
	Running bool
	Report  Report
}

// Report is what came of a drill.
type Report struct {
	// Requests met it, FailedCalls seemed to fail, and Unserved of the requests were served by nobody.
	Requests, FailedCalls, Unserved int64
	Served                          []Served
}

// Served is who served requests that met a drill.
type Served struct {
	Model string `json:"model"`
	// CredentialID is empty for the platform's.
	CredentialID string `json:"credential_id,omitempty"`
	PolicyID     string `json:"policy_id,omitempty"`
	// Line counts from 1; 0 without a policy.
	Line     int   `json:"line,omitempty"`
	Requests int64 `json:"requests"`
}

// Add counts what other says too.
func (r *Report) Add(other Report) {
	r.Requests += other.Requests
	r.FailedCalls += other.FailedCalls
	r.Unserved += other.Unserved
	for _, s := range other.Served {
		who := s
		who.Requests = 0
		i := slices.IndexFunc(r.Served, func(have Served) bool { have.Requests = 0; return have == who })
		if i < 0 {
			r.Served = append(r.Served, s)
			continue
		}
		r.Served[i].Requests += s.Requests
	}
	slices.SortFunc(r.Served, func(a, b Served) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Model, b.Model), cmp.Compare(a.CredentialID, b.CredentialID),
			cmp.Compare(a.PolicyID, b.PolicyID), cmp.Compare(a.Line, b.Line))
	})
}

// Progress is what came of a drill at one run of one router, counted from its beginning there.
type Progress struct {
	DrillID, Router, Epoch string
	Report                 Report
}

// Tx is what changes of drills need from the store.
type Tx interface {
	audit.Recorder
	Credential(ctx context.Context, id string) (credential.Credential, error)
	APIKey(ctx context.Context, id string) (apikey.Key, error)
	// Drill also reads its report.
	Drill(ctx context.Context, id string) (Drill, error)
	InsertDrill(ctx context.Context, d Drill) error
	// ForgetDrills removes drills that are over, the oldest first, but for the newest of all.
	ForgetDrills(ctx context.Context, keep int) error
	// EndDrill tells routers no more of a drill that has ended at a time.
	EndDrill(ctx context.Context, id string, at time.Time) error
	// EndDrills does so with all whose time is over, and returns how many still run.
	EndDrills(ctx context.Context, now time.Time) (running int, err error)
}

// Service starts and stops drills.
type Service struct{ Now func() time.Time }

// New is the input of Start.
type New struct {
	CredentialID, APIKeyID string
	Fault                  Fault
	// Duration is at most Longest; 0 is Usual.
	Duration time.Duration
}

// Start begins a drill of the organization's own credential and API key.
func (s *Service) Start(ctx context.Context, tx Tx, caller member.Caller, in New) (Drill, error) {
	now := s.Now()
	running, err := tx.EndDrills(ctx, now)
	if err != nil {
		return Drill{}, err
	}
	c, err := tx.Credential(ctx, in.CredentialID)
	if err != nil {
		return Drill{}, err
	}
	k, err := tx.APIKey(ctx, in.APIKeyID)
	switch {
	case err != nil:
		return Drill{}, err
	case !k.RevokedAt.IsZero():
		return Drill{}, ErrKeyGone.With("api_key", k.Name)
	case running >= AtOnce:
		return Drill{}, ErrTooMany
	}
	d := Drill{
		OrgID: caller.OrgID, ID: id.New("drill"), CredentialID: c.ID, APIKeyID: k.ID, Fault: in.Fault, StartedAt: now,
		EndsAt: now.Add(min(cmp.Or(in.Duration, Usual), Longest)), StartedBy: caller.MemberID, Running: true,
	}
	if err := tx.InsertDrill(ctx, d); err != nil {
		if errors.Is(err, ErrRunning) {
			return Drill{}, ErrRunning.With("credential", c.Label).With("api_key", k.Name)
		}
		return Drill{}, err
	}
	if err := tx.ForgetDrills(ctx, Kept); err != nil {
		return Drill{}, err
	}
	return d, tx.Record(ctx, "drill.start", d.ID, audit.Detail{
		"credential_id": c.ID, "label": c.Label, "api_key_id": k.ID, "name": k.Name, "fault": d.Fault, "end_time": d.EndsAt,
	})
}

// Stop ends a drill before its time. One that is over stays as it is.
func (s *Service) Stop(ctx context.Context, tx Tx, drillID string) (Drill, error) {
	d, err := tx.Drill(ctx, drillID)
	if err != nil {
		return Drill{}, err
	}
	if now := s.Now(); d.Running && now.Before(d.EndsAt) {
		d.EndsAt, d.Running = now, false
		if err := tx.EndDrill(ctx, d.ID, now); err != nil {
			return Drill{}, err
		}
	}
	return d, tx.Record(ctx, "drill.stop", d.ID, audit.Detail{"end_time": d.EndsAt})
}
