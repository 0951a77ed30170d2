package cli

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

type routingCommands struct {
	Get    routingGetCommand    `cmd:"" help:"Show the preferences."`
	Update routingUpdateCommand `cmd:"" help:"Change the preferences. Only owners may."`
}

// Help is the long help.
func (routingCommands) Help() string {
	return `Preferences hold for all requests of the organization: which providers are asked for a model that several
have, which never, when the operator's keys may serve, and the default policy.`
}

func (t *terminal) showPreferences(ctx context.Context, api *client, p *keysv1.RoutingPreferences) error {
	if t.structured() {
		return t.emit(p)
	}
	if t.Quiet {
		return nil
	}
	facts := [][2]string{
		{"order", approvedText(p.GetOrder(), "the provider that the model's name begins with")},
		{"never asked", strings.Join(p.GetIgnore(), ", ")},
		{"platform keys", ruleWords[max(p.GetPlatform(), 0)]},
	}
	for _, r := range p.GetProviders() {
		facts = append(facts, [2]string{"  at " + r.GetProvider(), ruleWords[r.GetPlatform()]})
	}
	named, joined := namesOf(api), "are in no group"
	if p.GetMemberGroupId() != "" {
		joined = "join group " + named.group(ctx, p.GetMemberGroupId())
	}
	return t.printFacts(append(facts,
		[2]string{"default policy", defaultText(named.policy(ctx, p.GetPolicyId()), p.GetEnforcePolicy())},
		[2]string{"members' keys", joined},
	)...)
}

var ruleWords = map[keysv1.PlatformRule]string{
	keysv1.PlatformRule_PLATFORM_RULE_UNSPECIFIED: "only where a policy says so",
	keysv1.PlatformRule_PLATFORM_RULE_POLICIES:    "only where a policy says so",
	keysv1.PlatformRule_PLATFORM_RULE_NEVER:       "never, in policies neither",
	keysv1.PlatformRule_PLATFORM_RULE_AFTER_OWN:   "when none of your own can serve",
	keysv1.PlatformRule_PLATFORM_RULE_BEFORE_OWN:  "before your own",
}

type routingGetCommand struct {
	Common common `embed:""`
}

// Help is the long help.
func (routingGetCommand) Help() string {
	return `Examples:

    claviger routing get`
}

// Run shows them.
func (c *routingGetCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	answer, err := call(ctx, api, api.routing.GetRoutingPreferences, &keysv1.GetRoutingPreferencesRequest{})
	if err != nil {
		return err
	}
	return t.showPreferences(ctx, api, answer.GetPreferences())
}

type routingUpdateCommand struct {
	Common   common            `embed:""`
	Order    []string          `complete:"provider" placeholder:"SLUG" help:"Providers in the order in which they are asked for a model that several have; 'none' for no order."`
	Ignore   []string          `complete:"provider" placeholder:"SLUG" help:"Providers that are never asked, in policies neither; 'none' for no such."`
	Platform string            `enum:",policies,never,after-own,before-own" default:"" placeholder:"RULE" help:"When the operator's keys may serve: policies (only where one says so), never, after-own or before-own."`
	At       map[string]string `placeholder:"SLUG=RULE" help:"The same for one provider, such as openai=never; openai=none removes the rule."`
	Default  defaultFlags      `embed:""`

	MemberGroup *string `complete:"group" placeholder:"NAME" help:"The group that API keys join which members create from now on; 'none' for none."`
}

// Help is the long help.
func (routingUpdateCommand) Help() string {
	return `What is not named stays.

Examples:

    claviger routing update --order anthropic,bedrock --ignore fal
    claviger routing update --platform never
    claviger routing update --platform after-own --at openai=never
    claviger routing update --policy main --enforce
    claviger routing update --member-group everybody`
}

// Run changes them.
func (c *routingUpdateCommand) Run(ctx context.Context, t *terminal) error {
	if len(c.Order)+len(c.Ignore)+len(c.At) == 0 && c.Platform == "" && c.MemberGroup == nil && !c.Default.given() {
		return &usageError{message: "nothing to change", hint: "name what to change, such as --order or --platform"}
	}
	for _, rule := range c.At {
		if rule != none && platformRule(rule) == 0 {
			return &usageError{message: "--at: " + rule + " is no rule", hint: "policies, never, after-own, before-own or none"}
		}
	}
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	key := rand.Text()
	var changed *keysv1.RoutingPreferences
	err = updating("the preferences",
		func() (*keysv1.GetRoutingPreferencesResponse, error) {
			return call(ctx, api, api.routing.GetRoutingPreferences, &keysv1.GetRoutingPreferencesRequest{})
		},
		func(read *keysv1.GetRoutingPreferencesResponse) error {
			wanted, err := c.apply(ctx, api, read.GetPreferences())
			if err != nil {
				return err
			}
			answer, err := call(ctx, api, api.routing.UpdateRoutingPreferences, &keysv1.UpdateRoutingPreferencesRequest{Preferences: wanted, Etag: read.GetEtag(), IdempotencyKey: key})
			changed = answer.GetPreferences()
			return err
		})
	if err != nil {
		return err
	}
	return t.showPreferences(ctx, api, changed)
}

func platformRule(name string) keysv1.PlatformRule {
	return enumOf[keysv1.PlatformRule](keysv1.PlatformRule_value, "PLATFORM_RULE_", name)
}

func (c *routingUpdateCommand) apply(ctx context.Context, api *client, before *keysv1.RoutingPreferences) (*keysv1.RoutingPreferences, error) {
	p := proto.CloneOf(before)
	if p == nil {
		p = &keysv1.RoutingPreferences{}
	}
	p.Order, p.Ignore = listOf(c.Order, p.GetOrder()), listOf(c.Ignore, p.GetIgnore())
	if c.Platform != "" {
		p.Platform = platformRule(c.Platform)
	}
	for provider, rule := range c.At {
		p.Providers = slices.DeleteFunc(p.GetProviders(), func(r *keysv1.ProviderRule) bool { return r.GetProvider() == provider })
		if rule != none {
			p.Providers = append(p.Providers, &keysv1.ProviderRule{Provider: provider, Platform: platformRule(rule)})
		}
	}
	slices.SortFunc(p.Providers, func(a, b *keysv1.ProviderRule) int { return strings.Compare(a.GetProvider(), b.GetProvider()) })
	if c.MemberGroup != nil {
		p.MemberGroupId = ""
		if *c.MemberGroup != none {
			found, err := api.findGroup(ctx, *c.MemberGroup)
			if err != nil {
				return nil, err
			}
			p.MemberGroupId = found.GetId()
		}
	}
	var err error
	p.PolicyId, p.EnforcePolicy, err = c.Default.of(ctx, api, p.GetPolicyId(), p.GetEnforcePolicy())
	return p, err
}

type modelCommands struct {
	List     modelListCommand     `cmd:"" help:"List which models are approved."`
	Approve  modelApproveCommand  `cmd:"" help:"Approve models."`
	Withdraw modelWithdrawCommand `cmd:"" help:"Withdraw the approval of models."`
}

// Help is the long help.
func (modelCommands) Help() string {
	return `Without approved models every model may be used. With some, only they, in policies too. A pattern is a
model's name in which * stands for any text.`
}

type modelListCommand struct {
	Common common `embed:""`
}

// Help is the long help.
func (modelListCommand) Help() string {
	return `Examples:

    claviger model list`
}

// Run lists.
func (c *modelListCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	answer, err := api.approved(ctx)
	if err != nil {
		return err
	}
	return t.showApproved(answer.GetApprovedModels())
}

func (c *client) approved(ctx context.Context) (*keysv1.GetApprovedModelsResponse, error) {
	return call(ctx, c, c.models.GetApprovedModels, &keysv1.GetApprovedModelsRequest{})
}

func (t *terminal) showApproved(patterns []string) error {
	if t.structured() {
		return t.emitValue(map[string][]string{"approvedModels": append([]string{}, patterns...)})
	}
	if len(patterns) == 0 {
		t.note("Every model may be used.")
	}
	for _, p := range patterns {
		if err := t.print("%s", clean(p)); err != nil {
			return err
		}
	}
	return nil
}

// approve changes the approved models.
func (t *terminal) approve(ctx context.Context, yes bool, change func(before []string) (after []string, err error)) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	key := rand.Text()
	var changed []string
	err = updating("the list of approved models",
		func() (*keysv1.GetApprovedModelsResponse, error) { return api.approved(ctx) },
		func(read *keysv1.GetApprovedModelsResponse) error {
			before := read.GetApprovedModels()
			after, err := change(before)
			if err != nil {
				return err
			}
			switch {
			case len(before) == 0 && len(after) > 0:
				err = t.confirmed(ctx, yes, "Every model may be used now; from then on only %s could", strings.Join(after, ", "))
			case len(before) > 0 && len(after) == 0:
				err = t.confirmed(ctx, yes, "No approved model would be left, which lets every model be used")
			}
			if err != nil {
				return err
			}
			answer, err := call(ctx, api, api.models.UpdateApprovedModels, &keysv1.UpdateApprovedModelsRequest{ApprovedModels: after, Etag: read.GetEtag(), IdempotencyKey: key})
			changed = answer.GetApprovedModels()
			return err
		})
	if err != nil {
		return err
	}
	return t.showApproved(changed)
}

type modelApproveCommand struct {
	Common common   `embed:""`
	Models []string `arg:"" complete:"model" help:"Patterns, such as 'openai/*' or anthropic/claude-haiku-4-5."`
	Yes    bool     `short:"y" help:"Do not ask."`
}

// Help is the long help.
func (modelApproveCommand) Help() string {
	return `The first approval narrows: until then every model may be used.

Examples:

    claviger model approve 'openai/*' anthropic/claude-haiku-4-5`
}

// Run approves.
func (c *modelApproveCommand) Run(ctx context.Context, t *terminal) error {
	return t.approve(ctx, c.Yes, func(before []string) ([]string, error) {
		after := slices.Clone(before)
		for _, m := range c.Models {
			if !slices.Contains(after, m) {
				after = append(after, m)
			}
		}
		return after, nil
	})
}

type modelWithdrawCommand struct {
	Common common   `embed:""`
	Models []string `arg:"" help:"Patterns as 'claviger model list' shows them."`
	Yes    bool     `short:"y" help:"Do not ask."`
}

// Help is the long help.
func (modelWithdrawCommand) Help() string {
	return `Examples:

    claviger model withdraw 'openai/*'`
}

// Run withdraws.
func (c *modelWithdrawCommand) Run(ctx context.Context, t *terminal) error {
	return t.approve(ctx, c.Yes, func(before []string) ([]string, error) {
		after := slices.Clone(before)
		for _, m := range c.Models {
			i := slices.Index(after, m)
			if i < 0 {
				return nil, &failure{code: "MODEL_NOT_APPROVED", message: m + " is not in the list", hint: "claviger model list shows it"}
			}
			after = slices.Delete(after, i, i+1)
		}
		return after, nil
	})
}
