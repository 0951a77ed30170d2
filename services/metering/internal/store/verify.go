package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// Difference is a sum that is not what its attempts give.
type Difference struct {
	Key usage.Key
	// Stored is the sum in the rollup, Counted what the attempts give.
	Stored, Counted usage.Totals
}

// maxDifferences bounds the answer of Verify: one is reason enough to look.
const maxDifferences = 1000

// rawSums is what each sum is in terms of usage_event. It says in SQL what usage.Attempt.Contribution
// says in Go; TestRebuildEqualsAggregates compares the two.
var rawSums = map[string]string{
	"requests":                "CASE WHEN attempt_number = 1 THEN 1 ELSE 0 END",
	"attempts":                "1",
	"errors":                  "CASE WHEN outcome IN ('ok', 'canceled') THEN 0 ELSE 1 END",
	"cost_nano_usd":           "COALESCE(cost_nano_usd, 0)",
	"unknown_cost_attempts":   "CASE WHEN cost_nano_usd IS NULL THEN 1 ELSE 0 END",
	"estimated_attempts":      "CASE WHEN usage_source IN ('provider_final', 'none') THEN 0 ELSE 1 END",
	"estimated_cost_nano_usd": "CASE WHEN usage_source IN ('provider_final', 'none') THEN 0 ELSE COALESCE(cost_nano_usd, 0) END",
	"provider_cost_nano_usd":  "CASE WHEN cost_is_reported THEN cost_nano_usd END",
}

// rawGroups selects keys and sums from usage_event, in the columns of usage_rollup.
func rawGroups(engine sqldb.Engine) string {
	keys := strings.Join(keyNames, ", ")
	keys = strings.Replace(keys, "bucket", fmt.Sprintf("ended_at - ended_at %% %d AS bucket", usage.Quarter.Microseconds()), 1)
	sums := make([]string, len(sumNames))
	for i, c := range sumNames {
		expr, ok := rawSums[c]
		if !ok {
			expr = "COALESCE(" + c + ", 0)" // a token class
			if slices.Contains(rareSums, c) {
				expr = c // NULL is nothing
			}
		}
		sums[i] = "SUM(" + expr + ")"
		if engine == sqldb.Postgres {
			sums[i] += "::BIGINT"
		}
		sums[i] += " AS " + c
	}
	groups := make([]string, len(keyNames))
	for i := range keyNames {
		groups[i] = fmt.Sprint(i + 1)
	}
	return "SELECT " + keys + ", " + strings.Join(sums, ", ") + " FROM usage_event GROUP BY " + strings.Join(groups, ", ")
}

// dayGroups selects keys and sums from usage_rollup, in the columns of usage_day.
func dayGroups(engine sqldb.Engine) string {
	keys := strings.Join(keyNames, ", ")
	keys = strings.Replace(keys, "bucket", fmt.Sprintf("bucket - bucket %% %d AS bucket", day), 1)
	sums, groups := make([]string, len(sumNames)), make([]string, len(keyNames))
	for i, c := range sumNames {
		sums[i] = "SUM(" + c + ")"
		if engine == sqldb.Postgres {
			sums[i] += "::BIGINT"
		}
		sums[i] += " AS " + c
	}
	for i := range keyNames {
		groups[i] = fmt.Sprint(i + 1)
	}
	return "SELECT " + keys + ", " + strings.Join(sums, ", ") + " FROM " + rollupTable + " GROUP BY " + strings.Join(groups, ", ")
}

// verifyQuery puts the sums of a table and those that another query counts beside each other. It is a
// union and a grouping, not a full join, which SQLite does in quadratic time.
func verifyQuery(engine sqldb.Engine, table, counting string) string {
	keys := strings.Join(keyNames, ", ")
	var stored, counted, sums, differs []string
	for _, c := range sumNames {
		stored = append(stored, "COALESCE("+c+", 0) AS r_"+c, "0 AS e_"+c)
		counted = append(counted, "0", "COALESCE("+c+", 0)")
		differs = append(differs, "SUM(r_"+c+") <> SUM(e_"+c+")") // a row in which nothing is counted is as good as none
	}
	for _, side := range []string{"r_", "e_"} {
		for _, c := range sumNames {
			sum := "SUM(" + side + c + ")"
			if engine == sqldb.Postgres {
				sum += "::BIGINT"
			}
			sums = append(sums, sum)
		}
	}
	return "SELECT " + keys + ", " + strings.Join(sums, ", ") +
		" FROM (SELECT " + keys + ", " + strings.Join(stored, ", ") + " FROM " + table +
		" UNION ALL SELECT " + keys + ", " + strings.Join(counted, ", ") + " FROM (" + counting + ") AS e) AS u" +
		" GROUP BY " + keys + " HAVING " + strings.Join(differs, " OR ") + " LIMIT ?"
}

// Verify compares all sums with their attempts, at one moment: those per quarter of an hour with the
// attempts, and those per day with them. It reads everything.
func (s *Store) Verify(ctx context.Context) ([]Difference, error) {
	var out []Difference
	err := s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		out = nil
		for _, query := range []string{
			verifyQuery(s.db.Engine(), rollupTable, rawGroups(s.db.Engine())), verifyQuery(s.db.Engine(), dayTable, dayGroups(s.db.Engine())),
		} {
			found, err := differences(ctx, tx, query)
			if err != nil {
				return err
			}
			out = append(out, found...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("verify sums: %w", err)
	}
	return out, nil
}

func differences(ctx context.Context, tx bun.Tx, query string) ([]Difference, error) {
	rows, err := tx.QueryContext(ctx, query, maxDifferences)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []Difference
	for rows.Next() {
		var d Difference
		var stored, counted sumColumns
		k := &d.Key
		dest := []any{
			&k.OrgID, &k.Bucket, &k.APIKeyID, &k.MemberID, &k.CredentialID, &k.Class, &k.Provider, &k.Model, &k.PolicyID, &k.TagsetID,
		}
		if err := rows.Scan(append(append(dest, stored.scan()...), counted.scan()...)...); err != nil {
			return nil, err
		}
		d.Stored, d.Counted = stored.totals(), counted.totals()
		out = append(out, d)
	}
	return out, rows.Err()
}

// Rebuild makes all sums and last uses anew from the attempts, in one transaction. What is applied
// meanwhile waits.
func (s *Store) Rebuild(ctx context.Context) error {
	err := s.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := s.serialize(ctx, tx); err != nil {
			return err
		}
		for _, statement := range []string{"DELETE FROM " + rollupTable, "INSERT INTO " + rollupTable + " (" + allSums + ") " + rawGroups(s.db.Engine())} {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return s.derive(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("rebuild sums: %w", err)
	}
	return nil
}

// derive makes anew what is made from the sums per quarter of an hour and from the attempts.
func (s *Store) derive(ctx context.Context, tx bun.Tx) error {
	for _, statement := range append([]string{
		"DELETE FROM " + dayTable, "INSERT INTO " + dayTable + " (" + allSums + ") " + dayGroups(s.db.Engine()),
	}, rebuildUses...) {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// Settle makes good what an older version left out that went on applying after the schema had changed:
// sums per day and last uses. A worker calls it once, when the others have let go. It compares all sums,
// which takes a second for some million of them.
func (s *Store) Settle(ctx context.Context) error {
	sums := make([]string, len(sumNames))
	for i, c := range sumNames {
		sums[i] = "COALESCE(SUM(" + c + "), 0)"
		if s.db.Engine() == sqldb.Postgres {
			sums[i] += "::TEXT" // of all organizations together they may leave 63 bits
		} else {
			sums[i] = "CAST(TOTAL(" + c + ") AS TEXT)"
		}
	}
	grand := func(table string) string {
		return "(SELECT " + strings.Join(sums, " || ' ' || ") + " FROM " + table + ")"
	}
	err := s.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := s.serialize(ctx, tx); err != nil {
			return err
		}
		var differ bool
		err := tx.QueryRowContext(ctx, "SELECT COALESCE("+grand(rollupTable)+", '') <> COALESCE("+grand(dayTable)+", '')").Scan(&differ)
		if err != nil || !differ {
			return err
		}
		return s.derive(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("settle sums: %w", err)
	}
	return nil
}
