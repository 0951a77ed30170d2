package e2e_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/rpcmount"
	"github.com/claviger/claviger/pkg/secret"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	optionsv1 "github.com/claviger/claviger/proto/gen/claviger/options/v1"
	_ "github.com/claviger/claviger/proto/gen/claviger/router/v1" // its methods are in the matrix
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/proto/gen/claviger/router/v1/routerv1connect"
	"github.com/claviger/claviger/tools/e2e/cluster"
	"github.com/claviger/claviger/tools/seed"
	"github.com/claviger/claviger/tools/suite"
)

// callers of the matrix: roles of an organization, the operator, an API key, nobody.
const (
	owner    = "owner"
	admin    = "admin"
	member   = "member"
	viewer   = "viewer"
	operator = "operator"
	apiKey   = "api key"
	nobody   = "nobody"
)

var (
	everyone = []string{owner, admin, member, viewer, operator}
	changers = []string{owner, admin, operator}
	readers  = []string{owner, admin, viewer, operator}
)

// matrix says who may call what. It is written down here a second time on purpose: a contract that
// changes by mistake does not change this. A method without a row fails the test.
var matrix = map[string][]string{
	"/claviger.keys.v1.OrganizationService/CreateOrganization": {operator},
	"/claviger.keys.v1.OrganizationService/GetOrganization":    everyone,
	"/claviger.keys.v1.OrganizationService/UpdateOrganization": {owner, operator},
	"/claviger.keys.v1.OrganizationService/ListOrganizations":  {operator},
	"/claviger.keys.v1.MemberService/CreateMember":             changers,
	"/claviger.keys.v1.MemberService/GetMember":                readers,
	"/claviger.keys.v1.MemberService/ListMembers":              readers,
	"/claviger.keys.v1.MemberService/UpdateMember":             changers,
	"/claviger.keys.v1.MemberService/DeleteMember":             changers,
	"/claviger.keys.v1.SessionService/SignIn":                  {owner, admin, member, viewer, operator, apiKey, nobody},
	"/claviger.keys.v1.SessionService/RefreshSession":          {owner, admin, member, viewer, operator, apiKey, nobody},
	"/claviger.keys.v1.SessionService/GetSession":              everyone,
	"/claviger.keys.v1.SessionService/ChangePassword":          everyone,
	"/claviger.keys.v1.SessionService/SignOut":                 everyone,
	"/claviger.keys.v1.CredentialService/CreateCredential":     {owner, operator},
	"/claviger.keys.v1.CredentialService/GetCredential":        readers,
	"/claviger.keys.v1.CredentialService/ListCredentials":      readers,
	"/claviger.keys.v1.CredentialService/UpdateCredential":     {owner, operator},
	"/claviger.keys.v1.CredentialService/RotateCredential":     {owner, operator},
	"/claviger.keys.v1.CredentialService/TestCredential":       {owner, operator},
	"/claviger.keys.v1.CredentialService/StageSecret":          {owner, operator},
	"/claviger.keys.v1.CredentialService/SetSecretShare":       {owner, operator},
	"/claviger.keys.v1.CredentialService/PromoteSecret":        {owner, operator},
	"/claviger.keys.v1.CredentialService/DiscardSecret":        {owner, operator},
	"/claviger.keys.v1.CredentialService/DeleteCredential":     {owner, operator},
	"/claviger.keys.v1.CredentialService/ListHeadroom":         readers,
	"/claviger.keys.v1.DrillService/StartDrill":                {owner, operator},
	"/claviger.keys.v1.DrillService/GetDrill":                  readers,
	"/claviger.keys.v1.DrillService/ListDrills":                readers,
	"/claviger.keys.v1.DrillService/StopDrill":                 {owner, operator},
	"/claviger.keys.v1.RouteService/PreviewRoute":              everyone,
	"/claviger.keys.v1.PolicyService/CreatePolicy":             changers,
	"/claviger.keys.v1.PolicyService/GetPolicy":                everyone,
	"/claviger.keys.v1.PolicyService/ListPolicies":             everyone,
	"/claviger.keys.v1.PolicyService/UpdatePolicy":             changers,
	"/claviger.keys.v1.PolicyService/DeletePolicy":             changers,
	"/claviger.keys.v1.PolicyService/PublishPolicy":            changers,
	"/claviger.keys.v1.PolicyService/DiscardPolicyDraft":       changers,
	"/claviger.keys.v1.PolicyService/RollBackPolicy":           changers,
	"/claviger.keys.v1.PolicyService/ListPolicyVersions":       everyone,
	"/claviger.keys.v1.PolicyService/DiffPolicy":               everyone,
	"/claviger.keys.v1.PolicyService/CheckPolicy":              changers,
	"/claviger.keys.v1.GroupService/CreateGroup":               changers,
	"/claviger.keys.v1.GroupService/GetGroup":                  everyone,
	"/claviger.keys.v1.GroupService/ListGroups":                everyone,
	"/claviger.keys.v1.GroupService/UpdateGroup":               changers,
	"/claviger.keys.v1.GroupService/DeleteGroup":               changers,
	"/claviger.keys.v1.RoutingService/GetRoutingPreferences":   everyone,
	// Preferences say whose keys are used: an owner's to decide.
	"/claviger.keys.v1.RoutingService/UpdateRoutingPreferences": {owner, operator},
	"/claviger.keys.v1.ModelService/GetApprovedModels":          everyone,
	"/claviger.keys.v1.ModelService/UpdateApprovedModels":       changers,
	"/claviger.keys.v1.ApiKeyService/CreateApiKey":              {owner, admin, member, operator},
	"/claviger.keys.v1.ApiKeyService/UpdateApiKey":              {owner, admin, member, operator},
	"/claviger.keys.v1.ApiKeyService/ListApiKeys":               everyone,
	"/claviger.keys.v1.ApiKeyService/RevokeApiKey":              {owner, admin, member, operator},
	"/claviger.metering.v1.UsageService/QueryUsage":             everyone,
	"/claviger.metering.v1.UsageService/ListRequests":           everyone,
	"/claviger.metering.v1.UsageService/WatchRequests":          everyone,
	"/claviger.metering.v1.UsageService/GetRequest":             everyone,
	"/claviger.metering.v1.UsageService/ListLastUses":           everyone,
	"/claviger.metering.v1.TraceService/GetTrace":               everyone,
	"/claviger.metering.v1.PriceService/ListPrices":             everyone,
	"/claviger.metering.v1.PriceService/CreatePrice":            {operator},
	"/claviger.router.v1.CompletionService/Complete":            {apiKey},
	"/claviger.router.v1.CompletionService/StreamCompletion":    {apiKey},
	"/claviger.router.v1.CompletionService/Embed":               {apiKey},
	"/claviger.router.v1.CompletionService/CountTokens":         {apiKey},
	"/claviger.router.v1.CompletionService/ExplainRoute":        {apiKey},
	"/claviger.router.v1.CompletionService/ListModels":          {apiKey},
	"/claviger.router.v1.MediaService/GenerateImage":            {apiKey},
	"/claviger.router.v1.MediaService/SubmitVideo":              {apiKey},
	"/claviger.router.v1.MediaService/GetJob":                   {apiKey},
	"/claviger.router.v1.MediaService/WatchJob":                 {apiKey},
	"/claviger.router.v1.MediaService/CancelJob":                {apiKey},
	// Internal: nobody from outside, on any public listener.
	"/claviger.keys.v1.ConfigService/WatchConfig":        {},
	"/claviger.keys.v1.ConfigService/ReportRouterState":  {},
	"/claviger.metering.v1.PriceFeedService/WatchPrices": {},
}

// town is a suite with two organizations that have the same things.
type town struct {
	*suite.Running
	dir      string
	provider *llmtest.Server
	tokens   map[string]string // of acme's callers
	keys     map[string]string // API keys by organization
	other    map[string]string // ids of the other organization's objects
	mine     map[string]string // ids of acme's objects
}

func startTown(t *testing.T) *town {
	t.Helper()
	provider := llmtest.New(t)
	dir := t.TempDir()
	s, err := suite.Start(t.Context(), "127.0.0.1:0", suite.Options{
		Dir: dir, Log: slog.New(slog.DiscardHandler), EgressAllow: []string{strings.TrimPrefix(provider.URL, "http://")},
		ProviderURLs: map[string]string{"openai": provider.OpenAIURL(), "anthropic": provider.AnthropicURL(), "pollo": provider.PolloURL()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("suite: %v", err)
		}
	})
	w := &town{Running: s, dir: dir, provider: provider, tokens: map[string]string{nobody: ""}, keys: map[string]string{}, other: map[string]string{}, mine: map[string]string{}}
	for _, slug := range []string{"acme", "rival"} {
		w.keys[slug] = w.found(t, slug)
	}
	w.tokens[operator] = w.signIn(t, "platform", s.Operator())
	w.tokens[owner] = w.signIn(t, "acme", ownerOf("acme"))
	w.tokens[apiKey] = w.keys["acme"]
	for role, value := range map[string]optionsv1.Role{admin: optionsv1.Role_ROLE_ADMIN, member: optionsv1.Role_ROLE_MEMBER, viewer: optionsv1.Role_ROLE_VIEWER} {
		login := seed.Login{Email: role + "@acme.example", Password: secret.New("a password of the " + role)}
		_, err := keysv1connect.NewMemberServiceClient(w.as(w.Transport(), w.tokens[owner])).CreateMember(t.Context(), &keysv1.CreateMemberRequest{
			Email: login.Email, Role: value, Password: login.Password.Reveal(), IdempotencyKey: role,
		})
		if err != nil {
			t.Fatal(err)
		}
		w.tokens[role] = w.signIn(t, "acme", login)
	}
	w.gather(t, w.tokens[owner], w.mine)
	w.gather(t, w.signIn(t, "rival", ownerOf("rival")), w.other)
	return w
}

func ownerOf(slug string) seed.Login {
	return seed.Login{Email: "owner@" + slug + ".example", Password: secret.New("a password for the owner")}
}

// found makes an organization and returns its API key.
func (w *town) found(t *testing.T, slug string) string {
	t.Helper()
	doc := &seed.Document{
		Organization: seed.Organization{Slug: slug, Name: slug},
		Owner:        seed.Owner{Email: ownerOf(slug).Email, Password: ownerOf(slug).Password},
		Credentials:  []seed.Credential{{Provider: "openai", Label: "main", Secret: secret.New("sk-" + slug + "-0123456789abcdef"), BaseURL: w.provider.OpenAIURL(), Priority: 1}},
		Policies:     []seed.Policy{{Name: "main", Spec: seed.Rule(seed.Own("openai/gpt-4o-mini"))}},
		APIKeys:      []seed.APIKey{{Name: "app", Policy: "main", WriteTo: slug + ".key"}},
	}
	if err := w.Seed(t.Context(), doc, func(seed.Change) {}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(w.dir, slug+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

func (w *town) signIn(t *testing.T, organization string, as seed.Login) string {
	t.Helper()
	res, err := keysv1connect.NewSessionServiceClient(connect.NewClient(w.Transport())).SignIn(t.Context(), &keysv1.SignInRequest{
		Organization: organization, Email: as.Email, Password: as.Password.Reveal(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetAccessToken()
}

func (w *town) as(transport connect.Transport, token string) *connect.Client {
	if token == "" {
		return connect.NewClient(transport)
	}
	return connect.NewClient(transport, seed.Bearer(secret.New(token)))
}

// gather notes the ids of an organization's objects.
func (w *town) gather(t *testing.T, token string, into map[string]string) {
	t.Helper()
	client, ctx := w.as(w.Transport(), token), t.Context()
	credentials, err := keysv1connect.NewCredentialServiceClient(client).ListCredentials(ctx, &keysv1.ListCredentialsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	policies, err := keysv1connect.NewPolicyServiceClient(client).ListPolicies(ctx, &keysv1.ListPoliciesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keysv1connect.NewApiKeyServiceClient(client).ListApiKeys(ctx, &keysv1.ListApiKeysRequest{})
	if err != nil {
		t.Fatal(err)
	}
	group, err := keysv1connect.NewGroupServiceClient(client).CreateGroup(ctx, &keysv1.CreateGroupRequest{Name: "team", IdempotencyKey: "team"})
	if err != nil {
		t.Fatal(err)
	}
	into["grp"] = group.GetGroup().GetId() // the first answer again, unless the group has changed hands
	members, err := keysv1connect.NewMemberServiceClient(client).ListMembers(ctx, &keysv1.ListMembersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	into["cred"], into["pol"] = credentials.GetCredentials()[0].GetId(), policies.GetPolicies()[0].GetId()
	into["key"], into["mem"] = keys.GetApiKeys()[0].GetId(), members.GetMembers()[0].GetId()
	into["drill"] = w.oneDrill(t, client, into["cred"])
}

// oneDrill is an organization's only drill, of an API key that nobody calls with.
func (w *town) oneDrill(t *testing.T, client *connect.Client, credentialID string) string {
	t.Helper()
	drills := keysv1connect.NewDrillServiceClient(client)
	listed, err := drills.ListDrills(t.Context(), &keysv1.ListDrillsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if len(listed.GetDrills()) > 0 {
		return listed.GetDrills()[0].GetId()
	}
	key, err := keysv1connect.NewApiKeyServiceClient(client).CreateApiKey(t.Context(), &keysv1.CreateApiKeyRequest{Name: "idle", IdempotencyKey: "idle"})
	if err != nil {
		t.Fatal(err)
	}
	started, err := drills.StartDrill(t.Context(), &keysv1.StartDrillRequest{
		CredentialId: credentialID, ApiKeyId: key.GetApiKey().GetId(), Fault: keysv1.DrillFault_DRILL_FAULT_RATE_LIMITED, IdempotencyKey: "start",
	})
	if err != nil {
		t.Fatal(err)
	}
	return started.GetDrill().GetId()
}

// listeners are all ways in from outside.
func (w *town) listeners(t *testing.T) map[string]connect.Transport {
	t.Helper()
	cc, err := grpc.NewClient(w.GRPCAddress, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	h2 := new(http.Protocols)
	h2.SetUnencryptedHTTP2(true)
	plain, overH2 := &http.Client{Transport: &http.Transport{}}, &http.Client{Transport: &http.Transport{Protocols: h2}}
	t.Cleanup(plain.CloseIdleConnections)
	t.Cleanup(overH2.CloseIdleConnections)
	return map[string]connect.Transport{
		"connect":  connecthttp.NewTransport(plain, w.BaseURL),
		"json":     connecthttp.NewTransport(plain, w.BaseURL, connecthttp.WithProtoJSON()),
		"grpc-web": connecthttp.NewTransport(plain, w.BaseURL, connecthttp.WithGRPCWeb()),
		"grpc":     connecthttp.NewTransport(overH2, w.BaseURL, connecthttp.WithGRPC()),
		"grpc-go":  rpcmount.NewTransport(cc),
	}
}

// methods are all methods of all contracts.
func methods() map[string]protoreflect.MethodDescriptor {
	out := map[string]protoreflect.MethodDescriptor{}
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(f.Package()), "claviger.") {
			return true
		}
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for k := range s.Methods().Len() {
				m := s.Methods().Get(k)
				out["/"+string(s.FullName())+"/"+string(m.Name())] = m
			}
		}
		return true
	})
	return out
}

// invoke calls a method with an encoded-by-type request and returns its error.
func invoke(ctx context.Context, client *connect.Client, procedure string, m protoreflect.MethodDescriptor, req proto.Message) error {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
	if err != nil {
		return err
	}
	spec := connect.Spec{Procedure: procedure, Schema: m}
	if !m.IsStreamingServer() {
		return client.CallUnary(ctx, spec, req, kind.New().Interface())
	}
	spec.StreamType = connect.StreamTypeServer
	stream, err := client.CallServerStream(ctx, spec, req)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	return stream.Receive(kind.New().Interface())
}

func empty(m protoreflect.MethodDescriptor) proto.Message {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
	if err != nil {
		return nil
	}
	return kind.New().Interface()
}

// TestOnlyTheRolesOfTheMatrixGetIn calls every method as every caller on every listener, with an
// empty request: who is let in gets an answer or is told which field is missing.
func TestOnlyTheRolesOfTheMatrixGetIn(t *testing.T) {
	w := startTown(t)
	all := methods()
	for procedure := range all {
		if _, ok := matrix[procedure]; !ok {
			t.Errorf("%s has no row in the matrix", procedure)
		}
	}
	for name, transport := range w.listeners(t) {
		calls := 0
		for procedure, allowed := range matrix {
			m := all[procedure]
			if m == nil {
				t.Fatalf("%s is no method", procedure)
			}
			if name == "grpc-go" && !strings.HasPrefix(procedure, "/claviger.router.") {
				allowed = []string{} // that listener is the router's alone
			}
			for caller, token := range w.tokens {
				if strings.HasSuffix(procedure, "/SignOut") {
					continue // it would end the caller's session; who may not is tested below
				}
				err := invoke(t.Context(), w.as(transport, token), procedure, m, empty(m))
				calls++
				got, want := letIn(err), slices.Contains(allowed, caller)
				if got != want {
					t.Errorf("%s: %s as %s: let in %v, want %v (%v)", name, procedure, caller, got, want, err)
				}
			}
		}
		t.Logf("%s: %d calls", name, calls)
	}
}

// letIn tells a refusal at the door from any other answer.
func letIn(err error) bool {
	switch connect.CodeOf(err) { //nolint:exhaustive // the codes of a refusal at the door; any other is an answer
	case connect.CodeUnauthenticated:
		// Signing in with nothing is refused by the method itself, not at the door.
		f, ok := fault.Of(intercept.FromConnect(err))
		return ok && !strings.HasPrefix(f.Reason(), "UNAUTHENTICATED") && !strings.HasPrefix(f.Reason(), "TOKEN_") && !strings.HasPrefix(f.Reason(), "API_KEY_")
	case connect.CodePermissionDenied, connect.CodeUnimplemented:
		return false
	}
	return true
}

// TestAnotherOrganizationsObjectsAreNotThere names the other organization's objects in every method
// that takes an id, as an owner: the answer is that of an object that never was.
func TestAnotherOrganizationsObjectsAreNotThere(t *testing.T) {
	w := startTown(t)
	target := seed.Rule(&keysv1.Target{Model: "openai/gpt-4o-mini", Use: eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN})
	label := "stolen"
	all := methods()
	requests := func(object func(prefix string) string) map[string]proto.Message {
		return map[string]proto.Message{
			"/claviger.keys.v1.MemberService/GetMember":            &keysv1.GetMemberRequest{Id: object("mem")},
			"/claviger.keys.v1.MemberService/UpdateMember":         &keysv1.UpdateMemberRequest{Id: object("mem"), Role: optionsv1.Role_ROLE_VIEWER, Etag: "1", IdempotencyKey: id.New("t")},
			"/claviger.keys.v1.MemberService/DeleteMember":         &keysv1.DeleteMemberRequest{Id: object("mem"), IdempotencyKey: id.New("t")},
			"/claviger.keys.v1.CredentialService/GetCredential":    &keysv1.GetCredentialRequest{Id: object("cred")},
			"/claviger.keys.v1.CredentialService/UpdateCredential": &keysv1.UpdateCredentialRequest{Id: object("cred"), Label: &label, Etag: "1", IdempotencyKey: id.New("t")},
			"/claviger.keys.v1.CredentialService/RotateCredential": &keysv1.RotateCredentialRequest{Id: object("cred"), Secret: "sk-0123456789", Etag: "1", IdempotencyKey: id.New("t")},
			"/claviger.keys.v1.CredentialService/TestCredential":   &keysv1.TestCredentialRequest{Id: object("cred")},
			"/claviger.keys.v1.CredentialService/StageSecret":      &keysv1.StageSecretRequest{Id: object("cred"), Secret: "sk-0123456789", Etag: "1", IdempotencyKey: id.New("t")},
			"/claviger.keys.v1.CredentialService/SetSecretShare":   &keysv1.SetSecretShareRequest{Id: object("cred"), Revision: 2, Etag: "1", IdempotencyKey: id.New("t")},
			"/claviger.keys.v1.CredentialService/PromoteSecret":    &keysv1.PromoteSecretRequest{Id: object("cred"), Revision: 2, Etag: "1", IdempotencyKey: id.New("t")},
			"/claviger.keys.v1.CredentialService/DiscardSecret":    &keysv1.DiscardSecretRequest{Id: object("cred"), Revision: 2, Etag: "1", IdempotencyKey: id.New("t")},
			"/claviger.keys.v1.CredentialService/DeleteCredential": &keysv1.DeleteCredentialRequest{Id: object("cred"), IdempotencyKey: id.New("t")},
			"/claviger.keys.v1.CredentialService/ListHeadroom":     &keysv1.ListHeadroomRequest{CredentialId: object("cred")},
			"/claviger.keys.v1.DrillService/StartDrill": &keysv1.StartDrillRequest{
				CredentialId: object("cred"), ApiKeyId: w.mine["key"], Fault: keysv1.DrillFault_DRILL_FAULT_SLOW, IdempotencyKey: id.New("t"),
			},
			"/claviger.keys.v1.DrillService/GetDrill":            &keysv1.GetDrillRequest{Id: object("drill")},
			"/claviger.keys.v1.DrillService/StopDrill":           &keysv1.StopDrillRequest{Id: object("drill"), IdempotencyKey: id.New("t")},
			"/claviger.keys.v1.PolicyService/GetPolicy":          &keysv1.GetPolicyRequest{Id: object("pol")},
			"/claviger.keys.v1.PolicyService/UpdatePolicy":       &keysv1.UpdatePolicyRequest{Id: object("pol"), Spec: target, Etag: "1", IdempotencyKey: id.New("t")},
			"/claviger.keys.v1.PolicyService/DeletePolicy":       &keysv1.DeletePolicyRequest{Id: object("pol"), IdempotencyKey: id.New("t")},
			"/claviger.keys.v1.PolicyService/PublishPolicy":      &keysv1.PublishPolicyRequest{Id: object("pol"), Etag: "1", IdempotencyKey: id.New("t")},
			"/claviger.keys.v1.PolicyService/DiscardPolicyDraft": &keysv1.DiscardPolicyDraftRequest{Id: object("pol"), Etag: "1", IdempotencyKey: id.New("t")},
			"/claviger.keys.v1.PolicyService/RollBackPolicy":     &keysv1.RollBackPolicyRequest{Id: object("pol"), Version: 1, Etag: "1", IdempotencyKey: id.New("t")},
			"/claviger.keys.v1.PolicyService/ListPolicyVersions": &keysv1.ListPolicyVersionsRequest{Id: object("pol")},
			"/claviger.keys.v1.PolicyService/DiffPolicy":         &keysv1.DiffPolicyRequest{Id: object("pol"), FromVersion: 1, ToVersion: 1},
			"/claviger.keys.v1.GroupService/GetGroup":            &keysv1.GetGroupRequest{Id: object("grp")},
			"/claviger.keys.v1.GroupService/CreateGroup":         &keysv1.CreateGroupRequest{Name: id.New("t"), PolicyId: object("pol"), IdempotencyKey: id.New("t")},
			"/claviger.keys.v1.GroupService/UpdateGroup":         &keysv1.UpdateGroupRequest{Id: object("grp"), Name: label, Etag: "1", IdempotencyKey: id.New("t")},
			"/claviger.keys.v1.GroupService/DeleteGroup":         &keysv1.DeleteGroupRequest{Id: object("grp"), IdempotencyKey: id.New("t")},
			"/claviger.keys.v1.RoutingService/UpdateRoutingPreferences": &keysv1.UpdateRoutingPreferencesRequest{
				Preferences: &keysv1.RoutingPreferences{PolicyId: object("pol")}, Etag: "1", IdempotencyKey: id.New("t"),
			},
			"/claviger.keys.v1.ApiKeyService/UpdateApiKey":  &keysv1.UpdateApiKeyRequest{Id: object("key"), Name: &label, Etag: "1", IdempotencyKey: id.New("t")},
			"/claviger.keys.v1.ApiKeyService/CreateApiKey":  &keysv1.CreateApiKeyRequest{Name: id.New("t"), PolicyId: object("pol"), IdempotencyKey: id.New("t")},
			"/claviger.keys.v1.RouteService/PreviewRoute":   &keysv1.PreviewRouteRequest{ApiKeyId: object("key")},
			"/claviger.keys.v1.ApiKeyService/RevokeApiKey":  &keysv1.RevokeApiKeyRequest{Id: object("key"), IdempotencyKey: id.New("t")},
			"/claviger.metering.v1.UsageService/GetRequest": &meteringv1.GetRequestRequest{RequestId: object("req")},
			"/claviger.metering.v1.TraceService/GetTrace":   &meteringv1.GetTraceRequest{RequestId: object("req")},
		}
	}
	jobs := func(id string) map[string]proto.Message { // an API key asks for these
		return map[string]proto.Message{
			"/claviger.router.v1.MediaService/GetJob":    &routerv1.GetJobRequest{Id: id},
			"/claviger.router.v1.MediaService/WatchJob":  &routerv1.WatchJobRequest{Id: id},
			"/claviger.router.v1.MediaService/CancelJob": &routerv1.CancelJobRequest{Id: id},
		}
	}
	w.other["req"] = w.oneRequest(t, w.keys["rival"])
	foreign := w.oneJob(t, "rival")
	for name, transport := range w.listeners(t) {
		key := w.as(transport, w.keys["acme"])
		for procedure, req := range jobs(foreign) {
			err, nothing := invoke(t.Context(), key, procedure, all[procedure], req), invoke(t.Context(), key, procedure, all[procedure], jobs("video_x")[procedure])
			if connect.CodeOf(err) != connect.CodeNotFound || fmt.Sprint(err) != fmt.Sprint(nothing) {
				t.Errorf("%s: %s of the other organization = %v, of nothing = %v, want not_found for both", name, procedure, err, nothing)
			}
		}
		if name == "grpc-go" {
			continue // the router's alone: no other objects there
		}
		client := w.as(transport, w.tokens[owner])
		answers := map[string]string{}
		for procedure, req := range requests(func(prefix string) string { return id.New(prefix) }) {
			answers[procedure] = fmt.Sprint(connect.CodeOf(invoke(t.Context(), client, procedure, all[procedure], req)))
		}
		for procedure, req := range requests(func(prefix string) string { return w.other[prefix] }) {
			err := invoke(t.Context(), client, procedure, all[procedure], req)
			if got := fmt.Sprint(connect.CodeOf(err)); got != answers[procedure] || connect.CodeOf(err) != connect.CodeNotFound {
				t.Errorf("%s: %s of the other organization = %v, of nothing = %s, want not_found for both", name, procedure, err, answers[procedure])
			}
		}
		for procedure, m := range all { // a method that takes an id has to be in this test
			fields := m.Input().Fields()
			if _, ok := jobs("")[procedure]; ok {
				continue
			}
			if _, ok := answers[procedure]; !ok && (fields.ByName("id") != nil || fields.ByName("request_id") != nil) {
				t.Errorf("%s takes an id and is not tested with a foreign one", procedure)
			}
		}
		w.seesNoUseOf(t, name, client)
	}
	after, rival := map[string]string{}, w.signIn(t, "rival", ownerOf("rival"))
	w.gather(t, rival, after)
	// There was something to see.
	uses, err := meteringv1connect.NewUsageServiceClient(w.as(w.Transport(), rival)).ListLastUses(t.Context(), &meteringv1.ListLastUsesRequest{
		Dimension: meteringv1.Dimension_DIMENSION_API_KEY, Ids: []string{w.other["key"]},
	})
	if err != nil || len(uses.GetLastUses()) != 1 {
		t.Errorf("last use of its own key as the other organization = %v, %v, want one", uses, err)
	}
	for kind, was := range w.other {
		if kind != "req" && after[kind] != was {
			t.Errorf("the other organization's %s changed", kind)
		}
	}
}

// oneJob brings an organization a credential for videos, and submits one. The organization sees its job.
func (w *town) oneJob(t *testing.T, slug string) string {
	t.Helper()
	(&edge{town: w}).plant(t, &seed.Document{
		Organization: seed.Organization{Slug: slug},
		Credentials:  []seed.Credential{{Provider: "pollo", Label: "films", Secret: secret.New("pollo_0123456789abcdef")}},
	})
	client := routerv1connect.NewMediaServiceClient(w.as(w.Transport(), w.keys[slug]))
	var token string
	cluster.Eventually(t, 20*time.Second, "the submit of a video", func() error {
		res, err := client.SubmitVideo(t.Context(), &routerv1.SubmitVideoRequest{Model: "pollo/kling-ai/kling-v1-5", Prompt: "script:polls=100 waves", Seconds: 5})
		token = res.GetJob().GetId()
		return err
	})
	if _, err := client.GetJob(t.Context(), &routerv1.GetJobRequest{Id: token}); err != nil {
		t.Fatal(err)
	}
	return token
}

// seesNoUseOf asks for the other organization's usage in the methods that take several ids.
func (w *town) seesNoUseOf(t *testing.T, listener string, client *connect.Client) {
	t.Helper()
	usage := meteringv1connect.NewUsageServiceClient(client)
	for dimension, of := range map[meteringv1.Dimension]string{
		meteringv1.Dimension_DIMENSION_API_KEY: "key", meteringv1.Dimension_DIMENSION_CREDENTIAL: "cred",
	} {
		uses, err := usage.ListLastUses(t.Context(), &meteringv1.ListLastUsesRequest{Dimension: dimension, Ids: []string{w.other[of]}})
		if err != nil || len(uses.GetLastUses()) != 0 {
			t.Errorf("%s: last uses of the other organization's %s = %v, %v, want none", listener, of, uses, err)
		}
		filter := []*meteringv1.DimensionFilter{{Dimension: dimension, Values: []string{w.other[of]}}}
		listed, err := usage.ListRequests(t.Context(), &meteringv1.ListRequestsRequest{Filters: filter})
		if err != nil || len(listed.GetAttempts()) != 0 {
			t.Errorf("%s: requests by the other organization's %s = %v, %v, want none", listener, of, listed, err)
		}
		sums, err := usage.QueryUsage(t.Context(), &meteringv1.QueryUsageRequest{Filters: filter})
		if err != nil || sums.GetTotal().GetAttempts() != 0 {
			t.Errorf("%s: usage by the other organization's %s = %v, %v, want none", listener, of, sums, err)
		}
	}
}

// oneRequest completes once and returns the request's id, once it is in the accounts.
func (w *town) oneRequest(t *testing.T, key string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.BaseURL+"/v1/chat/completions", strings.NewReader(`{"model":"openai/gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("completion = %s", res.Status)
	}
	requestID := res.Header.Get("x-request-id")
	usage := meteringv1connect.NewUsageServiceClient(w.as(w.Transport(), w.signIn(t, "rival", ownerOf("rival"))))
	cluster.Eventually(t, 20*time.Second, "the request in the accounts", func() error {
		_, err := usage.GetRequest(t.Context(), &meteringv1.GetRequestRequest{RequestId: requestID})
		return err
	})
	return requestID
}
