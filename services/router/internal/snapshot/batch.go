package snapshot

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/claviger/claviger/pkg/configsig"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// view is whose part of the configuration a router takes.
const view = "router"

// The reasons for refusing a piece of configuration.
var (
	errSignature = errors.New("the configuration's signature does not verify")
	errForeign   = errors.New("the configuration is for another environment or service")
	errGap       = errors.New("the configuration does not follow the one before")
	errOlder     = errors.New("the configuration is older than the one before")
)

// verify checks who made a piece of configuration and for whom.
func verify(key ed25519.PublicKey, environment string, signed *keysv1.SignedConfig) (*keysv1.ConfigBatch, error) {
	if !configsig.Verify(key, signed.GetPayload(), signed.GetSignature()) {
		return nil, errSignature
	}
	batch := &keysv1.ConfigBatch{}
	if err := proto.Unmarshal(signed.GetPayload(), batch); err != nil {
		return nil, fmt.Errorf("decode configuration: %w", err)
	}
	if batch.GetEnvironment() != environment || batch.GetView() != view {
		return nil, errForeign
	}
	return batch, nil
}

// assembler turns verified batches into States.
type assembler struct {
	state *State // the last whole one
	b     *builder
	off   Off // what b cuts
	to    int64
	part  int32
}

// add applies a batch. It returns a new State with the last part of a version, else nil. A batch
// that does not fit changes nothing.
func (a *assembler) add(batch *keysv1.ConfigBatch) (*State, error) {
	switch {
	case batch.GetPart() == 0 && batch.GetFromVersion() == 0:
		if batch.GetToVersion() < a.state.version && !batch.GetIssuedTime().AsTime().After(a.state.issued) {
			return nil, errOlder // somebody plays back what was true once
		}
		a.b, a.off = newBuilder(emptyState(a.state.environment)), Off{}
	case batch.GetPart() == 0:
		if batch.GetFromVersion() != a.state.version || batch.GetToVersion() <= a.state.version {
			a.b = nil
			return nil, errGap
		}
		a.b, a.off = newBuilder(a.state), Off{}
	case a.b == nil || batch.GetPart() != a.part+1 || batch.GetToVersion() != a.to:
		a.b = nil
		return nil, errGap
	}
	a.part, a.to = batch.GetPart(), batch.GetToVersion()
	a.off.note(a.state, batch)
	fill(a.b, batch)
	if !batch.GetLast() {
		return nil, nil //nolint:nilnil // more parts follow
	}
	next := a.b.finish()
	next.version, next.issued = batch.GetToVersion(), batch.GetIssuedTime().AsTime()
	a.state, a.b = next, nil
	return next, nil
}

func fill(b *builder, batch *keysv1.ConfigBatch) {
	for _, o := range batch.GetOrganizations() {
		org := b.org(o.GetId())
		org.slug, org.preferences = o.GetSlug(), preferencesOf(o)
	}
	for _, c := range batch.GetCredentials() {
		org := b.org(c.GetOrgId())
		org.credentials[c.GetId()] = credentialOf(c)
		if delete(org.cut, c.GetId()); c.GetCut() {
			org.cut[c.GetId()] = true
		}
	}
	for _, g := range batch.GetGroups() {
		b.org(g.GetOrgId()).groups[g.GetId()] = &plan.Group{
			ID: g.GetId(), Name: g.GetName(), PolicyID: g.GetPolicyId(), EnforcePolicy: g.GetEnforcePolicy(), Approved: plan.Compile(g.GetApprovedModels()),
		}
	}
	for _, d := range batch.GetDrills() {
		b.org(d.GetOrgId()).drills[d.GetId()] = drillOf(d)
	}
	for _, p := range batch.GetPolicies() {
		b.org(p.GetOrgId()).policies[p.GetId()] = policyOf(p)
	}
	for _, k := range batch.GetApiKeys() {
		key := &apiKey{
			caller: completion.Caller{
				OrgID: k.GetOrgId(), APIKeyID: k.GetId(), MemberID: k.GetMemberId(), KeyName: k.GetName(),
				PolicyID: k.GetPolicyId(), EnforcePolicy: k.GetEnforcePolicy(), GroupID: k.GetGroupId(), Provenance: provenanceOf(k.GetProvenance()),
			},
			hash: k.GetHash(), revoked: k.GetRevoked(), suspended: k.GetSuspended(), cut: k.GetCut(),
		}
		if k.GetExpireTime() != nil {
			key.expires = k.GetExpireTime().AsTime()
		}
		b.state.keys[k.GetPublicId()] = key
		b.state.keyByID[k.GetId()] = k.GetPublicId()
	}
	for _, r := range batch.GetRemoved() {
		b.remove(r.GetOrgId(), r.GetId())
	}
}

func settingsOf(s *keysv1.CredentialSettings) completion.Settings {
	out := completion.Settings{Region: s.GetRegion(), Project: s.GetProject(), Location: s.GetLocation()}
	for _, d := range s.GetDeployments() {
		out.Deployments = append(out.Deployments, completion.Deployment{Model: d.GetModelSlug(), Endpoint: d.GetEndpointUrl(), Name: d.GetModelId()})
	}
	return out
}

func classOf(c eventsv1.CredentialClass) usage.Class {
	switch c {
	case eventsv1.CredentialClass_CREDENTIAL_CLASS_PLATFORM:
		return usage.Platform
	case eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN, eventsv1.CredentialClass_CREDENTIAL_CLASS_UNSPECIFIED:
	}
	return usage.Own
}

func provenanceOf(p keysv1.ProvenanceLevel) completion.Provenance {
	switch p {
	case keysv1.ProvenanceLevel_PROVENANCE_LEVEL_NONE:
		return completion.ProvenanceNone
	case keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL:
		return completion.ProvenanceFull
	case keysv1.ProvenanceLevel_PROVENANCE_LEVEL_UNSPECIFIED, keysv1.ProvenanceLevel_PROVENANCE_LEVEL_BASIC:
	}
	return completion.ProvenanceBasic
}

// outOf says why a credential in a state must not serve.
func outOf(s keysv1.CredentialState, provider string) string {
	switch s {
	case keysv1.CredentialState_CREDENTIAL_STATE_REJECTED:
		return "was rejected by " + provider + ": an owner has to rotate it"
	case keysv1.CredentialState_CREDENTIAL_STATE_DISABLED:
		return "is disabled"
	case keysv1.CredentialState_CREDENTIAL_STATE_NO_SECRET:
		return "has no secret since its base URL changed: an owner has to rotate it"
	case keysv1.CredentialState_CREDENTIAL_STATE_EXPIRED:
		return "is past its expire_time: an owner has to move it"
	case keysv1.CredentialState_CREDENTIAL_STATE_QUOTA_EXHAUSTED:
		return "has no funds or quota left at " + provider + ": it serves again once a key test passes, which an owner can start"
	case keysv1.CredentialState_CREDENTIAL_STATE_UNSPECIFIED, keysv1.CredentialState_CREDENTIAL_STATE_UNVERIFIED,
		keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE, keysv1.CredentialState_CREDENTIAL_STATE_DEGRADED:
	}
	return ""
}
