package rpc

import (
	"context"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/services/keys/internal/page"
	"github.com/claviger/claviger/services/keys/internal/policy"
	"github.com/claviger/claviger/services/keys/internal/store"
)

type policyServer struct {
	*API
	keysv1connect.UnimplementedPolicyServiceHandler
}

var _ keysv1connect.PolicyServiceHandler = (*policyServer)(nil)

// CreatePolicy creates a policy.
func (s *policyServer) CreatePolicy(ctx context.Context, req *keysv1.CreatePolicyRequest) (*keysv1.CreatePolicyResponse, error) {
	return answer(change(ctx, s.API, req, steps[*keysv1.CreatePolicyResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.CreatePolicyResponse, error) {
			p, err := s.Policies.Create(ctx, tx, caller(ctx), req.GetName(), fromSpec(req.GetSpec()))
			return &keysv1.CreatePolicyResponse{Policy: policyToProto(p)}, err
		},
	}))
}

// GetPolicy returns one policy.
func (s *policyServer) GetPolicy(ctx context.Context, req *keysv1.GetPolicyRequest) (*keysv1.GetPolicyResponse, error) {
	return read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (*keysv1.GetPolicyResponse, error) {
		p, err := tx.Policy(ctx, req.GetId())
		return &keysv1.GetPolicyResponse{Policy: policyToProto(p)}, err
	})
}

// ListPolicies lists the policies.
func (s *policyServer) ListPolicies(ctx context.Context, req *keysv1.ListPoliciesRequest) (*keysv1.ListPoliciesResponse, error) {
	return read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (*keysv1.ListPoliciesResponse, error) {
		items, next, err := page.Of("policies", req.GetPageSize(), req.GetPageToken(),
			func(p policy.Policy) string { return p.ID },
			func(after string, limit int) ([]policy.Policy, error) { return tx.Policies(ctx, after, limit) })
		return &keysv1.ListPoliciesResponse{Policies: each(items, policyToProto), NextPageToken: next}, err
	})
}

// UpdatePolicy replaces the targets of a policy.
func (s *policyServer) UpdatePolicy(ctx context.Context, req *keysv1.UpdatePolicyRequest) (*keysv1.UpdatePolicyResponse, error) {
	return answer(change(ctx, s.API, req, steps[*keysv1.UpdatePolicyResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.UpdatePolicyResponse, error) {
			p, err := s.Policies.Update(ctx, tx, caller(ctx), req.GetId(), fromSpec(req.GetSpec()), req.GetEtag())
			return &keysv1.UpdatePolicyResponse{Policy: policyToProto(p)}, err
		},
	}))
}

// DeletePolicy removes a policy that no API key has as its default.
func (s *policyServer) DeletePolicy(ctx context.Context, req *keysv1.DeletePolicyRequest) (*keysv1.DeletePolicyResponse, error) {
	return answer(change(ctx, s.API, req, steps[*keysv1.DeletePolicyResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.DeletePolicyResponse, error) {
			return &keysv1.DeletePolicyResponse{}, s.Policies.Delete(ctx, tx, req.GetId())
		},
	}))
}
