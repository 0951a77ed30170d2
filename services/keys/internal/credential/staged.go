package credential

import (
	"context"
	"slices"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/etag"
	"github.com/claviger/claviger/services/keys/internal/member"
)

// Staged is a second secret on its way to take the place of the first.
//
// It may lead to other places than the first: another region, project or list of deployments. That breaks no
// rule of places. Each secret is sealed to its own, routers dial what the opened text itself says, and so
// neither is ever sent where only the other belongs. The base URL stands beside the secret and not in it: it
// is one for both, both are bound to it, and changing it discards both. What is refused is what is refused of
// every secret: an endpoint that egress does not allow. Since an owner may not mean to move, the answer warns
// of it and the audit names both lists of places.
type Staged struct {
	Revision int              `json:"revision"`
	Hint     string           `json:"hint"`
	Sealed   string           `json:"-"` // in a column of its own
	Settings keyform.Settings `json:"settings,omitzero"`
	Models   []string         `json:"models,omitempty"`
	// Verdict is what a test, or a provider while serving, said of it last, at DecidedAt.
	Verdict   State     `json:"verdict"`
	Reason    string    `json:"reason,omitempty"`
	DecidedAt time.Time `json:"decided_at"`
	// Share is its share of the requests, in percent, since SharedAt.
	Share    int       `json:"share,omitempty"`
	StagedAt time.Time `json:"staged_at"`
	SharedAt time.Time `json:"shared_at,omitzero"`
	// RolledBack says that a provider's refusal took its share away.
	RolledBack bool `json:"rolled_back,omitempty"`
	// Setbacks and NextProbeAt are as a credential's.
	Setbacks    int       `json:"setbacks,omitempty"`
	NextProbeAt time.Time `json:"next_probe_at,omitzero"`
	LastUseAt   time.Time `json:"-"`
	Heard
}

// ready reports whether it has passed its test, and nothing has been said against it since.
func (n *Staged) ready() bool { return n.Verdict == Active || n.Verdict == Degraded }

// heard reports whether evidence says anything new of it.
func (n *Staged) heard(f Finding) bool {
	return n.Verdict != Rejected && IsEvidence(f.Class) && !n.stale(f)
}

// Previous is a secret that no longer serves and may still be valid at its provider. Nothing of it is kept
// but what people need to revoke it there: to go back to it, it has to be staged again.
type Previous struct {
	Revision   int       `json:"revision"`
	Hint       string    `json:"hint"`
	ReplacedAt time.Time `json:"replaced_at"`
	// Version is the configuration from which on it is not in use; 0 is unknown.
	Version   int64     `json:"-"`
	LastUseAt time.Time `json:"-"`
}

// replace takes the secret that serves out of use.
func (c *Credential) replace(now time.Time) {
	if c.Sealed != "" {
		c.Previous = &Previous{Revision: c.Revision, Hint: c.Hint, ReplacedAt: now, LastUseAt: c.LastUseAt}
	}
	c.LastUseAt = noTime
}

// nextRevision is one that no secret of c has had.
func (c Credential) nextRevision() int { return max(c.Revision, c.LastRevision) + 1 }

// DraftStage seals a second secret for c as it was read, outside of a transaction.
func (s *Service) DraftStage(ctx context.Context, c Credential, plain secret.Text, tag string) (Rotation, error) {
	if c.Sealed == "" {
		return Rotation{}, ErrNoSecret.Saying("the credential has no secret that a second one could take the place of")
	}
	r, err := s.DraftRotation(ctx, c, plain, tag)
	if err != nil {
		return Rotation{}, err
	}
	if !slices.Equal(c.Settings.Places(), r.settings.Places()) {
		r.Warnings = append(r.Warnings, fault.Violation{Field: "secret", Description: "it leads to other places than the secret that serves"})
	}
	return r, nil
}

// Stage keeps a drafted secret beside the one that serves, and asks for its test.
func (s *Service) Stage(ctx context.Context, tx Tx, caller member.Caller, r Rotation) (Credential, error) {
	c, err := s.edited(ctx, tx, caller, r.id, r.tag)
	if err != nil {
		return Credential{}, err
	}
	now := s.Now()
	detail := audit.Detail{"label": c.Label, "revision": r.revision, "hint": r.hint}
	if before, after := c.Settings.Places(), r.settings.Places(); !slices.Equal(before, after) {
		detail["places"] = audit.Change{From: before, To: after}
	}
	if c.Next != nil {
		detail["discarded_revision"] = c.Next.Revision
	}
	c.LastRevision = r.revision
	c.Next = &Staged{
		Revision: r.revision, Hint: r.hint, Sealed: r.sealed, Settings: r.settings, Verdict: Unverified, DecidedAt: now, StagedAt: now,
		Setbacks: 1, NextProbeAt: now.Add(firstProbe),
	}
	if err := tx.UpdateCredential(ctx, c); err != nil {
		return Credential{}, err
	}
	if slices.Contains(judged, c.State()) { // else it is tested once its credential may serve again
		if _, err := s.requestProbe(ctx, tx, c, r.revision); err != nil {
			return Credential{}, err
		}
	}
	return c, tx.Record(ctx, "credential.stage", c.ID, detail)
}

// Chosen names one of a credential's secrets.
type Chosen struct {
	ID       string
	Revision int
	ETag     string
}

// Share gives the second secret its share of the requests, in percent.
func (s *Service) Share(ctx context.Context, tx Tx, caller member.Caller, in Chosen, percent int) (Credential, error) {
	c, next, err := s.staged(ctx, tx, caller, in)
	if err != nil {
		return Credential{}, err
	}
	if percent > 0 && !next.ready() {
		return Credential{}, untested(next)
	}
	detail := audit.Detail{"label": c.Label, "revision": next.Revision, "share_percent": audit.Change{From: next.Share, To: percent}}
	next.Share, next.SharedAt = percent, s.Now()
	if percent > 0 {
		next.RolledBack = false
	}
	c.Next = &next
	if err := tx.UpdateCredential(ctx, c); err != nil {
		return Credential{}, err
	}
	return c, tx.Record(ctx, "credential.share", c.ID, detail)
}

// Promote makes the second secret the one that serves.
func (s *Service) Promote(ctx context.Context, tx Tx, caller member.Caller, in Chosen) (Credential, error) {
	c, next, err := s.staged(ctx, tx, caller, in)
	if err != nil {
		return Credential{}, err
	}
	if !next.ready() {
		return Credential{}, untested(next)
	}
	from, now := c.State(), s.Now()
	detail := audit.Detail{
		"label": c.Label, "revision": audit.Change{From: c.Revision, To: next.Revision}, "hint": audit.Change{From: c.Hint, To: next.Hint},
		"share_percent": next.Share,
	}
	c.replace(now)
	c.Revision, c.Sealed, c.Hint, c.Settings, c.Models = next.Revision, next.Sealed, next.Hint, next.Settings, next.Models
	// What was said of it while it was the second one is not said anew.
	c.Verdict, c.Doubt, c.Setbacks, c.Next, c.LastUseAt = next.Verdict, Doubt{Heard: next.Heard}, 0, nil, next.LastUseAt
	s.move(&c, from, Promoted, next.Reason)
	noteMove(detail, from, c)
	if err := tx.UpdateCredential(ctx, c); err != nil {
		return Credential{}, err
	}
	tx.StampPrevious(c.ID)
	return c, tx.Record(ctx, "credential.promote", c.ID, detail)
}

// Discard forgets the second secret, or the one that was replaced.
func (s *Service) Discard(ctx context.Context, tx Tx, caller member.Caller, in Chosen) (Credential, error) {
	c, err := s.edited(ctx, tx, caller, in.ID, in.ETag)
	if err != nil {
		return Credential{}, err
	}
	detail := audit.Detail{"label": c.Label, "revision": in.Revision}
	switch {
	case c.Next != nil && c.Next.Revision == in.Revision:
		detail["hint"], detail["share_percent"] = c.Next.Hint, c.Next.Share
		c.Next = nil
	case c.Previous != nil && c.Previous.Revision == in.Revision:
		detail["hint"] = c.Previous.Hint
		c.Previous = nil
	case c.Revision == in.Revision:
		return Credential{}, ErrSecret.Saying("%s is the secret that serves", words(in.Revision)).Hinting("delete the credential, or rotate another secret in")
	default:
		return Credential{}, ErrSecret.Saying("the credential has no secret of %s", words(in.Revision))
	}
	if err := tx.UpdateCredential(ctx, c); err != nil {
		return Credential{}, err
	}
	return c, tx.Record(ctx, "credential.discard", c.ID, detail)
}

// edited reads a credential that a person is about to change, and counts the change.
func (s *Service) edited(ctx context.Context, tx Tx, caller member.Caller, credentialID, tag string) (Credential, error) {
	c, err := tx.Credential(ctx, credentialID)
	if err != nil {
		return Credential{}, err
	}
	if err := etag.Check("credential", c.Version, tag); err != nil {
		return Credential{}, err
	}
	c.Version, c.UpdatedAt, c.UpdatedBy = c.Version+1, s.Now(), caller.MemberID
	return c, nil
}

// staged is edited, with a copy of the second secret that in means.
func (s *Service) staged(ctx context.Context, tx Tx, caller member.Caller, in Chosen) (Credential, Staged, error) {
	c, err := s.edited(ctx, tx, caller, in.ID, in.ETag)
	switch {
	case err != nil:
		return Credential{}, Staged{}, err
	case c.Next == nil:
		return Credential{}, Staged{}, ErrNotStaged.With("credential", c.Label)
	case c.Next.Revision != in.Revision:
		return Credential{}, Staged{}, ErrSecret.Saying("the second secret is %s, not %d", words(c.Next.Revision), in.Revision)
	}
	return c, *c.Next, nil
}

func untested(next Staged) error {
	err := ErrUntested.Saying("the second secret has not passed its test: it is %s", next.Verdict)
	if next.Reason != "" {
		err = ErrUntested.Saying("the second secret has not passed its test: it is %s (%s)", next.Verdict, next.Reason)
	}
	return err
}

// noteMove puts into the audit of an owner's change that it has moved the state.
func noteMove(detail audit.Detail, from State, c Credential) {
	if c.State() != from {
		detail["state"] = audit.Change{From: from, To: c.State()}
	}
}

// learnNext takes what a router found of the second secret. One refusal is enough to take its share away:
// the first secret is there to serve, so a roll-back that was not needed costs nobody a request.
func (s *Service) learnNext(ctx context.Context, tx Tx, c Credential, f Finding) error {
	next, now := *c.Next, s.Now()
	before := next
	switch {
	case next.stale(f):
		return nil
	case f.Tested && f.State == "":
		next.Reason = "the last test reached no verdict: " + f.Reason
		c.Next = &next
		return tx.UpdateSchedule(ctx, c)
	case f.Tested:
		next.Verdict = f.State
		if next.ready() {
			models := slices.Clone(f.Models)
			slices.Sort(models)
			next.Models = slices.Compact(models)
		}
	case !next.heard(f):
		return nil
	default:
		next.Verdict = map[string]State{classInvalid: Rejected, classLimited: Degraded, classFunds: QuotaExhausted}[f.Class]
	}
	next.note(f, now)
	next.Reason, next.DecidedAt, next.NextProbeAt = f.Reason, now, noTime
	if next.Share > 0 && (!f.Tested || !next.ready()) {
		next.Share, next.SharedAt, next.RolledBack = 0, now, true
	}
	c.Next = &next
	if next.Verdict == before.Verdict && next.Share == before.Share && slices.Equal(next.Models, before.Models) {
		return tx.UpdateSchedule(ctx, c)
	}
	if err := tx.UpdateCredential(ctx, c); err != nil {
		return err
	}
	detail := audit.Detail{"label": c.Label, "revision": next.Revision, "reason": f.Reason, "tested": f.Tested}
	if next.Verdict != before.Verdict {
		detail["state"] = audit.Change{From: before.Verdict, To: next.Verdict}
	}
	switch {
	case next.RolledBack && !before.RolledBack:
		detail["share_percent"] = audit.Change{From: before.Share, To: 0}
		return tx.Record(ctx, "credential.roll_back", c.ID, detail)
	case next.Verdict != before.Verdict:
		return tx.Record(ctx, "credential.staged_state", c.ID, detail)
	}
	return nil
}
