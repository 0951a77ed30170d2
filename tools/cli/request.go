package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
)

type requestCommands struct {
	List requestListCommand `cmd:"" help:"List the newest requests, one line per attempt."`
	Get  requestGetCommand  `cmd:"" help:"Show one request with its attempts, cost and where its time went."`
}

// Help is the long help.
func (requestCommands) Help() string {
	return `A request is one call of an application; an attempt is one call to a provider that served it.`
}

type requestListCommand struct {
	Common  common      `embed:""`
	Range   rangeFlags  `embed:""`
	Filters filterFlags `embed:""`
	Errors  bool        `help:"Only attempts that did not end well."`
	Limit   int         `default:"50" placeholder:"N" help:"At most so many attempts; 0 is all. Default: 50."`
}

// Help is the long help.
func (requestListCommand) Help() string {
	return `Examples:

    claviger request list
    claviger request list --since 1h --errors --model openai/gpt-4o-mini
    claviger request list --since 7d --limit 0 -o json`
}

// Run lists.
func (c *requestListCommand) Run(ctx context.Context, t *terminal) error {
	if c.Limit < 0 {
		return usagef("--limit must not be negative")
	}
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	now := time.Now()
	request := &meteringv1.ListRequestsRequest{PageSize: pageSize, ErrorsOnly: c.Errors}
	if c.Limit > 0 {
		request.PageSize = int32(min(c.Limit, pageSize))
	}
	if request.StartTime, request.EndTime, err = c.Range.times(now); err != nil {
		return err
	}
	if request.Filters, err = c.Filters.filters(ctx, api); err != nil {
		return err
	}
	list := newAttemptList(t, api, true)
	for attempt, err := range pages(func(token string) ([]*meteringv1.Attempt, string, error) {
		request.PageToken = token
		page, err := call(ctx, api, api.usage.ListRequests, request)
		return page.GetAttempts(), page.GetNextPageToken(), err
	}) {
		if err != nil {
			return err
		}
		if err := list.add(ctx, attempt); err != nil {
			return err
		}
		if c.Limit > 0 && list.count == c.Limit {
			break
		}
	}
	if list.count == 0 {
		t.note("There was no request.")
	}
	return list.flush()
}

// attemptList prints attempts, one a line: at once, or as a table at the end.
type attemptList struct {
	t       *terminal
	named   *names
	whole   bool
	count   int
	tab     *table
	widths  []int
	printed map[string]bool // ids of requests, for --quiet
}

func newAttemptList(t *terminal, api *client, whole bool) *attemptList {
	l := &attemptList{t: t, named: namesOf(api), whole: whole, printed: map[string]bool{}}
	l.tab = &table{columns: []column{
		{title: "TIME", least: 8},
		{title: "OUTCOME", least: 15},
		{title: "MODEL", shrink: true, least: 28},
		{title: "CLASS", drop: 3, least: 8},
		{title: "KEY", shrink: true, drop: 2, least: 12},
		{title: "IN", right: true, least: 7},
		{title: "OUT", right: true, least: 6},
		{title: "COST", right: true, least: 13},
		{title: "FIRST", right: true, drop: 4, least: 7},
		{title: "TOTAL", right: true, least: 7},
		{title: "REQUEST", drop: 1, least: 40},
	}}
	if whole {
		for i := range l.tab.columns {
			l.tab.columns[i].least = 0
		}
		l.tab.columns[0].least = 14
	}
	return l
}

// begin prints the head of a list that goes on.
func (l *attemptList) begin() error {
	if l.t.structured() || l.t.Quiet {
		return nil
	}
	l.widths = l.tab.layout(l.t.width())
	return l.t.print("%s", l.tab.line(l.tab.head(), l.widths, l.t.styled(l.t.Out)))
}

func (l *attemptList) add(ctx context.Context, a *meteringv1.Attempt) error {
	l.count++
	id := a.GetEvent().GetRequestId()
	switch {
	case l.t.structured():
		return l.t.emit(a)
	case l.t.Quiet:
		if l.printed[id] {
			return nil
		}
		if len(l.printed) > 1000 { // of a list without end; a request's attempts come close together
			clear(l.printed)
		}
		l.printed[id] = true
		return l.t.print("%s", id)
	}
	row := l.row(ctx, a)
	if l.whole {
		l.tab.add(row...)
		return nil
	}
	for i := range row {
		row[i].text = clean(row[i].text)
	}
	return l.t.print("%s", l.tab.line(row, l.widths, l.t.styled(l.t.Out)))
}

func (l *attemptList) flush() error {
	if l.t.structured() || l.t.Quiet || l.count == 0 {
		return nil
	}
	costs := make([]string, len(l.tab.rows))
	for i, row := range l.tab.rows {
		costs[i] = row[7].text
	}
	for i, text := range amounts(costs) {
		l.tab.rows[i][7].text = text
	}
	return l.t.printTable(l.tab)
}

func (l *attemptList) row(ctx context.Context, a *meteringv1.Attempt) []cell {
	e := a.GetEvent()
	ended := e.GetEndedTime().AsTime().Local()
	at := ended.Format(time.TimeOnly)
	if l.whole {
		at = ended.Format("01-02 15:04:05")
	}
	in, out := "unknown", "unknown"
	if e.GetTokens() != nil || e.GetUsageSource() == eventsv1.UsageSource_USAGE_SOURCE_NONE {
		mark := ""
		if estimated(e) {
			mark = "~"
		}
		in, out = mark+number(e.GetTokens().GetInputTotal()), mark+number(e.GetTokens().GetOutputTotal())
	}
	if in == "unknown" && len(e.GetUnits()) > 0 { // what was counted instead; lines that are printed at once have no room
		in, out = "-", "-"
		if l.whole {
			out = unitText(e.GetUnits())
		}
	}
	first := "-"
	if e.GetFirstContentMicros() > 0 {
		first = took(micros(e.GetFirstContentMicros()))
	}
	return []cell{
		{at, dim},
		{outcome(e), outcomeStyle(e)},
		plain(e.GetModel()), plain(word(e.GetCredentialClass())), plain(l.named.key(ctx, e.GetApiKeyId())),
		plain(in), plain(out),
		{attemptCost(a), bold},
		plain(first), plain(took(micros(e.GetDurationMicros()))),
		{e.GetRequestId(), dim},
	}
}

// estimated reports whether the counts are not the provider's own final ones.
func estimated(e *eventsv1.UsageEvent) bool {
	s := e.GetUsageSource()
	return s == eventsv1.UsageSource_USAGE_SOURCE_ESTIMATED || s == eventsv1.UsageSource_USAGE_SOURCE_PROVIDER_PARTIAL
}

func outcome(e *eventsv1.UsageEvent) string {
	if e.GetErrorClass() != "" {
		return strings.ReplaceAll(e.GetErrorClass(), "_", " ")
	}
	return word(e.GetOutcome())
}

func outcomeStyle(e *eventsv1.UsageEvent) string {
	switch e.GetOutcome() {
	case eventsv1.Outcome_OUTCOME_OK:
		return green
	case eventsv1.Outcome_OUTCOME_CANCELED:
		return yellow
	default:
		return red
	}
}

func attemptCost(a *meteringv1.Attempt) string {
	if a.CostNanoUsd == nil {
		return "unknown"
	}
	return money(a.GetCostNanoUsd())
}

type requestGetCommand struct {
	Common common `embed:""`
	ID     string `arg:"" name:"id" help:"The request's id, req_…: x-request-id of the answer, or from the list."`
}

// Help is the long help.
func (requestGetCommand) Help() string {
	return `With --output json, the object has "trace" beside the fields of the API, if there is a trace to show.

Examples:

    claviger request get req_0198c0de-0000-7000-8000-000000000000
    claviger request get "$(claviger request list -q --limit 1)"`
}

// Run shows one.
func (c *requestGetCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	answer, err := call(ctx, api, api.usage.GetRequest, &meteringv1.GetRequestRequest{RequestId: c.ID})
	if err != nil {
		return err
	}
	if t.Quiet && !t.structured() {
		return t.print("%s", answer.GetRequestId())
	}
	// That there is nothing to say about the trace takes nothing from the rest.
	trace, err := once(ctx, api, api.traces.GetTrace, &meteringv1.GetTraceRequest{RequestId: c.ID})
	if err != nil || len(trace.GetSpans()) == 0 && trace.GetLink() == "" {
		trace = nil
	}
	if t.structured() {
		var extra []field
		if trace != nil {
			extra = append(extra, field{"trace", trace})
		}
		return t.emit(answer, extra...)
	}
	if len(answer.GetAttempts()) == 0 {
		return errors.New("the request has no attempts")
	}
	return t.showRequest(ctx, api, answer, trace)
}

func (t *terminal) showRequest(ctx context.Context, api *client, answer *meteringv1.GetRequestResponse, trace *meteringv1.GetTraceResponse) error {
	named := namesOf(api)
	e := answer.GetAttempts()[0].GetEvent()
	cost := money(answer.GetCostNanoUsd())
	if !answer.GetCostKnown() {
		cost = "not known in full, at least " + cost
	}
	asked := e.GetRequestedModel()
	if e.GetPolicyId() != "" {
		asked += fmt.Sprintf(" (policy %s, version %d)", named.policy(ctx, e.GetPolicyId()), e.GetPolicyVersion())
	}
	form := e.GetDialect() + ", whole"
	if e.GetStreamed() {
		form = e.GetDialect() + ", streamed"
	}
	err := t.printFacts(
		[2]string{"request", answer.GetRequestId()},
		[2]string{"trace id", e.GetTraceId()},
		[2]string{"trace", trace.GetLink()},
		[2]string{"began", moment(e.GetStartedTime(), time.Now())},
		[2]string{"asked for", asked},
		[2]string{"operation", e.GetOperation()},
		[2]string{"API", form},
		[2]string{"API key", named.key(ctx, e.GetApiKeyId())},
		[2]string{"member", named.member(ctx, e.GetMemberId())},
		[2]string{"session", e.GetSession()},
		[2]string{"user", e.GetUser()},
		[2]string{"tags", tagText(e.GetTags())},
		[2]string{"cost", cost},
	)
	if err != nil {
		return err
	}
	if err := t.showAttempts(ctx, named, answer); err != nil {
		return err
	}
	if len(trace.GetSpans()) > 0 {
		return t.showSpans(trace.GetSpans())
	}
	return t.showTimes(answer)
}

func tagText(tags map[string]string) string {
	parts := make([]string, 0, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		parts = append(parts, key+"="+tags[key])
	}
	return strings.Join(parts, ", ")
}

func (t *terminal) showAttempts(ctx context.Context, named *names, answer *meteringv1.GetRequestResponse) error {
	tab := &table{columns: []column{
		{title: "ATTEMPT", right: true},
		{title: "OUTCOME", shrink: true},
		{title: "STATUS", right: true, drop: 2},
		{title: "MODEL", shrink: true},
		{title: "CLASS"},
		{title: "CREDENTIAL", shrink: true},
		{title: "IN", right: true},
		{title: "OUT", right: true},
		{title: "COST", right: true},
		{title: "COST BY", drop: 3},
		{title: "PROVIDER SAYS", right: true, drop: 1},
		{title: "UNITS", shrink: true, drop: 1},
		{title: "END", drop: 4},
		{title: "PROVIDER'S ID", drop: 5},
	}}
	var costs, reported []string
	units := false
	for _, a := range answer.GetAttempts() {
		costs, reported = append(costs, attemptCost(a)), append(reported, reportedCost(a.GetEvent()))
		units = units || len(a.GetEvent().GetUnits()) > 0
	}
	says := slices.ContainsFunc(reported, func(text string) bool { return text != "-" })
	tab.columns = slices.DeleteFunc(tab.columns, func(c column) bool { // what no attempt has
		return c.title == "PROVIDER SAYS" && !says || c.title == "UNITS" && !units
	})
	costs, reported = amounts(costs), amounts(reported)
	for i, a := range answer.GetAttempts() {
		e := a.GetEvent()
		status := "-"
		if e.GetHttpStatus() != 0 {
			status = strconv.Itoa(int(e.GetHttpStatus()))
		}
		in, out := "unknown", "unknown"
		if tokens := e.GetTokens(); tokens != nil || e.GetUsageSource() == eventsv1.UsageSource_USAGE_SOURCE_NONE {
			in, out = number(tokens.GetInputTotal()), number(tokens.GetOutputTotal())
			if estimated(e) {
				in, out = "~"+in, "~"+out
			}
		}
		end := e.GetFinishReason()
		if end == "" {
			end = "-"
		}
		row := []cell{
			plain(strconv.Itoa(int(e.GetAttemptNumber()))),
			{outcome(e), outcomeStyle(e)},
			plain(status), plain(e.GetModel()), plain(word(e.GetCredentialClass())),
			plain(named.credential(ctx, e.GetCredentialId())), plain(in), plain(out),
			{costs[i], bold},
			plain(costSource(a)),
		}
		if says {
			row = append(row, plain(reported[i]))
		}
		if units {
			row = append(row, plain(unitText(e.GetUnits())))
		}
		tab.add(append(row, plain(end), cell{e.GetProviderRequestId(), dim})...)
	}
	if err := t.print(""); err != nil {
		return err
	}
	return t.printTable(tab)
}

// stretch is a part of a request's time.
type stretch struct {
	label    string
	from, to time.Duration
	style    string
	note     string
	depth    int
}

// showTimes draws where the time went, from what the attempts recorded.
func (t *terminal) showTimes(answer *meteringv1.GetRequestResponse) error {
	begin := answer.GetAttempts()[0].GetEvent().GetStartedTime().AsTime()
	var all []stretch
	for _, a := range answer.GetAttempts() {
		e := a.GetEvent()
		from := max(0, e.GetStartedTime().AsTime().Sub(begin))
		whole := micros(e.GetDurationMicros())
		first := micros(e.GetFirstContentMicros())
		name := fmt.Sprintf("%d %s", e.GetAttemptNumber(), e.GetModel())
		if first == 0 {
			all = append(all, stretch{name, from, from + whole, outcomeStyle(e), "waited " + took(whole) + ", no answer began", 0})
			continue
		}
		all = append(
			all, stretch{name, from, from + first, cyan, "waited " + took(first) + " for the first content", 0},
			stretch{"", from + first, from + whole, outcomeStyle(e), "answered for " + took(whole-first), 0},
		)
	}
	return t.drawTimes(all)
}

// showSpans draws the spans of the request's trace.
func (t *terminal) showSpans(spans []*meteringv1.Span) error {
	known, children := map[string]bool{}, map[string][]*meteringv1.Span{}
	begin := spans[0].GetStartTime().AsTime()
	for _, s := range spans {
		known[s.GetSpanId()] = true
		if at := s.GetStartTime().AsTime(); at.Before(begin) {
			begin = at
		}
	}
	for _, s := range spans {
		parent := s.GetParentSpanId()
		if !known[parent] || parent == s.GetSpanId() {
			parent = "" // the caller's
		}
		children[parent] = append(children[parent], s)
	}
	var all []stretch
	var add func(parent string, depth int)
	add = func(parent string, depth int) {
		mine := children[parent]
		delete(children, parent) // a circle ends
		for _, s := range mine {
			from, style := s.GetStartTime().AsTime().Sub(begin), cyan
			if s.GetError() {
				style = red
			}
			all = append(all, stretch{s.GetName(), from, from + micros(s.GetDurationMicros()), style, s.GetService() + ", " + took(micros(s.GetDurationMicros())), depth})
			add(s.GetSpanId(), depth+1)
		}
	}
	add("", 0)
	return t.drawTimes(all)
}

// barCells is how wide the whole time is drawn.
const barCells = 30

func (t *terminal) drawTimes(all []stretch) error {
	var whole time.Duration
	for _, s := range all {
		whole = max(whole, s.to)
	}
	style := t.styled(t.Out)
	if err := t.print("\n%s", style(bold, "Where the time went, "+took(whole)+" in all")); err != nil {
		return err
	}
	tab := &table{columns: []column{{shrink: true}, {}, {shrink: true}}}
	for _, s := range all {
		from, to := 0, 0
		if whole > 0 {
			from, to = int(s.from*barCells/whole), int(s.to*barCells/whole)
		}
		from = min(from, barCells-1)
		to = min(max(to, from+1), barCells)
		bar := strings.Repeat("·", from) + strings.Repeat("█", to-from) + strings.Repeat("·", barCells-to)
		tab.add(plain(strings.Repeat("  ", s.depth)+s.label), cell{bar, s.style}, plain(s.note))
	}
	widths := tab.layout(t.width())
	for _, row := range tab.rows {
		if err := t.print("%s", tab.line(row, widths, style)); err != nil {
			return err
		}
	}
	return nil
}
