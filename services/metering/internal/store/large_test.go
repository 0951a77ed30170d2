package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	"github.com/claviger/claviger/services/metering/internal/store"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// load returns n attempts of 40 organizations, each the given time before the one before it.
func load(n int, apart time.Duration) []usage.Attempt {
	attempts := make([]usage.Attempt, n)
	for i := range attempts {
		cost := int64(i) * 1000
		ended := noon.Add(-time.Duration(i) * apart)
		a := usage.Attempt{
			Event: usage.Event{
				OrgID: fmt.Sprintf("org_%02d", i%40), AttemptID: id.New("att"), RequestID: id.New("req"), AttemptNumber: 1 + i%7/6,
				APIKeyID: fmt.Sprintf("key_%d", i%11), MemberID: fmt.Sprintf("mem_%d", i%5), CredentialID: fmt.Sprintf("cred_%d", i%3),
				Class: usage.Own, Provider: "openai", Model: fmt.Sprintf("openai/m%d", i%4), ResponseModel: "m", RequestedModel: "m",
				Dialect: "openai.chat", Started: ended.Add(-time.Second), Ended: ended, Duration: time.Second, Outcome: usage.OK,
				HTTPStatus: 200, FinishReason: "stop", Source: usage.ProviderFinal, ProviderRequestID: "chatcmpl-abcdefghijkl",
				Tokens: &pricing.Counts{InputTotal: int64(i % 5000), InputUncached: int64(i % 5000), OutputTotal: int64(i % 700)},
			},
			CostNano: &cost, PriceID: "price_a", AppliedAt: noon,
		}
		if i%3 == 0 {
			a.Tags = map[string]string{"team": fmt.Sprintf("t%d", i%9)}
		}
		if i%50 == 0 {
			a.Outcome, a.Source, a.CostNano, a.Tokens = usage.Failed, usage.Estimated, nil, nil
		}
		attempts[i] = a
	}
	return attempts
}

// TestQueriesUseIndexes fills the database with 200,000 events, and asks how it would answer: no query of
// a person scans usage_event, and sums come from one range of the rollup.
func TestQueriesUseIndexes(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		db := open(t)
		s := migrated(t, db)
		attempts := load(4000, 26*time.Second)
		apply(t, s, usage.Batch{Attempts: attempts})
		if err := s.Multiply(t.Context(), copies); err != nil {
			t.Fatalf("Multiply: %v", err)
		}
		if err := s.Settle(t.Context()); err != nil { // as after an older version, which knows no sums per day
			t.Fatalf("Settle: %v", err)
		}
		mustVerify(t, s)
		if err := s.Exec(t.Context(), "ANALYZE"); err != nil {
			t.Fatalf("ANALYZE: %v", err)
		}
		q := usage.Query{
			OrgID: "org_07", Start: noon.Add(-6 * time.Hour), End: noon.Add(time.Hour), PageSize: 100, Bucket: usage.PerHour,
			GroupBy: []usage.Dimension{usage.ByModel, usage.ByTag}, TagKey: "team",
			Filters: []usage.Filter{{Dimension: usage.ByTag, TagKey: "team", Values: []string{"t0", "t3", ""}}},
		}
		l := usage.List{OrgID: "org_07", Start: noon.Add(-6 * time.Hour), End: noon, PageSize: 50, After: &usage.AttemptKey{Ended: noon.UnixMicro(), AttemptID: "att_z"}}
		plans, err := s.Plans(t.Context(), q, l, attempts[7].RequestID)
		if err != nil {
			t.Fatalf("Plans: %v", err)
		}
		for name, plan := range plans {
			for _, scan := range []string{"Seq Scan on usage_event", "Seq Scan on usage_rollup", "SCAN e\n", "SCAN usage_event", "SCAN t\n", "SCAN usage_rollup", "Seq Scan on usage_day", "SCAN usage_day", "Seq Scan on last_use", "SCAN u\n"} {
				if strings.Contains(plan, scan) {
					t.Errorf("%s: the plan has %q:\n%s", name, scan, plan)
				}
			}
			index := map[string]string{
				"rows": "usage_rollup", "total": "usage_rollup", "list": "usage_event_ended", "own": "usage_event_", "request": "usage_event_request",
				"quarters": "usage_rollup", "days": "usage_day", "months": "usage_day", "spans": "usage_event_", "counted": "usage_event_counted", "uses": "last_use", "rare": "usage_day_rare",
			}[name]
			if !strings.Contains(plan, index) {
				t.Errorf("%s: the plan does not use %s:\n%s", name, index, plan)
			}
		}
		begin := time.Now()
		page := query(t, s, q)
		t.Logf("answered a query in %v", time.Since(begin))
		if page.Total.Attempts == 0 || len(page.Rows) == 0 {
			t.Errorf("the query found nothing: %+v", page)
		}
	})
}

func TestRebuildEqualsAggregates(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s *store.Store) {
		attempts := load(some, 30*time.Second)
		for i := range attempts {
			attempts[i].Outcome = []usage.Outcome{usage.OutcomeUnknown, usage.OK, usage.Failed, usage.Broken, usage.Canceled, usage.NotSent, usage.RouterCrash}[i%7]
			attempts[i].Source = []usage.Source{usage.SourceUnknown, usage.ProviderFinal, usage.ProviderPartial, usage.Estimated, usage.NoUsage}[i%5]
			attempts[i].Class = []usage.Class{usage.NoClass, usage.Own, usage.Platform}[i%3]
			if i%4 == 0 {
				attempts[i].Units = []pricing.Unit{{Name: pricing.UnitNames[i/4%len(pricing.UnitNames)], Milli: int64(i)}}
			}
			if i%6 == 0 {
				attempts[i].ReportedNano, attempts[i].CostSource = new(int64(i)), usage.CostByProvider
				attempts[i].CostNano = attempts[i].ReportedNano
			}
		}
		apply(t, s, usage.Batch{Attempts: attempts})
		mustVerify(t, s)
		before := total(t, s, "org_05")

		// Whatever happens to the sums, they can be had again.
		for _, damage := range []string{
			"UPDATE usage_rollup SET cost_nano_usd = cost_nano_usd + 1 WHERE org_id = 'org_05'",
			"UPDATE usage_rollup SET unit_image = COALESCE(unit_image, 0) + 1 WHERE org_id = 'org_05'",
			"UPDATE usage_rollup SET provider_cost_nano_usd = NULL WHERE org_id IN ('org_05', 'org_06')",
			"UPDATE usage_day SET reported_cost_nano_usd = 1 WHERE org_id = 'org_05'",
			"DELETE FROM usage_rollup WHERE org_id = 'org_05'",
			"UPDATE usage_rollup SET model = 'other' WHERE org_id = 'org_05'",
			"UPDATE usage_day SET requests = requests + 1 WHERE org_id = 'org_05'",
			"DELETE FROM usage_day WHERE org_id = 'org_05'",
		} {
			if err := s.Exec(t.Context(), damage); err != nil {
				t.Fatalf("%s: %v", damage, err)
			}
			if diff, err := s.Verify(t.Context()); err != nil || len(diff) == 0 {
				t.Fatalf("Verify after %q = %v, %v, want differences", damage, diff, err)
			}
			for range 2 {
				if err := s.Rebuild(t.Context()); err != nil {
					t.Fatalf("Rebuild: %v", err)
				}
				mustVerify(t, s)
			}
			if got := total(t, s, "org_05"); got != before {
				t.Fatalf("total after Rebuild = %+v, want %+v", got, before)
			}
		}
	})
}

func BenchmarkApply(b *testing.B) {
	for _, engine := range []struct {
		name string
		url  func(testing.TB) string
	}{{"sqlite", sqltest.SQLite}, {"postgres", durable}} {
		for _, size := range []int{64, 512} {
			b.Run(fmt.Sprintf("%s/%d", engine.name, size), func(b *testing.B) {
				s := migrated(b, sqltest.Open(b, engine.url(b)))
				attempts := load(size, time.Millisecond)
				for i := range attempts { // about a hundred rows of the rollup are hot
					a := &attempts[i]
					a.OrgID, a.APIKeyID, a.MemberID = fmt.Sprintf("org_%d", i%4), fmt.Sprintf("key_%d", i%20), fmt.Sprintf("mem_%d", i%20)
					a.Model, a.CredentialID, a.Tags = fmt.Sprintf("openai/m%d", i%5), "cred_a", nil
				}
				for b.Loop() {
					for i := range attempts {
						attempts[i].AttemptID = id.New("att")
					}
					if _, err := s.Apply(b.Context(), usage.Batch{Attempts: attempts, At: noon}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}

// durable is a Postgres that syncs to disk at each commit, as in production.
func durable(tb testing.TB) string { return sqltest.Server(tb).URL() }
