package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/spelling"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
)

type credentialCommands struct {
	List   credentialListCommand   `cmd:"" help:"List the credentials, with when each was last used."`
	Get    credentialGetCommand    `cmd:"" help:"Show one credential."`
	Create credentialCreateCommand `cmd:"" help:"Bring a provider key and have it tested."`
	Update credentialUpdateCommand `cmd:"" help:"Change label, priority, weight, scope, expiry or address, switch off or on."`
	Rotate credentialRotateCommand `cmd:"" help:"Replace the secret at once."`
	Test   credentialTestCommand   `cmd:"" help:"Have a router try the key at the provider."`

	Stage    credentialStageCommand    `cmd:"" help:"Keep a second secret beside the first, to rotate in steps."`
	Share    credentialShareCommand    `cmd:"" help:"Give the second secret a share of the requests."`
	Promote  credentialPromoteCommand  `cmd:"" help:"Make the second secret the one that serves."`
	Discard  credentialDiscardCommand  `cmd:"" help:"Forget the second secret, or the old one after a promotion."`
	Headroom credentialHeadroomCommand `cmd:"" help:"Show what is left of the providers' limits."`

	Delete credentialDeleteCommand `cmd:"" help:"Remove a credential and its secret for good."`
}

// Help is the long help.
func (credentialCommands) Help() string {
	return `A credential is a provider's key that the organization brought. Its secret is sealed; no command and
no method shows it again. Credentials are named by their label or id.`
}

type secretFlags struct {
	SecretStdin bool   `xor:"secret" help:"Read the secret from standard input."`
	SecretFile  string `xor:"secret" type:"path" placeholder:"FILE" help:"Read the secret from a file."`
	Secret      string `hidden:""`
}

// AfterApply refuses a secret in an argument.
func (f *secretFlags) AfterApply() error {
	if f.Secret != "" {
		return refuseSecretArgument("--secret is not a flag")
	}
	return nil
}

func (f *secretFlags) source(provider string) source {
	what := "provider key"
	if keyform.KindOf(provider) != keyform.Key {
		what = "JSON of " + provider + ", in one line" // what is typed ends with its line, what is read does not
	}
	return source{what: what, flag: "secret", stdin: f.SecretStdin, file: f.SecretFile}
}

func (c *client) eachCredential(ctx context.Context) iter.Seq2[*keysv1.Credential, error] {
	return pages(func(token string) ([]*keysv1.Credential, string, error) {
		page, err := call(ctx, c, c.credentials.ListCredentials, &keysv1.ListCredentialsRequest{PageSize: pageSize, PageToken: token})
		return page.GetCredentials(), page.GetNextPageToken(), err
	})
}

func (c *client) credential(ctx context.Context, id string) (*keysv1.Credential, error) {
	answer, err := call(ctx, c, c.credentials.GetCredential, &keysv1.GetCredentialRequest{Id: id})
	return answer.GetCredential(), err
}

// findCredential is the credential with a label or id.
func (c *client) findCredential(ctx context.Context, name string) (*keysv1.Credential, error) {
	if strings.HasPrefix(name, "cred_") {
		if found, err := c.credential(ctx, name); err == nil || reason(err) != "CREDENTIAL_NOT_FOUND" {
			return found, err
		}
	}
	return lookUp(c.eachCredential(ctx), "credential", name, (*keysv1.Credential).GetLabel)
}

// lookUp finds the object that a person calls name.
func lookUp[T any](all iter.Seq2[T, error], kind, name string, nameOf func(T) string) (T, error) {
	var none T
	var known []string
	for object, err := range all {
		if err != nil {
			return none, err
		}
		if nameOf(object) == name {
			return object, nil
		}
		known = append(known, nameOf(object))
	}
	hint := "there is none yet"
	if meant := spelling.Nearest(name, known); meant != "" {
		hint = fmt.Sprintf("did you mean %q?", meant)
	} else if len(known) > 0 {
		hint = fmt.Sprintf("claviger %s list shows what there is", kind[strings.LastIndex(kind, " ")+1:])
	}
	return none, &failure{code: strings.ToUpper(strings.ReplaceAll(kind, " ", "_")) + "_NOT_FOUND", message: fmt.Sprintf("there is no %s %q", kind, name), hint: hint}
}

// lastUses says when objects were last used. It is no error that metering is away: nil is "not known".
func (c *client) lastUses(ctx context.Context, of meteringv1.Dimension, ids []string) map[string]*timestamppb.Timestamp {
	uses := map[string]*timestamppb.Timestamp{}
	for len(ids) > 0 {
		n := min(len(ids), pageSize)
		answer, err := once(ctx, c, c.usage.ListLastUses, &meteringv1.ListLastUsesRequest{Dimension: of, Ids: ids[:n]})
		if err != nil {
			return nil
		}
		for _, use := range answer.GetLastUses() {
			uses[use.GetId()] = use.GetLastTime()
		}
		ids = ids[n:]
	}
	return uses
}

// lastUse is a cell of such an answer.
func lastUse(uses map[string]*timestamppb.Timestamp, id string, now time.Time) cell {
	switch at := uses[id]; {
	case uses == nil:
		return cell{"not known", dim}
	case at == nil:
		return cell{"never", dim}
	default:
		return plain(ago(at, now))
	}
}

// lastUseFields is the same for scripts.
func lastUseFields(uses map[string]*timestamppb.Timestamp, id string) []field {
	if at := uses[id]; at != nil {
		return []field{{"lastUseTime", at.AsTime().Format(time.RFC3339Nano)}}
	}
	return nil
}

// usedAt is a credential that says what its row in a list does: keys knows the last use of the current secret
// alone, metering that of the credential.
func usedAt(o *keysv1.Credential, uses map[string]*timestamppb.Timestamp) *keysv1.Credential {
	if at := uses[o.GetId()]; at != nil {
		o.LastUseTime = at
	}
	return o
}

var stateStyles = map[keysv1.CredentialState]string{
	keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE:          green,
	keysv1.CredentialState_CREDENTIAL_STATE_DEGRADED:        yellow,
	keysv1.CredentialState_CREDENTIAL_STATE_QUOTA_EXHAUSTED: red,
	keysv1.CredentialState_CREDENTIAL_STATE_REJECTED:        red,
	keysv1.CredentialState_CREDENTIAL_STATE_NO_SECRET:       red,
	keysv1.CredentialState_CREDENTIAL_STATE_EXPIRED:         red,
	keysv1.CredentialState_CREDENTIAL_STATE_DISABLED:        dim,
}

type credentialListCommand struct {
	Common common `embed:""`
}

// Help is the long help.
func (credentialListCommand) Help() string {
	return `With --output json, "lastUseTime" is of the credential, whichever of its secrets was used.

Examples:

    claviger credential list
    claviger credential list -o json | jq -r 'select(.state == "CREDENTIAL_STATE_REJECTED").label'`
}

// Run lists.
func (c *credentialListCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	all, err := collect(api.eachCredential(ctx))
	if err != nil {
		return err
	}
	ids := make([]string, len(all))
	for i, credential := range all {
		ids[i] = credential.GetId()
	}
	if t.Quiet && !t.structured() {
		return t.printIDs(ids)
	}
	now := time.Now()
	uses := api.lastUses(ctx, meteringv1.Dimension_DIMENSION_CREDENTIAL, ids)
	tab := &table{columns: []column{
		{title: "LABEL", shrink: true},
		{title: "PROVIDER", shrink: true},
		{title: "STATE"},
		{title: "KEY", drop: 3},
		{title: "PRIORITY", right: true, drop: 4},
		{title: "LAST USED", drop: 1},
		{title: "CHANGED", drop: 5},
		{title: "ID", drop: 6},
	}}
	for _, o := range all {
		if t.structured() {
			if err := t.emit(usedAt(o, uses)); err != nil {
				return err
			}
			continue
		}
		tab.add(plain(o.GetLabel()), plain(o.GetProvider()), cell{word(o.GetState()), stateStyles[o.GetState()]}, plain(o.GetHint()),
			plain(strconv.Itoa(int(o.GetPriority()))), lastUse(uses, o.GetId(), now), plain(ago(o.GetUpdateTime(), now)), cell{o.GetId(), dim})
	}
	if t.structured() {
		return nil
	}
	if uses == nil && len(all) > 0 {
		t.note("When they were last used is not known: metering does not answer.")
	}
	if len(all) == 0 {
		t.note("There is no credential yet: claviger credential create --provider openai --label main")
		return nil
	}
	return t.printTable(tab)
}

// printIDs prints one id a line.
func (t *terminal) printIDs(ids []string) error {
	for _, id := range ids {
		if err := t.print("%s", id); err != nil {
			return err
		}
	}
	return nil
}

type credentialGetCommand struct {
	Common common `embed:""`
	Name   string `arg:"" complete:"credential" help:"Label or id."`
}

// Help is the long help.
func (credentialGetCommand) Help() string {
	return `Examples:

    claviger credential get main`
}

// Run shows one.
func (c *credentialGetCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findCredential(ctx, c.Name)
	if err != nil {
		return err
	}
	return t.showCredential(ctx, api, found)
}

func (t *terminal) showCredential(ctx context.Context, api *client, o *keysv1.Credential, extra ...field) error {
	if t.Quiet && !t.structured() {
		return t.print("%s", o.GetId())
	}
	uses := api.lastUses(ctx, meteringv1.Dimension_DIMENSION_CREDENTIAL, []string{o.GetId()})
	if t.structured() {
		return t.emit(usedAt(o, uses), extra...)
	}
	now := time.Now()
	state := word(o.GetState())
	if o.GetStateReason() != "" {
		state += ": " + o.GetStateReason()
	}
	names := namesOf(api)
	facts := [][2]string{
		{"id", o.GetId()},
		{"label", o.GetLabel()},
		{"provider", o.GetProvider()},
		{"address", o.GetBaseUrl()},
		{"key", o.GetHint() + ", revision " + strconv.Itoa(int(o.GetRevision()))},
	}
	facts = append(facts, settingFacts(o)...)
	weight := ""
	if o.GetWeight() > 1 {
		weight = ", weight " + strconv.Itoa(int(o.GetWeight()))
	}
	facts = append(facts, [2]string{"priority", strconv.Itoa(int(o.GetPriority())) + weight})
	facts = append(facts, scopeFacts(ctx, names, o.GetScope())...)
	return t.printFacts(append(facts,
		[2]string{"expires", moment(o.GetExpireTime(), now)},
		[2]string{"state", state},
		[2]string{"next secret", nextText(o.GetNext(), now)},
		[2]string{"old secret", previousText(o.GetPrevious(), now)},
		[2]string{"next test", moment(o.GetNextTestTime(), now)},
		[2]string{"decided", moment(o.GetStateTime(), now)},
		[2]string{"last used", lastUse(uses, o.GetId(), now).text},
		[2]string{"added", moment(o.GetCreateTime(), now) + by(names.member(ctx, o.GetCreatedBy()))},
		[2]string{"changed", moment(o.GetUpdateTime(), now) + by(names.member(ctx, o.GetUpdatedBy()))},
	)...)
}

// settingFacts are the readable parts of a secret, and the ends of the others.
func settingFacts(o *keysv1.Credential) [][2]string {
	s := o.GetSettings()
	facts := [][2]string{
		{"region", s.GetRegion()},
		{"project", s.GetProject()},
		{"location", s.GetLocation()},
		{"account", s.GetClientEmail()},
	}
	for i, d := range s.GetDeployments() {
		line := d.GetModelSlug() + " is " + d.GetModelId() + " at " + d.GetEndpointUrl()
		if i < len(s.GetSecrets()) {
			line += ", key " + s.GetSecrets()[i].GetHint()
		}
		facts = append(facts, [2]string{"deployment " + strconv.Itoa(i+1), line})
	}
	if len(s.GetDeployments()) == 0 {
		for _, m := range s.GetSecrets() {
			facts = append(facts, [2]string{m.GetField(), m.GetHint()})
		}
	}
	if n := len(o.GetModels()); n > 0 {
		facts = append(facts, [2]string{"models", strconv.Itoa(n) + ", as of the last test"})
	}
	return facts
}

// warnOf says what was accepted and may not be meant.
func (t *terminal) warnOf(warnings []*keysv1.SecretWarning) {
	for _, w := range warnings {
		t.warn("%s %s", w.GetField(), w.GetDescription())
	}
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return " by " + who
}

type credentialCreateCommand struct {
	Common      common      `embed:""`
	SecretFlags secretFlags `embed:""`
	Provider    string      `required:"" complete:"provider" placeholder:"SLUG" help:"The provider's slug, such as openai, azure or bedrock; Tab shows all."`
	Label       string      `required:"" placeholder:"NAME" help:"Its name for people, unique in the organization."`
	BaseURL     string      `name:"base-url" placeholder:"URL" help:"Another address than the provider's own, where it takes one: openai, moonshot, baseten."`
	Priority    int32       `placeholder:"N" help:"Order among the credentials of a provider: 0 to 1000, lower is tried first."`
	Weight      int32       `placeholder:"N" help:"Share among the credentials of the same priority: 1 to 1000. Default: 1."`
	Scope       scopeFlags  `embed:""`
	Expires     string      `placeholder:"TIME" help:"When it stops serving: a distance such as 90d, or a date. Never if not given."`
	AcceptTerms bool        `help:"Accept the terms: the organization may use this key here, and the provider bills it."`
	NoTest      bool        `help:"Do not wait for the verdict of the test."`
}

// Help is the long help.
func (credentialCreateCommand) Help() string {
	return `The secret is typed without showing it, or read with --secret-stdin or --secret-file. It is sealed at
once. A router then tries the key at the provider, free of tokens, and the verdict is printed.

The secret of azure, bedrock and vertex is JSON, and every mistake in it is told by its field:

    azure    [{"model_slug": "openai/gpt-4o", "endpoint_url": "…", "api_key": "…", "model_id": "…"}]
    bedrock  {"accessKeyId": "…", "secretAccessKey": "…", "region": "us-east-1"}
    vertex   the file of a service account; "location" and "project" can be added to it

Examples:

    claviger credential create --provider openai --label main
    pass show openai | claviger credential create --provider openai --label main --secret-stdin --accept-terms
    claviger credential create --provider moonshot --label kimi --base-url https://api.moonshot.cn/v1 --secret-file key.txt
    claviger credential create --provider bedrock --label aws --secret-file bedrock.json
    claviger credential create --provider openai --label batch --only-key nightly --expires 90d`
}

// Run creates one.
func (c *credentialCreateCommand) Run(ctx context.Context, t *terminal) error {
	expires, err := expiry(c.Expires)
	if err != nil {
		return err
	}
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	scope, err := c.Scope.of(ctx, api, nil)
	if err != nil {
		return err
	}
	plain, err := t.secret(ctx, c.SecretFlags.source(c.Provider))
	if err != nil {
		return err
	}
	if !c.AcceptTerms {
		if !t.interactive() {
			return &usageError{message: "the terms are not accepted: the organization may use this key here, and the provider bills it", hint: "add --accept-terms if that is so"}
		}
		answer, err := t.ask(ctx, fmt.Sprintf("May %s use this key here, knowing that %s bills it? [y/N] ", clean(api.place.Organization), clean(c.Provider)), false)
		if err != nil {
			return err
		}
		if !agreed(answer) {
			return &failure{code: "TERMS_NOT_ACCEPTED", message: "the terms are not accepted; nothing was done"}
		}
	}
	answer, err := call(ctx, api, api.credentials.CreateCredential, &keysv1.CreateCredentialRequest{
		Provider: c.Provider, Label: c.Label, Secret: plain.Reveal(), BaseUrl: c.BaseURL, Priority: c.Priority,
		Weight: c.Weight, Scope: scope, ExpireTime: expires, AcceptTerms: true, IdempotencyKey: rand.Text(),
	})
	if err != nil {
		return err
	}
	made := answer.GetCredential()
	t.note("Sealed. No command and no method shows the key again.")
	t.warnOf(answer.GetWarnings())
	if !c.NoTest {
		made = t.tryKey(ctx, api, made, 0)
	}
	return t.showCredential(ctx, api, made)
}

// tryKey has a key tested that was just stored, and says the verdict. That it is not good, or that there
// is no verdict, does not undo the storing. A revision of 0 is the secret that serves.
func (t *terminal) tryKey(ctx context.Context, api *client, of *keysv1.Credential, revision int32) *keysv1.Credential {
	t.note("A router tries the key at %s …", of.GetProvider())
	answer, err := call(ctx, api, api.credentials.TestCredential, &keysv1.TestCredentialRequest{Id: of.GetId(), Revision: revision})
	tested := judged(answer.GetCredential(), revision)
	switch {
	case err != nil:
		t.warn("the test did not take place: %s", explain(err).Message)
		return of
	case !answer.GetTested():
		t.warn("no router gave a verdict in time; it follows, and claviger credential get %s shows it", quoted(of.GetLabel()))
	case tested.GetState() == keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE:
		t.note("The key works.")
	default:
		t.warn("%s", verdict(tested))
	}
	return answer.GetCredential()
}

// judged is a credential with the state of the secret that a test was about.
func judged(o *keysv1.Credential, revision int32) *keysv1.Credential {
	if next := o.GetNext(); revision > 0 && next.GetRevision() == revision {
		return &keysv1.Credential{Id: o.GetId(), Provider: o.GetProvider(), State: next.GetState(), StateReason: next.GetStateReason()}
	}
	return o
}

// verdict is a credential's state in a sentence.
func verdict(o *keysv1.Credential) string {
	words := map[keysv1.CredentialState]string{
		keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE:          "the key works",
		keysv1.CredentialState_CREDENTIAL_STATE_DEGRADED:        "the key works, with a warning",
		keysv1.CredentialState_CREDENTIAL_STATE_QUOTA_EXHAUSTED: "the key is right, but has no money or quota left at " + o.GetProvider(),
		keysv1.CredentialState_CREDENTIAL_STATE_REJECTED:        o.GetProvider() + " refuses the key",
		keysv1.CredentialState_CREDENTIAL_STATE_UNVERIFIED:      "there is no verdict about the key; it serves all the same",
		keysv1.CredentialState_CREDENTIAL_STATE_DISABLED:        "the credential is switched off",
		keysv1.CredentialState_CREDENTIAL_STATE_NO_SECRET:       "the credential has no secret; rotate one in",
		keysv1.CredentialState_CREDENTIAL_STATE_EXPIRED:         "the credential is past the time that it was given",
	}[o.GetState()]
	if o.GetStateReason() != "" && o.GetState() != keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE {
		words += ": " + o.GetStateReason()
	}
	return words
}

type credentialUpdateCommand struct {
	Common   common     `embed:""`
	Name     string     `arg:"" complete:"credential" help:"Label or id."`
	Label    *string    `placeholder:"NAME" help:"Another label."`
	BaseURL  *string    `name:"base-url" placeholder:"URL" help:"Another address. It discards the secret, so that it is never sent to another host; rotate one in afterwards."`
	Priority *int32     `placeholder:"N" help:"Another priority: 0 to 1000, lower is tried first."`
	Weight   *int32     `placeholder:"N" help:"Another share among the credentials of the same priority: 1 to 1000."`
	Scope    scopeFlags `embed:""`
	Expires  string     `placeholder:"TIME" help:"When it stops serving: a distance such as 90d, a date, or 'never'."`
	Disable  bool       `xor:"switch" help:"Switch it off: it does not serve."`
	Enable   bool       `xor:"switch" help:"Switch it on again."`
	Cut      bool       `help:"With --disable: end answers that it is giving, too."`
	Yes      bool       `short:"y" help:"Do not ask."`
}

// Help is the long help.
func (credentialUpdateCommand) Help() string {
	return `Switching off waits up to five seconds and says how many routers confirmed.

Examples:

    claviger credential update main --label house --priority 10
    claviger credential update main --disable --cut
    claviger credential update main --only-model 'openai/gpt-4o*' --only-group research --expires 2027-12-31`
}

// request is what the flags change of the credential that was read.
func (c *credentialUpdateCommand) request(ctx context.Context, api *client, read *keysv1.Credential) (*keysv1.UpdateCredentialRequest, error) {
	out := &keysv1.UpdateCredentialRequest{
		Id: read.GetId(), Label: c.Label, BaseUrl: c.BaseURL, Priority: c.Priority, Weight: c.Weight, CutStreams: c.Cut, Etag: read.GetEtag(),
	}
	if c.Disable || c.Enable {
		out.Disabled = &c.Disable
	}
	var err error
	if c.Expires == "never" {
		out.ClearExpireTime = true
	} else if out.ExpireTime, err = expiry(c.Expires); err != nil {
		return nil, err
	}
	if c.Scope.given() {
		out.Scope, err = c.Scope.of(ctx, api, read.GetScope())
	}
	return out, err
}

// Run changes one.
func (c *credentialUpdateCommand) Run(ctx context.Context, t *terminal) error {
	switch {
	case c.Label == nil && c.BaseURL == nil && c.Priority == nil && c.Weight == nil && !c.Scope.given() && c.Expires == "" && !c.Disable && !c.Enable:
		return &usageError{message: "nothing to change", hint: "name what to change, such as --label or --disable"}
	case c.Cut && !c.Disable:
		return usagef("--cut goes with --disable")
	}
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findCredential(ctx, c.Name)
	if err != nil {
		return err
	}
	if c.BaseURL != nil && *c.BaseURL != found.GetBaseUrl() {
		if err := t.confirmed(ctx, c.Yes, "Another address discards the secret of %s", found.GetLabel()); err != nil {
			return err
		}
	}
	key := rand.Text()
	var answer *keysv1.UpdateCredentialResponse
	err = updating("the credential "+found.GetLabel(),
		func() (*keysv1.Credential, error) { return api.credential(ctx, found.GetId()) },
		func(read *keysv1.Credential) error {
			request, err := c.request(ctx, api, read)
			if err != nil {
				return err
			}
			request.IdempotencyKey = key
			answer, err = call(ctx, api, api.credentials.UpdateCredential, request)
			return err
		})
	if err != nil {
		return err
	}
	if err := t.showCredential(ctx, api, answer.GetCredential(), receiptFields(answer.GetReceipt())...); err != nil {
		return err
	}
	return t.receipt(answer.GetReceipt())
}

type credentialRotateCommand struct {
	Common      common      `embed:""`
	SecretFlags secretFlags `embed:""`
	Name        string      `arg:"" complete:"credential" help:"Label or id."`
	NoTest      bool        `help:"Do not wait for the verdict of the test."`
}

// Help is the long help.
func (credentialRotateCommand) Help() string {
	return `The new secret is typed without showing it, or read with --secret-stdin or --secret-file. The old one is
gone at once.

Examples:

    claviger credential rotate main
    pass show openai | claviger credential rotate main --secret-stdin`
}

// Run replaces the secret.
func (c *credentialRotateCommand) Run(ctx context.Context, t *terminal) error {
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
	var changed *keysv1.Credential
	var warnings []*keysv1.SecretWarning
	err = updating("the credential "+found.GetLabel(),
		func() (*keysv1.Credential, error) { return api.credential(ctx, found.GetId()) },
		func(read *keysv1.Credential) error {
			answer, err := call(ctx, api, api.credentials.RotateCredential, &keysv1.RotateCredentialRequest{
				Id: read.GetId(), Secret: plain.Reveal(), Etag: read.GetEtag(), IdempotencyKey: key,
			})
			changed, warnings = answer.GetCredential(), answer.GetWarnings()
			return err
		})
	if err != nil {
		return err
	}
	t.note("The new key is sealed; it is revision %d.", changed.GetRevision())
	t.warnOf(warnings)
	if !c.NoTest {
		changed = t.tryKey(ctx, api, changed, 0)
	}
	return t.showCredential(ctx, api, changed)
}

type credentialTestCommand struct {
	Common common `embed:""`
	Name   string `arg:"" complete:"credential" help:"Label or id."`
	Next   bool   `help:"Try the second secret, not the one that serves."`
}

// Help is the long help.
func (credentialTestCommand) Help() string {
	return `A router tries the key at the provider, free of tokens. The exit code is 1 if the provider refuses it, if
it has no money left, or if no router answered within ten seconds.

Examples:

    claviger credential test main`
}

// Run tests one.
func (c *credentialTestCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findCredential(ctx, c.Name)
	if err != nil {
		return err
	}
	var revision int32
	if c.Next {
		if revision = found.GetNext().GetRevision(); revision == 0 {
			return noSecond(found)
		}
	}
	answer, err := call(ctx, api, api.credentials.TestCredential, &keysv1.TestCredentialRequest{Id: found.GetId(), Revision: revision})
	if err != nil {
		return err
	}
	tested := judged(answer.GetCredential(), revision)
	switch {
	case t.structured():
		if err := t.emit(answer); err != nil {
			return err
		}
	case t.Quiet:
		if err := t.print("%s", tested.GetId()); err != nil {
			return err
		}
	}
	switch {
	case !answer.GetTested():
		return &failure{code: "NO_VERDICT", message: "no router gave a verdict in time", hint: "it follows; claviger credential get shows it. If it does not, no router is connected"}
	case tested.GetState() == keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE, tested.GetState() == keysv1.CredentialState_CREDENTIAL_STATE_DEGRADED:
		if !t.structured() && !t.Quiet {
			return t.print("%s", clean(upper(verdict(tested)))+".")
		}
		return nil
	default:
		return &failure{code: strings.TrimPrefix(tested.GetState().String(), "CREDENTIAL_STATE_"), message: verdict(tested)}
	}
}

type credentialDeleteCommand struct {
	Common common `embed:""`
	Name   string `arg:"" complete:"credential" help:"Label or id."`
	Cut    bool   `help:"End answers that it is giving, too."`
	Yes    bool   `short:"y" help:"Do not ask."`
}

// Help is the long help.
func (credentialDeleteCommand) Help() string {
	return `Requests that only this credential can serve fail from then on. It waits up to five seconds and says how
many routers confirmed.

Examples:

    claviger credential delete old
    claviger credential delete old --yes`
}

// Run removes one.
func (c *credentialDeleteCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findCredential(ctx, c.Name)
	if err != nil {
		return err
	}
	if err := t.confirmed(ctx, c.Yes, "The credential %s (%s, key %s) and its secret would be removed for good", found.GetLabel(), found.GetProvider(), found.GetHint()); err != nil {
		return err
	}
	answer, err := call(ctx, api, api.credentials.DeleteCredential, &keysv1.DeleteCredentialRequest{Id: found.GetId(), CutStreams: c.Cut, IdempotencyKey: rand.Text()})
	if err != nil {
		return err
	}
	return t.doneWith(found.GetId(), answer.GetReceipt(), "The credential %s is removed.", found.GetLabel())
}

// done reports the end of a command that has nothing to show.
func (t *terminal) done(id, format string, args ...any) error {
	switch {
	case t.structured():
		return t.emitValue(map[string]string{"id": id})
	case t.Quiet:
		return t.print("%s", id)
	default:
		return t.print("%s", clean(fmt.Sprintf(format, args...)))
	}
}
