package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	"github.com/claviger/claviger/tools/seed"
)

// Provider is the provider that a story uses.
type Provider struct {
	Slug  string
	Key   secret.Text
	Model string // without the slug
}

func (p Provider) model() string { return p.Slug + "/" + p.Model }

// Story is the first quarter of an hour of an organization, told through the public APIs.
type Story struct {
	Console *Console
	// BaseURL is the public HTTP listener of all three services.
	BaseURL  string
	Operator seed.Login
	// Provider is whose key the organization brings. Fallback is another one, of which the operator has a key;
	// nil is none.
	Provider Provider
	Fallback *Provider
	// Refuse lets the next call of a model be refused with 429, so that the other is asked; nil where that cannot
	// be had.
	Refuse func(model, other string)
	// Organization is the slug of the organization to create, OwnerPassword the first password of its
	// owner.
	Organization  string
	OwnerPassword secret.Text
	// KeyFile is where the API key is written, mode 0600.
	KeyFile string

	http         *http.Client
	owner        *connect.Client
	credentialID string
	policyID     string
	apiKey       secret.Text
	requestID    string
	answered     time.Time
	served       provenance
}

// how long a step may take until the parts that it needs have told each other.
const patience = 30 * time.Second

// OwnerEmail is the address of the organization's owner.
const OwnerEmail = "owner@acme.example"

// Tell plays the story and stops at the first step that does not work.
func (s *Story) Tell(ctx context.Context) error {
	s.http = &http.Client{Transport: &http.Transport{Proxy: nil}}
	defer s.http.CloseIdleConnections()
	type step struct {
		name string
		do   func(context.Context, *Step) error
	}
	steps := []step{
		{"The operator creates the organization " + s.Organization, s.createOrganization},
		{"Its owner signs in", s.signIn},
		{"The owner adds a key of " + s.Provider.Slug, s.addCredential},
		{"The router tries the key at the provider", s.testCredential},
		{"A policy says which model serves, and on whose key", s.createPolicy},
		{"An API key for an application", s.createAPIKey},
		{"What would serve its request, asked without calling a provider", s.explain},
		{"The application asks for a completion, streamed", s.complete},
	}
	if s.Fallback != nil && s.Refuse != nil {
		steps = append(steps, step{s.Provider.Slug + " answers 429, and the application gets its answer all the same", s.fallBack})
	}
	steps = append(
		steps, step{"The usage is counted and priced", s.awaitUsage},
		step{"The last request in full, with each attempt", s.showRequest},
	)
	for _, step := range steps {
		if err := s.Console.Step(step.name, func(st *Step) error { return step.do(ctx, st) }); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

func (s *Story) transport() connect.Transport { return connecthttp.NewTransport(s.http, s.BaseURL) }

func (s *Story) session(ctx context.Context, organization, email string, password secret.Text) (*connect.Client, *keysv1.SignInResponse, error) {
	answer, err := keysv1connect.NewSessionServiceClient(connect.NewClient(s.transport())).SignIn(ctx, &keysv1.SignInRequest{
		Organization: organization, Email: email, Password: password.Reveal(),
	})
	if err != nil {
		return nil, nil, err
	}
	return connect.NewClient(s.transport(), seed.Bearer(secret.New(answer.GetAccessToken()))), answer, nil
}

func (s *Story) createOrganization(ctx context.Context, step *Step) error {
	operator, _, err := s.session(ctx, authn.PlatformSlug, s.Operator.Email, s.Operator.Password)
	if err != nil {
		return err
	}
	_, err = keysv1connect.NewOrganizationServiceClient(operator).CreateOrganization(ctx, &keysv1.CreateOrganizationRequest{
		Slug: s.Organization, Name: "Acme", OwnerEmail: OwnerEmail, OwnerPassword: s.OwnerPassword.Reveal(), IdempotencyKey: rand.Text(),
	})
	if err != nil {
		return err
	}
	step.Note("owner %s, with a password of this run", OwnerEmail)
	if s.Fallback == nil {
		return nil
	}
	_, err = keysv1connect.NewCredentialServiceClient(operator).CreateCredential(ctx, &keysv1.CreateCredentialRequest{
		Provider: s.Fallback.Slug, Label: "for " + s.Organization, Secret: s.Fallback.Key.Reveal(), AcceptTerms: true, IdempotencyKey: rand.Text(),
	})
	step.Note("and keeps a key of %s, for policies that allow the platform's", s.Fallback.Slug)
	return err
}

func (s *Story) signIn(ctx context.Context, step *Step) error {
	owner, answer, err := s.session(ctx, s.Organization, OwnerEmail, s.OwnerPassword)
	if err != nil {
		return err
	}
	s.owner = owner
	step.Note("the access token lives until %s", answer.GetAccessExpireTime().AsTime().Local().Format(time.TimeOnly))
	return nil
}

func (s *Story) addCredential(ctx context.Context, step *Step) error {
	answer, err := keysv1connect.NewCredentialServiceClient(s.owner).CreateCredential(ctx, &keysv1.CreateCredentialRequest{
		Provider: s.Provider.Slug, Label: "main", Secret: s.Provider.Key.Reveal(),
		AcceptTerms: true, IdempotencyKey: rand.Text(),
	})
	if err != nil {
		return err
	}
	s.credentialID = answer.GetCredential().GetId()
	step.Note("%s/main %s, sealed; no method returns it", s.Provider.Slug, answer.GetCredential().GetHint())
	step.Note("the owner accepts the terms: the provider bills this key")
	return nil
}

func (s *Story) testCredential(ctx context.Context, step *Step) error {
	answer, err := keysv1connect.NewCredentialServiceClient(s.owner).TestCredential(ctx, &keysv1.TestCredentialRequest{Id: s.credentialID})
	if err != nil {
		return err
	}
	credential := answer.GetCredential()
	reason := credential.GetStateReason()
	switch {
	case !answer.GetTested():
		return errors.New("no router gave a verdict in time")
	case credential.GetState() == keysv1.CredentialState_CREDENTIAL_STATE_REJECTED:
		return fmt.Errorf("the provider refuses the key: %s", reason)
	}
	step.Note("%s", verdict(credential.GetState(), reason))
	return nil
}

// verdict is a credential's state in words.
func verdict(state keysv1.CredentialState, reason string) string {
	words := map[keysv1.CredentialState]string{
		keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE:          "the key works",
		keysv1.CredentialState_CREDENTIAL_STATE_DEGRADED:        "the key works, with a warning",
		keysv1.CredentialState_CREDENTIAL_STATE_QUOTA_EXHAUSTED: "the key is right, but has no money or quota left",
		keysv1.CredentialState_CREDENTIAL_STATE_UNVERIFIED:      "no verdict yet; the key serves all the same",
	}[state]
	if words == "" {
		words = strings.ToLower(strings.TrimPrefix(state.String(), "CREDENTIAL_STATE_"))
	}
	if reason != "" && state != keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE {
		words += ": " + reason
	}
	return words
}

func (s *Story) createPolicy(ctx context.Context, step *Step) error {
	lines := []*keysv1.Target{seed.Own(s.Provider.model())}
	rows := [][]string{{"policy/main, line 1", s.Provider.model(), "on the organization's own key"}}
	if s.Fallback != nil {
		lines = append(lines, seed.Platform(s.Fallback.model()))
		rows = append(rows, []string{"policy/main, line 2", s.Fallback.model(), "on the platform's, when line 1 cannot"})
	}
	step.Table(rows)
	answer, err := keysv1connect.NewPolicyServiceClient(s.owner).CreatePolicy(ctx, &keysv1.CreatePolicyRequest{
		Name: "main", Spec: seed.Rule(lines...), Publish: true, IdempotencyKey: rand.Text(),
	})
	s.policyID = answer.GetPolicy().GetId()
	return err
}

func (s *Story) createAPIKey(ctx context.Context, step *Step) error {
	answer, err := keysv1connect.NewApiKeyServiceClient(s.owner).CreateApiKey(ctx, &keysv1.CreateApiKeyRequest{
		Name: "app", PolicyId: s.policyID, Provenance: keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL, IdempotencyKey: rand.Text(),
	})
	if err != nil {
		return err
	}
	s.apiKey = secret.New(answer.GetSecret())
	step.Note("%s…, shown once, kept in %s", answer.GetApiKey().GetDisplay(), s.KeyFile)
	return os.WriteFile(s.KeyFile, []byte(s.apiKey.Reveal()+"\n"), 0o600)
}

func (s *Story) awaitUsage(ctx context.Context, step *Step) error {
	client := meteringv1connect.NewUsageServiceClient(s.owner)
	return until(ctx, func(ctx context.Context) (bool, error) {
		answer, err := client.QueryUsage(ctx, &meteringv1.QueryUsageRequest{
			GroupBy:   []meteringv1.Dimension{meteringv1.Dimension_DIMENSION_MODEL, meteringv1.Dimension_DIMENSION_CLASS},
			StartTime: timestamppb.New(s.answered.Add(-time.Hour)), EndTime: timestamppb.New(s.answered.Add(time.Hour)),
		})
		if err != nil {
			return false, err
		}
		through := answer.GetCompleteThrough()
		if answer.GetTotal().GetRequests() == 0 || through == nil || through.AsTime().Before(s.answered) {
			return false, nil
		}
		var rows [][]string
		for _, row := range answer.GetRows() {
			t := row.GetTotals()
			rows = append(rows, []string{
				strings.Join(row.GetGroup(), ", "), fmt.Sprintf("%d tokens in, %d out", t.GetTokens().GetInputTotal(), t.GetTokens().GetOutputTotal()),
				cost(t.GetCostNanoUsd(), t.GetUnknownCostAttempts() == 0),
			})
		}
		step.Table(rows)
		step.Note("complete through %s: whatever ended before is in these sums", through.AsTime().Local().Format("15:04:05.000"))
		return true, nil
	})
}

func (s *Story) showRequest(ctx context.Context, step *Step) error {
	answer, err := meteringv1connect.NewUsageServiceClient(s.owner).GetRequest(ctx, &meteringv1.GetRequestRequest{RequestId: s.requestID})
	if err != nil {
		return err
	}
	step.Note("%s   %s", answer.GetRequestId(), cost(answer.GetCostNanoUsd(), answer.GetCostKnown()))
	var rows [][]string
	for _, attempt := range answer.GetAttempts() {
		e := attempt.GetEvent()
		outcome := strings.ToLower(strings.TrimPrefix(e.GetOutcome().String(), "OUTCOME_"))
		whole := time.Duration(e.GetDurationMicros()) * time.Microsecond
		times := "first word after " + duration(time.Duration(e.GetFirstContentMicros())*time.Microsecond) + ", whole after " + duration(whole)
		if e.GetErrorClass() != "" {
			outcome, times = words(e.GetErrorClass()), "refused after "+duration(whole)
		}
		rows = append(rows, []string{fmt.Sprintf("attempt %d", e.GetAttemptNumber()), e.GetModel(), outcome, times, e.GetAttemptId()})
	}
	step.Table(rows)
	if len(answer.GetAttempts()) == 0 {
		return errors.New("it has no attempts")
	}
	return nil
}

// cost is an amount in US dollars, to the billionth.
func cost(nano int64, known bool) string {
	if !known {
		return "cost unknown"
	}
	text := strings.TrimRight(fmt.Sprintf("%d.%09d", nano/1e9, nano%1e9), "0")
	if strings.HasSuffix(text, ".") {
		text += "00"
	}
	return "$" + text
}

// until calls try until it is done, an error that is not about waiting, or patience is over.
func until(ctx context.Context, try func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it did not happen within %s", patience))
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		done, err := try(ctx)
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}
