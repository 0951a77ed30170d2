package store

import (
	"context"
	"strings"
	"testing/fstest"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/pkg/sqldb"
)

// MigrateBeforeRouting makes the schema that was there before whole policies were.
func MigrateBeforeRouting(ctx context.Context, db *sqldb.DB) error {
	files := fstest.MapFS{}
	for _, name := range []string{"00001_control_plane.sql", "00002_credential_settings.sql"} {
		data, err := migrations.ReadFile("migrations/" + name)
		if err != nil {
			return err
		}
		files[name] = &fstest.MapFile{Data: data}
	}
	return db.Migrate(ctx, files)
}

// Plans returns how the database would answer the queries of policies, groups and API keys.
func (s *Store) Plans(ctx context.Context, orgID, memberID, policyID, groupID, after string) (map[string]string, error) {
	plans := map[string]string{}
	err := s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		now := time.Now()
		for name, query := range map[string]string{
			"API keys":             apiKeysQuery(tx, new([]apiKeyRow), orgID, "", after, 51).String(),
			"API keys of a member": apiKeysQuery(tx, new([]apiKeyRow), orgID, memberID, after, 51).String(),
			"API keys of a policy": usableQuery(tx, orgID, "policy_id", policyID, now, 6).String(),
			"API keys of a group":  usableQuery(tx, orgID, "group_id", groupID, now, 6).String(),
			"groups of a policy":   groupsOfQuery(tx, orgID, policyID, 6).String(),
			"policies that name":   namingQuery(tx, orgID, "policy/p500", 6).String(),
			"policies by name":     byNameQuery(tx, new([]policyRow), orgID, []string{"p1", "p2"}).String(),
			"versions of a policy": versionsQuery(tx, new([]policyVersionRow), orgID, policyID, 3, 51).String(),
			// As objects reads them.
			"changed keys":     tx.NewSelect().Model(new([]apiKeyRow)).Where("? = ? AND id IN (?)", bun.Ident("org_id"), orgID, bun.List([]string{"key_1", "key_2"})).String(),
			"changed policies": tx.NewSelect().Model(new([]policyRow)).Where("? = ? AND id IN (?)", bun.Ident("org_id"), orgID, bun.List([]string{policyID})).String(),
			"changed groups":   tx.NewSelect().Model(new([]groupRow)).Where("? = ? AND id IN (?)", bun.Ident("org_id"), orgID, bun.List([]string{groupID})).String(),
		} {
			plan, err := explain(ctx, tx, s.db.Engine(), query)
			if err != nil {
				return err
			}
			plans[name] = plan
		}
		return nil
	})
	return plans, err
}

func explain(ctx context.Context, tx bun.Tx, engine sqldb.Engine, query string) (string, error) {
	prefix := "EXPLAIN QUERY PLAN "
	if engine == sqldb.Postgres {
		prefix = "EXPLAIN "
	}
	rows, err := tx.QueryContext(ctx, prefix+strings.ReplaceAll(query, "?", "\\?"))
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return "", err
	}
	var plan strings.Builder
	for rows.Next() {
		dest := make([]any, len(columns))
		var text string
		for i := range dest {
			dest[i] = new(any)
		}
		dest[len(dest)-1] = &text
		if err := rows.Scan(dest...); err != nil {
			return "", err
		}
		plan.WriteString(text + "\n")
	}
	return plan.String(), rows.Err()
}
