package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
)

type usageCommand struct {
	Common  common      `embed:""`
	Range   rangeFlags  `embed:""`
	By      []string    `complete:"dimension" placeholder:"WHAT" help:"Group by these, at most four: model, provider, class, key, credential, policy, member, tag:NAME."`
	Bucket  string      `enum:",15m,hour,day" default:"" placeholder:"WIDTH" help:"A row for each stretch of time, in UTC: 15m, hour or day."`
	Filters filterFlags `embed:""`
}

// Help is the long help.
func (usageCommand) Help() string {
	return `What is not known stays visible: attempts without a known cost are counted and never taken for free, and
the share of estimates is told. "Complete through" is the moment up to which every router's attempts are in.
Times are cut to quarters of an hour.

With --output json the whole answer is one object; with --quiet only the cost is printed.

Examples:

    claviger usage
    claviger usage --since 7d --by model,class
    claviger usage --since 2026-11-01 --until 2026-12-01 --by member --bucket day
    claviger usage --by tag:team --class own -o json | jq '.total.costNanoUsd'`
}

var dimensions = map[string]meteringv1.Dimension{
	"model": meteringv1.Dimension_DIMENSION_MODEL, "provider": meteringv1.Dimension_DIMENSION_PROVIDER,
	"class": meteringv1.Dimension_DIMENSION_CLASS, "key": meteringv1.Dimension_DIMENSION_API_KEY,
	"credential": meteringv1.Dimension_DIMENSION_CREDENTIAL, "policy": meteringv1.Dimension_DIMENSION_POLICY,
	"member": meteringv1.Dimension_DIMENSION_MEMBER,
}

// dimensionWords are what --by takes, in the order in which they are offered.
var dimensionWords = []string{"model", "provider", "class", "key", "credential", "policy", "member", "tag:"}

// request is the query that the flags mean.
func (c *usageCommand) request(ctx context.Context, api *client, now time.Time) (*meteringv1.QueryUsageRequest, error) {
	request := &meteringv1.QueryUsageRequest{
		Bucket: map[string]meteringv1.TimeBucket{
			"15m": meteringv1.TimeBucket_TIME_BUCKET_QUARTER_HOUR, "hour": meteringv1.TimeBucket_TIME_BUCKET_HOUR, "day": meteringv1.TimeBucket_TIME_BUCKET_DAY,
		}[c.Bucket],
		PageSize: 10000,
	}
	for _, what := range c.By {
		if tag, ok := strings.CutPrefix(what, "tag:"); ok && tag != "" {
			request.GroupBy, request.TagKey = append(request.GroupBy, meteringv1.Dimension_DIMENSION_TAG), tag
			continue
		}
		d, ok := dimensions[what]
		if !ok {
			return nil, usagef("--by does not know %q: it knows model, provider, class, key, credential, policy, member and tag:NAME", what)
		}
		request.GroupBy = append(request.GroupBy, d)
	}
	var err error
	if request.StartTime, request.EndTime, err = c.Range.times(now); err != nil {
		return nil, err
	}
	request.Filters, err = c.Filters.filters(ctx, api)
	return request, err
}

// Run shows usage.
func (c *usageCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	now := time.Now()
	request, err := c.request(ctx, api, now)
	if err != nil {
		return err
	}
	answer := &meteringv1.QueryUsageResponse{}
	for {
		page, err := call(ctx, api, api.usage.QueryUsage, request)
		if err != nil {
			return err
		}
		answer.Rows = append(answer.Rows, page.GetRows()...)
		answer.Total, answer.CompleteThrough, answer.SilentRouters = page.GetTotal(), page.GetCompleteThrough(), page.GetSilentRouters()
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			break
		}
	}
	if t.structured() {
		return t.emit(answer, field{"startTime", request.GetStartTime()}, field{"endTime", request.GetEndTime()})
	}
	if t.Quiet {
		return t.print("%s", money(answer.GetTotal().GetCostNanoUsd()))
	}
	style := t.styled(t.Out)
	const form = "2006-01-02 15:04"
	if err := t.print("%s", style(bold, fmt.Sprintf("Usage from %s to %s", request.GetStartTime().AsTime().Local().Format(form), request.GetEndTime().AsTime().Local().Format(form+" MST")))); err != nil {
		return err
	}
	if err := t.print(""); err != nil {
		return err
	}
	if answer.GetTotal().GetAttempts() == 0 {
		if err := t.print("Nothing was used."); err != nil {
			return err
		}
	} else if err := t.printTable(c.table(ctx, api, request, answer)); err != nil {
		return err
	}
	return t.printCertainty(answer, now)
}

// table is the rows and their total.
func (c *usageCommand) table(ctx context.Context, api *client, request *meteringv1.QueryUsageRequest, answer *meteringv1.QueryUsageResponse) *table {
	tab := &table{}
	if c.Bucket != "" {
		tab.columns = append(tab.columns, column{title: "TIME (UTC)"})
	}
	for _, what := range c.By {
		tab.columns = append(tab.columns, column{title: strings.ToUpper(what), shrink: true})
	}
	if len(tab.columns) == 0 {
		tab.columns = append(tab.columns, column{})
	}
	groups := len(tab.columns)
	tab.columns = append(
		tab.columns, column{title: "REQUESTS", right: true, drop: 1}, column{title: "ATTEMPTS", right: true, drop: 3},
		column{title: "ERRORS", right: true, drop: 2}, column{title: "TOKENS IN", right: true}, column{title: "CACHED", right: true, drop: 4},
		column{title: "TOKENS OUT", right: true}, column{title: "COST", right: true},
	)
	counted := len(answer.GetTotal().GetUnits()) > 0
	if counted {
		tab.columns = append(tab.columns, column{title: "UNITS", drop: 5})
	}
	// Without groups the one row is the total.
	totals := []*meteringv1.UsageTotals{}
	if c.Bucket != "" || len(c.By) > 0 {
		for _, row := range answer.GetRows() {
			totals = append(totals, row.GetTotals())
		}
	}
	totals = append(totals, answer.GetTotal())
	costs := make([]string, len(totals))
	for i, sum := range totals {
		costs[i] = costOf(sum)
	}
	costs = amounts(costs)
	named := namesOf(api)
	for i, sum := range totals {
		var row []cell
		if i < len(totals)-1 {
			row = c.groupCells(ctx, named, request, answer.GetRows()[i])
		} else {
			row = make([]cell, groups)
			row[0] = cell{"total", bold}
		}
		errors := plain(number(sum.GetErrors()))
		if sum.GetErrors() > 0 {
			errors.style = red
		}
		row = append(
			row, plain(number(sum.GetRequests())), plain(number(sum.GetAttempts())), errors, plain(number(sum.GetTokens().GetInputTotal())),
			plain(number(sum.GetTokens().GetCacheRead())), plain(number(sum.GetTokens().GetOutputTotal())), cell{costs[i], bold},
		)
		if counted {
			row = append(row, plain(unitText(sum.GetUnits())))
		}
		tab.add(row...)
	}
	return tab
}

// costOf is what is known of a cost. A sum that lacks some is "at least" that much.
func costOf(sum *meteringv1.UsageTotals) string {
	switch {
	case sum.GetUnknownCostAttempts() == 0:
		return money(sum.GetCostNanoUsd())
	case sum.GetCostNanoUsd() == 0:
		return "unknown"
	default:
		return "≥ " + money(sum.GetCostNanoUsd())
	}
}

func (c *usageCommand) groupCells(ctx context.Context, named *names, request *meteringv1.QueryUsageRequest, row *meteringv1.UsageRow) []cell {
	var cells []cell
	if c.Bucket != "" {
		form := "2006-01-02 15:04"
		if c.Bucket == "day" {
			form = time.DateOnly
		}
		cells = append(cells, plain(row.GetBucketTime().AsTime().Format(form)))
	}
	for i, d := range request.GetGroupBy() {
		value := ""
		if i < len(row.GetGroup()) {
			value = row.GetGroup()[i]
		}
		switch d {
		case meteringv1.Dimension_DIMENSION_API_KEY:
			value = named.key(ctx, value)
		case meteringv1.Dimension_DIMENSION_CREDENTIAL:
			value = named.credential(ctx, value)
		case meteringv1.Dimension_DIMENSION_POLICY:
			value = named.policy(ctx, value)
		case meteringv1.Dimension_DIMENSION_MEMBER:
			value = named.member(ctx, value)
		default:
		}
		if value == "" {
			cells = append(cells, cell{"none", dim})
			continue
		}
		cells = append(cells, plain(value))
	}
	return cells
}

// printCertainty says how far the figures can be relied on.
func (t *terminal) printCertainty(answer *meteringv1.QueryUsageResponse, now time.Time) error {
	sum := answer.GetTotal()
	style := t.styled(t.Out)
	lines := []string{""}
	switch {
	case sum.GetAttempts() == 0:
	case sum.GetEstimatedAttempts() == 0:
		lines = append(lines, "No estimates: all counts are the providers' own.")
	default:
		lines = append(lines, fmt.Sprintf("Estimates: %s of %s attempts (%s), %s of the cost.", number(sum.GetEstimatedAttempts()), number(sum.GetAttempts()),
			share(sum.GetEstimatedAttempts(), sum.GetAttempts()), money(sum.GetEstimatedCostNanoUsd())))
	}
	if n := sum.GetProviderCostNanoUsd(); n > 0 {
		lines = append(lines, fmt.Sprintf("As providers say: %s of the cost, which no price gives or where a price leaves it to them.", money(n)))
	}
	if n := sum.GetUnknownCostAttempts(); n > 0 {
		lines = append(lines, style(yellow, fmt.Sprintf("Unknown cost: %s of %s attempts, which no sum holds.", number(n), number(sum.GetAttempts()))))
	}
	if through := answer.GetCompleteThrough(); through == nil {
		lines = append(lines, style(yellow, "How far the figures are complete is not known."))
	} else {
		lines = append(lines, fmt.Sprintf("Complete through %s.", moment(through, now)))
	}
	if silent := answer.GetSilentRouters(); len(silent) > 0 {
		names := slices.Clone(silent)
		for i := range names {
			names[i] = clean(names[i])
		}
		lines = append(lines, style(yellow, "Not heard of for a while: "+strings.Join(names, ", ")+"."))
	}
	for _, line := range lines {
		if err := t.print("%s", line); err != nil {
			return err
		}
	}
	return nil
}
