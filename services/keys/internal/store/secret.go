package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/services/keys/internal/credential"
)

// usesAtOnce bounds the uses of one statement.
const usesAtOnce = 200

type useRow struct {
	bun.BaseModel `bun:"table:secret_use"`

	OrgID        string `bun:"org_id,pk"`
	CredentialID string `bun:"credential_id,pk"`
	Revision     int    `bun:"revision,pk"`
	UsedAt       int64  `bun:"used_at"`
}

// StampPrevious notes in the credential's previous secret the version that this change makes.
func (t *Tx) StampPrevious(credentialID string) { t.stamped = append(t.stamped, credentialID) }

func (t *Tx) stamp(ctx context.Context) error {
	for _, credentialID := range t.stamped {
		_, err := t.tx.NewRaw("UPDATE credential SET previous_version = ? WHERE org_id = ? AND id = ?", t.version, t.orgID, credentialID).Exec(ctx)
		if err != nil {
			return fmt.Errorf("stamp previous secret: %w", err)
		}
	}
	return nil
}

// forgetSecrets drops the probes and uses of secrets that c does not have any more. A previous one is still
// used for a while by routers that have not heard.
func (t *Tx) forgetSecrets(ctx context.Context, c credential.Credential) error {
	tested, used := []int{c.Revision}, []int{c.Revision}
	if c.Next != nil {
		tested, used = append(tested, c.Next.Revision), append(used, c.Next.Revision)
	}
	if c.Previous != nil {
		used = append(used, c.Previous.Revision)
	}
	_, err := t.tx.NewRaw("DELETE FROM probe WHERE org_id = ? AND credential_id = ? AND revision NOT IN (?)", t.orgID, c.ID, bun.List(tested)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("drop probes: %w", err)
	}
	_, err = t.tx.NewRaw("DELETE FROM secret_use WHERE org_id = ? AND credential_id = ? AND revision NOT IN (?)", t.orgID, c.ID, bun.List(used)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("drop uses: %w", err)
	}
	return nil
}

// FillUses notes in credentials when their secrets were last used.
func (t *Tx) FillUses(ctx context.Context, credentials []credential.Credential) error {
	if len(credentials) == 0 {
		return nil
	}
	ids := each(credentials, func(c credential.Credential) string { return c.ID })
	var rows []useRow
	err := t.tx.NewSelect().Model(&rows).Where("org_id = ? AND credential_id IN (?)", t.orgID, bun.List(ids)).Scan(ctx)
	if err != nil {
		return fmt.Errorf("read uses: %w", err)
	}
	type name struct {
		id       string
		revision int
	}
	last := make(map[name]time.Time, len(rows))
	for _, r := range rows {
		last[name{r.CredentialID, r.Revision}] = fromMicros(r.UsedAt)
	}
	for i := range credentials {
		c := &credentials[i]
		c.LastUseAt = last[name{c.ID, c.Revision}]
		if c.Next != nil {
			c.Next.LastUseAt = last[name{c.ID, c.Next.Revision}]
		}
		if c.Previous != nil {
			c.Previous.LastUseAt = last[name{c.ID, c.Previous.Revision}]
		}
	}
	return nil
}

// insertUses stores uses of secrets that exist. A use moves forward only, and by steps, so that a busy secret is
// written once in a while, however many routers tell of it.
const (
	insertUses = `
		INSERT INTO secret_use (org_id, credential_id, revision, used_at)
		SELECT c.org_id, c.id, u.revision, u.used_at
		FROM (`
	aUse     = `SELECT ? AS org_id, ? AS credential_id, ? AS revision, ? AS used_at`
	intoUses = `) AS u
		JOIN credential AS c ON c.org_id = u.org_id AND c.id = u.credential_id
		WHERE u.revision >= 1 AND (u.revision <= c.revision OR u.revision <= c.last_revision)
		ON CONFLICT (org_id, credential_id, revision) DO UPDATE SET used_at = EXCLUDED.used_at
		WHERE EXCLUDED.used_at >= secret_use.used_at + ?`
)

// NoteUses stores the last uses of secrets, of all organizations together. It makes no version, takes no lock of
// an organization and is not audited: it tells what happened elsewhere. Secrets that do not exist are passed
// over, and what a router with a fast clock says of the future is taken as of now.
//
// With 10,000 secrets in use, routers tell of each once a minute: that is one statement a second.
func (s *Store) NoteUses(ctx context.Context, uses []credential.Use) error {
	now := s.now()
	for i := range uses {
		if uses[i].At.After(now) {
			uses[i].At = now
		}
	}
	// One row for each secret, in one order for all: two replicas never wait for each other crosswise.
	slices.SortFunc(uses, func(a, b credential.Use) int {
		return cmp.Or(cmp.Compare(a.OrgID, b.OrgID), cmp.Compare(a.CredentialID, b.CredentialID), cmp.Compare(a.Revision, b.Revision), b.At.Compare(a.At))
	})
	uses = slices.CompactFunc(uses, func(a, b credential.Use) bool { a.At = b.At; return a == b })
	for part := range slices.Chunk(uses, usesAtOnce) {
		rows := strings.Repeat(aUse+" UNION ALL ", len(part)-1) + aUse
		args := make([]any, 0, 4*len(part)+1)
		for _, u := range part {
			args = append(args, u.OrgID, u.CredentialID, u.Revision, micros(u.At))
		}
		args = append(args, credential.UseStep.Microseconds())
		err := s.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
			_, err := tx.NewRaw(insertUses+rows+intoUses, args...).Exec(ctx)
			return err
		})
		if err != nil {
			return translate(fmt.Errorf("note uses: %w", err))
		}
	}
	return nil
}

// UnknownAPIKeys returns those ids that name no key that works.
func (t *Tx) UnknownAPIKeys(ctx context.Context, ids []string) ([]string, error) {
	return t.unknown(ctx, ids, t.tx.NewSelect().Table("api_key").Where("revoked_at = 0"))
}

// UnknownGroups returns those ids that name no group.
func (t *Tx) UnknownGroups(ctx context.Context, ids []string) ([]string, error) {
	return t.unknown(ctx, ids, t.tx.NewSelect().Table("key_group"))
}

func (t *Tx) unknown(ctx context.Context, ids []string, from *bun.SelectQuery) ([]string, error) {
	var known []string
	if err := from.Column("id").Where("org_id = ? AND id IN (?)", t.orgID, bun.List(ids)).Scan(ctx, &known); err != nil {
		return nil, fmt.Errorf("look for ids: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(known, id) }), nil
}
