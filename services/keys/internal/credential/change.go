package credential

import (
	"context"
	"fmt"
	"slices"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/transit"
	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/etag"
	"github.com/claviger/claviger/services/keys/internal/label"
	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/provider"
)

// New is the input of Service.Draft.
type New struct {
	Provider    string
	Label       string
	Secret      secret.Text
	BaseURL     string
	Priority    int
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
	c := Credential{
		OrgID: caller.OrgID, ID: id.New("cred"), Provider: in.Provider, Label: in.Label, BaseURL: baseURL, Settings: form.Settings, Priority: in.Priority,
		Revision: 1, Hint: form.Hint, CreatedAt: now, CreatedBy: caller.MemberID, UpdatedAt: now, UpdatedBy: caller.MemberID, Version: 1,
	}
	c.Sealed, err = s.seal(ctx, c, form.Normal)
	if err != nil {
		return Draft{}, err
	}
	s.unverified(&c, "")
	return Draft{Credential: c, Warnings: form.Warnings}, nil
}

// Create adds a drafted credential and asks for a key test.
func (s *Service) Create(ctx context.Context, tx Tx, c Credential) error {
	if err := tx.InsertCredential(ctx, c); err != nil {
		return err
	}
	if _, err := s.requestProbe(ctx, tx, c); err != nil {
		return err
	}
	return tx.Record(ctx, "credential.create", c.ID, audit.Detail{
		"provider": c.Provider, "label": c.Label, "base_url": c.BaseURL, "places": c.Settings.Places(), "priority": c.Priority, "hint": c.Hint,
		"accept_terms": true,
	})
}

// Edit is the input of Update. Absent fields stay.
type Edit struct {
	ID       string
	Label    *string
	BaseURL  *string
	Priority *int
	Disabled *bool
	ETag     string
}

// Update changes what people set. A new base URL discards the secret, so that it can never be sent
// to another host.
func (s *Service) Update(ctx context.Context, tx Tx, caller member.Caller, in Edit) (Credential, error) {
	c, err := tx.Credential(ctx, in.ID)
	if err != nil {
		return Credential{}, err
	}
	if err := etag.Check("credential", c.Version, in.ETag); err != nil {
		return Credential{}, err
	}
	before, detail := c, audit.Detail{"label": c.Label}
	if err := s.apply(&c, in, detail); err != nil {
		return Credential{}, err
	}
	c.Version, c.UpdatedAt, c.UpdatedBy = c.Version+1, s.Now(), caller.MemberID
	if err := tx.UpdateCredential(ctx, c); err != nil {
		return Credential{}, err
	}
	if before.Disabled && c.State() == Unverified {
		if _, err := s.requestProbe(ctx, tx, c); err != nil {
			return Credential{}, err
		}
	}
	return c, tx.Record(ctx, "credential.update", c.ID, detail)
}

// apply sets the fields of in and notes in detail what changes.
func (s *Service) apply(c *Credential, in Edit, detail audit.Detail) error {
	if in.Label != nil && *in.Label != c.Label {
		if err := label.Check("label", *in.Label); err != nil {
			return err
		}
		detail["label"] = audit.Change{From: c.Label, To: *in.Label}
		c.Label = *in.Label
	}
	if in.Priority != nil && *in.Priority != c.Priority {
		detail["priority"] = audit.Change{From: c.Priority, To: *in.Priority}
		c.Priority = *in.Priority
	}
	if in.Disabled != nil && *in.Disabled != c.Disabled {
		detail["disabled"] = audit.Change{From: c.Disabled, To: *in.Disabled}
		c.Disabled = *in.Disabled
		if c.Disabled {
			c.StateReason, c.StateAt, c.NextProbeAt = "switched off by an owner", s.Now(), noTime
		} else {
			s.unverified(c, "switched on by an owner")
		}
	}
	if in.BaseURL != nil {
		normal, err := s.baseURL(c.Provider, *in.BaseURL)
		if err != nil {
			return err
		}
		if normal != c.BaseURL {
			detail["base_url"] = audit.Change{From: c.BaseURL, To: normal}
			c.BaseURL, c.Sealed, c.Hint, c.Models = normal, "", "", nil
			c.Verdict, c.StateReason, c.StateAt, c.NextProbeAt = Unverified, "the secret was discarded because the base URL changed", s.Now(), noTime
		}
	}
	return nil
}

// Rotation is a sealed new secret, with the places that it names.
type Rotation struct {
	// Warnings name what was accepted and may not be meant.
	Warnings []fault.Violation

	id, tag      string
	sealed, hint string
	settings     keyform.Settings
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
	c.Revision++
	c.Settings = form.Settings
	sealed, err := s.seal(ctx, c, form.Normal)
	if err != nil {
		return Rotation{}, err
	}
	return Rotation{Warnings: form.Warnings, id: c.ID, tag: tag, sealed: sealed, hint: form.Hint, settings: form.Settings}, nil
}

// Rotate replaces the secret and asks for a key test. The etag is what makes sure that revision and
// base URL are still those that the new secret is bound to.
func (s *Service) Rotate(ctx context.Context, tx Tx, caller member.Caller, r Rotation) (Credential, error) {
	c, err := tx.Credential(ctx, r.id)
	if err != nil {
		return Credential{}, err
	}
	if err := etag.Check("credential", c.Version, r.tag); err != nil {
		return Credential{}, err
	}
	detail := audit.Detail{"label": c.Label, "hint": audit.Change{From: c.Hint, To: r.hint}, "revision": audit.Change{From: c.Revision, To: c.Revision + 1}}
	if before, after := c.Settings.Places(), r.settings.Places(); !slices.Equal(before, after) {
		detail["places"] = audit.Change{From: before, To: after}
	}
	c.Sealed, c.Hint, c.Revision, c.Version = r.sealed, r.hint, c.Revision+1, c.Version+1
	c.Settings, c.Models = r.settings, nil
	c.UpdatedAt, c.UpdatedBy = s.Now(), caller.MemberID
	if c.Disabled {
		c.Verdict = Unverified
	} else {
		s.unverified(&c, "")
	}
	if err := tx.UpdateCredential(ctx, c); err != nil {
		return Credential{}, err
	}
	if !c.Disabled {
		if _, err := s.requestProbe(ctx, tx, c); err != nil {
			return Credential{}, err
		}
	}
	return c, tx.Record(ctx, "credential.rotate", c.ID, detail)
}

// Delete removes a credential and its sealed secret.
func (s *Service) Delete(ctx context.Context, tx Tx, credentialID string) error {
	c, err := tx.Credential(ctx, credentialID)
	if err != nil {
		return err
	}
	if err := tx.DeleteCredential(ctx, c.ID); err != nil {
		return err
	}
	return tx.Record(ctx, "credential.delete", c.ID, audit.Detail{"provider": c.Provider, "label": c.Label, "hint": c.Hint})
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
