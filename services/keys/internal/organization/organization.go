// Package organization holds the tenants. The reserved organization "platform" belongs to the
// operator, who alone creates others.
package organization

import (
	"context"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/etag"
	"github.com/claviger/claviger/services/keys/internal/label"
	"github.com/claviger/claviger/services/keys/internal/member"
)

// The errors of this package.
var (
	ErrNotFound = fault.New(fault.NotFound, "ORGANIZATION_NOT_FOUND", "organization not found")
	ErrExists   = fault.New(fault.Conflict, "ORGANIZATION_EXISTS", "an organization with this slug exists already").Hinting("choose another slug")
)

// Organization is a tenant.
type Organization struct {
	ID        string
	Slug      string
	Name      string
	CreatedAt time.Time
	Version   int64
}

// ETag names the state of o.
func (o Organization) ETag() string { return etag.Of(o.Version) }

// Tx is what changes of organizations need from the store.
type Tx interface {
	audit.Recorder
	Organization(ctx context.Context) (Organization, error)
	UpdateOrganization(ctx context.Context, o Organization) error
	// Found stores a new organization with its first owner and begins its audit chain with the same
	// action, so that the new owners see where they come from.
	Found(ctx context.Context, o Organization, owner member.Member, action string) error
}

// Service changes organizations.
type Service struct {
	Now func() time.Time
}

// Draft prepares an organization.
func (s *Service) Draft(slug, name string) (Organization, error) {
	if err := label.Check("name", name); err != nil {
		return Organization{}, err
	}
	return Organization{ID: id.New("org"), Slug: slug, Name: name, CreatedAt: s.Now(), Version: 1}, nil
}

// Create adds a drafted organization and its first owner.
func (s *Service) Create(ctx context.Context, tx Tx, o Organization, owner member.Member) error {
	const action = "organization.create"
	if err := tx.Found(ctx, o, owner, action); err != nil {
		return err
	}
	return tx.Record(ctx, action, o.ID, audit.Detail{"slug": o.Slug, "name": o.Name, "owner": owner.Email})
}

// Rename changes the organization's name for people.
func (s *Service) Rename(ctx context.Context, tx Tx, name, tag string) (Organization, error) {
	if err := label.Check("name", name); err != nil {
		return Organization{}, err
	}
	o, err := tx.Organization(ctx)
	if err != nil {
		return Organization{}, err
	}
	if err := etag.Check("organization", o.Version, tag); err != nil {
		return Organization{}, err
	}
	before := o.Name
	o.Name, o.Version = name, o.Version+1
	if err := tx.UpdateOrganization(ctx, o); err != nil {
		return Organization{}, err
	}
	return o, tx.Record(ctx, "organization.update", o.ID, audit.Detail{"name": audit.Change{From: before, To: name}})
}
