package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"strings"
	"time"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

// scopeFlags narrow what a credential may be used for.
type scopeFlags struct {
	OnlyModel []string `complete:"model" placeholder:"PATTERN" help:"Use it for these models only, such as 'openai/gpt-4o*'; repeat it for more, 'none' lifts the limit."`
	OnlyKey   []string `sep:"none" complete:"key" placeholder:"NAME" help:"Use it for these API keys only, besides those of --only-group; 'none' lifts the limit."`
	OnlyGroup []string `sep:"none" complete:"group" placeholder:"NAME" help:"Use it for the API keys of these groups only; 'none' lifts the limit."`
}

func (f *scopeFlags) given() bool { return len(f.OnlyModel)+len(f.OnlyKey)+len(f.OnlyGroup) > 0 }

// of is what the flags make of a scope that is already there. Nil is nothing to say.
func (f *scopeFlags) of(ctx context.Context, api *client, before *keysv1.CredentialScope) (*keysv1.CredentialScope, error) {
	if !f.given() {
		return before, nil
	}
	scope := &keysv1.CredentialScope{Models: listOf(f.OnlyModel, before.GetModels()), ApiKeyIds: before.GetApiKeyIds(), GroupIds: before.GetGroupIds()}
	if len(f.OnlyKey) > 0 {
		scope.ApiKeyIds = nil
		for _, name := range listOf(f.OnlyKey, nil) {
			found, err := api.findKey(ctx, name)
			if err != nil {
				return nil, err
			}
			scope.ApiKeyIds = append(scope.ApiKeyIds, found.GetId())
		}
	}
	if len(f.OnlyGroup) > 0 {
		scope.GroupIds = nil
		for _, name := range listOf(f.OnlyGroup, nil) {
			found, err := api.findGroup(ctx, name)
			if err != nil {
				return nil, err
			}
			scope.GroupIds = append(scope.GroupIds, found.GetId())
		}
	}
	return scope, nil
}

// scopeFacts say what a credential may be used for.
func scopeFacts(ctx context.Context, named *names, s *keysv1.CredentialScope) [][2]string {
	return [][2]string{
		{"only models", strings.Join(s.GetModels(), ", ")},
		{"only API keys", named.all(ctx, "key", s.GetApiKeyIds())},
		{"only groups", named.all(ctx, "group", s.GetGroupIds())},
	}
}

// nextText is the second secret in words.
func nextText(s *keysv1.StagedSecret, now time.Time) string {
	if s == nil {
		return ""
	}
	text := fmt.Sprintf("%s, revision %d, %s", s.GetHint(), s.GetRevision(), word(s.GetState()))
	if s.GetStateReason() != "" && s.GetState() != keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE {
		text += " (" + s.GetStateReason() + ")"
	}
	if s.GetRolledBack() {
		return text + "; the provider refused it while serving, and its share was taken away"
	}
	text += fmt.Sprintf("; %d %% of the requests", s.GetSharePercent())
	if s.GetLastUseTime() != nil {
		text += ", last used " + ago(s.GetLastUseTime(), now)
	}
	return text
}

// previousText is the secret before the last promotion in words.
func previousText(s *keysv1.PreviousSecret, now time.Time) string {
	if s == nil {
		return ""
	}
	text := fmt.Sprintf("%s, revision %d, last used %s; ", s.GetHint(), s.GetRevision(), ago(s.GetLastUseTime(), now))
	switch {
	case s.GetSafe():
		return text + "safe to revoke at the provider"
	case s.GetSafeTime() != nil:
		return text + "safe to revoke at the provider " + ago(s.GetSafeTime(), now) + " if nothing uses it"
	default:
		return text + "do not revoke it yet: not every router has said that it no longer uses it"
	}
}

// noSecond says that there is no second secret.
func noSecond(o *keysv1.Credential) error {
	return &failure{code: "NO_SECOND_SECRET", message: "the credential " + o.GetLabel() + " has no second secret", hint: "claviger credential stage " + quoted(o.GetLabel())}
}

// changeSecret changes which secret serves, and shows the credential.
func (t *terminal) changeSecret(ctx context.Context, api *client, found *keysv1.Credential, change func(read *keysv1.Credential, key string) (*keysv1.Credential, error)) error {
	key := rand.Text()
	var changed *keysv1.Credential
	err := updating("the credential "+found.GetLabel(),
		func() (*keysv1.Credential, error) { return api.credential(ctx, found.GetId()) },
		func(read *keysv1.Credential) error {
			var err error
			changed, err = change(read, key)
			return err
		})
	if err != nil {
		return err
	}
	return t.showCredential(ctx, api, changed)
}

type credentialStageCommand struct {
	Common      common      `embed:""`
	SecretFlags secretFlags `embed:""`
	Name        string      `arg:"" complete:"credential" help:"Label or id."`
	NoTest      bool        `help:"Do not wait for the verdict of the test."`
}

// Help is the long help.
func (credentialStageCommand) Help() string {
	return `The second secret is typed without showing it, or read with --secret-stdin or --secret-file. It serves
nobody until it gets a share. If the provider refuses it then, its share is taken away at once and the first
secret goes on.

Examples:

    claviger credential stage main
    claviger credential share main 10
    claviger credential promote main
    claviger credential discard main        # when the old one is safe to revoke`
}

// Run stages a secret.
func (c *credentialStageCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findCredential(ctx, c.Name)
	if err != nil {
		return err
	}
	plain, err := t.secret(ctx, c.SecretFlags.source(found.GetProvider()))
	if err != nil {
		return err
	}
	key := rand.Text()
	var answer *keysv1.StageSecretResponse
	err = updating("the credential "+found.GetLabel(),
		func() (*keysv1.Credential, error) { return api.credential(ctx, found.GetId()) },
		func(read *keysv1.Credential) error {
			answer, err = call(ctx, api, api.credentials.StageSecret, &keysv1.StageSecretRequest{
				Id: read.GetId(), Secret: plain.Reveal(), Etag: read.GetEtag(), IdempotencyKey: key,
			})
			return err
		})
	if err != nil {
		return err
	}
	staged := answer.GetCredential()
	t.note("The second key is sealed; it is revision %d and serves nobody yet.", staged.GetNext().GetRevision())
	t.warnOf(answer.GetWarnings())
	if !c.NoTest {
		staged = t.tryKey(ctx, api, staged, staged.GetNext().GetRevision())
	}
	return t.showCredential(ctx, api, staged)
}

type credentialShareCommand struct {
	Common  common `embed:""`
	Name    string `arg:"" complete:"credential" help:"Label or id."`
	Percent int32  `arg:"" help:"Its share of the requests, 0 to 100: 1, 10 and 100 are good steps."`
}

// Help is the long help.
func (credentialShareCommand) Help() string {
	return `Examples:

    claviger credential share main 1
    claviger credential share main 100`
}

// Run sets the share.
func (c *credentialShareCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findCredential(ctx, c.Name)
	if err != nil {
		return err
	}
	if found.GetNext() == nil {
		return noSecond(found)
	}
	return t.changeSecret(ctx, api, found, func(read *keysv1.Credential, key string) (*keysv1.Credential, error) {
		answer, err := call(ctx, api, api.credentials.SetSecretShare, &keysv1.SetSecretShareRequest{
			Id: read.GetId(), SharePercent: c.Percent, Revision: found.GetNext().GetRevision(), Etag: read.GetEtag(), IdempotencyKey: key,
		})
		return answer.GetCredential(), err
	})
}

type credentialPromoteCommand struct {
	Common common `embed:""`
	Name   string `arg:"" complete:"credential" help:"Label or id."`
}

// Help is the long help.
func (credentialPromoteCommand) Help() string {
	return `The first secret is kept out of use, and 'claviger credential get' says when it is safe to revoke it at
the provider.

Examples:

    claviger credential promote main`
}

// Run promotes the second secret.
func (c *credentialPromoteCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findCredential(ctx, c.Name)
	if err != nil {
		return err
	}
	if found.GetNext() == nil {
		return noSecond(found)
	}
	return t.changeSecret(ctx, api, found, func(read *keysv1.Credential, key string) (*keysv1.Credential, error) {
		answer, err := call(ctx, api, api.credentials.PromoteSecret, &keysv1.PromoteSecretRequest{
			Id: read.GetId(), Revision: found.GetNext().GetRevision(), Etag: read.GetEtag(), IdempotencyKey: key,
		})
		return answer.GetCredential(), err
	})
}

type credentialDiscardCommand struct {
	Common common `embed:""`
	Name   string `arg:"" complete:"credential" help:"Label or id."`
	Old    bool   `help:"Forget the old secret of the last promotion although a second one is staged."`
	Yes    bool   `short:"y" help:"Do not ask."`
}

// Help is the long help.
func (credentialDiscardCommand) Help() string {
	return `It forgets the second secret, or, if there is none, the old one that was kept after a promotion.

Examples:

    claviger credential discard main`
}

// Run forgets a secret.
func (c *credentialDiscardCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findCredential(ctx, c.Name)
	if err != nil {
		return err
	}
	revision, what := found.GetNext().GetRevision(), "second"
	if c.Old || revision == 0 {
		revision, what = found.GetPrevious().GetRevision(), "old"
	}
	if revision == 0 {
		return noSecond(found)
	}
	if err := t.confirmed(ctx, c.Yes, "The %s secret of %s (revision %d) would be forgotten for good", what, found.GetLabel(), revision); err != nil {
		return err
	}
	return t.changeSecret(ctx, api, found, func(read *keysv1.Credential, key string) (*keysv1.Credential, error) {
		answer, err := call(ctx, api, api.credentials.DiscardSecret, &keysv1.DiscardSecretRequest{Id: read.GetId(), Revision: revision, Etag: read.GetEtag(), IdempotencyKey: key})
		return answer.GetCredential(), err
	})
}

type credentialHeadroomCommand struct {
	Common common `embed:""`
	Name   string `arg:"" optional:"" complete:"credential" help:"Label or id. Default: all credentials."`
}

// Help is the long help.
func (credentialHeadroomCommand) Help() string {
	return `What routers learned from the providers' answers: it steers requests away before a limit is met. A limit
that a provider does not tell is not known.

Examples:

    claviger credential headroom
    claviger credential headroom main -o json`
}

func (c *client) eachHeadroom(ctx context.Context, credentialID string) iter.Seq2[*keysv1.Headroom, error] {
	return pages(func(token string) ([]*keysv1.Headroom, string, error) {
		page, err := call(ctx, c, c.credentials.ListHeadroom, &keysv1.ListHeadroomRequest{CredentialId: credentialID, PageSize: pageSize, PageToken: token})
		return page.GetHeadroom(), page.GetNextPageToken(), err
	})
}

// Run lists.
func (c *credentialHeadroomCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	id := ""
	if c.Name != "" {
		found, err := api.findCredential(ctx, c.Name)
		if err != nil {
			return err
		}
		id = found.GetId()
	}
	tab := &table{columns: []column{
		{title: "CREDENTIAL", shrink: true},
		{title: "MODEL", shrink: true},
		{title: "REQUESTS LEFT", right: true},
		{title: "TOKENS LEFT", right: true},
		{title: "STATE"},
		{title: "LEARNED", drop: 1},
		{title: "ROUTER", shrink: true, drop: 2},
	}}
	now, named := time.Now(), namesOf(api)
	for h, err := range api.eachHeadroom(ctx, id) {
		switch {
		case err != nil:
			return err
		case t.structured():
			err = t.emit(h)
		case t.Quiet:
			err = t.print("%s", h.GetCredentialId())
		}
		if err != nil {
			return err
		}
		state := cell{"serves", green}
		if h.GetCoolingUntil().AsTime().After(now) {
			state = cell{"cools down, ends " + ago(h.GetCoolingUntil(), now), yellow}
		}
		tab.add(plain(named.credential(ctx, h.GetCredentialId())), plain(h.GetModel()), plain(allowanceText(h.GetRequests())), plain(allowanceText(h.GetTokens())),
			state, plain(ago(h.GetTime(), now)), cell{h.GetRouter(), dim})
	}
	if t.structured() || t.Quiet {
		return nil
	}
	if len(tab.rows) == 0 {
		t.note("Nothing is known yet: no provider has told its limits since the routers started.")
		return nil
	}
	return t.printTable(tab)
}

// allowanceText is what is left of a limit.
func allowanceText(a *keysv1.Allowance) string {
	switch {
	case a == nil:
		return "not known"
	case a.GetLimit() > 0:
		return number(a.GetRemaining()) + " of " + number(a.GetLimit())
	default:
		return number(a.GetRemaining())
	}
}
