package store_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/policy"
	"github.com/claviger/claviger/services/keys/internal/routing"
	"github.com/claviger/claviger/services/keys/internal/store"
	"github.com/claviger/claviger/services/keys/internal/store/storetest"
)

func TestPoliciesOfTheVersionBeforeAreRulesOfOneGroup(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		t.Helper()
		db := open(t)
		if err := store.MigrateBeforeRouting(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		old := &storetest.Fixture{DB: db}
		old.SQL(t, "INSERT INTO organization (id, slug, name, created_at, version) VALUES ('org_1', 'old', 'Old', 1, 1)")
		old.SQL(t, "INSERT INTO policy (org_id, id, name, version, targets, created_at, updated_at, updated_by) VALUES ('org_1', 'pol_1', 'fast', 3, ?, 1, 5, 'mem_1')",
			`[{"model":"openai/gpt-4o","use":"own"},{"model":"groq/llama","use":"platform"}]`)
		old.SQL(t, "INSERT INTO api_key (org_id, id, name, public_id, hash, member_id, policy_id, provenance, created_at, expires_at, revoked_at) VALUES ('org_1', 'key_1', 'ci', 'p', 'aa', 'mem_1', 'pol_1', 'basic', 1, 0, 0)")
		old.SQL(t, `INSERT INTO credential (org_id, id, provider, label, base_url, priority, hint, revision, sealed, disabled, verdict, state_reason, state_at, setbacks,
			next_probe_at, created_at, created_by, updated_at, updated_by, version, settings, models)
			VALUES ('org_1', 'cred_1', 'openai', 'main', '', 1, 'beef', 2, 'vault:v1:x', ?, 'active', '', 1, 0, 0, 1, 'mem_1', 1, 'mem_1', 4, '', '["gpt-4o"]')`, false)
		old.SQL(t, "INSERT INTO config_change (version, org_id, id) VALUES (1, 'org_1', 'cred_1')")
		old.SQL(t, "UPDATE config_version SET version = 1")
		f := &storetest.Fixture{DB: db, Clock: storetest.NewClock()}
		f.Store = store.New(db, f.Clock.Now)
		if err := f.Store.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.Read(t, "org_1", func(ctx context.Context, tx *store.Tx) error {
			p, err := tx.Policy(ctx, "pol_1")
			if err != nil {
				return err
			}
			spec := policy.Spec{Groups: []policy.Group{{Targets: []policy.Target{{Model: "openai/gpt-4o", Use: policy.Own}, {Model: "groq/llama", Use: policy.Platform}}}}}
			at := time.UnixMicro(5).UTC()
			want := policy.Policy{
				OrgID: "org_1", ID: "pol_1", Name: "fast", Version: 3, Spec: spec, PublishedAt: at, PublishedBy: "mem_1", Revision: 3,
				CreatedAt: time.UnixMicro(1).UTC(), UpdatedAt: at, UpdatedBy: "mem_1",
			}
			if diff := cmp.Diff(want, p); diff != "" {
				t.Errorf("policy (-want +got):\n%s", diff)
			}
			versions, err := tx.PolicyVersions(ctx, "pol_1", 0, 10)
			if diff := cmp.Diff([]policy.Version{{Version: 3, Spec: spec, PublishedAt: at, PublishedBy: "mem_1"}}, versions); diff != "" {
				t.Errorf("versions (-want +got):\n%s", diff)
			}
			if err != nil {
				return err
			}
			k, err := tx.APIKey(ctx, "key_1")
			if k.ETag() != "1" || k.GroupID != "" || k.Enforce {
				t.Errorf("API key = %+v, want one without a group at its first version", k)
			}
			if err != nil {
				return err
			}
			c, err := tx.Credential(ctx, "cred_1")
			if c.State() != credential.Active || c.Weight != 1 || c.Next != nil || c.Previous != nil || c.Cut || !c.DueAt().IsZero() || c.Revision != 2 || c.Sealed != "vault:v1:x" {
				t.Errorf("credential = %+v, want it as it was, with a share of one", c)
			}
			if err != nil {
				return err
			}
			state, err := tx.Routing(ctx)
			if state.PreferencesETag() != "1" || state.ApprovedETag() != "1" || state.Approved != nil {
				t.Errorf("preferences = %+v, want none at their first version", state)
			}
			return err
		})
		if whole, _ := f.Whole(t); len(whole) != 4 {
			t.Errorf("the whole configuration = %v, want organization, policy, credential and API key", whole)
		}
		if d, err := f.Store.Delta(t.Context(), 1); err != nil || !d.Known {
			t.Errorf("Delta(1) = %+v, %v; want routers to go on from where they were", d, err)
		}
	})
}

// TestHundredThousandKeysAreFoundByIndex has an organization of 100,000 API keys in 100 groups with 1,000
// policies that name each other, among others as large.
func TestHundredThousandKeysAreFoundByIndex(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		t.Helper()
		f := storetest.New(t, open(t))
		const numbers = " FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i FROM n) AS n"
		for _, org := range []string{f.Org.ID, "org_other"} {
			f.SQL(t, `INSERT INTO api_key (org_id, id, name, public_id, hash, member_id, policy_id, group_id, provenance, created_at, expires_at, revoked_at)
				SELECT ?, 'key_' || i, 'k' || i, ? || i, 'aa', 'mem_' || (i % 200), 'pol_' || (i % 1000), 'grp_' || (i % 100), 'basic', 1, 0, i % 2`+fmt.Sprintf(numbers, 100_000), org, org)
			f.SQL(t, `INSERT INTO policy (org_id, id, name, version, revision, spec, created_at, updated_at, updated_by)
				SELECT ?, 'pol_' || i, 'p' || i, 4, 4, '{"groups":[{"targets":[{"model":"openai/gpt-4o","use":"own"}]}]}', 1, 1, ''`+fmt.Sprintf(numbers, 1000), org)
			f.SQL(t, `INSERT INTO policy_version (org_id, policy_id, version, spec, published_at, published_by, rolled_back_to)
				SELECT ?, 'pol_' || (i % 1000), i / 1000 + 1, '{"groups":[]}', 1, '', 0`+fmt.Sprintf(numbers, 3999), org)
			f.SQL(t, `INSERT INTO policy_reference (org_id, target, policy_id) SELECT ?, 'policy/p' || (i % 1000), 'pol_' || (i * 7 % 1000)`+fmt.Sprintf(numbers, 1000), org)
			f.SQL(t, `INSERT INTO key_group (org_id, id, name, policy_id, enforce_policy, approved_models, created_at, version)
				SELECT ?, 'grp_' || i, 'g' || i, 'pol_' || i, FALSE, '', 1, 1`+fmt.Sprintf(numbers, 1000), org)
		}
		f.SQL(t, "ANALYZE")
		plans, err := f.Store.Plans(t.Context(), f.Org.ID, "mem_7", "pol_500", "grp_7", "key_5")
		if err != nil {
			t.Fatal(err)
		}
		for name, plan := range plans {
			upper := strings.ToUpper(plan)
			if !strings.Contains(upper, "INDEX") || strings.Contains(upper, "SEQ SCAN") || strings.Contains(upper, "SCAN API_KEY") {
				t.Errorf("%s are not found by an index:\n%s", name, plan)
			}
		}
	})
}

// BenchmarkThousandPolicies is what the rare and the frequent changes cost in an organization with a thousand
// policies of twenty lines.
func BenchmarkThousandPolicies(b *testing.B) {
	f := storetest.New(b, sqltest.Open(b, sqltest.SQLite(b)))
	var lines []string
	for i := range 20 {
		lines = append(lines, fmt.Sprintf(`{"model":"openai/m%d","use":"own","timeouts":{"total_ns":60000000000}}`, i))
	}
	f.SQL(b, `INSERT INTO policy (org_id, id, name, version, revision, spec, created_at, updated_at, updated_by)
		SELECT ?, 'pol_' || i, 'p' || i, 1, 1, ?, 1, 1, '' FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i FROM n) AS n`,
		f.Org.ID, `{"groups":[{"targets":[`+strings.Join(lines, ",")+`]}]}`)
	b.Run("Losses", func(b *testing.B) {
		for b.Loop() {
			f.Read(b, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
				losses, err := policy.Losses(ctx, tx, routing.State{}, routing.State{Approved: []string{"groq/*"}})
				if len(losses) != 100 {
					b.Fatalf("%d losses, want the first hundred", len(losses))
				}
				return err
			})
			f.Read(b, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
				_, err := policy.Losses(ctx, tx, routing.State{}, routing.State{Approved: []string{"openai/*"}})
				return err
			})
		}
	})
	b.Run("Page", func(b *testing.B) {
		for b.Loop() {
			f.Read(b, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.Policies(ctx, "pol_5", 51)
				return err
			})
		}
	})
}
