package ingest

import (
	"strings"

	"github.com/claviger/claviger/services/metering/internal/follow"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// judge says why an attempt is not what it claims to be, or nothing. A router knows all organizations, so
// one that is broken into could claim anything: what an event says of key, credential and class must fit
// what keys says. unknown reports that the refusal rests on an object we do not know, which a newer
// configuration may bring.
func judge(v *follow.View, a *usage.Attempt) (r *refusal, unknown bool) {
	if _, known := v.Organization(a.OrgID); !known {
		return refuse(usage.ReasonUnknownOrg, "the organization is not known"), true
	}
	for _, o := range [...]struct {
		id, prefix string
		required   bool
		reason     usage.Reason
	}{
		{a.APIKeyID, "key_", true, usage.ReasonForeignKey},
		{a.MemberID, "mem_", false, usage.ReasonForeignMember},
		{a.PolicyID, "pol_", false, usage.ReasonForeignPolicy},
	} {
		if o.id == "" && !o.required {
			continue
		}
		object, known := v.Object(o.id)
		switch {
		case !strings.HasPrefix(o.id, o.prefix):
			return refuse(o.reason, "%q is no %sid", clip(o.id, maxWord), o.prefix), false
		case !known:
			return refuse(o.reason, "%s is not known", clip(o.id, maxWord)), true
		case object.OrgID != a.OrgID:
			return refuse(o.reason, "%s is not the organization's", o.id), false
		}
	}
	return judgeCredential(v, a)
}

func judgeCredential(v *follow.View, a *usage.Attempt) (r *refusal, unknown bool) {
	if a.CredentialID == "" {
		// Without a credential nothing can have been called.
		if a.Class == usage.NoClass && a.Source == usage.NoUsage {
			return nil, false
		}
		return refuse(usage.ReasonForeignCredential, "no credential is named"), false
	}
	if !strings.HasPrefix(a.CredentialID, "cred_") {
		return refuse(usage.ReasonForeignCredential, "%q is no cred_id", clip(a.CredentialID, maxWord)), false
	}
	credential, known := v.Object(a.CredentialID)
	if !known {
		return refuse(usage.ReasonForeignCredential, "%s is not known", clip(a.CredentialID, maxWord)), true
	}
	own, platform := credential.OrgID == a.OrgID, credential.OrgID == v.Platform()
	switch {
	case !own && !platform:
		return refuse(usage.ReasonForeignCredential, "%s belongs to another organization", a.CredentialID), false
	case a.Class == usage.Own && own, a.Class == usage.Platform && platform:
	default:
		return refuse(usage.ReasonClassMismatch, "%s is not of class %q", a.CredentialID, a.Class), false
	}
	if credential.Provider != a.Provider {
		return refuse(usage.ReasonProviderMismatch, "%s is a credential of %q, not of %q", a.CredentialID, credential.Provider, a.Provider), false
	}
	return nil, false
}
