package rpc

import (
	"crypto/ed25519"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/configsig"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/keys/internal/apikey"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/group"
	"github.com/claviger/claviger/services/keys/internal/policy"
	"github.com/claviger/claviger/services/keys/internal/snapshot"
)

// maxPart bounds the payload of one message of the feed.
const maxPart = 1 << 20

// view is who a configuration is for. Each sees no more than it needs: only routers see sealed
// secrets and key hashes, only metering sees members and the keys of access tokens.
type view string

const (
	routerView   view = "router"
	meteringView view = "metering"
)

// signer makes signed batches.
type signer struct {
	key         ed25519.PrivateKey
	keyID       string
	environment string
	now         func() time.Time
}

func newSigner(key ed25519.PrivateKey, environment string, now func() time.Time) *signer {
	public, _ := key.Public().(ed25519.PublicKey)
	return &signer{key: key, keyID: configsig.KeyID(public), environment: environment, now: now}
}

// packer fills parts of bounded size with objects and encodes each as soon as it is full, so that
// an object is in memory as a row or as bytes and not as both for longer than a page.
type packer struct {
	sign  *signer
	view  view
	batch *keysv1.ConfigBatch
	size  int
	parts []*keysv1.SignedConfig
}

// pack begins a batch that leads from one version to h's; from is 0 for a whole configuration.
func (s *signer) pack(v view, from int64, h snapshot.Header) *packer {
	p := &packer{sign: s, view: v, batch: &keysv1.ConfigBatch{
		Environment: s.environment, FromVersion: from, ToVersion: h.Version, IssuedTime: timestamppb.New(s.now()), View: string(v),
	}}
	if v == meteringView {
		for _, k := range h.TokenKeys {
			p.batch.TokenKeys = append(p.batch.TokenKeys, &keysv1.TokenKey{KeyId: k.KeyID, PublicKey: k.PublicKey})
		}
	}
	p.size = proto.Size(p.batch)
	return p
}

// add puts objects into the batch.
func (p *packer) add(o snapshot.Objects) error {
	for _, x := range o.Organizations {
		if err := put(p, &p.batch.Organizations, p.view.organizationConfig(x)); err != nil {
			return err
		}
	}
	if p.view == meteringView {
		for _, x := range o.Members {
			if err := put(p, &p.batch.Members, &keysv1.MemberConfig{OrgId: x.OrgID, Id: x.ID}); err != nil {
				return err
			}
		}
	}
	for _, x := range o.Policies {
		if err := put(p, &p.batch.Policies, p.view.policyConfig(x)); err != nil {
			return err
		}
	}
	if p.view == routerView {
		for _, x := range o.Groups {
			if err := put(p, &p.batch.Groups, groupConfig(x)); err != nil {
				return err
			}
		}
	}
	for _, x := range o.Credentials {
		if err := put(p, &p.batch.Credentials, p.view.credentialConfig(x)); err != nil {
			return err
		}
	}
	for _, x := range o.APIKeys {
		if err := put(p, &p.batch.ApiKeys, p.view.apiKeyConfig(x)); err != nil {
			return err
		}
	}
	if p.view == routerView {
		for _, x := range o.Drills {
			if err := put(p, &p.batch.Drills, drillConfig(x)); err != nil {
				return err
			}
		}
	}
	for _, x := range o.Removed {
		if err := put(p, &p.batch.Removed, &keysv1.RemovedConfig{OrgId: x.OrgID, Id: x.ID, Cut: x.Cut && p.view == routerView}); err != nil {
			return err
		}
	}
	return nil
}

// put appends item to one of the lists of the current part, after closing the part if it is full.
func put[M proto.Message](p *packer, list *[]M, item M) error {
	const overhead = 1 + 5 // tag and length
	size := proto.Size(item) + overhead
	if p.size+size > maxPart {
		if err := p.close(false); err != nil {
			return err
		}
	}
	*list = append(*list, item)
	p.size += size
	return nil
}

// close encodes and signs the current part and begins the next one.
func (p *packer) close(last bool) error {
	p.batch.Last = last
	payload, err := proto.Marshal(p.batch)
	if err != nil {
		return fmt.Errorf("encode configuration: %w", err)
	}
	p.parts = append(p.parts, &keysv1.SignedConfig{Payload: payload, Signature: configsig.Sign(p.sign.key, payload), KeyId: p.sign.keyID})
	next := &keysv1.ConfigBatch{
		Environment: p.batch.GetEnvironment(), FromVersion: p.batch.GetFromVersion(), ToVersion: p.batch.GetToVersion(),
		Part: p.batch.GetPart() + 1, IssuedTime: p.batch.GetIssuedTime(), View: p.batch.GetView(),
	}
	proto.Reset(p.batch) // in place: put holds pointers into it
	proto.Merge(p.batch, next)
	p.size = proto.Size(p.batch)
	return nil
}

// finish returns the signed parts, at least one.
func (p *packer) finish() ([]*keysv1.SignedConfig, error) {
	err := p.close(true)
	return p.parts, err
}

func (v view) organizationConfig(o snapshot.Organization) *keysv1.OrganizationConfig {
	out := &keysv1.OrganizationConfig{Id: o.ID, Slug: o.Slug}
	if v == routerView {
		out.Preferences, out.ApprovedModels = preferencesToProto(o.Routing.Preferences), o.Routing.Approved
		out.Preferences.MemberGroupId = "" // it says something to people who create API keys alone
	}
	return out
}

func (v view) policyConfig(p policy.Policy) *keysv1.PolicyConfig {
	out := &keysv1.PolicyConfig{OrgId: p.OrgID, Id: p.ID, Name: p.Name, Version: p.Version}
	if v == routerView {
		out.Spec = specToProto(p.Spec)
	}
	return out
}

func groupConfig(g group.Group) *keysv1.GroupConfig {
	return &keysv1.GroupConfig{OrgId: g.OrgID, Id: g.ID, Name: g.Name, PolicyId: g.PolicyID, EnforcePolicy: g.Enforce, ApprovedModels: g.Approved}
}

func (v view) credentialConfig(c credential.Credential) *keysv1.CredentialConfig {
	out := &keysv1.CredentialConfig{
		OrgId: c.OrgID, Id: c.ID, Provider: c.Provider, Label: c.Label, BaseUrl: c.BaseURL, Priority: int32(c.Priority),
		Revision: revision(c), State: states[c.State()],
	}
	if v == routerView {
		out.Sealed, out.Settings, out.Models = c.Sealed, usedSettings(c.Settings), c.Models
		out.Weight, out.Scope, out.ExpireTime, out.Next = int32(c.Weight), scopeToProto(c.Scope), timestamp(c.ExpiresAt), nextSecret(c.Next)
		out.Cut = c.Cut && c.Disabled
	}
	return out
}

func (v view) apiKeyConfig(k apikey.Key) *keysv1.ApiKeyConfig {
	out := &keysv1.ApiKeyConfig{
		OrgId: k.OrgID, Id: k.ID, PublicId: k.PublicID, MemberId: k.MemberID, PolicyId: k.PolicyID, Provenance: provenances[k.Provenance],
		ExpireTime: timestamp(k.ExpiresAt), Revoked: !k.RevokedAt.IsZero(), Name: k.Name,
	}
	if v == routerView {
		out.Hash, out.GroupId, out.EnforcePolicy, out.Cut, out.Suspended = k.Hash, k.GroupID, k.Enforce, k.Cut, k.Suspended
	}
	return out
}
