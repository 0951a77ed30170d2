package cli

import (
	"context"
	"math"
	"strconv"
	"strings"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/claviger/claviger/pkg/secret"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/proto/gen/claviger/router/v1/routerv1connect"
	"github.com/claviger/claviger/tools/seed"
)

type explainCommand struct {
	Common common `embed:""`
	Model  string `arg:"" optional:"" complete:"route" help:"Model or policy/NAME. The API key's default policy if not given."`

	KeyStdin bool   `xor:"key" help:"Read the API key from standard input."`
	KeyFile  string `xor:"key" type:"path" placeholder:"FILE" help:"Read the API key from a file."`
	Key      string `hidden:""`
	Address  string `placeholder:"URL" help:"Address of the router. Default: that of the context."`
	Insecure bool   `help:"Allow http to another machine."`

	Operation string   `enum:"chat,embeddings,images,count-tokens,videos" default:"chat" help:"What is asked for: chat, embeddings, images, count-tokens or videos."`
	In        int64    `placeholder:"TOKENS" help:"Size of the prompt, for conditions and costs."`
	Out       int64    `placeholder:"TOKENS" help:"Size of the answer, for costs."`
	Tag       []string `sep:"none" placeholder:"KEY=VALUE" help:"A tag of the request."`
	Session   string   `placeholder:"NAME" help:"The request's session."`
	User      string   `placeholder:"NAME" help:"The request's user."`

	Models            []string `complete:"model" placeholder:"MODEL" help:"Models to try after the first, as a request names them."`
	Order             []string `complete:"provider" placeholder:"SLUG" help:"Providers to ask first."`
	Only              []string `complete:"provider" placeholder:"SLUG" help:"Providers that may be asked."`
	Ignore            []string `complete:"provider" placeholder:"SLUG" help:"Providers that may not be asked."`
	Sort              string   `enum:",price,latency" default:"" placeholder:"WORD" help:"Try by price or latency first."`
	NoFallbacks       bool     `help:"Try the first candidate alone."`
	RequireParameters bool     `help:"Pass over providers that cannot carry everything in the request."`
	MaxInputPrice     float64  `placeholder:"USD" help:"Pass over models whose prompt costs more, in dollars per million tokens."`
	MaxOutputPrice    float64  `placeholder:"USD" help:"Pass over models whose answer costs more, in dollars per million tokens."`
}

// AfterApply refuses an API key in an argument.
func (c *explainCommand) AfterApply() error {
	if c.Key != "" || strings.HasPrefix(c.Model, "clv_") {
		return refuseSecretArgument("an API key is not an argument")
	}
	return nil
}

// Help is the long help.
func (explainCommand) Help() string {
	return `A router plans the request as it would for the application that has the API key, and calls no provider. The
API key is read from CLAVIGER_API_KEY, --key-stdin or --key-file, or typed without showing it.

COST is of --in and --out. FIRST TOKEN is what the router reckons with: what it has measured, half of it after each
two minutes without a call, so that a line that was slow is tried again.

Examples:

    claviger explain policy/main --key-file app.key
    claviger explain policy/main --key-file app.key --in 2000 --out 500 --tag env=prod
    claviger explain openai/gpt-oss-120b --key-file app.key --order groq,deepinfra --sort price -o json`
}

// Run explains.
func (c *explainCommand) Run(ctx context.Context, t *terminal) error {
	request, err := c.request()
	if err != nil {
		return err
	}
	address, err := c.address(t)
	if err != nil {
		return err
	}
	key := secret.New(t.env("CLAVIGER_API_KEY"))
	if key.Empty() || c.KeyStdin || c.KeyFile != "" {
		if key, err = t.secret(ctx, source{what: "API key", flag: "key", stdin: c.KeyStdin, file: c.KeyFile}); err != nil {
			return err
		}
	}
	httpClient := newHTTPClient()
	defer httpClient.CloseIdleConnections()
	router := routerv1connect.NewCompletionServiceClient(connect.NewClient(connecthttp.NewTransport(httpClient, address), seed.Bearer(key)))
	answer, err := call(ctx, &client{place: place{Address: address}}, router.ExplainRoute, request)
	if err != nil {
		return err
	}
	return t.showRoute(answer, request)
}

// address is where the router is.
func (c *explainCommand) address(t *terminal) (string, error) {
	if c.Address != "" {
		return checkAddress(c.Address, c.Insecure)
	}
	p, err := t.place()
	if err != nil {
		return "", err
	}
	return checkAddress(p.Address, p.Insecure)
}

func (c *explainCommand) request() (*routerv1.ExplainRouteRequest, error) {
	tags := map[string]string{}
	for _, text := range c.Tag {
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, usagef("--tag: %q is no KEY=VALUE", text)
		}
		tags[key] = value
	}
	routing := &routerv1.Routing{
		Models: c.Models, Order: c.Order, Only: c.Only, Ignore: c.Ignore, Sort: c.Sort, RequireParameters: c.RequireParameters,
	}
	if c.NoFallbacks {
		routing.AllowFallbacks = new(false)
	}
	if c.MaxInputPrice != 0 || c.MaxOutputPrice != 0 {
		routing.MaxPrice = &routerv1.MaxPrice{InputNanoUsdPerMillion: nano(c.MaxInputPrice), OutputNanoUsdPerMillion: nano(c.MaxOutputPrice)}
	}
	return &routerv1.ExplainRouteRequest{
		Model: c.Model, Routing: routing, Operation: strings.ReplaceAll(c.Operation, "-", "_"), InputTokens: c.In, MaxOutputTokens: c.Out,
		Tags: tags, Session: c.Session, User: c.User,
	}, nil
}

// nano is an amount of dollars in billionths; none is nil.
func nano(usd float64) *int64 {
	if usd == 0 {
		return nil
	}
	n := int64(math.Round(usd * 1e9))
	return &n
}

// showRoute prints what would be tried and what not.
func (t *terminal) showRoute(answer *routerv1.ExplainRouteResponse, request *routerv1.ExplainRouteRequest) error {
	switch {
	case t.structured():
		return t.emit(answer)
	case t.Quiet:
		for _, c := range answer.GetCandidates() {
			if err := t.print("%s", clean(c.GetModel())); err != nil {
				return err
			}
		}
		return nil
	}
	policy := ""
	if answer.GetPolicy() != "" {
		policy = answer.GetPolicy() + ", version " + number(answer.GetPolicyVersion())
	}
	err := t.printFacts(
		[2]string{"policy", policy},
		[2]string{"configuration", number(answer.GetConfigVersion())},
		[2]string{"at most", count(int(answer.GetMaxAttempts()), "call")},
	)
	if err != nil {
		return err
	}
	if err := t.print("\n%s", t.styled(t.Out)(bold, "Would be tried, in this order")); err != nil {
		return err
	}
	if len(answer.GetCandidates()) == 0 {
		err = t.print("nothing: the request would be refused")
	} else {
		err = t.printTable(candidateTable(answer, request))
	}
	if err != nil || len(answer.GetExclusions()) == 0 {
		return err
	}
	if err := t.print("\n%s", t.styled(t.Out)(bold, "Would not be tried")); err != nil {
		return err
	}
	return t.printTable(exclusionTable(answer))
}

func candidateTable(answer *routerv1.ExplainRouteResponse, request *routerv1.ExplainRouteRequest) *table {
	tab := &table{columns: []column{
		{title: "", right: true},
		{title: "MODEL", shrink: true},
		{title: "KEY", shrink: true},
		{title: "LINE", right: true, drop: 3},
		{title: "COST", right: true},
		{title: "FIRST TOKEN", right: true, drop: 2},
		{title: "BECAUSE", shrink: true, drop: 1},
	}}
	var costs []string
	for _, c := range answer.GetCandidates() {
		costs = append(costs, estimateText(c, request))
	}
	costs = amounts(costs)
	for i, c := range answer.GetCandidates() {
		latency := "-"
		if c.GetLatencyMicros() > 0 {
			latency = took(micros(c.GetLatencyMicros()))
		}
		tab.add(cell{strconv.Itoa(i + 1), dim}, plain(c.GetModel()), plain(keyText(word(c.GetCredentialClass()), c.GetCredential())), plain(lineNumber(c.GetLine())),
			cell{costs[i], bold}, plain(latency), plain(c.GetReason()))
	}
	return tab
}

// estimateText is what a candidate would cost. Without sizes there is nothing to say.
func estimateText(c *routerv1.RouteCandidate, request *routerv1.ExplainRouteRequest) string {
	switch {
	case c.EstimatedCostNanoUsd == nil && request.GetInputTokens()+request.GetMaxOutputTokens() == 0:
		return "-"
	case c.EstimatedCostNanoUsd == nil:
		return "unknown"
	default:
		return money(c.GetEstimatedCostNanoUsd())
	}
}

func exclusionTable(answer *routerv1.ExplainRouteResponse) *table {
	tab := &table{columns: []column{
		{title: "MODEL", shrink: true},
		{title: "KEY", shrink: true},
		{title: "LINE", right: true, drop: 2},
		{title: "REASON", drop: 1},
		{title: "BECAUSE", shrink: true},
	}}
	for _, e := range answer.GetExclusions() {
		tab.add(plain(e.GetModel()), plain(keyText(word(e.GetCredentialClass()), e.GetCredential())), plain(lineNumber(e.GetLine())), cell{e.GetReason(), dim}, plain(e.GetDescription()))
	}
	return tab
}

// keyText is whose key serves, and which if that is told.
func keyText(class, label string) string {
	if class == "unspecified" {
		class = "-"
	}
	if label == "" {
		return class
	}
	return class + ", " + label
}

func lineNumber(line int32) string {
	if line == 0 {
		return "-"
	}
	return strconv.Itoa(int(line))
}
