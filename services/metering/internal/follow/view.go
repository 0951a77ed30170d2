// Package follow keeps a copy of what keys says exists: organizations, members, API keys, credentials,
// policies, and the public keys of access tokens. It holds no secret, sealed or not.
//
// Every piece of configuration is signed, and verified before it is used, from the network and from
// disk alike. A reader sees one version as a whole, never half of a change. What is removed is
// remembered for 40 days, longer than usage may be late, so that late events of a removed key or
// credential still count. The memory is a file in the data directory; when that is lost, late events of
// what was removed before go to quarantine, where they can be seen.
package follow

import (
	"crypto/ed25519"
	"maps"
	"time"

	"github.com/claviger/claviger/pkg/authn"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

// remember is how long removed objects stay known.
const remember = 40 * 24 * time.Hour

// Object is an API key, credential, member or policy.
type Object struct {
	OrgID string
	// Provider is a credential's provider.
	Provider string
	// RemovedAt is when it was removed; zero is not.
	RemovedAt time.Time
}

// Organization is a tenant.
type Organization struct {
	Slug      string
	RemovedAt time.Time
}

// View is the configuration at one version. It is immutable.
type View struct {
	version   int64
	orgs      map[string]Organization
	platform  string
	objects   map[string]Object // by id; its prefix tells the kind
	tokenKeys map[string]ed25519.PublicKey
}

func emptyView() *View {
	return &View{orgs: map[string]Organization{}, objects: map[string]Object{}, tokenKeys: map[string]ed25519.PublicKey{}}
}

// Version is the version of the configuration.
func (v *View) Version() int64 { return v.version }

// Organization returns a tenant, also one that was removed lately.
func (v *View) Organization(id string) (Organization, bool) {
	o, ok := v.orgs[id]
	return o, ok
}

// Platform returns the id of the operator's organization, "" if there is none yet.
func (v *View) Platform() string { return v.platform }

// Object returns an API key, credential, member or policy, also one that was removed lately.
func (v *View) Object(id string) (Object, bool) {
	o, ok := v.objects[id]
	return o, ok
}

// TokenKey returns the public key that verifies access tokens with a key id.
func (v *View) TokenKey(keyID string) (ed25519.PublicKey, bool) {
	key, ok := v.tokenKeys[keyID]
	return key, ok
}

// next returns the view after a batch, whose parts are complete.
func (v *View) next(parts []*keysv1.ConfigBatch) *View {
	whole := parts[0].GetFromVersion() == 0
	at := parts[0].GetIssuedTime().AsTime()
	n := &View{version: parts[0].GetToVersion(), orgs: maps.Clone(v.orgs), objects: maps.Clone(v.objects), tokenKeys: v.tokenKeys}
	if whole { // what is not in it is gone
		for id, o := range n.orgs {
			n.orgs[id] = o.removed(at)
		}
		for id, o := range n.objects {
			n.objects[id] = o.removed(at)
		}
	}
	for _, part := range parts {
		n.take(part)
	}
	n.forget(at.Add(-remember))
	n.platform = ""
	for id, o := range n.orgs {
		if o.Slug == authn.PlatformSlug && o.RemovedAt.IsZero() {
			n.platform = id
		}
	}
	return n
}

func (v *View) take(part *keysv1.ConfigBatch) {
	for _, o := range part.GetOrganizations() {
		v.orgs[o.GetId()] = Organization{Slug: o.GetSlug()}
	}
	for _, m := range part.GetMembers() {
		v.objects[m.GetId()] = Object{OrgID: m.GetOrgId()}
	}
	for _, k := range part.GetApiKeys() { // a revoked key stays: its late events are its owner's
		v.objects[k.GetId()] = Object{OrgID: k.GetOrgId()}
	}
	for _, c := range part.GetCredentials() {
		v.objects[c.GetId()] = Object{OrgID: c.GetOrgId(), Provider: c.GetProvider()}
	}
	for _, p := range part.GetPolicies() {
		v.objects[p.GetId()] = Object{OrgID: p.GetOrgId()}
	}
	at := part.GetIssuedTime().AsTime()
	for _, r := range part.GetRemoved() {
		if o, ok := v.objects[r.GetId()]; ok && o.OrgID == r.GetOrgId() {
			v.objects[r.GetId()] = o.removed(at)
		}
		if o, ok := v.orgs[r.GetId()]; ok {
			v.orgs[r.GetId()] = o.removed(at)
		}
	}
	if len(part.GetTokenKeys()) == 0 {
		return
	}
	v.tokenKeys = make(map[string]ed25519.PublicKey, len(part.GetTokenKeys()))
	for _, k := range part.GetTokenKeys() {
		if len(k.GetPublicKey()) == ed25519.PublicKeySize {
			v.tokenKeys[k.GetKeyId()] = k.GetPublicKey()
		}
	}
}

func (o Object) removed(at time.Time) Object {
	if o.RemovedAt.IsZero() {
		o.RemovedAt = at
	}
	return o
}

func (o Organization) removed(at time.Time) Organization {
	if o.RemovedAt.IsZero() {
		o.RemovedAt = at
	}
	return o
}

// forget drops what was removed before a moment.
func (v *View) forget(before time.Time) {
	maps.DeleteFunc(v.orgs, func(_ string, o Organization) bool { return !o.RemovedAt.IsZero() && o.RemovedAt.Before(before) })
	maps.DeleteFunc(v.objects, func(_ string, o Object) bool { return !o.RemovedAt.IsZero() && o.RemovedAt.Before(before) })
}

// graves lists what is removed and still known.
func (v *View) graves() graves {
	g := graves{Organizations: map[string]Organization{}, Objects: map[string]Object{}}
	for id, o := range v.orgs {
		if !o.RemovedAt.IsZero() {
			g.Organizations[id] = o
		}
	}
	for id, o := range v.objects {
		if !o.RemovedAt.IsZero() {
			g.Objects[id] = o
		}
	}
	return g
}

// graves are removed objects, as they are kept on disk.
type graves struct {
	Organizations map[string]Organization `json:"organizations"`
	Objects       map[string]Object       `json:"objects"`
}

// with returns the view with what the disk remembers, where the view does not know better.
func (v *View) with(g graves) *View {
	n := *v
	n.orgs, n.objects = maps.Clone(v.orgs), maps.Clone(v.objects)
	for id, o := range g.Organizations {
		if _, known := n.orgs[id]; !known {
			n.orgs[id] = o
		}
	}
	for id, o := range g.Objects {
		if _, known := n.objects[id]; !known {
			n.objects[id] = o
		}
	}
	return &n
}
