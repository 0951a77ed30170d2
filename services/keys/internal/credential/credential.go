// Package credential holds the provider API keys that organizations bring.
//
// The plaintext of a credential lives from the handler to Seal and no further: nothing in this
// service can open what it has sealed. What can be said of a secret, its state, is decided here from
// what routers report, and from nothing else.
package credential

import (
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/transit"
	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/bound"
	"github.com/claviger/claviger/services/keys/internal/etag"
)

// The errors of this package.
var (
	ErrNotFound = fault.New(fault.NotFound, "CREDENTIAL_NOT_FOUND", "credential not found")
	ErrExists   = fault.New(fault.Conflict, "CREDENTIAL_EXISTS", "a credential with this label exists already").Hinting("choose another label or rotate that credential")
	ErrTerms    = fault.New(fault.Precondition, "TERMS_NOT_ACCEPTED", "the terms for bringing a key are not accepted").
			Hinting("set accept_terms if the organization may use this key here and knows that the provider bills it")
	ErrEndpoint  = fault.New(fault.Invalid, "ENDPOINT_NOT_ALLOWED", "the endpoint is not a plain address").Hinting("write it like https://acme.openai.azure.com")
	ErrNoSecret  = fault.New(fault.Precondition, "CREDENTIAL_NO_SECRET", "the credential has no secret to test").Hinting("rotate a secret in")
	ErrInUse     = fault.New(fault.Precondition, "CREDENTIAL_IN_USE", "policies name the credential").Hinting("take it out of the policies first; to stop it at once, disable it")
	ErrDisabled  = fault.New(fault.Precondition, "CREDENTIAL_DISABLED", "the credential is disabled").Hinting("enable it first")
	ErrExpired   = fault.New(fault.Precondition, "CREDENTIAL_EXPIRED", "the credential is past its expire_time").Hinting("move or clear its expire_time first")
	ErrExpiry    = fault.New(fault.Invalid, "EXPIRE_TIME_INVALID", "expire_time is not in the future").Hinting("leave it out for a credential that does not expire")
	ErrScope     = fault.New(fault.Invalid, "CREDENTIAL_SCOPE_INVALID", "the scope names what is not there").Hinting("name API keys and groups by their ids; revoked keys are none")
	ErrNotStaged = fault.New(fault.Precondition, "SECRET_NOT_STAGED", "there is no second secret").Hinting("stage one first")
	ErrSecret    = fault.New(fault.Conflict, "SECRET_REVISION_MISMATCH", "the revision is of another secret").Hinting("read the credential again")
	ErrUntested  = fault.New(fault.Precondition, "SECRET_NOT_TESTED", "the second secret has not passed its test").Hinting("test it with its revision")
)

// State says whether a credential can serve.
type State string

// The states.
const (
	Unverified     State = "unverified"
	Active         State = "active"
	Degraded       State = "degraded"
	QuotaExhausted State = "quota_exhausted"
	Rejected       State = "rejected"
	Expired        State = "expired"
	Disabled       State = "disabled"
	NoSecret       State = "no_secret"
)

// Credential is a provider's key that an organization brought.
type Credential struct {
	OrgID    string
	ID       string
	Provider string
	Label    string
	// BaseURL is the normal form of the endpoint, "" for the provider's own.
	BaseURL string
	// Settings are read from the secret: where it may be sent, and what of it may be shown. They change
	// with it alone.
	Settings keyform.Settings
	// Models are what the last test found that the secret may use; none is unknown.
	Models   []string
	Priority int
	// Weight is its share among credentials of the same priority, from 1.
	Weight int
	Scope  Scope
	// ExpiresAt is when it stops serving, zero for never. Expired says that keys has taken note.
	ExpiresAt time.Time
	Expired   bool
	// Hint is the end of the secret.
	Hint string
	// Revision counts the secrets, from 1. It goes up with a new secret, not when one is discarded.
	// LastRevision is the highest that any secret of it ever had, also one that never served.
	Revision     int
	LastRevision int
	// Sealed is the sealed secret, "" if it was discarded.
	Sealed string
	// Next is a second secret beside it, nil for none; Previous is the one that it replaced.
	Next     *Staged
	Previous *Previous
	// Disabled is what an owner wants; Verdict is what routers found out of the secret.
	Disabled bool
	// Cut says that it was disabled together with the answers that it gives.
	Cut         bool
	Verdict     State
	Doubt       Doubt
	StateReason string
	StateAt     time.Time
	// Setbacks counts tests and uses that went wrong, and spaces out the tests that follow by
	// themselves; the next one is at NextProbeAt, zero for none.
	Setbacks    int
	NextProbeAt time.Time
	CreatedAt   time.Time
	CreatedBy   string
	UpdatedAt   time.Time
	UpdatedBy   string
	// Version counts the changes by people.
	Version int64
	// LastUseAt is when the secret last served a request, as far as routers have told. Only readings for
	// people fill it.
	LastUseAt time.Time
}

// State returns whether c can serve.
func (c Credential) State() State {
	switch {
	case c.Disabled:
		return Disabled
	case c.Sealed == "":
		return NoSecret
	case c.Expired:
		return Expired
	}
	return c.Verdict
}

// late reports whether c's time is up.
func (c Credential) late(now time.Time) bool {
	return !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt)
}

// DueAt is when something has to be done about c that UpdateSchedule's NextProbeAt does not tell: it expires,
// or its second secret has to be tested again. Zero is never.
func (c Credential) DueAt() time.Time {
	if !slices.Contains(judged, c.State()) {
		return noTime // what is switched off, over or without a secret is left alone
	}
	due := c.ExpiresAt
	if c.Next != nil && !c.Next.NextProbeAt.IsZero() && (due.IsZero() || c.Next.NextProbeAt.Before(due)) {
		due = c.Next.NextProbeAt
	}
	return due
}

// places are where the secret may be sent, as far as the tenant has said so. Only these are sealed into
// it; an origin that egress does not allow is no place.
func (c Credential) places(e Endpoints) ([]string, error) {
	places := c.Settings.Places()
	if c.BaseURL != "" {
		origin, _, err := e.CheckURL(c.BaseURL)
		if err != nil {
			return nil, err
		}
		places = append(places, origin)
	}
	return places, nil
}

// ETag names what people have set. A verdict does not change it, so that a key test which ends
// between reading and writing is no conflict.
func (c Credential) ETag() string { return etag.Of(c.Version) }

// Probe is a key test that a router is asked for.
type Probe struct {
	OrgID        string
	ID           string
	CredentialID string
	Revision     int
	CreatedAt    time.Time
}

// Tx is what changes of credentials need from the store.
type Tx interface {
	audit.Recorder
	bound.Counter
	Credential(ctx context.Context, id string) (Credential, error)
	InsertCredential(ctx context.Context, c Credential) error
	UpdateCredential(ctx context.Context, c Credential) error
	// UpdateSchedule stores StateReason, StateAt, Setbacks, NextProbeAt, Doubt and what of Next is as little
	// known to routers.
	UpdateSchedule(ctx context.Context, c Credential) error
	// PoliciesNaming returns the names of up to limit policies whose version that serves names the id.
	PoliciesNaming(ctx context.Context, id string, limit int) ([]string, error)
	// DeleteCredential also removes its probes and uses; cut ends the answers that it gives.
	DeleteCredential(ctx context.Context, id string, cut bool) error
	// StampPrevious notes in Previous the version of the configuration that this change makes.
	StampPrevious(id string)
	// UnknownAPIKeys and UnknownGroups return those ids that name none of the organization's. A revoked key
	// is none.
	UnknownAPIKeys(ctx context.Context, ids []string) ([]string, error)
	UnknownGroups(ctx context.Context, ids []string) ([]string, error)
	// RequestProbe stores p, or asks again for the unanswered one of the same revision, and returns
	// the id of the one that counts.
	RequestProbe(ctx context.Context, p Probe) (id string, err error)
	// ProbeAsked returns when a probe was last asked for, and whether it was answered; zero and true if it is
	// not known.
	ProbeAsked(ctx context.Context, probeID string) (at time.Time, answered bool, err error)
	// FinishProbes marks the probes of a credential's revision as answered.
	FinishProbes(ctx context.Context, credentialID string, revision int, at time.Time) error
}

// Endpoints checks base URLs. It returns the origin, "https://host[:port]", and the normal form.
type Endpoints interface {
	CheckURL(raw string) (origin string, normal *url.URL, err error)
}

// Service changes credentials.
type Service struct {
	Sealer      transit.Sealer
	Endpoints   Endpoints
	Environment string
	Now         func() time.Time
}
