package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
)

type keyCommands struct {
	List   keyListCommand   `cmd:"" help:"List the API keys, with when each was last used."`
	Create keyCreateCommand `cmd:"" help:"Create an API key and show it this once."`
	Update keyUpdateCommand `cmd:"" help:"Change an API key, not its secret."`
	Revoke keyRevokeCommand `cmd:"" help:"End an API key for good."`
}

// Help is the long help.
func (keyCommands) Help() string {
	return `An API key is what an application presents to the router. It is shown once, when it is created.`
}

func (c *client) eachKey(ctx context.Context) iter.Seq2[*keysv1.ApiKey, error] {
	return pages(func(token string) ([]*keysv1.ApiKey, string, error) {
		page, err := call(ctx, c, c.keys.ListApiKeys, &keysv1.ListApiKeysRequest{PageSize: pageSize, PageToken: token})
		return page.GetApiKeys(), page.GetNextPageToken(), err
	})
}

// findKey is the API key with a name or id. A name means the key that is not revoked.
func (c *client) findKey(ctx context.Context, name string) (*keysv1.ApiKey, error) {
	return lookUp(c.eachKey(ctx), "API key", name, func(k *keysv1.ApiKey) string {
		switch {
		case k.GetId() == name || k.GetDisplay() == name:
			return name
		case k.GetRevokeTime() != nil:
			return k.GetId() // its name may be another one's by now
		}
		return k.GetName()
	})
}

type keyListCommand struct {
	Common common `embed:""`
	All    bool   `short:"a" help:"List revoked keys, too."`
}

// Help is the long help.
func (keyListCommand) Help() string {
	return `With --output json, an object has "lastUseTime" beside the fields of the API, if it was ever used.

Examples:

    claviger key list
    claviger key list --all -o json`
}

// Run lists.
func (c *keyListCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	var all []*keysv1.ApiKey
	var ids []string
	for o, err := range api.eachKey(ctx) {
		if err != nil {
			return err
		}
		if c.All || o.GetRevokeTime() == nil {
			all, ids = append(all, o), append(ids, o.GetId())
		}
	}
	if t.Quiet && !t.structured() {
		return t.printIDs(ids)
	}
	uses := api.lastUses(ctx, meteringv1.Dimension_DIMENSION_API_KEY, ids)
	if t.structured() {
		for _, o := range all {
			if err := t.emit(o, lastUseFields(uses, o.GetId())...); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		t.note("There is no API key yet: claviger key create app --policy main")
		return nil
	}
	if uses == nil {
		t.note("When they were last used is not known: metering does not answer.")
	}
	return t.printTable(c.table(ctx, api, all, uses))
}

func (c *keyListCommand) table(ctx context.Context, api *client, all []*keysv1.ApiKey, uses map[string]*timestamppb.Timestamp) *table {
	tab := &table{columns: []column{
		{title: "NAME", shrink: true},
		{title: "POLICY", shrink: true},
		{title: "GROUP", shrink: true, drop: 5},
		{title: "STATE"},
		{title: "LAST USED", drop: 1},
		{title: "OWNER", shrink: true, drop: 3},
		{title: "CREATED", drop: 2},
		{title: "ID", drop: 4},
	}}
	now, named := time.Now(), namesOf(api)
	for _, o := range all {
		tab.add(plain(o.GetName()), plain(defaultText(named.policy(ctx, o.GetPolicyId()), o.GetEnforcePolicy())), plain(named.group(ctx, o.GetGroupId())), keyState(o, now), lastUse(uses, o.GetId(), now),
			plain(named.member(ctx, o.GetMemberId())), plain(ago(o.GetCreateTime(), now)), cell{o.GetId(), dim})
	}
	return tab
}

func keyState(o *keysv1.ApiKey, now time.Time) cell {
	switch expires := o.GetExpireTime(); {
	case o.GetRevokeTime() != nil:
		return cell{"revoked " + ago(o.GetRevokeTime(), now), dim}
	case expires == nil:
		return cell{"active", green}
	case expires.AsTime().Before(now):
		return cell{"expired " + ago(expires, now), red}
	default:
		return cell{"expires " + ago(expires, now), green}
	}
}

type keyCreateCommand struct {
	Common     common `embed:""`
	Name       string `arg:"" help:"Its name for people."`
	Policy     string `complete:"policy" placeholder:"NAME" help:"Default policy, for requests that name no model. The group's or the organization's if not given."`
	Enforce    bool   `help:"Send every request through the policy, whatever model it names."`
	Group      string `complete:"group" placeholder:"NAME" help:"The group that it is in."`
	Expires    string `placeholder:"TIME" help:"When it dies: a distance such as 90d, or a date. Never if not given."`
	Provenance string `enum:"none,basic,full" default:"basic" help:"How much its callers are told of what served them: none, basic or full."`
	WriteTo    string `type:"path" placeholder:"FILE" help:"Write the key to a new file that only you can read, instead of showing it."`
}

// Help is the long help.
func (keyCreateCommand) Help() string {
	return `The key goes to standard output, this once: no command shows it again. With --write-to it goes to a file
of mode 0600 instead; a file that exists is not overwritten.

Examples:

    claviger key create app --policy main
    claviger key create ci --policy main --expires 90d --write-to ci.key
    claviger key create intern --group interns
    export OPENAI_API_KEY=$(claviger key create app --policy main)`
}

// Run creates one.
func (c *keyCreateCommand) Run(ctx context.Context, t *terminal) error {
	if t.Quiet && c.WriteTo == "" && !t.structured() {
		return &usageError{message: "--quiet would print the id and lose the key", hint: "add --write-to FILE"}
	}
	request := &keysv1.CreateApiKeyRequest{
		Name: c.Name, EnforcePolicy: c.Enforce, Provenance: enumOf[keysv1.ProvenanceLevel](keysv1.ProvenanceLevel_value, "PROVENANCE_LEVEL_", c.Provenance),
	}
	var err error
	if request.ExpireTime, err = expiry(c.Expires); err != nil {
		return err
	}
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	if c.Policy != "" {
		policy, err := api.findPolicy(ctx, c.Policy)
		if err != nil {
			return err
		}
		request.PolicyId = policy.GetId()
	}
	if c.Group != "" {
		group, err := api.findGroup(ctx, c.Group)
		if err != nil {
			return err
		}
		request.GroupId = group.GetId()
	}
	// The place is made sure of before the key exists, since it is shown only once.
	file, err := reserve(c.WriteTo)
	if err != nil {
		return err
	}
	answer, err := createKey(ctx, api, request)
	if err != nil {
		return errors.Join(err, file.discard())
	}
	key := secret.New(answer.GetSecret())
	if file == nil {
		return t.showKey(answer, key)
	}
	if err := file.keep(key); err != nil {
		return &failure{
			code: "KEY_NOT_WRITTEN", message: "the key was created and could not be written to " + c.WriteTo + ": " + err.Error(),
			hint: "it cannot be shown again: claviger key revoke " + answer.GetApiKey().GetId(), cause: err,
		}
	}
	switch {
	case t.structured():
		return t.emit(answer.GetApiKey(), field{"writtenTo", c.WriteTo})
	case t.Quiet:
		return t.print("%s", answer.GetApiKey().GetId())
	default:
		return t.print("%s  %s, written to %s", answer.GetApiKey().GetId(), clean(answer.GetApiKey().GetName()), c.WriteTo)
	}
}

// showKey prints a new key: the only secret that this program ever prints.
func (t *terminal) showKey(answer *keysv1.CreateApiKeyResponse, key secret.Text) error {
	if t.structured() {
		return t.emit(answer.GetApiKey(), field{"secret", key.Reveal()})
	}
	if err := t.print("%s", key.Reveal()); err != nil {
		return err
	}
	t.note("This is the whole key %s (%s), shown this once. A router knows it within a second.", answer.GetApiKey().GetName(), answer.GetApiKey().GetId())
	return nil
}

// createKey creates a key. If the answer of the first try was lost on the way, a key exists that nobody
// has ever seen: it is revoked, and another one is made.
func createKey(ctx context.Context, api *client, request *keysv1.CreateApiKeyRequest) (*keysv1.CreateApiKeyResponse, error) {
	request.IdempotencyKey = rand.Text()
	answer, err := call(ctx, api, api.keys.CreateApiKey, request)
	lost := fact(err, "api_key_id")
	if reason(err) != "SECRET_ALREADY_SHOWN" || lost == "" {
		return answer, err
	}
	if _, err := call(ctx, api, api.keys.RevokeApiKey, &keysv1.RevokeApiKeyRequest{Id: lost, IdempotencyKey: rand.Text()}); err != nil {
		return nil, err
	}
	request.IdempotencyKey = rand.Text()
	return call(ctx, api, api.keys.CreateApiKey, request)
}

// pending is a private file that is not in its place yet. Nil is none.
type pending struct {
	file *os.File
	path string
}

// reserve makes sure that path can be written.
func reserve(path string) (*pending, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // nil is "no file was asked for"
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, &usageError{message: path + " exists and is left alone", hint: "choose another file, or remove it"}
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return nil, &usageError{message: err.Error()}
	}
	return &pending{file, path}, nil
}

func (p *pending) discard() error {
	if p == nil {
		return nil
	}
	return errors.Join(p.file.Close(), os.Remove(p.file.Name()))
}

func (p *pending) keep(key secret.Text) error {
	_, err := p.file.WriteString(key.Reveal() + "\n")
	if err = errors.Join(err, p.file.Sync(), p.file.Close()); err == nil {
		err = os.Link(p.file.Name(), p.path) // unlike a rename it replaces nothing
	}
	return errors.Join(err, os.Remove(p.file.Name()))
}

type keyUpdateCommand struct {
	Common     common       `embed:""`
	Name       string       `arg:"" complete:"key" help:"Name or id."`
	Rename     *string      `placeholder:"NAME" help:"Another name."`
	Default    defaultFlags `embed:""`
	Group      *string      `complete:"group" placeholder:"NAME" help:"The group that it is in; 'none' takes it out."`
	Expires    string       `placeholder:"TIME" help:"When it dies: a distance such as 90d, a date, or 'never'."`
	Provenance string       `enum:",none,basic,full" default:"" placeholder:"WORD" help:"How much its callers are told of what served them: none, basic or full."`
}

// Help is the long help.
func (keyUpdateCommand) Help() string {
	return `What is not named stays.

Examples:

    claviger key update app --policy main --enforce
    claviger key update ci --group research --expires 30d`
}

// Run changes one.
func (c *keyUpdateCommand) Run(ctx context.Context, t *terminal) error {
	if c.Rename == nil && !c.Default.given() && c.Group == nil && c.Expires == "" && c.Provenance == "" {
		return &usageError{message: "nothing to change", hint: "name what to change, such as --policy or --group"}
	}
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findKey(ctx, c.Name)
	if err != nil {
		return err
	}
	key := rand.Text()
	var changed *keysv1.ApiKey
	err = updating("the API key "+found.GetName(),
		func() (*keysv1.ApiKey, error) { return api.findKey(ctx, found.GetId()) },
		func(read *keysv1.ApiKey) error {
			request, err := c.request(ctx, api, read)
			if err != nil {
				return err
			}
			request.IdempotencyKey = key
			answer, err := call(ctx, api, api.keys.UpdateApiKey, request)
			changed = answer.GetApiKey()
			return err
		})
	if err != nil {
		return err
	}
	return t.showAPIKey(ctx, api, changed)
}

// request is what the flags change of the key that was read.
func (c *keyUpdateCommand) request(ctx context.Context, api *client, read *keysv1.ApiKey) (*keysv1.UpdateApiKeyRequest, error) {
	out := &keysv1.UpdateApiKeyRequest{Id: read.GetId(), Name: c.Rename, Etag: read.GetEtag()}
	if c.Default.given() {
		policyID, enforce, err := c.Default.of(ctx, api, read.GetPolicyId(), read.GetEnforcePolicy())
		if err != nil {
			return nil, err
		}
		out.PolicyId, out.EnforcePolicy = &policyID, &enforce
	}
	if c.Group != nil {
		groupID := ""
		if *c.Group != none {
			group, err := api.findGroup(ctx, *c.Group)
			if err != nil {
				return nil, err
			}
			groupID = group.GetId()
		}
		out.GroupId = &groupID
	}
	if c.Provenance != "" {
		level := enumOf[keysv1.ProvenanceLevel](keysv1.ProvenanceLevel_value, "PROVENANCE_LEVEL_", c.Provenance)
		out.Provenance = &level
	}
	if c.Expires == "never" {
		out.ClearExpireTime = true
		return out, nil
	}
	var err error
	out.ExpireTime, err = expiry(c.Expires)
	return out, err
}

// expiry is the end that a flag names; none is nil.
func expiry(text string) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // nil is "not said"
	}
	at, err := instant(text, time.Now(), true)
	if err != nil {
		return nil, err
	}
	return timestamppb.New(at), nil
}

func (t *terminal) showAPIKey(ctx context.Context, api *client, o *keysv1.ApiKey) error {
	switch {
	case t.structured():
		return t.emit(o)
	case t.Quiet:
		return t.print("%s", o.GetId())
	}
	now, named := time.Now(), namesOf(api)
	return t.printFacts(
		[2]string{"id", o.GetId()},
		[2]string{"name", o.GetName()},
		[2]string{"begins", o.GetDisplay()},
		[2]string{"policy", defaultText(named.policy(ctx, o.GetPolicyId()), o.GetEnforcePolicy())},
		[2]string{"group", named.group(ctx, o.GetGroupId())},
		[2]string{"provenance", word(max(o.GetProvenance(), keysv1.ProvenanceLevel_PROVENANCE_LEVEL_NONE))},
		[2]string{"owner", named.member(ctx, o.GetMemberId())},
		[2]string{"state", keyState(o, now).text},
		[2]string{"created", moment(o.GetCreateTime(), now)},
	)
}

type keyRevokeCommand struct {
	Common common `embed:""`
	Name   string `arg:"" complete:"key" help:"Name or id."`
	Cut    bool   `help:"End answers that it is being given, too."`
	Yes    bool   `short:"y" help:"Do not ask."`
}

// Help is the long help.
func (keyRevokeCommand) Help() string {
	return `Applications that use it are refused from then on. It waits up to five seconds and says how many routers
confirmed.

Examples:

    claviger key revoke app
    claviger key list -q | xargs -n 1 claviger key revoke --yes`
}

// Run revokes one.
func (c *keyRevokeCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findKey(ctx, c.Name)
	if err != nil {
		return err
	}
	if err := t.confirmed(ctx, c.Yes, "The API key %s (%s…) would end for good", found.GetName(), strings.TrimRight(found.GetDisplay(), "_")); err != nil {
		return err
	}
	answer, err := call(ctx, api, api.keys.RevokeApiKey, &keysv1.RevokeApiKeyRequest{Id: found.GetId(), CutStreams: c.Cut, IdempotencyKey: rand.Text()})
	if err != nil {
		return err
	}
	if t.structured() {
		return t.emit(answer.GetApiKey(), receiptFields(answer.GetReceipt())...)
	}
	return t.doneWith(found.GetId(), answer.GetReceipt(), "The API key %s is revoked.", found.GetName())
}
