// Package snapshot keeps the configuration that routers serve under: it follows keys, keeps the last
// good state on disk, and answers who is calling. A request reads one immutable State through one
// atomic pointer; nothing on the request path waits for keys.
package snapshot

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
)

// State is one version of the configuration. It never changes.
//
// Memory is about 500 bytes per API key and credential. A change copies the maps it touches: at
// 100,000 API keys that is some 10 ms of a background goroutine, and none of a request's.
type State struct {
	version       int64
	issued        time.Time
	environment   string
	platformOrgID string
	orgs          map[string]*org
	keys          map[string]*apiKey // by public id
	keyByID       map[string]string  // key id → public id, for removals
}

type org struct {
	id, slug    string
	credentials map[string]*completion.Credential // by id
	byProvider  map[string][]*completion.Credential
	policies    map[string]*plan.Policy // by id
	policyNames map[string]*plan.Policy
	groups      map[string]*plan.Group
	drills      map[string]completion.Drill
	running     []completion.Drill // drills in an order
	cut         map[string]bool    // credentials that are switched off together with the answers that they gave
	preferences *plan.Preferences
}

var noPreferences = &plan.Preferences{}

type apiKey struct {
	caller  completion.Caller
	hash    []byte
	expires time.Time // zero is never
	revoked bool
	// suspended says that its member is disabled.
	suspended bool
	// cut says that it was revoked or suspended together with the answers that it was being given.
	cut bool
}

var _ plan.Config = (*State)(nil)

func emptyState(environment string) *State {
	return &State{environment: environment, orgs: map[string]*org{}, keys: map[string]*apiKey{}, keyByID: map[string]string{}}
}

// Version implements plan.Config.
func (s *State) Version() int64 { return s.version }

// Issued is when keys made this version.
func (s *State) Issued() time.Time { return s.issued }

// Size counts what this version consists of.
func (s *State) Size() map[string]int {
	size := map[string]int{"organization": len(s.orgs), "api_key": len(s.keys), "credential": 0, "policy": 0}
	for _, o := range s.orgs {
		size["credential"] += len(o.credentials)
		size["policy"] += len(o.policies)
	}
	return size
}

// PlatformOrgID implements plan.Config.
func (s *State) PlatformOrgID() string { return s.platformOrgID }

// PolicyByName implements plan.Config.
func (s *State) PolicyByName(orgID, name string) (*plan.Policy, bool) {
	o := s.orgs[orgID]
	if o == nil {
		return nil, false
	}
	p, ok := o.policyNames[name]
	return p, ok
}

// PolicyByID implements plan.Config.
func (s *State) PolicyByID(orgID, policyID string) (*plan.Policy, bool) {
	o := s.orgs[orgID]
	if o == nil {
		return nil, false
	}
	p, ok := o.policies[policyID]
	return p, ok
}

// Credentials implements plan.Config.
func (s *State) Credentials(orgID, provider string) []*completion.Credential {
	if o := s.orgs[orgID]; o != nil {
		return o.byProvider[provider]
	}
	return nil
}

// Preferences implements plan.Config.
func (s *State) Preferences(orgID string) *plan.Preferences {
	if o := s.orgs[orgID]; o != nil {
		return o.preferences
	}
	return noPreferences
}

// Group implements plan.Config.
func (s *State) Group(orgID, groupID string) *plan.Group {
	if o := s.orgs[orgID]; o != nil {
		return o.groups[groupID]
	}
	return nil
}

// Drills implements plan.Config.
func (s *State) Drills(orgID string) []completion.Drill {
	if o := s.orgs[orgID]; o != nil {
		return o.running
	}
	return nil
}

// Credential finds one credential.
func (s *State) Credential(orgID, credentialID string) (*completion.Credential, bool) {
	o := s.orgs[orgID]
	if o == nil {
		return nil, false
	}
	c, ok := o.credentials[credentialID]
	return c, ok
}

// Caller is who an API key stands for that was valid a moment ago; false if it may not be used any more.
func (s *State) Caller(keyID string, now time.Time) (completion.Caller, bool) {
	key := s.keys[s.keyByID[keyID]]
	if key == nil || key.revoked || key.suspended || !key.expires.IsZero() && !now.Before(key.expires) {
		return completion.Caller{}, false
	}
	return key.caller, true
}

// AllCredentials calls visit for each credential that could serve.
func (s *State) AllCredentials(visit func(*completion.Credential)) {
	for _, o := range s.orgs {
		for _, c := range o.credentials {
			if c.Sealed != "" {
				visit(c)
			}
			if c.Next != nil {
				visit(c.Next)
			}
		}
	}
}

// Policies lists the names of an organization's policies, sorted.
func (s *State) Policies(orgID string) []string {
	o := s.orgs[orgID]
	if o == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(o.policyNames))
}

// Providers lists the providers for which an organization has credentials, sorted.
func (s *State) Providers(orgID string) []string {
	o := s.orgs[orgID]
	if o == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(o.byProvider))
}

// builder makes the next State from one, copying only what changes.
type builder struct {
	state  *State
	cloned map[string]bool // organizations that are ours to change
}

func newBuilder(from *State) *builder {
	next := *from
	next.orgs, next.keys, next.keyByID = maps.Clone(from.orgs), maps.Clone(from.keys), maps.Clone(from.keyByID)
	return &builder{state: &next, cloned: map[string]bool{}}
}

// org returns an organization to change.
func (b *builder) org(id string) *org {
	if b.cloned[id] {
		return b.state.orgs[id]
	}
	o := &org{
		id: id, credentials: map[string]*completion.Credential{}, policies: map[string]*plan.Policy{},
		groups: map[string]*plan.Group{}, drills: map[string]completion.Drill{}, preferences: noPreferences, cut: map[string]bool{},
	}
	if old := b.state.orgs[id]; old != nil {
		o.slug, o.credentials, o.policies = old.slug, maps.Clone(old.credentials), maps.Clone(old.policies)
		o.groups, o.drills, o.preferences, o.cut = maps.Clone(old.groups), maps.Clone(old.drills), old.preferences, maps.Clone(old.cut)
	}
	b.state.orgs[id] = o
	b.cloned[id] = true
	return o
}

// remove forgets an object, whatever kind it is.
func (b *builder) remove(orgID, id string) {
	if public, ok := b.state.keyByID[id]; ok {
		delete(b.state.keys, public)
		delete(b.state.keyByID, id)
		return
	}
	if orgID == id {
		delete(b.state.orgs, id)
		return
	}
	o := b.org(orgID)
	delete(o.credentials, id)
	delete(o.policies, id)
	delete(o.groups, id)
	delete(o.drills, id)
	delete(o.cut, id)
}

// finish orders what was changed.
func (b *builder) finish() *State {
	for id := range b.cloned {
		o := b.state.orgs[id]
		if o == nil {
			continue
		}
		o.byProvider, o.policyNames = map[string][]*completion.Credential{}, map[string]*plan.Policy{}
		for _, c := range o.credentials {
			o.byProvider[c.Provider] = append(o.byProvider[c.Provider], c)
		}
		for _, list := range o.byProvider {
			slices.SortFunc(list, func(a, b *completion.Credential) int {
				return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.ID, b.ID))
			})
		}
		o.running = nil
		for _, id := range slices.Sorted(maps.Keys(o.drills)) {
			o.running = append(o.running, o.drills[id])
		}
		for _, p := range o.policies {
			o.policyNames[p.Name] = p
		}
		if o.slug == authn.PlatformSlug {
			b.state.platformOrgID = id
		}
	}
	return b.state
}
