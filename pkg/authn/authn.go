// Package authn says who is calling: a Principal goes into a context at the edge and comes out
// wherever a decision needs it. It does not authenticate; edges and services do.
package authn

import (
	"context"
	"time"

	optionsv1 "github.com/claviger/claviger/proto/gen/claviger/options/v1"
)

// PlatformSlug is the slug of the reserved organization that belongs to the operator.
const PlatformSlug = "platform"

// Kind is a kind of caller.
type Kind = optionsv1.PrincipalKind

// The kinds of callers.
const (
	Session = optionsv1.PrincipalKind_PRINCIPAL_KIND_SESSION
	APIKey  = optionsv1.PrincipalKind_PRINCIPAL_KIND_API_KEY
	Service = optionsv1.PrincipalKind_PRINCIPAL_KIND_SERVICE
)

// Role is a member's role.
type Role = optionsv1.Role

// The roles.
const (
	Owner  = optionsv1.Role_ROLE_OWNER
	Admin  = optionsv1.Role_ROLE_ADMIN
	Member = optionsv1.Role_ROLE_MEMBER
	Viewer = optionsv1.Role_ROLE_VIEWER
)

// Principal is an authenticated caller.
type Principal struct {
	Kind Kind
	// OrgID is the tenant, the only source of it. Empty for services.
	OrgID string
	// OrgSlug is the tenant's slug. "platform" makes a session an operator's.
	OrgSlug string
	// MemberID is the person of a session, or who owns the API key.
	MemberID string
	// Role is the role of a session.
	Role Role
	// SessionID names the session.
	SessionID string
	// AuthTime is when the person last proved who they are.
	AuthTime time.Time
	// ExpiresAt is when the proof of who is calling ends, such as a session's access token. Streams end
	// before it. Zero is never.
	ExpiresAt time.Time
	// APIKeyID names the API key.
	APIKeyID string
	// Service is the name of one of our services: "router", "metering".
	Service string
	// Instance is the stable name of that service's process, such as "router-1".
	Instance string
}

// Operator reports whether the caller runs the installation.
func (p Principal) Operator() bool { return p.Kind == Session && p.OrgSlug == PlatformSlug }

// Actor names the caller in audit rows: a member's, an API key's or a service's id.
func (p Principal) Actor() string {
	switch p.Kind {
	case Session:
		return p.MemberID
	case APIKey:
		return p.APIKeyID
	case Service:
		return p.Service + "/" + p.Instance
	case optionsv1.PrincipalKind_PRINCIPAL_KIND_UNSPECIFIED:
	}
	return ""
}

type key struct{}

// NewContext returns ctx with p.
func NewContext(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, key{}, p)
}

// FromContext returns the caller. Without one it returns the zero Principal, which nothing allows.
func FromContext(ctx context.Context) Principal {
	p, _ := ctx.Value(key{}).(Principal)
	return p
}
