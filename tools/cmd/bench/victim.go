package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	optionsv1 "github.com/claviger/claviger/proto/gen/claviger/options/v1"
	"github.com/claviger/claviger/tools/seed"
)

const modelName = "openai/gpt-4o-mini"

// victim is something that will be switched off, and what uses it until then.
type victim struct {
	name       string
	key, model string
	// refusal is the status of who asks afterwards.
	refusal int
	// cut says that answers under way end, too.
	cut bool
	// before is called shortly before off, and not timed. It may be nil.
	before func(ctx context.Context) error
	off    func(ctx context.Context) (*keysv1.Receipt, error)
}

// office makes victims as the organization's owner.
type office struct {
	r           *rig
	keys        keysv1connect.ApiKeyServiceClient
	credentials keysv1connect.CredentialServiceClient
	policies    keysv1connect.PolicyServiceClient
	members     keysv1connect.MemberServiceClient
}

// signIn returns a client of keys for a member of the organization.
func (r *rig) signIn(ctx context.Context, email, password string) (*connect.Client, error) {
	transport := connecthttp.NewTransport(r.client, r.control)
	answer, err := keysv1connect.NewSessionServiceClient(connect.NewClient(transport)).SignIn(ctx, &keysv1.SignInRequest{
		Organization: organization, Email: email, Password: password,
	})
	if err != nil {
		return nil, fmt.Errorf("sign in: %w", err)
	}
	return connect.NewClient(transport, seed.Bearer(secret.New(answer.GetAccessToken()))), nil
}

// victims makes n victims that both routers serve: of ten, seven are API keys, two credentials and one a
// member, and of each kind every other one is to be cut.
func (r *rig) victims(ctx context.Context, n int) ([]*victim, error) {
	owner, err := r.signIn(ctx, ownerEmail, ownerPassword)
	if err != nil {
		return nil, err
	}
	o := &office{
		r: r, keys: keysv1connect.NewApiKeyServiceClient(owner), credentials: keysv1connect.NewCredentialServiceClient(owner),
		policies: keysv1connect.NewPolicyServiceClient(owner), members: keysv1connect.NewMemberServiceClient(owner),
	}
	makers := map[string]func(context.Context, *victim) error{"API key": o.apiKey, "credential": o.credential, "member": o.member}
	made := map[string]int{}
	var all []*victim
	for i := range n {
		kind := "API key"
		switch i % 10 {
		case 3, 7:
			kind = "credential"
		case 9:
			kind = "member"
		}
		made[kind]++
		v := &victim{name: fmt.Sprintf("%s %d", kind, made[kind]), cut: made[kind]%2 == 1}
		if err := makers[kind](ctx, v); err != nil {
			return nil, fmt.Errorf("%s: %w", v.name, err)
		}
		all = append(all, v)
	}
	return all, o.settle(ctx, all)
}

func (o *office) apiKey(ctx context.Context, v *victim) error {
	id, err := o.newKey(ctx, o.keys, v)
	v.off = func(ctx context.Context) (*keysv1.Receipt, error) {
		answer, err := o.keys.RevokeApiKey(ctx, &keysv1.RevokeApiKeyRequest{Id: id, CutStreams: v.cut, IdempotencyKey: rand.Text()})
		return answer.GetReceipt(), err
	}
	return err
}

// newKey makes an API key of whoever calls, for the victim.
func (*office) newKey(ctx context.Context, keys keysv1connect.ApiKeyServiceClient, v *victim) (id string, err error) {
	answer, err := keys.CreateApiKey(ctx, &keysv1.CreateApiKeyRequest{Name: v.name, IdempotencyKey: rand.Text()})
	v.key, v.model, v.refusal = answer.GetSecret(), modelName, http.StatusUnauthorized
	return answer.GetApiKey().GetId(), err
}

// member has an API key of their own.
func (o *office) member(ctx context.Context, v *victim) error {
	email, password := rand.Text()+"@bench.example", rand.Text()
	answer, err := o.members.CreateMember(ctx, &keysv1.CreateMemberRequest{
		Email: email, Role: optionsv1.Role_ROLE_MEMBER, Password: password, IdempotencyKey: rand.Text(),
	})
	if err != nil {
		return err
	}
	client, err := o.r.signIn(ctx, email, password)
	if err != nil {
		return err
	}
	id, etag := answer.GetMember().GetId(), ""
	v.before = func(ctx context.Context) error {
		answer, err := o.members.GetMember(ctx, &keysv1.GetMemberRequest{Id: id})
		etag = answer.GetMember().GetEtag()
		return err
	}
	v.off = func(ctx context.Context) (*keysv1.Receipt, error) {
		answer, err := o.members.UpdateMember(ctx, &keysv1.UpdateMemberRequest{
			Id: id, Disabled: new(true), CutStreams: v.cut, Etag: etag, IdempotencyKey: rand.Text(),
		})
		return answer.GetReceipt(), err
	}
	_, err = o.newKey(ctx, keysv1connect.NewApiKeyServiceClient(client), v)
	return err
}

// credential is the only one of a policy. Requests that do not name the policy never come to it.
func (o *office) credential(ctx context.Context, v *victim) error {
	answer, err := o.credentials.CreateCredential(ctx, &keysv1.CreateCredentialRequest{
		Provider: "openai", Label: v.name, Secret: providerKey, BaseUrl: o.r.base["direct"], Priority: 9, AcceptTerms: true, IdempotencyKey: rand.Text(),
	})
	if err != nil {
		return err
	}
	id, name := answer.GetCredential().GetId(), "only-"+answer.GetCredential().GetId()
	_, err = o.policies.CreatePolicy(ctx, &keysv1.CreatePolicyRequest{
		Name: name, Spec: seed.Rule(&keysv1.Target{Model: modelName, CredentialId: id}), Publish: true, IdempotencyKey: rand.Text(),
	})
	v.key, v.model, v.refusal = o.r.key["router"], "policy/"+name, http.StatusUnprocessableEntity
	etag := ""
	v.before = func(ctx context.Context) error {
		answer, err := o.credentials.GetCredential(ctx, &keysv1.GetCredentialRequest{Id: id})
		etag = answer.GetCredential().GetEtag()
		return err
	}
	v.off = func(ctx context.Context) (*keysv1.Receipt, error) {
		answer, err := o.credentials.UpdateCredential(ctx, &keysv1.UpdateCredentialRequest{
			Id: id, Disabled: new(true), CutStreams: v.cut, Etag: etag, IdempotencyKey: rand.Text(),
		})
		return answer.GetReceipt(), err
	}
	return err
}

// settle waits until every key test is over, for each changes the configuration once more, and both routers
// know all victims.
func (o *office) settle(ctx context.Context, all []*victim) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return until(ctx, func() error {
		answer, err := o.credentials.ListCredentials(ctx, &keysv1.ListCredentialsRequest{PageSize: 500})
		if err != nil {
			return err
		}
		for _, c := range answer.GetCredentials() {
			if c.GetState() != keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE {
				return fmt.Errorf("credential %s is %s", c.GetLabel(), c.GetState())
			}
		}
		for _, router := range through {
			for _, v := range all[max(0, len(all)-10):] {
				if served, err := o.r.served(ctx, router, v); err != nil || !served {
					return errors.Join(fmt.Errorf("%s does not serve %s", router, v.name), err)
				}
			}
		}
		return nil
	})
}

// until tries again until it works.
func until(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
