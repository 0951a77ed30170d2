package cli

import (
	"context"
	"crypto/rand"
	"iter"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

type drillCommands struct {
	Start drillStartCommand `cmd:"" help:"Let a credential seem to fail for one API key."`
	List  drillListCommand  `cmd:"" help:"List the drills, newest first."`
	Show  drillShowCommand  `cmd:"" help:"Show what came of a drill."`
	Stop  drillStopCommand  `cmd:"" help:"End a drill before its time."`
}

// Help is the long help.
func (drillCommands) Help() string {
	return `In a drill a credential seems to fail for one API key, for five minutes at most. The calls that fail never
reach the provider, leave no usage and change no credential's state; what the policy does then is real.`
}

func (c *client) eachDrill(ctx context.Context) iter.Seq2[*keysv1.Drill, error] {
	return pages(func(token string) ([]*keysv1.Drill, string, error) {
		page, err := call(ctx, c, c.drills.ListDrills, &keysv1.ListDrillsRequest{PageSize: pageSize, PageToken: token})
		return page.GetDrills(), page.GetNextPageToken(), err
	})
}

// findDrill is the drill with an id, or the newest.
func (c *client) findDrill(ctx context.Context, id string) (*keysv1.Drill, error) {
	if id != "" {
		answer, err := call(ctx, c, c.drills.GetDrill, &keysv1.GetDrillRequest{Id: id})
		return answer.GetDrill(), err
	}
	for o, err := range c.eachDrill(ctx) {
		return o, err
	}
	return nil, &failure{code: "DRILL_NOT_FOUND", message: "there was no drill yet", hint: "claviger drill start CREDENTIAL --key NAME"}
}

type drillStartCommand struct {
	Common     common `embed:""`
	Credential string `arg:"" complete:"credential" help:"Label or id of the credential that seems to fail."`
	Key        string `required:"" complete:"key" placeholder:"NAME" help:"The API key for which it does."`
	Fault      string `enum:"rate-limited,unauthorized,slow" default:"rate-limited" help:"What it seems to do: rate-limited (429), unauthorized (401) or slow (nothing until time is out)."`
	For        string `default:"1m" placeholder:"TIME" help:"How long, at most 5m."`
}

// Help is the long help.
func (drillStartCommand) Help() string {
	return `Examples:

    claviger drill start main --key app
    claviger drill start main --key app --fault slow --for 3m
    claviger drill show`
}

// Run begins one.
func (c *drillStartCommand) Run(ctx context.Context, t *terminal) error {
	long, ok := distance(c.For)
	if !ok || long > 5*time.Minute {
		return usagef("--for: %q is no time up to 5m, such as 90s", c.For)
	}
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	credential, err := api.findCredential(ctx, c.Credential)
	if err != nil {
		return err
	}
	key, err := api.findKey(ctx, c.Key)
	if err != nil {
		return err
	}
	answer, err := call(ctx, api, api.drills.StartDrill, &keysv1.StartDrillRequest{
		CredentialId: credential.GetId(), ApiKeyId: key.GetId(), Fault: enumOf[keysv1.DrillFault](keysv1.DrillFault_value, "DRILL_FAULT_", c.Fault),
		Duration: durationpb.New(long), IdempotencyKey: rand.Text(),
	})
	if err != nil {
		return err
	}
	t.note("For %s the credential %s fails, and for nobody else. claviger drill show tells what came of it.", key.GetName(), credential.GetLabel())
	return t.showDrill(ctx, api, answer.GetDrill())
}

var faultWords = map[keysv1.DrillFault]string{
	keysv1.DrillFault_DRILL_FAULT_RATE_LIMITED: "rate limited (429)",
	keysv1.DrillFault_DRILL_FAULT_UNAUTHORIZED: "unauthorized (401)",
	keysv1.DrillFault_DRILL_FAULT_SLOW:         "slow",
}

func drillState(o *keysv1.Drill, now time.Time) cell {
	if o.GetEndTime().AsTime().After(now) {
		return cell{"ends " + ago(o.GetEndTime(), now), yellow}
	}
	return cell{"ended " + ago(o.GetEndTime(), now), dim}
}

func (t *terminal) showDrill(ctx context.Context, api *client, o *keysv1.Drill) error {
	switch {
	case t.structured():
		return t.emit(o)
	case t.Quiet:
		return t.print("%s", o.GetId())
	}
	now, named, report := time.Now(), namesOf(api), o.GetReport()
	err := t.printFacts(
		[2]string{"id", o.GetId()},
		[2]string{"credential", named.credential(ctx, o.GetCredentialId())},
		[2]string{"API key", named.key(ctx, o.GetApiKeyId())},
		[2]string{"fault", faultWords[o.GetFault()]},
		[2]string{"began", moment(o.GetStartTime(), now) + by(named.member(ctx, o.GetStartedBy()))},
		[2]string{"state", drillState(o, now).text},
		[2]string{"requests", number(report.GetRequests()) + " met it, " + count(int(report.GetFailedCalls()), "call") + " failed"},
		[2]string{"not served", number(report.GetUnserved())},
	)
	if err != nil || len(report.GetServed()) == 0 {
		return err
	}
	tab := &table{columns: []column{{title: "SERVED BY", shrink: true}, {title: "CREDENTIAL", shrink: true}, {title: "POLICY", shrink: true}, {title: "LINE", right: true}, {title: "REQUESTS", right: true}}}
	for _, s := range report.GetServed() {
		credential, line := "platform", "-"
		if s.GetCredentialId() != "" {
			credential = named.credential(ctx, s.GetCredentialId())
		}
		if s.GetLine() > 0 {
			line = strconv.Itoa(int(s.GetLine()))
		}
		tab.add(plain(s.GetModel()), plain(credential), plain(named.policy(ctx, s.GetPolicyId())), plain(line), plain(number(s.GetRequests())))
	}
	if err := t.print(""); err != nil {
		return err
	}
	return t.printTable(tab)
}

type drillListCommand struct {
	Common common `embed:""`
}

// Help is the long help.
func (drillListCommand) Help() string {
	return `Examples:

    claviger drill list`
}

// Run lists.
func (c *drillListCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	now, named := time.Now(), namesOf(api)
	tab := &table{columns: []column{
		{title: "CREDENTIAL", shrink: true},
		{title: "API KEY", shrink: true},
		{title: "FAULT"},
		{title: "STATE"},
		{title: "REQUESTS", right: true, drop: 1},
		{title: "NOT SERVED", right: true, drop: 1},
		{title: "ID", drop: 2},
	}}
	for o, err := range api.eachDrill(ctx) {
		switch {
		case err != nil:
			return err
		case t.structured():
			err = t.emit(o)
		case t.Quiet:
			err = t.print("%s", o.GetId())
		}
		if err != nil {
			return err
		}
		tab.add(plain(named.credential(ctx, o.GetCredentialId())), plain(named.key(ctx, o.GetApiKeyId())), plain(faultWords[o.GetFault()]), drillState(o, now),
			plain(number(o.GetReport().GetRequests())), plain(number(o.GetReport().GetUnserved())), cell{o.GetId(), dim})
	}
	if t.structured() || t.Quiet {
		return nil
	}
	if len(tab.rows) == 0 {
		t.note("There was no drill yet: claviger drill start CREDENTIAL --key NAME")
		return nil
	}
	return t.printTable(tab)
}

type drillShowCommand struct {
	Common common `embed:""`
	ID     string `arg:"" optional:"" name:"id" complete:"drill" help:"The drill's id. Default: the newest."`
}

// Help is the long help.
func (drillShowCommand) Help() string {
	return `Routers report every few seconds.

Examples:

    claviger drill show`
}

// Run shows one.
func (c *drillShowCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findDrill(ctx, c.ID)
	if err != nil {
		return err
	}
	return t.showDrill(ctx, api, found)
}

type drillStopCommand struct {
	Common common `embed:""`
	ID     string `arg:"" optional:"" name:"id" complete:"drill" help:"The drill's id. Default: the newest."`
}

// Help is the long help.
func (drillStopCommand) Help() string {
	return `Examples:

    claviger drill stop`
}

// Run ends one.
func (c *drillStopCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findDrill(ctx, c.ID)
	if err != nil {
		return err
	}
	answer, err := call(ctx, api, api.drills.StopDrill, &keysv1.StopDrillRequest{Id: found.GetId(), IdempotencyKey: rand.Text()})
	if err != nil {
		return err
	}
	return t.showDrill(ctx, api, answer.GetDrill())
}
