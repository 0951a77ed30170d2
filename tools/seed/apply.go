package seed

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
)

// pageSize is the largest page that the list methods give.
const pageSize = 500

// Login is a local account.
type Login struct {
	Email    string
	Password secret.Text
}

// Installation is where a file is applied: a running system.
type Installation struct {
	// Keys reaches the public API of the control plane.
	Keys connect.Transport
	// Operator may create organizations.
	Operator Login
	// Dir is the data folder: API keys are written below it, and the state of seeding.
	Dir string
	// FingerprintKey is a random secret of this installation, so that the fingerprints of secrets in the
	// state file are of no use to whoever reads it.
	FingerprintKey []byte
}

// Action is what happened to an object.
type Action string

// The actions.
const (
	Created   Action = "created"
	Updated   Action = "updated"
	Unchanged Action = "unchanged"
)

// Change says what was done about one object of the file.
type Change struct {
	Action Action
	Kind   string
	Name   string
	// Note is what else there is to say, such as which part changed.
	Note string
}

// String is the change as one line for people.
func (c Change) String() string {
	line := fmt.Sprintf("%-9s  %-19s %s", c.Action, c.Kind, c.Name)
	if c.Note != "" {
		line += " (" + c.Note + ")"
	}
	return line
}

// Apply makes the installation hold what doc says, and reports each object once it is done. After an
// error the objects reported so far are in place, and applying again goes on from there.
func Apply(ctx context.Context, in Installation, doc *Document, report func(Change)) error {
	store, err := openState(in.Dir, in.FingerprintKey)
	if err != nil {
		return err
	}
	defer store.close()

	operator, err := signIn(ctx, in.Keys, authn.PlatformSlug, in.Operator)
	if err != nil {
		return fmt.Errorf("sign in as operator: %w", err)
	}
	if err := applyOrganization(ctx, operator, doc, report); err != nil {
		return fmt.Errorf("organization %s: %w", doc.Organization.Slug, err)
	}
	owner, err := signIn(ctx, in.Keys, doc.Organization.Slug, Login{Email: doc.Owner.Email, Password: doc.Owner.Password})
	if err != nil {
		return fmt.Errorf("sign in as owner of %s with the address and password of the file (a password that was changed since stays changed): %w", doc.Organization.Slug, err)
	}
	platform := credentials{
		client: keysv1connect.NewCredentialServiceClient(operator), org: authn.PlatformSlug, kind: "platform credential",
		state: store, report: report, ids: map[string]string{},
	}
	if err := platform.apply(ctx, doc.PlatformCredentials); err != nil {
		return err
	}
	return newTenant(owner, doc, store, report).apply(ctx)
}

// signIn begins a session and returns a client that uses it. An access token lives for minutes,
// longer than seeding takes.
func signIn(ctx context.Context, transport connect.Transport, organization string, as Login) (*connect.Client, error) {
	answer, err := keysv1connect.NewSessionServiceClient(connect.NewClient(transport)).SignIn(ctx, &keysv1.SignInRequest{
		Organization: organization, Email: as.Email, Password: as.Password.Reveal(),
	})
	if err != nil {
		return nil, err
	}
	return connect.NewClient(transport, Bearer(secret.New(answer.GetAccessToken()))), nil
}

// Bearer sends token with every call.
func Bearer(token secret.Text) connect.ClientInterceptor {
	return func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok {
				info.RequestHeader().Set("Authorization", "Bearer "+token.Reveal())
			}
			return next(ctx, spec)
		}
	}
}

func applyOrganization(ctx context.Context, operator *connect.Client, doc *Document, report func(Change)) error {
	client := keysv1connect.NewOrganizationServiceClient(operator)
	found, err := find(func(token string) ([]*keysv1.Organization, string, error) {
		page, err := client.ListOrganizations(ctx, &keysv1.ListOrganizationsRequest{PageSize: pageSize, PageToken: token})
		return page.GetOrganizations(), page.GetNextPageToken(), err
	}, func(o *keysv1.Organization) bool { return o.GetSlug() == doc.Organization.Slug })
	if err != nil {
		return err
	}
	if found != nil {
		report(Change{Action: Unchanged, Kind: "organization", Name: doc.Organization.Slug})
		return nil
	}
	_, err = client.CreateOrganization(ctx, &keysv1.CreateOrganizationRequest{
		Slug: doc.Organization.Slug, Name: doc.Organization.Name,
		OwnerEmail: doc.Owner.Email, OwnerPassword: doc.Owner.Password.Reveal(), IdempotencyKey: rand.Text(),
	})
	if err != nil {
		return err
	}
	report(Change{Action: Created, Kind: "organization", Name: doc.Organization.Slug, Note: "owner " + doc.Owner.Email})
	return nil
}

// find returns the first object of a paged list that matches, nil if there is none.
func find[T any](list func(token string) ([]*T, string, error), match func(*T) bool) (*T, error) {
	for token := ""; ; {
		page, next, err := list(token)
		if err != nil {
			return nil, err
		}
		for _, object := range page {
			if match(object) {
				return object, nil
			}
		}
		if next == "" || next == token {
			return nil, nil //nolint:nilnil // none is an answer
		}
		token = next
	}
}

// credentials applies the credentials of one organization.
type credentials struct {
	client keysv1connect.CredentialServiceClient
	org    string
	kind   string
	state  *state
	report func(Change)
	// ids are those of the credentials that were applied, by label; scope is theirs as the API has it.
	ids   map[string]string
	scope func(Scope) (*keysv1.CredentialScope, error)
}

func (a credentials) apply(ctx context.Context, wanted []Credential) error {
	for _, c := range wanted {
		change, err := a.one(ctx, c)
		if err != nil {
			return fmt.Errorf("%s %s: %w", a.kind, c.name(), err)
		}
		change.Kind, change.Name = a.kind, c.name()
		a.report(change)
	}
	return nil
}

func (c Credential) name() string { return c.Provider + "/" + c.Label }

func (a credentials) one(ctx context.Context, c Credential) (Change, error) {
	found, err := find(func(token string) ([]*keysv1.Credential, string, error) {
		page, err := a.client.ListCredentials(ctx, &keysv1.ListCredentialsRequest{PageSize: pageSize, PageToken: token})
		return page.GetCredentials(), page.GetNextPageToken(), err
	}, func(o *keysv1.Credential) bool { return o.GetProvider() == c.Provider && o.GetLabel() == c.Label })
	if err != nil {
		return Change{}, err
	}
	var scope *keysv1.CredentialScope
	if a.scope != nil {
		if scope, err = a.scope(c.Scope); err != nil {
			return Change{}, err
		}
	}
	change := Change{Action: Created}
	if found == nil {
		var made *keysv1.CreateCredentialResponse
		made, err = a.client.CreateCredential(ctx, &keysv1.CreateCredentialRequest{
			Provider: c.Provider, Label: c.Label, Secret: c.Secret.Reveal(), BaseUrl: c.BaseURL, Priority: c.Priority,
			Weight: c.Weight, Scope: scope, ExpireTime: instant(c.Expires),
			// Whoever writes a key into a seed file may use it here.
			AcceptTerms: true, IdempotencyKey: rand.Text(),
		})
		found = made.GetCredential()
	} else {
		change, err = a.update(ctx, found, c, scope)
	}
	if err != nil {
		return Change{}, err
	}
	a.ids[c.Label] = found.GetId()
	return change, a.state.remember(a.org, c)
}

// update makes found be what the file says.
func (a credentials) update(ctx context.Context, found *keysv1.Credential, c Credential, scope *keysv1.CredentialScope) (Change, error) {
	known, remembered := a.state.credential(a.org, c)
	var notes []string
	update := &keysv1.UpdateCredentialRequest{Id: found.GetId(), Etag: found.GetEtag(), IdempotencyKey: rand.Text()}
	if found.GetPriority() != c.Priority {
		update.Priority = new(c.Priority)
		notes = append(notes, "priority")
	}
	if weight := max(c.Weight, 1); max(found.GetWeight(), 1) != weight {
		update.Weight = &weight
		notes = append(notes, "weight")
	}
	if !sameScope(found.GetScope(), scope) {
		update.Scope = scope
		if scope == nil {
			update.Scope = &keysv1.CredentialScope{}
		}
		notes = append(notes, "scope")
	}
	if expires := instant(c.Expires); !proto.Equal(found.GetExpireTime(), expires) {
		update.ExpireTime, update.ClearExpireTime = expires, expires == nil
		notes = append(notes, "expires")
	}
	// What the installation shows may be written in another way than in the file, and to set an endpoint
	// discards the secret: so the file is compared with the file of the time before.
	moved := remembered && known.BaseURL != c.BaseURL || !remembered && !sameURL(found.GetBaseUrl(), c.BaseURL)
	if moved {
		update.BaseUrl = new(c.BaseURL)
		notes = append(notes, "base_url")
	}
	etag := found.GetEtag()
	if len(notes) > 0 {
		updated, err := a.client.UpdateCredential(ctx, update)
		if err != nil {
			return Change{}, err
		}
		etag = updated.GetCredential().GetEtag()
	}
	lost := found.GetState() == keysv1.CredentialState_CREDENTIAL_STATE_NO_SECRET
	// Without memory the hint decides: a key that ends otherwise is another one.
	changed := remembered && known.Secret != a.state.fingerprint(a.org, c) || !remembered && found.GetHint() != c.Secret.Hint()
	if moved || lost || changed {
		_, err := a.client.RotateCredential(ctx, &keysv1.RotateCredentialRequest{
			Id: found.GetId(), Secret: c.Secret.Reveal(), Etag: etag, IdempotencyKey: rand.Text(),
		})
		if err != nil {
			return Change{}, err
		}
		notes = append(notes, "secret")
	}
	if len(notes) == 0 {
		return Change{Action: Unchanged}, nil
	}
	return Change{Action: Updated, Note: strings.Join(notes, ", ")}, nil
}

// sameURL reports whether two addresses mean the same endpoint.
func sameURL(a, b string) bool {
	normal := func(raw string) string {
		u, err := url.Parse(raw)
		if err != nil {
			return raw
		}
		return strings.ToLower(u.Scheme+"://"+u.Host) + strings.TrimRight(u.Path, "/") + "?" + u.RawQuery
	}
	return normal(a) == normal(b)
}

// instant is a time as the API has it; zero is none.
func instant(at time.Time) *timestamppb.Timestamp {
	if at.IsZero() {
		return nil
	}
	return timestamppb.New(at)
}

// sameScope reports whether two scopes narrow alike; none narrows nothing.
func sameScope(a, b *keysv1.CredentialScope) bool {
	return sameTexts(a.GetModels(), b.GetModels()) && sameTexts(a.GetApiKeyIds(), b.GetApiKeyIds()) && sameTexts(a.GetGroupIds(), b.GetGroupIds())
}

// sameTexts compares lists whose order means nothing.
func sameTexts(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
