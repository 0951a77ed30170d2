package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	"github.com/claviger/claviger/services/metering/meteringtest"
)

// usageLimit is how long any call of the usage page may take, with a million events in Postgres.
const usageLimit = time.Second

// usageBench fills a Postgres with usage and times what the usage page asks, through the public API. The
// Postgres is one of its own, or that of CLAVIGER_TEST_POSTGRES.
func usageBench(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("usage", flag.ContinueOnError)
	check := flags.Bool("check", false, "fail if any call takes more than a second")
	events := flags.Int("events", 1_000_000, "events of the organization")
	rounds := flags.Int("rounds", 15, "times that each call is made")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return withTB(ctx, func(t *tb) error { //nolint:contextcheck // it is in t, as in tests
		db := sqltest.Open(t, sqltest.Postgres(t))
		page, err := openUsagePage(t, db, *events, out)
		if err != nil {
			return err
		}
		return page.measure(t.Context(), *rounds, *check, out)
	})
}

// usagePage is what the page asks, as the owner of the organization.
type usagePage struct {
	client  meteringv1connect.UsageServiceClient
	filled  meteringtest.Filled
	now     time.Time
	deepest string // the token of a page far down the list
}

func openUsagePage(t *tb, db *sqldb.DB, events int, out io.Writer) (*usagePage, error) {
	server := meteringtest.Start(t, db)
	now, begin := time.Now().UTC(), time.Now()
	size := meteringtest.Size{Events: events, Weeks: 13, APIKeys: 200}
	filled, err := meteringtest.Fill(t.Context(), db, size, now)
	if err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	took := time.Since(begin)
	_, _ = fmt.Fprintf(out, "claviger bench usage: %s, %d cores\n%d events of one organization over %d weeks and %d of others, %d sums; filled in %v\n\n",
		runtime.Version(), runtime.NumCPU(), filled.Own, size.Weeks, filled.Events-filled.Own, filled.Sums, took.Round(time.Second))
	p := &usagePage{
		client: meteringv1connect.NewUsageServiceClient(connect.NewClient(
			connecthttp.NewTransport(http.DefaultClient, server.URL), meteringtest.Bearer(server.Owner(filled.OrgID, filled.MemberID)))),
		filled: filled, now: now,
	}
	return p, p.dig(t.Context())
}

// dig turns 20 pages of 500, as a person who looks for something would.
func (p *usagePage) dig(ctx context.Context) error {
	for range 20 {
		page, err := p.client.ListRequests(ctx, p.list(func(r *meteringv1.ListRequestsRequest) { r.PageSize, r.PageToken = 500, p.deepest }))
		if err != nil {
			return err
		}
		if page.GetNextPageToken() == "" {
			return nil
		}
		p.deepest = page.GetNextPageToken()
	}
	return nil
}

func (p *usagePage) list(change func(*meteringv1.ListRequestsRequest)) *meteringv1.ListRequestsRequest {
	r := &meteringv1.ListRequestsRequest{StartTime: timestamppb.New(p.now.Add(-90 * 24 * time.Hour)), EndTime: timestamppb.New(p.now)}
	if change != nil {
		change(r)
	}
	return r
}

// usageCall is one call of the page.
type usageCall struct {
	name string
	call func(ctx context.Context) error
	// first says that the page makes it when it opens, together with the others that say so.
	first bool
}

func (p *usagePage) calls() []usageCall {
	const (
		model, class, key = meteringv1.Dimension_DIMENSION_MODEL, meteringv1.Dimension_DIMENSION_CLASS, meteringv1.Dimension_DIMENSION_API_KEY
		day               = meteringv1.TimeBucket_TIME_BUCKET_DAY
		whole             = meteringv1.TimeBucket_TIME_BUCKET_UNSPECIFIED
	)
	query := func(days int, bucket meteringv1.TimeBucket, by ...meteringv1.Dimension) func(context.Context) error {
		return func(ctx context.Context) error {
			res, err := p.client.QueryUsage(ctx, &meteringv1.QueryUsageRequest{
				StartTime: timestamppb.New(p.now.Add(-time.Duration(days) * 24 * time.Hour)), EndTime: timestamppb.New(p.now), Bucket: bucket, GroupBy: by, PageSize: 10_000,
			})
			if err == nil && (res.GetTotal().GetAttempts() == 0 || len(res.GetRows()) == 0) {
				err = errors.New("no usage is found")
			}
			return err
		}
	}
	list := func(change func(*meteringv1.ListRequestsRequest)) func(context.Context) error {
		return func(ctx context.Context) error {
			res, err := p.client.ListRequests(ctx, p.list(change))
			if err == nil && len(res.GetAttempts()) == 0 {
				err = errors.New("no requests are found")
			}
			return err
		}
	}
	filter := func(d meteringv1.Dimension, value string) []*meteringv1.DimensionFilter {
		return []*meteringv1.DimensionFilter{{Dimension: d, Values: []string{value}}}
	}
	rarest := p.filled.APIKeys[len(p.filled.APIKeys)-1]
	return []usageCall{
		{"sums by day, model, class; 30 days", query(30, day, model, class), false},
		{"sums by day, model, class; 90 days", query(90, day, model, class), true},
		{"sums by API key; 30 days", query(30, whole, key), false},
		{"sums by API key; 90 days", query(90, whole, key), true},
		{"totals; 30 days", query(30, whole), false},
		{"totals; 90 days", query(90, whole), true},
		{"requests, first page", list(nil), true},
		{"requests, page 200 of 50", list(func(r *meteringv1.ListRequestsRequest) { r.PageToken = p.deepest }), false},
		{"failed requests", list(func(r *meteringv1.ListRequestsRequest) { r.ErrorsOnly = true }), false},
		{"requests of one model", list(func(r *meteringv1.ListRequestsRequest) { r.Filters = filter(model, p.filled.Models[0]) }), false},
		{"requests of the rarest API key", list(func(r *meteringv1.ListRequestsRequest) { r.Filters = filter(key, rarest) }), false},
		{"its failed requests", func(ctx context.Context) error { // may be none
			_, err := p.client.ListRequests(ctx, p.list(func(r *meteringv1.ListRequestsRequest) { r.Filters, r.ErrorsOnly = filter(key, rarest), true }))
			return err
		}, false},
		{"last uses of 200 API keys", func(ctx context.Context) error {
			res, err := p.client.ListLastUses(ctx, &meteringv1.ListLastUsesRequest{Dimension: key, Ids: p.filled.APIKeys})
			if err == nil && len(res.GetLastUses()) == 0 {
				err = errors.New("no uses are found")
			}
			return err
		}, true},
	}
}

// measure makes each call by itself, and then those that open the page at once, as a browser does.
func (p *usagePage) measure(ctx context.Context, rounds int, check bool, out io.Writer) error {
	calls := p.calls()
	calls = append(calls, usageCall{name: "the page: five of these at once", call: func(ctx context.Context) error {
		var all sync.WaitGroup
		failures := make([]error, len(calls))
		for i, c := range calls {
			if c.first {
				all.Go(func() { failures[i] = c.call(ctx) })
			}
		}
		all.Wait()
		return errors.Join(failures...)
	}})
	_, _ = fmt.Fprintf(out, "%-40s %10s %10s\n", "", "p50", "max")
	slow := 0
	for _, c := range calls {
		// The first call finds rows that nobody has read since they were written, which the server's
		// housekeeping would have done: it is not counted.
		if err := c.call(ctx); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		times := make([]time.Duration, rounds)
		for i := range times {
			begin := time.Now()
			if err := c.call(ctx); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			times[i] = time.Since(begin)
		}
		slices.SortFunc(times, cmp.Compare)
		word := ""
		if times[rounds-1] > usageLimit {
			word = "  more than " + usageLimit.String()
			slow++
		}
		_, _ = fmt.Fprintf(out, "%-40s %10v %10v%s\n", c.name, times[rounds/2].Round(100*time.Microsecond), times[rounds-1].Round(100*time.Microsecond), word)
	}
	if check && slow > 0 {
		return fmt.Errorf("%d of %d calls took more than %v", slow, len(calls), usageLimit)
	}
	return nil
}

func usageMain(ctx context.Context, args []string) {
	if err := usageBench(ctx, args, os.Stdout); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench usage:", err)
		os.Exit(1)
	}
}
