package rpc

import (
	"context"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/services/keys/internal/routing"
	"github.com/claviger/claviger/services/keys/internal/store"
)

var platformRules = map[routing.Rule]keysv1.PlatformRule{
	routing.Policies:  keysv1.PlatformRule_PLATFORM_RULE_POLICIES,
	routing.Never:     keysv1.PlatformRule_PLATFORM_RULE_NEVER,
	routing.AfterOwn:  keysv1.PlatformRule_PLATFORM_RULE_AFTER_OWN,
	routing.BeforeOwn: keysv1.PlatformRule_PLATFORM_RULE_BEFORE_OWN,
}

func fromPreferences(p *keysv1.RoutingPreferences) routing.Preferences {
	out := routing.Preferences{
		Order: p.GetOrder(), Ignore: p.GetIgnore(), Platform: from(platformRules, p.GetPlatform(), ""), PolicyID: p.GetPolicyId(), Enforce: p.GetEnforcePolicy(),
		MemberGroupID: p.GetMemberGroupId(),
	}
	for _, r := range p.GetProviders() {
		out.Providers = append(out.Providers, routing.ProviderRule{Provider: r.GetProvider(), Platform: from(platformRules, r.GetPlatform(), "")})
	}
	return out
}

func preferencesToProto(p routing.Preferences) *keysv1.RoutingPreferences {
	return &keysv1.RoutingPreferences{
		Order: p.Order, Ignore: p.Ignore, Platform: platformRules[p.Platform], PolicyId: p.PolicyID, EnforcePolicy: p.Enforce,
		MemberGroupId: p.MemberGroupID,
		Providers: each(p.Providers, func(r routing.ProviderRule) *keysv1.ProviderRule {
			return &keysv1.ProviderRule{Provider: r.Provider, Platform: platformRules[r.Platform]}
		}),
	}
}

type routingServer struct{ *API }

var _ keysv1connect.RoutingServiceHandler = (*routingServer)(nil)

// GetRoutingPreferences returns the preferences.
func (s *routingServer) GetRoutingPreferences(ctx context.Context, _ *keysv1.GetRoutingPreferencesRequest) (*keysv1.GetRoutingPreferencesResponse, error) {
	return read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (*keysv1.GetRoutingPreferencesResponse, error) {
		state, err := tx.Routing(ctx)
		return &keysv1.GetRoutingPreferencesResponse{Preferences: preferencesToProto(state.Preferences), Etag: state.PreferencesETag()}, err
	})
}

// UpdateRoutingPreferences replaces the preferences.
func (s *routingServer) UpdateRoutingPreferences(
	ctx context.Context, req *keysv1.UpdateRoutingPreferencesRequest,
) (*keysv1.UpdateRoutingPreferencesResponse, error) {
	return answer(change(ctx, s.API, req, steps[*keysv1.UpdateRoutingPreferencesResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.UpdateRoutingPreferencesResponse, error) {
			state, losses, err := s.Routing.UpdatePreferences(ctx, tx, fromPreferences(req.GetPreferences()), req.GetEtag())
			return &keysv1.UpdateRoutingPreferencesResponse{
				Preferences: preferencesToProto(state.Preferences), Etag: state.PreferencesETag(), Warnings: each(losses, lossToProto),
			}, err
		},
	}))
}

type modelServer struct{ *API }

var _ keysv1connect.ModelServiceHandler = (*modelServer)(nil)

// GetApprovedModels returns the approved models.
func (s *modelServer) GetApprovedModels(ctx context.Context, _ *keysv1.GetApprovedModelsRequest) (*keysv1.GetApprovedModelsResponse, error) {
	return read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (*keysv1.GetApprovedModelsResponse, error) {
		state, err := tx.Routing(ctx)
		return &keysv1.GetApprovedModelsResponse{ApprovedModels: state.Approved, Etag: state.ApprovedETag()}, err
	})
}

// UpdateApprovedModels replaces the approved models.
func (s *modelServer) UpdateApprovedModels(ctx context.Context, req *keysv1.UpdateApprovedModelsRequest) (*keysv1.UpdateApprovedModelsResponse, error) {
	return answer(change(ctx, s.API, req, steps[*keysv1.UpdateApprovedModelsResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.UpdateApprovedModelsResponse, error) {
			state, losses, err := s.Routing.UpdateApproved(ctx, tx, req.GetApprovedModels(), req.GetEtag())
			return &keysv1.UpdateApprovedModelsResponse{
				ApprovedModels: state.Approved, Etag: state.ApprovedETag(), Warnings: each(losses, lossToProto),
			}, err
		},
	}))
}
