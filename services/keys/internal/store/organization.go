package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/organization"
)

type organizationRow struct {
	bun.BaseModel `bun:"table:organization"`

	ID        string `bun:"id,pk"`
	Slug      string `bun:"slug"`
	Name      string `bun:"name"`
	CreatedAt int64  `bun:"created_at"`
	Version   int64  `bun:"version"`
}

func (r organizationRow) domain() organization.Organization {
	return organization.Organization{ID: r.ID, Slug: r.Slug, Name: r.Name, CreatedAt: fromMicros(r.CreatedAt), Version: r.Version}
}

func toOrganizationRow(o organization.Organization) *organizationRow {
	return &organizationRow{ID: o.ID, Slug: o.Slug, Name: o.Name, CreatedAt: micros(o.CreatedAt), Version: o.Version}
}

var _ organization.Tx = (*Tx)(nil)

// Organization returns the organization of the transaction.
func (t *Tx) Organization(ctx context.Context) (organization.Organization, error) {
	row := organizationRow{ID: t.orgID}
	err := t.tx.NewSelect().Model(&row).WherePK().Scan(ctx)
	return row.domain(), orMissing(err, organization.ErrNotFound, "read organization")
}

// UpdateOrganization stores name and version. Routers do not know names.
func (t *Tx) UpdateOrganization(ctx context.Context, o organization.Organization) error {
	err := affected(t.tx.NewUpdate().Model(toOrganizationRow(o)).Column("name", "version").Where("id = ?", t.orgID).Exec(ctx))
	return orMissing(err, organization.ErrNotFound, "update organization")
}

// Found stores a new organization with its first owner, and begins its audit chain.
func (t *Tx) Found(ctx context.Context, o organization.Organization, owner member.Member, action string) error {
	if _, err := t.tx.NewInsert().Model(toOrganizationRow(o)).Exec(ctx); err != nil {
		return orTaken(err, organization.ErrExists, "insert organization")
	}
	owner.OrgID = o.ID
	if _, err := t.tx.NewInsert().Model(toMemberRow(owner)).Exec(ctx); err != nil {
		return fmt.Errorf("insert first owner: %w", err)
	}
	t.touch(o.ID, o.ID)
	t.touch(o.ID, owner.ID)
	return t.beginChain(ctx, o, action, audit.Detail{"slug": o.Slug, "name": o.Name, "owner": owner.Email})
}

func (t *Tx) beginChain(ctx context.Context, o organization.Organization, action string, detail audit.Detail) error {
	var first head
	if err := t.record(ctx, o.ID, &first, action, o.ID, detail); err != nil {
		return err
	}
	_, err := t.tx.NewRaw("INSERT INTO audit_head (org_id, sequence, hash) VALUES (?, ?, ?)", o.ID, first.sequence, first.hash).Exec(ctx)
	if err != nil {
		return fmt.Errorf("insert audit head: %w", err)
	}
	return nil
}

// EnsureOrganization returns the organization with o's slug, and stores o if there is none.
func (s *Store) EnsureOrganization(ctx context.Context, o organization.Organization, actor string) (organization.Organization, error) {
	found, err := s.OrganizationBySlug(ctx, o.Slug)
	if !errors.Is(err, organization.ErrNotFound) {
		return found, err
	}
	var version int64
	err = s.db.InOrgTx(ctx, o.ID, func(ctx context.Context, tx bun.Tx) error {
		t := &Tx{tx: tx, orgID: o.ID, now: s.now(), cmd: Command{OrgID: o.ID, Actor: actor}}
		if _, err := tx.NewInsert().Model(toOrganizationRow(o)).Exec(ctx); err != nil {
			return orTaken(err, organization.ErrExists, "insert organization")
		}
		if err := t.beginChain(ctx, o, "organization.create", audit.Detail{"slug": o.Slug, "name": o.Name}); err != nil {
			return err
		}
		t.touch(o.ID, o.ID)
		if err := t.finish(ctx); err != nil {
			return err
		}
		version = t.version
		return nil
	})
	if errors.Is(err, organization.ErrExists) { // another replica was faster
		return s.OrganizationBySlug(ctx, o.Slug)
	}
	if err != nil {
		return organization.Organization{}, translate(err)
	}
	s.committed(version)
	return o, nil
}

// OrganizationBySlug finds an organization by its name in sign-in and files.
func (s *Store) OrganizationBySlug(ctx context.Context, slug string) (organization.Organization, error) {
	var row organizationRow
	err := s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		return orMissing(tx.NewSelect().Model(&row).Where("slug = ?", slug).Scan(ctx), organization.ErrNotFound, "find organization")
	})
	return row.domain(), translate(err)
}

// Organizations lists up to limit organizations after a slug. It is for the operator, the only one
// who sees more than one.
func (s *Store) Organizations(ctx context.Context, after string, limit int) ([]organization.Organization, error) {
	var rows []organizationRow
	err := s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		rows = nil
		return tx.NewSelect().Model(&rows).Where("slug > ?", after).Order("slug").Limit(int64(limit)).Scan(ctx)
	})
	if err != nil {
		return nil, translate(fmt.Errorf("list organizations: %w", err))
	}
	return each(rows, organizationRow.domain), nil
}

// each converts rows.
func each[R, D any](rows []R, convert func(R) D) []D {
	out := make([]D, len(rows))
	for i, r := range rows {
		out[i] = convert(r)
	}
	return out
}
