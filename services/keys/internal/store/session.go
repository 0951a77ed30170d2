package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/session"
)

type sessionRow struct {
	bun.BaseModel `bun:"table:session"`

	OrgID     string `bun:"org_id,pk"`
	ID        string `bun:"id,pk"`
	MemberID  string `bun:"member_id"`
	TokenHash string `bun:"token_hash"`
	AuthAt    int64  `bun:"auth_at"`
	UsedAt    int64  `bun:"used_at"`
	EndsAt    int64  `bun:"ends_at"`
}

var (
	_ session.Tx    = (*Tx)(nil)
	_ session.Store = (*Store)(nil)
)

// Account finds who may sign in with an address, the zero Account if nobody.
func (s *Store) Account(ctx context.Context, slug, email string) (session.Account, error) {
	var account session.Account
	err := s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var org organizationRow
		if err := tx.NewSelect().Model(&org).Where("slug = ?", slug).Scan(ctx); err != nil {
			return err
		}
		var m memberRow
		if err := tx.NewSelect().Model(&m).Where("org_id = ? AND email = ?", org.ID, email).Scan(ctx); err != nil {
			return err
		}
		account = session.Account{Organization: org.domain(), Member: m.domain()}
		return nil
	})
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return session.Account{}, translate(fmt.Errorf("find account: %w", err))
	}
	return account, nil
}

// SessionByToken finds a session and its account as it is now.
func (s *Store) SessionByToken(ctx context.Context, hash string) (found session.Session, account session.Account, err error) {
	err = s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var row sessionRow
		if err := tx.NewSelect().Model(&row).Where("token_hash = ?", hash).Scan(ctx); err != nil {
			return err
		}
		m := memberRow{OrgID: row.OrgID, ID: row.MemberID}
		if err := tx.NewSelect().Model(&m).WherePK().Scan(ctx); err != nil {
			return err
		}
		org := organizationRow{ID: row.OrgID}
		if err := tx.NewSelect().Model(&org).WherePK().Scan(ctx); err != nil {
			return err
		}
		found = session.Session{
			OrgID: row.OrgID, ID: row.ID, MemberID: row.MemberID, TokenHash: row.TokenHash,
			AuthAt: fromMicros(row.AuthAt), UsedAt: fromMicros(row.UsedAt), EndsAt: fromMicros(row.EndsAt),
		}
		account = session.Account{Organization: org.domain(), Member: m.domain()}
		return nil
	})
	return found, account, translate(orMissing(err, session.ErrEnded, "find session"))
}

// TouchSession stores when a session was last used.
func (s *Store) TouchSession(ctx context.Context, used session.Session) error {
	return translate(s.db.InOrgTx(ctx, used.OrgID, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewRaw("UPDATE session SET used_at = ? WHERE org_id = ? AND id = ?", micros(used.UsedAt), used.OrgID, used.ID).Exec(ctx)
		if err != nil {
			return fmt.Errorf("touch session: %w", err)
		}
		return nil
	}))
}

// SignedIn stores a new session, and the member's last sign-in.
func (t *Tx) SignedIn(ctx context.Context, s session.Session, hash string) error {
	row := sessionRow{
		OrgID: t.orgID, ID: s.ID, MemberID: s.MemberID, TokenHash: s.TokenHash,
		AuthAt: micros(s.AuthAt), UsedAt: micros(s.UsedAt), EndsAt: micros(s.EndsAt),
	}
	if _, err := t.tx.NewInsert().Model(&row).Exec(ctx); err != nil {
		return fmt.Errorf("insert session: %w", err)
	}
	update := t.tx.NewUpdate().Model(&memberRow{OrgID: t.orgID, ID: s.MemberID}).Set("last_sign_in_at = ?", micros(s.AuthAt)).WherePK()
	if hash != "" {
		update = update.Set("password_hash = ?", hash)
	}
	return orMissing(affected(update.Exec(ctx)), member.ErrNotFound, "store sign-in")
}

// UpdatePassword stores a new password hash.
func (t *Tx) UpdatePassword(ctx context.Context, memberID, hash string) error {
	err := affected(t.tx.NewUpdate().Model(&memberRow{OrgID: t.orgID, ID: memberID}).Set("password_hash = ?", hash).WherePK().Exec(ctx))
	return orMissing(err, member.ErrNotFound, "update password")
}

// EndSession removes a session, if it is there.
func (t *Tx) EndSession(ctx context.Context, sessionID string) error {
	if _, err := t.tx.NewDelete().Model(&sessionRow{OrgID: t.orgID, ID: sessionID}).WherePK().Exec(ctx); err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}

// EndSessions removes a member's sessions, except one if it is not empty.
func (t *Tx) EndSessions(ctx context.Context, memberID, except string) error {
	_, err := t.tx.NewRaw("DELETE FROM session WHERE org_id = ? AND member_id = ? AND id <> ?", t.orgID, memberID, except).Exec(ctx)
	if err != nil {
		return fmt.Errorf("end sessions: %w", err)
	}
	return nil
}
