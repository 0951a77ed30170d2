package rpc

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	keyformat "github.com/claviger/claviger/pkg/apikey"
	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/keyform"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/keys/internal/apikey"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/organization"
)

var roles = map[member.Role]authn.Role{
	member.Owner: authn.Owner, member.Admin: authn.Admin, member.Ordinary: authn.Member, member.Viewer: authn.Viewer,
}

var states = map[credential.State]keysv1.CredentialState{
	credential.Unverified:     keysv1.CredentialState_CREDENTIAL_STATE_UNVERIFIED,
	credential.Active:         keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE,
	credential.Degraded:       keysv1.CredentialState_CREDENTIAL_STATE_DEGRADED,
	credential.QuotaExhausted: keysv1.CredentialState_CREDENTIAL_STATE_QUOTA_EXHAUSTED,
	credential.Rejected:       keysv1.CredentialState_CREDENTIAL_STATE_REJECTED,
	credential.Disabled:       keysv1.CredentialState_CREDENTIAL_STATE_DISABLED,
	credential.NoSecret:       keysv1.CredentialState_CREDENTIAL_STATE_NO_SECRET,
	credential.Expired:        keysv1.CredentialState_CREDENTIAL_STATE_EXPIRED,
}

var provenances = map[apikey.Provenance]keysv1.ProvenanceLevel{
	apikey.None:  keysv1.ProvenanceLevel_PROVENANCE_LEVEL_NONE,
	apikey.Basic: keysv1.ProvenanceLevel_PROVENANCE_LEVEL_BASIC,
	apikey.Full:  keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL,
}

// from is the inverse of the maps above; what is not in them becomes the given value.
func from[D, W comparable](m map[D]W, wire W, otherwise D) D {
	for d, w := range m {
		if w == wire {
			return d
		}
	}
	return otherwise
}

func fromRole(r authn.Role) member.Role { return from(roles, r, "") }

// verdicts are the states that a router may report.
func fromVerdict(s keysv1.CredentialState) credential.State {
	switch state := from(states, s, ""); state {
	case credential.Active, credential.Degraded, credential.QuotaExhausted, credential.Rejected:
		return state
	case credential.Unverified, credential.Disabled, credential.NoSecret, credential.Expired:
	}
	return ""
}

// timestamp returns nil for never.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func fromTimestamp(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime().Truncate(time.Microsecond)
}

func organizationToProto(o organization.Organization) *keysv1.Organization {
	return &keysv1.Organization{Id: o.ID, Slug: o.Slug, Name: o.Name, CreateTime: timestamp(o.CreatedAt), Etag: o.ETag()}
}

func memberToProto(m member.Member) *keysv1.Member {
	return &keysv1.Member{
		Id: m.ID, Email: m.Email, Role: roles[m.Role], CreateTime: timestamp(m.CreatedAt),
		LastSignInTime: timestamp(m.LastSignInAt), DisableTime: timestamp(m.DisabledAt), Etag: m.ETag(),
	}
}

func credentialToProto(c credential.Credential) *keysv1.Credential {
	return &keysv1.Credential{
		Id: c.ID, Provider: c.Provider, Label: c.Label, BaseUrl: c.BaseURL, Priority: int32(c.Priority), Hint: c.Hint,
		Revision: revision(c), State: states[c.State()], StateReason: c.StateReason, StateTime: timestamp(c.StateAt),
		CreateTime: timestamp(c.CreatedAt), CreatedBy: c.CreatedBy, UpdateTime: timestamp(c.UpdatedAt), UpdatedBy: c.UpdatedBy, Etag: c.ETag(),
		Settings: settingsToProto(c.Settings), Models: c.Models, Weight: int32(c.Weight), Scope: scopeToProto(c.Scope),
		ExpireTime: timestamp(c.ExpiresAt), Next: stagedToProto(c.Next), Previous: previousToProto(c.Previous),
		NextTestTime: timestamp(c.NextProbeAt), LastUseTime: timestamp(c.LastUseAt),
	}
}

// settingsToProto returns nil where there are none.
func settingsToProto(s keyform.Settings) *keysv1.CredentialSettings {
	out := usedSettings(s)
	if out == nil {
		return nil
	}
	out.ClientEmail = s.ClientEmail
	out.Secrets = each(s.Secrets, func(m keyform.Masked) *keysv1.MaskedSecret {
		return &keysv1.MaskedSecret{Field: m.Field, Hint: m.Hint}
	})
	return out
}

// usedSettings are what of them says where a secret may be sent, nil where there is nothing.
func usedSettings(s keyform.Settings) *keysv1.CredentialSettings {
	if len(s.Places()) == 0 {
		return nil
	}
	return &keysv1.CredentialSettings{
		Region: s.Region, Project: s.Project, Location: s.Location,
		Deployments: each(s.Deployments, func(d keyform.Deployment) *keysv1.AzureDeployment {
			return &keysv1.AzureDeployment{ModelSlug: d.ModelSlug, EndpointUrl: d.EndpointURL, ModelId: d.ModelID}
		}),
	}
}

func warningToProto(v fault.Violation) *keysv1.SecretWarning {
	return &keysv1.SecretWarning{Field: v.Field, Description: v.Description}
}

func revision(c credential.Credential) int32 {
	return int32(c.Revision)
}

func apiKeyToProto(k apikey.Key) *keysv1.ApiKey {
	return &keysv1.ApiKey{
		Id: k.ID, Name: k.Name, Display: keyformat.Display(k.PublicID), MemberId: k.MemberID, PolicyId: k.PolicyID,
		Provenance: provenances[k.Provenance], CreateTime: timestamp(k.CreatedAt), ExpireTime: timestamp(k.ExpiresAt), RevokeTime: timestamp(k.RevokedAt),
		GroupId: k.GroupID, EnforcePolicy: k.Enforce, Etag: k.ETag(), Suspended: k.Suspended,
	}
}

// each converts a list.
func each[D, W any](in []D, convert func(D) W) []W {
	out := make([]W, len(in))
	for i, d := range in {
		out[i] = convert(d)
	}
	return out
}
