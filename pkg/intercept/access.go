package intercept

import (
	"context"
	"crypto/tls"
	"slices"
	"strings"
	"sync"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/telemetry"
	optionsv1 "github.com/claviger/claviger/proto/gen/claviger/options/v1"
)

// The errors of the access rule.
var (
	ErrNoRule          = fault.New(fault.Internal, "METHOD_WITHOUT_RULE", "this method has no access rule and is refused")
	ErrUnauthenticated = fault.New(fault.Unauthenticated, "UNAUTHENTICATED", "nobody is signed in").Hinting(`send "Authorization: Bearer <access token>"`)
	ErrKind            = fault.New(fault.Denied, "PRINCIPAL_NOT_ALLOWED", "this method is not for this kind of caller")
	ErrRole            = fault.New(fault.Denied, "ROLE_NOT_ALLOWED", "your role does not allow this")
	ErrOperator        = fault.New(fault.Denied, "OPERATOR_ONLY", "only the operator may do this")
	ErrService         = fault.New(fault.Denied, "SERVICE_NOT_ALLOWED", "this method is not for this service")
)

// RuleOf returns the access rule of a method, nil if its contract has none.
func RuleOf(m protoreflect.MethodDescriptor) *optionsv1.Access {
	if m == nil || !proto.HasExtension(m.Options(), optionsv1.E_Access) {
		return nil
	}
	rule, _ := proto.GetExtension(m.Options(), optionsv1.E_Access).(*optionsv1.Access)
	if rule.GetScope() == optionsv1.Scope_SCOPE_UNSPECIFIED {
		return nil
	}
	return rule
}

// access enforces the contract's rule before the body is read.
func access(authenticate Authenticate) connect.ServerInterceptor {
	var rules sync.Map // procedure → *optionsv1.Access
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			cached, ok := rules.Load(spec.Procedure)
			if !ok {
				method, _ := spec.Schema.(protoreflect.MethodDescriptor)
				if method == nil {
					return connect.NewError(connect.CodeUnimplemented, "unknown method")
				}
				cached, _ = rules.LoadOrStore(spec.Procedure, RuleOf(method))
			}
			rule, _ := cached.(*optionsv1.Access)
			if rule == nil {
				return ErrNoRule.With("procedure", spec.Procedure)
			}
			if rule.GetScope() == optionsv1.Scope_SCOPE_PUBLIC {
				return next(ctx, spec, stream)
			}
			info, ok := connect.CallInfoForServerContext(ctx)
			if !ok || authenticate == nil {
				return ErrUnauthenticated
			}
			principal, err := authenticate(ctx, info)
			if err != nil {
				return err
			}
			if err := Allow(rule, principal); err != nil {
				return err
			}
			return next(telemetry.WithOrganization(authn.NewContext(ctx, principal), principal.OrgID), spec, stream)
		}
	}
}

// Allow reports whether rule lets p in.
func Allow(rule *optionsv1.Access, p authn.Principal) error {
	kinds := rule.GetPrincipals()
	if len(kinds) == 0 {
		kinds = []authn.Kind{authn.Session}
	}
	if p.Kind == 0 {
		return ErrUnauthenticated
	}
	if !slices.Contains(kinds, p.Kind) {
		return ErrKind
	}
	switch rule.GetScope() {
	case optionsv1.Scope_SCOPE_INTERNAL:
		if p.Kind != authn.Service || !slices.Contains(rule.GetServices(), p.Service) {
			return ErrService
		}
		return nil
	case optionsv1.Scope_SCOPE_OPERATOR:
		if !p.Operator() {
			return ErrOperator
		}
	case optionsv1.Scope_SCOPE_ORG, optionsv1.Scope_SCOPE_OWN:
		if p.OrgID == "" {
			return ErrUnauthenticated
		}
	case optionsv1.Scope_SCOPE_PUBLIC:
		return nil
	case optionsv1.Scope_SCOPE_UNSPECIFIED:
		return ErrNoRule
	}
	if p.Kind == authn.Session && len(rule.GetRoles()) > 0 && !slices.Contains(rule.GetRoles(), p.Role) {
		return ErrRole.Saying("this needs the role %s; yours is %s", roleNames(rule.GetRoles()), roleName(p.Role)).
			Hinting("ask an owner of your organization")
	}
	return nil
}

func roleName(r authn.Role) string {
	return strings.ToLower(strings.TrimPrefix(r.String(), "ROLE_"))
}

func roleNames(roles []authn.Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = roleName(r)
	}
	return strings.Join(names, " or ")
}

// Bearer returns the token of the Authorization header.
func Bearer(info *connect.CallInfo) (string, bool) {
	scheme, token, ok := strings.Cut(info.RequestHeader().Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return "", false
	}
	token = strings.TrimSpace(token)
	return token, token != ""
}

// Session authenticates people by the access token in the Authorization header.
func Session(verify func(raw string) (authn.Principal, error)) Authenticate {
	return func(_ context.Context, info *connect.CallInfo) (authn.Principal, error) {
		raw, ok := Bearer(info)
		if !ok {
			return authn.Principal{}, ErrUnauthenticated
		}
		return verify(raw)
	}
}

// Fixed authenticates every call as p, for servers that are only reached in process.
func Fixed(p authn.Principal) Authenticate {
	return func(context.Context, *connect.CallInfo) (authn.Principal, error) { return p, nil }
}

// PeerTLS is implemented by transports that know the connection's TLS state.
type PeerTLS interface{ TLS() *tls.ConnectionState }

var _ PeerTLS = (*connecthttp.ServerInfo)(nil)

// MutualTLS authenticates our own services by the SPIFFE id in a verified client certificate,
// spiffe://<environment>/<service>/<instance>.
func MutualTLS(environment string) Authenticate {
	return func(_ context.Context, info *connect.CallInfo) (authn.Principal, error) {
		peer, ok := info.TransportInfo.(PeerTLS)
		if !ok || peer.TLS() == nil || len(peer.TLS().VerifiedChains) == 0 {
			return authn.Principal{}, ErrUnauthenticated.Hinting("this listener is for services with a client certificate")
		}
		for _, uri := range peer.TLS().VerifiedChains[0][0].URIs {
			service, instance, ok := strings.Cut(strings.TrimPrefix(uri.Path, "/"), "/")
			if uri.Scheme == "spiffe" && uri.Host == environment && ok && service != "" && instance != "" && !strings.Contains(instance, "/") {
				return authn.Principal{Kind: authn.Service, Service: service, Instance: instance}, nil
			}
		}
		return authn.Principal{}, ErrUnauthenticated.Hinting("the client certificate names no service of this environment")
	}
}
