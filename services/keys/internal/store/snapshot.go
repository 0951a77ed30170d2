package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/services/keys/internal/snapshot"
)

const (
	// snapshotPage is how many rows are in memory at once while a whole configuration is read.
	snapshotPage = 1000
	// maxDelta is the number of objects above which a delta is not worth it.
	maxDelta = 4000
	// maxCutRemovals bounds what a whole configuration says of removed objects. An answer lives for half an
	// hour at most; who missed more removals than these in that time has been away for long.
	maxCutRemovals = 1000
)

type change struct {
	bun.BaseModel `bun:"table:config_change"`

	Version int64  `bun:"version"`
	OrgID   string `bun:"org_id"`
	ID      string `bun:"id"`
	// Cut says that it was removed together with the answers that it gives.
	Cut bool `bun:"cut"`
}

// tokenKeysChanged stands for the token keys, which are in every batch and no object.
var tokenKeysChanged = change{ID: "token_keys"}

// touch notes that an object looks different to routers or metering from now on.
func (t *Tx) touch(orgID, objectID string) { t.touchCut(orgID, objectID, false) }

// touchCut does so for one that is gone; cut also ends the answers that it gives.
func (t *Tx) touchCut(orgID, objectID string, cut bool) {
	if t.changed == nil {
		t.changed = map[change]bool{}
	}
	c := change{OrgID: orgID, ID: objectID}
	t.changed[c] = t.changed[c] || cut
}

// nextVersion makes a version of the configuration out of changes; those that map to true are cut. The row of the counter stays
// locked until the commit, so versions become visible in their order.
func nextVersion(ctx context.Context, tx bun.Tx, changed map[change]bool) (int64, error) {
	var version int64
	if err := tx.NewRaw("UPDATE config_version SET version = version + 1 RETURNING version").Scan(ctx, &version); err != nil {
		return 0, fmt.Errorf("count config version: %w", err)
	}
	changes := make([]change, 0, len(changed))
	for c, cut := range changed {
		c.Version, c.Cut = version, cut
		changes = append(changes, c)
	}
	if _, err := tx.NewInsert().Model(&changes).Exec(ctx); err != nil {
		return 0, fmt.Errorf("insert config changes: %w", err)
	}
	return version, nil
}

// Version returns the newest version of the configuration.
func (s *Store) Version(ctx context.Context) (version int64, err error) {
	err = s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		return tx.NewRaw("SELECT version FROM config_version").Scan(ctx, &version)
	})
	if err != nil {
		return 0, translate(fmt.Errorf("read config version: %w", err))
	}
	return version, nil
}

func header(ctx context.Context, tx bun.Tx) (h snapshot.Header, compacted int64, err error) {
	if err := tx.NewRaw("SELECT version, compacted FROM config_version").Scan(ctx, &h.Version, &compacted); err != nil {
		return h, 0, fmt.Errorf("read config version: %w", err)
	}
	h.TokenKeys, err = tokenKeys(ctx, tx)
	return h, compacted, err
}

// Whole reads the whole configuration at one version, page after page. Begin may be called again,
// when the reading has to begin again.
func (s *Store) Whole(ctx context.Context, begin func(snapshot.Header), page func(snapshot.Objects) error) error {
	return translate(s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		h, _, err := header(ctx, tx)
		if err != nil {
			return err
		}
		begin(h)
		return errors.Join(
			pages(ctx, tx, func(rows []routingRow) error {
				return page(snapshot.Objects{Organizations: each(rows, routingRow.organization)})
			}),
			pages(ctx, tx, func(rows []memberRow) error {
				return page(snapshot.Objects{Members: each(rows, memberRow.ref)})
			}),
			pages(ctx, tx, func(rows []policyRow) error {
				return page(snapshot.Objects{Policies: each(published(rows), policyRow.domain)})
			}),
			pages(ctx, tx, func(rows []groupRow) error {
				return page(snapshot.Objects{Groups: each(rows, groupRow.domain)})
			}),
			pages(ctx, tx, func(rows []credentialRow) error {
				return page(snapshot.Objects{Credentials: each(rows, credentialRow.domain)})
			}),
			pages(ctx, tx, func(rows []apiKeyRow) error {
				return page(snapshot.Objects{APIKeys: each(rows, apiKeyRow.domain)})
			}),
			few(ctx, tx, runningDrills, page),
			few(ctx, tx, cutRemovals, page),
		)
	}))
}

// few reads what is never much, as one page.
func few(ctx context.Context, tx bun.Tx, read func(context.Context, bun.Tx) (snapshot.Objects, error), page func(snapshot.Objects) error) error {
	objects, err := read(ctx, tx)
	if err != nil {
		return err
	}
	return page(objects)
}

// cutRemovals are the last of what was removed together with the answers that it gave.
func cutRemovals(ctx context.Context, tx bun.Tx) (snapshot.Objects, error) {
	var o snapshot.Objects
	var rows []change
	if err := tx.NewSelect().Model(&rows).Where("cut").Order("version DESC").Limit(maxCutRemovals).Scan(ctx); err != nil {
		return o, fmt.Errorf("read removals: %w", err)
	}
	for _, c := range rows {
		o.Removed = append(o.Removed, snapshot.Removal{Ref: snapshot.Ref{OrgID: c.OrgID, ID: c.ID}, Cut: true})
	}
	return o, nil
}

// objectRow is a row that routers or metering know of.
type objectRow interface {
	ref() snapshot.Ref
	// orgColumn names the column that holds the organization. It leads the primary key.
	orgColumn() bun.Ident
}

func (r routingRow) ref() snapshot.Ref    { return snapshot.Ref{OrgID: r.ID, ID: r.ID} }
func (r memberRow) ref() snapshot.Ref     { return snapshot.Ref{OrgID: r.OrgID, ID: r.ID} }
func (r policyRow) ref() snapshot.Ref     { return snapshot.Ref{OrgID: r.OrgID, ID: r.ID} }
func (r credentialRow) ref() snapshot.Ref { return snapshot.Ref{OrgID: r.OrgID, ID: r.ID} }
func (r apiKeyRow) ref() snapshot.Ref     { return snapshot.Ref{OrgID: r.OrgID, ID: r.ID} }

func (routingRow) orgColumn() bun.Ident    { return "id" }
func (memberRow) orgColumn() bun.Ident     { return "org_id" }
func (policyRow) orgColumn() bun.Ident     { return "org_id" }
func (credentialRow) orgColumn() bun.Ident { return "org_id" }
func (apiKeyRow) orgColumn() bun.Ident     { return "org_id" }

// pages reads all rows of a table in the order of the primary key, a bounded number at a time.
func pages[R objectRow](ctx context.Context, tx bun.Tx, page func([]R) error) error {
	var none R
	var after snapshot.Ref
	for {
		var rows []R
		err := tx.NewSelect().Model(&rows).Where("(?, id) > (?, ?)", none.orgColumn(), after.OrgID, after.ID).
			OrderExpr("?, id", none.orgColumn()).Limit(snapshotPage).Scan(ctx)
		if err != nil {
			return fmt.Errorf("read configuration: %w", err)
		}
		if len(rows) > 0 {
			after = rows[len(rows)-1].ref()
			if err := page(rows); err != nil {
				return err
			}
		}
		if len(rows) < snapshotPage {
			return nil
		}
	}
}

// Delta reads what changed since a version.
func (s *Store) Delta(ctx context.Context, since int64) (snapshot.Delta, error) {
	var d snapshot.Delta
	err := s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		h, compacted, err := header(ctx, tx)
		if err != nil {
			return err
		}
		d = snapshot.Delta{Header: h}
		if since <= 0 || since < compacted || since > h.Version {
			return nil
		}
		var changes []change
		err = tx.NewSelect().Model(&changes).Column("org_id", "id").ColumnExpr("max(CASE WHEN cut THEN 1 ELSE 0 END) = 1 AS cut").
			Where("version > ?", since).Group("org_id", "id").Limit(maxDelta + 1).Scan(ctx)
		if err != nil {
			return fmt.Errorf("read config changes: %w", err)
		}
		if len(changes) > maxDelta {
			return nil
		}
		d.Known = true
		return readObjects(ctx, tx, changes, &d.Objects)
	})
	return d, translate(err)
}

// readObjects reads changed objects as they are, and notes those that are gone.
func readObjects(ctx context.Context, tx bun.Tx, changes []change, into *snapshot.Objects) error {
	byKind := map[string]map[string][]change{} // prefix → organization → changes
	for _, c := range changes {
		if c == tokenKeysChanged {
			continue
		}
		prefix, _, _ := strings.Cut(c.ID, "_")
		if byKind[prefix] == nil {
			byKind[prefix] = map[string][]change{}
		}
		byKind[prefix][c.OrgID] = append(byKind[prefix][c.OrgID], c)
	}
	var err error
	for prefix, byOrg := range byKind {
		for orgID, ids := range byOrg {
			switch prefix {
			case "org":
				err = objects(ctx, tx, orgID, ids, into, &into.Organizations, routingRow.organization)
			case "mem":
				err = objects(ctx, tx, orgID, ids, into, &into.Members, memberRow.ref)
			case "pol":
				err = objects(ctx, tx, orgID, ids, into, &into.Policies, policyRow.domain)
			case "grp":
				err = objects(ctx, tx, orgID, ids, into, &into.Groups, groupRow.domain)
			case "cred":
				err = objects(ctx, tx, orgID, ids, into, &into.Credentials, credentialRow.domain)
			case "key":
				err = objects(ctx, tx, orgID, ids, into, &into.APIKeys, apiKeyRow.domain)
			case "drill":
				err = objects(ctx, tx, orgID, ids, into, &into.Drills, drillRow.domain, "running")
			default:
				err = fmt.Errorf("read configuration: no kind of object has ids with %q", prefix)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// objects appends the changed rows that meet the conditions to list, and the others, and those that are not
// there, to the removed ones.
func objects[R objectRow, D any](
	ctx context.Context, tx bun.Tx, orgID string, changes []change, into *snapshot.Objects, list *[]D, convert func(R) D, conditions ...string,
) error {
	var none R
	var rows []R
	query := tx.NewSelect().Model(&rows).Where("? = ? AND id IN (?)", none.orgColumn(), orgID, bun.List(each(changes, func(c change) string { return c.ID })))
	for _, condition := range conditions {
		query = query.Where(condition)
	}
	if err := query.Scan(ctx); err != nil {
		return fmt.Errorf("read changed objects: %w", err)
	}
	there := make(map[string]bool, len(rows))
	for _, r := range rows {
		there[r.ref().ID] = true
		*list = append(*list, convert(r))
	}
	for _, c := range changes {
		if !there[c.ID] {
			into.Removed = append(into.Removed, snapshot.Removal{Ref: snapshot.Ref{OrgID: orgID, ID: c.ID}, Cut: c.Cut})
		}
	}
	return nil
}

type tokenKeyRow struct {
	bun.BaseModel `bun:"table:token_key"`

	KeyID     string `bun:"key_id,pk"`
	PublicKey string `bun:"public_key"`
	SeenAt    int64  `bun:"seen_at"`
}

func tokenKeys(ctx context.Context, tx bun.Tx) ([]snapshot.TokenKey, error) {
	var rows []tokenKeyRow
	if err := tx.NewSelect().Model(&rows).Order("key_id").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read token keys: %w", err)
	}
	keys := make([]snapshot.TokenKey, len(rows))
	for i, r := range rows {
		public, err := hex.DecodeString(r.PublicKey)
		if err != nil {
			return nil, fmt.Errorf("decode token key: %w", err)
		}
		keys[i] = snapshot.TokenKey{KeyID: r.KeyID, PublicKey: public}
	}
	return keys, nil
}

// TokenKeys returns the keys that verify access tokens.
func (s *Store) TokenKeys(ctx context.Context) (keys []snapshot.TokenKey, err error) {
	err = s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		keys, err = tokenKeys(ctx, tx)
		return err
	})
	return keys, translate(err)
}

// AnnounceTokenKey says that a replica signs access tokens with k, and forgets keys that no replica
// has announced since unseen. So a signing key is replaced one replica after the other.
func (s *Store) AnnounceTokenKey(ctx context.Context, k snapshot.TokenKey, unseen time.Time) error {
	var version int64
	err := s.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		version = 0
		known, err := tx.NewSelect().Model((*tokenKeyRow)(nil)).Where("key_id = ?", k.KeyID).Exists(ctx)
		if err != nil {
			return fmt.Errorf("look for token key: %w", err)
		}
		forgotten := affected(tx.NewRaw("DELETE FROM token_key WHERE key_id <> ? AND seen_at < ?", k.KeyID, micros(unseen)).Exec(ctx))
		if forgotten != nil && !errors.Is(forgotten, sql.ErrNoRows) {
			return fmt.Errorf("forget token keys: %w", forgotten)
		}
		row := tokenKeyRow{KeyID: k.KeyID, PublicKey: hex.EncodeToString(k.PublicKey), SeenAt: micros(s.now())}
		if _, err := tx.NewInsert().Model(&row).On("CONFLICT (key_id) DO UPDATE").Set("seen_at = EXCLUDED.seen_at").Exec(ctx); err != nil {
			return fmt.Errorf("store token key: %w", err)
		}
		if known && forgotten != nil {
			return nil // the keys are what they were
		}
		version, err = nextVersion(ctx, tx, map[change]bool{tokenKeysChanged: false})
		return err
	})
	if err != nil {
		return translate(err)
	}
	if version > 0 {
		s.committed(version)
	}
	return nil
}
