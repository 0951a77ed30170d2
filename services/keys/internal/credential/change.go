package credential

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/transit"
	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/bound"
	"github.com/claviger/claviger/services/keys/internal/etag"
	"github.com/claviger/claviger/services/keys/internal/label"
	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/provider"
)

// New is the input of Service.Draft.
type New struct {
	Provider string
	Label    string
	Secret   secret.Text
	BaseURL  string
	Priority int
	// Weight 0 is 1.
	Weight      int
	Scope       Scope
	ExpiresAt   time.Time
	AcceptTerms bool
}

// Draft is a new credential that is sealed and not stored yet.
type Draft struct {
	Credential Credential
	// Warnings name what was accepted and may not be meant.
	Warnings []fault.Violation
}

// Draft checks a new credential and seals its secret, outside of a transaction: Vault may be slow.
func (s *Service) Draft(ctx context.Context, caller member.Caller, in New) (Draft, error) {
	if err := provider.Check(in.Provider); err != nil {
		return Draft{}, err
	}
	if err := label.Check("label", in.Label); err != nil {
		return Draft{}, err
	}
	form, err := s.read(in.Provider, in.Secret)
	if err != nil {
		return Draft{}, err
	}
	baseURL, err := s.baseURL(in.Provider, in.BaseURL)
	if err != nil {
		return Draft{}, err
	}
	if !in.AcceptTerms {
		return Draft{}, ErrTerms
	}
	now := s.Now()
	if !in.ExpiresAt.IsZero() && !in.ExpiresAt.After(now) {
		return Draft{}, ErrExpiry
	}
	c := Credential{
		OrgID: caller.OrgID, ID: id.New("cred"), Provider: in.Provider, Label: in.Label, BaseURL: baseURL, Settings: form.Settings, Priority: in.Priority,
		Weight: max(in.Weight, 1), Scope: in.Scope, ExpiresAt: in.ExpiresAt, Revision: 1, LastRevision: 1, Hint: form.Hint, Verdict: Unverified, StateAt: now,
		Setbacks: 1, NextProbeAt: now.Add(firstProbe), CreatedAt: now, CreatedBy: caller.MemberID, UpdatedAt: now, UpdatedBy: caller.MemberID, Version: 1,
	}
	c.Sealed, err = s.seal(ctx, c, form.Normal)
	if err != nil {
		return Draft{}, err
	}
	return Draft{Credential: c, Warnings: form.Warnings}, nil
}

// Create adds a drafted credential and asks for a key test.
func (s *Service) Create(ctx context.Context, tx Tx, c Credential) error {
	if err := checkScope(ctx, tx, c.Scope); err != nil {
		return err
	}
	add := func() error { return tx.InsertCredential(ctx, c) }
	if err := bound.Keep(ctx, tx, add, bound.Credentials, bound.CredentialsOf(c.Provider), bound.ScopeBytes); err != nil {
		return err
	}
	if _, err := s.requestProbe(ctx, tx, c, c.Revision); err != nil {
		return err
	}
	detail := audit.Detail{
		"provider": c.Provider, "label": c.Label, "base_url": c.BaseURL, "places": c.Settings.Places(), "priority": c.Priority, "weight": c.Weight,
		"hint": c.Hint, "accept_terms": true,
	}
	if !c.Scope.equal(Scope{}) {
		detail["scope"] = c.Scope
	}
	if !c.ExpiresAt.IsZero() {
		detail["expire_time"] = c.ExpiresAt
	}
	return tx.Record(ctx, "credential.create", c.ID, detail)
}

// Edit is the input of Update. Absent fields stay.
type Edit struct {
	ID       string
	Label    *string
	BaseURL  *string
	Priority *int
	Weight   *int
	Scope    *Scope
	// ExpiresAt is the new time; a zero one is never.
	ExpiresAt *time.Time
	Disabled  *bool
	// CutStreams ends the answers that it gives, if it is disabled.
	CutStreams bool
	ETag       string
}

// Update changes what people set. A new base URL discards the secrets, so that they can never be sent
// to another host.
func (s *Service) Update(ctx context.Context, tx Tx, caller member.Caller, in Edit) (Credential, error) {
	c, err := s.edited(ctx, tx, caller, in.ID, in.ETag)
	if err != nil {
		return Credential{}, err
	}
	from, replaced, detail := c.State(), c.Previous, audit.Detail{"label": c.Label}
	if in.Scope != nil && !in.Scope.equal(c.Scope) {
		if err := checkScope(ctx, tx, *in.Scope); err != nil {
			return Credential{}, err
		}
		detail["scope"] = audit.Change{From: c.Scope, To: *in.Scope}
		c.Scope = *in.Scope
	}
	test, err := s.apply(&c, in, detail)
	if err != nil {
		return Credential{}, err
	}
	noteMove(detail, from, c)
	if err := bound.Keep(ctx, tx, func() error { return tx.UpdateCredential(ctx, c) }, bound.ScopeBytes); err != nil {
		return Credential{}, err
	}
	if c.Previous != replaced {
		tx.StampPrevious(c.ID)
	}
	if test && c.Sealed != "" {
		if _, err := s.requestProbe(ctx, tx, c, c.Revision); err != nil {
			return Credential{}, err
		}
	}
	return c, tx.Record(ctx, "credential.update", c.ID, detail)
}

// apply sets the fields of in, and notes in detail what changes. It reports whether a key test has to follow.
func (s *Service) apply(c *Credential, in Edit, detail audit.Detail) (test bool, err error) {
	if in.Label != nil && *in.Label != c.Label {
		if err := label.Check("label", *in.Label); err != nil {
			return false, err
		}
	}
	set(detail, "label", &c.Label, in.Label)
	set(detail, "priority", &c.Priority, in.Priority)
	set(detail, "weight", &c.Weight, in.Weight)
	events := []func(*Credential, Edit, audit.Detail) (bool, error){s.moveExpiry, s.moveEndpoint, s.switchOver}
	for _, event := range events {
		asked, err := event(c, in, detail)
		if err != nil {
			return false, err
		}
		test = test || asked
	}
	if cut := c.Disabled && (c.Cut || in.CutStreams); cut != c.Cut {
		detail["cut_streams"] = audit.Change{From: c.Cut, To: cut}
		c.Cut = cut
	}
	return test, nil
}

// set takes over a new value.
func set[T comparable](detail audit.Detail, name string, field, value *T) {
	if value != nil && *value != *field {
		detail[name] = audit.Change{From: *field, To: *value}
		*field = *value
	}
}

// moment is nothing for a time that never comes.
func moment(at time.Time) any {
	if at.IsZero() {
		return nil
	}
	return at
}

func (s *Service) moveExpiry(c *Credential, in Edit, detail audit.Detail) (test bool, err error) {
	if in.ExpiresAt == nil || in.ExpiresAt.Equal(c.ExpiresAt) {
		return false, nil
	}
	if !in.ExpiresAt.IsZero() && !in.ExpiresAt.After(s.Now()) {
		return false, ErrExpiry
	}
	from := c.State()
	detail["expire_time"] = audit.Change{From: moment(c.ExpiresAt), To: moment(*in.ExpiresAt)}
	c.ExpiresAt = *in.ExpiresAt
	_, test = s.move(c, from, Extended, "its expire_time was moved by an owner")
	return test, nil
}

func (s *Service) moveEndpoint(c *Credential, in Edit, detail audit.Detail) (test bool, err error) {
	if in.BaseURL == nil {
		return false, nil
	}
	normal, err := s.baseURL(c.Provider, *in.BaseURL)
	if err != nil || normal == c.BaseURL {
		return false, err
	}
	from := c.State()
	detail["base_url"] = audit.Change{From: c.BaseURL, To: normal}
	if c.Next != nil {
		detail["discarded_revision"] = c.Next.Revision
	}
	c.replace(s.Now())
	c.BaseURL, c.Sealed, c.Hint, c.Models, c.Next = normal, "", "", nil, nil
	c.Verdict, c.Doubt, c.NextProbeAt = Unverified, Doubt{}, noTime
	s.move(c, from, EndpointMoved, "the secret was discarded because the base URL changed")
	return false, nil
}

func (s *Service) switchOver(c *Credential, in Edit, detail audit.Detail) (test bool, err error) {
	if in.Disabled == nil || *in.Disabled == c.Disabled {
		return false, nil
	}
	detail["disabled"] = audit.Change{From: c.Disabled, To: *in.Disabled}
	event, reason := SwitchedOff, "switched off by an owner"
	if !*in.Disabled {
		event, reason = SwitchedOn, "switched on by an owner"
	}
	_, test = s.move(c, c.State(), event, reason)
	return test, nil
}

// Rotation is a sealed new secret, with the places that it names.
type Rotation struct {
	// Warnings name what was accepted and may not be meant.
	Warnings []fault.Violation

	id, tag      string
	sealed, hint string
	settings     keyform.Settings
	revision     int
}

// DraftRotation seals a new secret for c as it was read, outside of a transaction. A secret that names
// where it may be sent is bound to its own places: the old one is gone with the old ones, so neither
// ever goes to the other's.
func (s *Service) DraftRotation(ctx context.Context, c Credential, plain secret.Text, tag string) (Rotation, error) {
	if err := etag.Check("credential", c.Version, tag); err != nil {
		return Rotation{}, err
	}
	form, err := s.read(c.Provider, plain)
	if err != nil {
		return Rotation{}, err
	}
	c.Revision = c.nextRevision()
	c.Settings = form.Settings
	sealed, err := s.seal(ctx, c, form.Normal)
	if err != nil {
		return Rotation{}, err
	}
	return Rotation{Warnings: form.Warnings, id: c.ID, tag: tag, sealed: sealed, hint: form.Hint, settings: form.Settings, revision: c.Revision}, nil
}

// Rotate replaces the secret at once and asks for a key test. A second secret is discarded: this one is newer.
// The etag is what makes sure that revision and base URL are still those that the new secret is bound to.
func (s *Service) Rotate(ctx context.Context, tx Tx, caller member.Caller, r Rotation) (Credential, error) {
	c, err := s.edited(ctx, tx, caller, r.id, r.tag)
	if err != nil {
		return Credential{}, err
	}
	from := c.State()
	detail := audit.Detail{"label": c.Label, "hint": audit.Change{From: c.Hint, To: r.hint}, "revision": audit.Change{From: c.Revision, To: r.revision}}
	if before, after := c.Settings.Places(), r.settings.Places(); !slices.Equal(before, after) {
		detail["places"] = audit.Change{From: before, To: after}
	}
	if c.Next != nil {
		detail["discarded_revision"] = c.Next.Revision
	}
	stamp := c.Sealed != ""
	c.replace(s.Now())
	c.Sealed, c.Hint, c.Revision, c.LastRevision, c.Next = r.sealed, r.hint, r.revision, r.revision, nil
	c.Settings, c.Models, c.Verdict, c.Doubt = r.settings, nil, Unverified, Doubt{}
	_, test := s.move(&c, from, NewSecret, "")
	noteMove(detail, from, c)
	if err := tx.UpdateCredential(ctx, c); err != nil {
		return Credential{}, err
	}
	if stamp {
		tx.StampPrevious(c.ID)
	}
	if test {
		if _, err := s.requestProbe(ctx, tx, c, c.Revision); err != nil {
			return Credential{}, err
		}
	}
	return c, tx.Record(ctx, "credential.rotate", c.ID, detail)
}

// Delete removes a credential and its sealed secret. It stays while a line of a policy that serves is for
// it alone: that line would be gone without a word. Disabling it ends its use at once all the same. Cut
// ends the answers that it gives.
func (s *Service) Delete(ctx context.Context, tx Tx, credentialID string, cut bool) error {
	c, err := tx.Credential(ctx, credentialID)
	if err != nil {
		return err
	}
	const named = 5
	policies, err := tx.PoliciesNaming(ctx, c.ID, named)
	if err != nil {
		return err
	}
	if len(policies) > 0 {
		names := strings.Join(policies, ", ")
		return ErrInUse.Saying("lines of the policies %s are for credential %s alone", names, c.Label).With("policies", names)
	}
	if err := tx.DeleteCredential(ctx, c.ID, cut); err != nil {
		return err
	}
	return tx.Record(ctx, "credential.delete", c.ID, audit.Detail{"provider": c.Provider, "label": c.Label, "hint": c.Hint, "cut_streams": cut})
}

// baseURL returns the normal form of an endpoint.
func (s *Service) baseURL(slug, raw string) (string, error) {
	if raw == "" {
		return "", nil
	}
	if !provider.TakesBaseURL(slug) {
		return "", provider.CheckBaseURL(slug, raw)
	}
	_, normal, err := s.Endpoints.CheckURL(raw)
	if err != nil {
		return "", err
	}
	return normal.String(), provider.CheckBaseURL(slug, normal.String())
}

// read checks a secret in its provider's form, and the endpoints in it by the rules of egress.
func (s *Service) read(slug string, plain secret.Text) (keyform.Form, error) {
	form, err := keyform.Parse(slug, plain)
	if err != nil {
		return keyform.Form{}, err
	}
	var broken []fault.Violation
	refused := ErrEndpoint
	for i, endpoint := range form.Endpoints {
		_, normal, err := s.Endpoints.CheckURL(endpoint)
		if err == nil && normal.String() == endpoint {
			continue
		}
		description := "is not a plain address" // or our two readings of it differ
		if f, ok := fault.Of(err); ok {
			description = f.Message() + ": " + f.Hint()
			if len(broken) == 0 {
				refused = f
			}
		}
		broken = append(broken, fault.Violation{Field: fmt.Sprintf("[%d].endpoint_url", i), Description: description})
	}
	if len(broken) > 0 {
		return keyform.Form{}, refused.Saying("%s: %s", broken[0].Field, refused.Message()).Violating(broken...)
	}
	return form, nil
}

// seal binds the secret to c's row and to where it may be sent. A row that is copied to another
// organization, or whose base URL or settings are changed in the database, does not open.
func (s *Service) seal(ctx context.Context, c Credential, plain secret.Text) (string, error) {
	places, err := c.places(s.Endpoints)
	if err != nil {
		return "", err
	}
	return s.Sealer.Seal(ctx, plain, transit.Context{
		Environment: s.Environment, OrgID: c.OrgID, CredentialID: c.ID, Revision: c.Revision, Binding: transit.Bind(c.Provider, places...),
	})
}
