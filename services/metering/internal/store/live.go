package store

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/services/metering/internal/usage"
)

// counterRow is a row of usage_counter.
type counterRow struct {
	bun.BaseModel `bun:"table:usage_counter,alias:c"`

	OrgID   string `bun:"org_id,pk"`
	Counted int64  `bun:"counted"`
}

// number gives each attempt the next number of its organization. From here to the end of the transaction
// this organization's counter is locked, so numbers become visible in their order, whoever else applies.
// Attempts that turn out to be there already leave their number unused. It costs one statement a batch.
func number(ctx context.Context, tx bun.Tx, attempts []*usage.Attempt, out *usage.Applied) (map[*usage.Attempt]int64, error) {
	perOrg := map[string]int64{}
	for _, a := range attempts {
		perOrg[a.OrgID]++
	}
	out.Counters = make(map[string]int64, len(perOrg))
	for part := range slices.Chunk(slices.Sorted(maps.Keys(perOrg)), chunk) {
		rows := make([]*counterRow, len(part))
		for i, org := range part {
			rows[i] = &counterRow{OrgID: org, Counted: perOrg[org]}
		}
		var now []counterRow
		err := tx.NewInsert().Model(&rows).On("CONFLICT (org_id) DO UPDATE").Set("counted = c.counted + EXCLUDED.counted").
			Returning("org_id, counted").Scan(ctx, &now)
		if err != nil {
			return nil, fmt.Errorf("number attempts: %w", err)
		}
		for i := range now {
			out.Counters[now[i].OrgID] = now[i].Counted
		}
	}
	numbers := make(map[*usage.Attempt]int64, len(attempts))
	for _, a := range attempts {
		perOrg[a.OrgID]--
		numbers[a] = out.Counters[a.OrgID] - perOrg[a.OrgID]
	}
	return numbers, nil
}

// Counters returns the highest number of each organization; one without is left out. It is what a process
// with open watches asks once a second: one statement per 500 organizations, each a look-up by key.
func (s *Store) Counters(ctx context.Context, orgIDs []string) (map[string]int64, error) {
	counters := make(map[string]int64, len(orgIDs))
	err := s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		clear(counters)
		for part := range slices.Chunk(orgIDs, chunk) {
			var rows []counterRow
			if err := tx.NewSelect().Model(&rows).Where("c.org_id IN (?)", bun.List(part)).Scan(ctx); err != nil {
				return err
			}
			for i := range rows {
				counters[rows[i].OrgID] = rows[i].Counted
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	return counters, nil
}

// countedQuery selects attempts by number: one range of usage_event_counted.
func countedQuery(tx bun.IDB, rows *[]eventRow, orgID string, after, through int64, limit int) *bun.SelectQuery {
	return tx.NewSelect().Model(rows).Where("e.org_id = ? AND e.counted > ? AND e.counted <= ?", orgID, after, through).
		Where("e.counted > 0"). // what SQLite has to read to use the index
		OrderExpr("e.counted").Limit(int64(limit))
}

// Counted returns the attempts of one organization with numbers above after, up to through, in order.
func (s *Store) Counted(ctx context.Context, orgID string, after, through int64, limit int) ([]usage.Counted, error) {
	var counted []usage.Counted
	err := s.db.InOrgReadTx(ctx, orgID, func(ctx context.Context, tx bun.Tx) error {
		counted = nil
		var rows []eventRow
		if err := countedQuery(tx, &rows, orgID, after, through, limit).Scan(ctx); err != nil {
			return err
		}
		attempts, err := withTags(ctx, tx, orgID, rows)
		if err != nil {
			return err
		}
		for i := range attempts {
			counted = append(counted, usage.Counted{Number: rows[i].Counted, Attempt: attempts[i]})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read counted attempts: %w", err)
	}
	return counted, nil
}

// useRow is a row of last_use.
type useRow struct {
	bun.BaseModel `bun:"table:last_use,alias:u"`

	OrgID    string `bun:"org_id,pk"`
	Kind     string `bun:"kind,pk"`
	ID       string `bun:"id,pk"`
	MemberID string `bun:"member_id,pk"`
	LastTime int64  `bun:"last_time"`
}

// The kinds of last_use.
var useKinds = map[usage.Dimension]string{usage.ByAPIKey: "api_key", usage.ByCredential: "credential"}

// noteUses moves last_use forward, never back: events may come late and more than once. A batch names few
// keys and credentials, so this is one statement with some rows.
func noteUses(ctx context.Context, tx bun.Tx, attempts []*usage.Attempt) error {
	uses := map[[4]string]int64{}
	note := func(a *usage.Attempt, kind, id string) {
		if id != "" {
			key := [4]string{a.OrgID, kind, id, a.MemberID}
			uses[key] = max(uses[key], micros(a.Ended))
		}
	}
	for _, a := range attempts {
		note(a, useKinds[usage.ByAPIKey], a.APIKeyID)
		note(a, useKinds[usage.ByCredential], a.CredentialID)
	}
	keys := slices.SortedFunc(maps.Keys(uses), func(a, b [4]string) int { return slices.Compare(a[:], b[:]) })
	for part := range slices.Chunk(keys, chunk) {
		rows := make([]*useRow, len(part))
		for i, key := range part {
			rows[i] = &useRow{OrgID: key[0], Kind: key[1], ID: key[2], MemberID: key[3], LastTime: uses[key]}
		}
		_, err := tx.NewInsert().Model(&rows).On("CONFLICT (org_id, kind, id, member_id) DO UPDATE").
			Set("last_time = EXCLUDED.last_time").Where("EXCLUDED.last_time > u.last_time").Exec(ctx)
		if err != nil {
			return fmt.Errorf("note last uses: %w", err)
		}
	}
	return nil
}

// rebuildUses makes last_use anew from the attempts; the migration that made the table says the same.
var rebuildUses = []string{
	"DELETE FROM last_use",
	`INSERT INTO last_use (org_id, kind, id, member_id, last_time)
	 SELECT org_id, 'api_key', api_key_id, member_id, MAX(ended_at) FROM usage_event WHERE api_key_id <> '' GROUP BY org_id, api_key_id, member_id
	 UNION ALL
	 SELECT org_id, 'credential', credential_id, member_id, MAX(ended_at) FROM usage_event WHERE credential_id <> '' GROUP BY org_id, credential_id, member_id`,
}

// usesQuery selects last uses: a few ranges of the primary key, each as long as an id has members.
func usesQuery(tx bun.IDB, rows *[]useRow, u *usage.Uses) *bun.SelectQuery {
	query := tx.NewSelect().Model(rows).ColumnExpr("u.id, MAX(u.last_time) AS last_time").
		Where("u.org_id = ? AND u.kind = ? AND u.id IN (?)", u.OrgID, useKinds[u.Dimension], bun.List(u.IDs))
	if u.MemberID != "" {
		query = query.Where("u.member_id = ?", u.MemberID)
	}
	return query.GroupExpr("u.id")
}

// LastUses says when the ids of u were last used; those that never were are left out.
func (s *Store) LastUses(ctx context.Context, u usage.Uses) ([]usage.Use, error) {
	var uses []usage.Use
	err := s.db.InOrgReadTx(ctx, u.OrgID, func(ctx context.Context, tx bun.Tx) error {
		uses = nil
		var rows []useRow
		if err := usesQuery(tx, &rows, &u).Scan(ctx); err != nil {
			return err
		}
		for i := range rows {
			uses = append(uses, usage.Use{ID: rows[i].ID, Last: fromMicros(rows[i].LastTime)})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read last uses: %w", err)
	}
	return uses, nil
}
