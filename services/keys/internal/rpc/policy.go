package rpc

import (
	"context"
	"strconv"

	"google.golang.org/protobuf/proto"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/services/keys/internal/page"
	"github.com/claviger/claviger/services/keys/internal/policy"
	"github.com/claviger/claviger/services/keys/internal/store"
)

type policyServer struct{ *API }

var _ keysv1connect.PolicyServiceHandler = (*policyServer)(nil)

// CreatePolicy creates a policy: as a draft, or published.
func (s *policyServer) CreatePolicy(ctx context.Context, req *keysv1.CreatePolicyRequest) (*keysv1.CreatePolicyResponse, error) {
	return answer(change(ctx, s.API, req, steps[*keysv1.CreatePolicyResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.CreatePolicyResponse, error) {
			p, warnings, err := s.Policies.Create(ctx, tx, caller(ctx), req.GetName(), fromSpec(req.GetSpec()), req.GetPublish())
			return &keysv1.CreatePolicyResponse{Policy: policyToProto(p), Warnings: each(warnings, problemToProto)}, err
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
		items, next, err := page.OfLarge("policies", req.GetPageSize(), req.GetPageToken(), (*keysv1.Policy).GetId, weight[*keysv1.Policy],
			func(after string, limit int) ([]*keysv1.Policy, error) {
				found, err := tx.Policies(ctx, after, limit)
				return each(found, policyToProto), err
			})
		return &keysv1.ListPoliciesResponse{Policies: items, NextPageToken: next}, err
	})
}

// UpdatePolicy replaces the draft of a policy, or publishes the new rule at once.
func (s *policyServer) UpdatePolicy(ctx context.Context, req *keysv1.UpdatePolicyRequest) (*keysv1.UpdatePolicyResponse, error) {
	return answer(change(ctx, s.API, req, steps[*keysv1.UpdatePolicyResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.UpdatePolicyResponse, error) {
			p, warnings, err := s.Policies.Update(ctx, tx, caller(ctx), req.GetId(), fromSpec(req.GetSpec()), req.GetPublish(), req.GetEtag())
			return &keysv1.UpdatePolicyResponse{Policy: policyToProto(p), Warnings: each(warnings, problemToProto)}, err
		},
	}))
}

// PublishPolicy makes the draft the next version.
func (s *policyServer) PublishPolicy(ctx context.Context, req *keysv1.PublishPolicyRequest) (*keysv1.PublishPolicyResponse, error) {
	return answer(change(ctx, s.API, req, steps[*keysv1.PublishPolicyResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.PublishPolicyResponse, error) {
			p, warnings, err := s.Policies.Publish(ctx, tx, caller(ctx), req.GetId(), req.GetEtag())
			return &keysv1.PublishPolicyResponse{Policy: policyToProto(p), Warnings: each(warnings, problemToProto)}, err
		},
	}))
}

// DiscardPolicyDraft forgets the draft of a published policy.
func (s *policyServer) DiscardPolicyDraft(ctx context.Context, req *keysv1.DiscardPolicyDraftRequest) (*keysv1.DiscardPolicyDraftResponse, error) {
	return answer(change(ctx, s.API, req, steps[*keysv1.DiscardPolicyDraftResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.DiscardPolicyDraftResponse, error) {
			p, err := s.Policies.Discard(ctx, tx, caller(ctx), req.GetId(), req.GetEtag())
			return &keysv1.DiscardPolicyDraftResponse{Policy: policyToProto(p)}, err
		},
	}))
}

// RollBackPolicy publishes an older version again, as the next version.
func (s *policyServer) RollBackPolicy(ctx context.Context, req *keysv1.RollBackPolicyRequest) (*keysv1.RollBackPolicyResponse, error) {
	return answer(change(ctx, s.API, req, steps[*keysv1.RollBackPolicyResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.RollBackPolicyResponse, error) {
			p, warnings, err := s.Policies.RollBack(ctx, tx, caller(ctx), req.GetId(), req.GetVersion(), req.GetEtag())
			return &keysv1.RollBackPolicyResponse{Policy: policyToProto(p), Warnings: each(warnings, problemToProto)}, err
		},
	}))
}

// ListPolicyVersions lists the published versions of a policy, newest first.
func (s *policyServer) ListPolicyVersions(ctx context.Context, req *keysv1.ListPolicyVersionsRequest) (*keysv1.ListPolicyVersionsResponse, error) {
	return read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (*keysv1.ListPolicyVersionsResponse, error) {
		if _, err := tx.Policy(ctx, req.GetId()); err != nil {
			return nil, err
		}
		items, next, err := page.OfLarge("policy_versions "+req.GetId(), req.GetPageSize(), req.GetPageToken(),
			func(v *keysv1.PolicyVersion) string { return strconv.FormatInt(v.GetVersion(), 10) }, weight[*keysv1.PolicyVersion],
			func(after string, limit int) ([]*keysv1.PolicyVersion, error) {
				before, err := strconv.ParseInt("0"+after, 10, 64)
				if err != nil {
					return nil, page.ErrToken
				}
				found, err := tx.PolicyVersions(ctx, req.GetId(), before, limit)
				return each(found, policyVersionToProto), err
			})
		return &keysv1.ListPolicyVersionsResponse{Versions: items, NextPageToken: next}, err
	})
}

// weight is how many bytes a message takes.
func weight[M proto.Message](m M) int { return proto.Size(m) }

var kinds = map[policy.Kind]keysv1.PolicyChange_Kind{
	policy.Added: keysv1.PolicyChange_KIND_ADDED, policy.Removed: keysv1.PolicyChange_KIND_REMOVED,
	policy.Changed: keysv1.PolicyChange_KIND_CHANGED, policy.Moved: keysv1.PolicyChange_KIND_MOVED,
}

// DiffPolicy tells how two versions of a policy differ.
func (s *policyServer) DiffPolicy(ctx context.Context, req *keysv1.DiffPolicyRequest) (*keysv1.DiffPolicyResponse, error) {
	return read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (*keysv1.DiffPolicyResponse, error) {
		diff, err := s.Policies.Compare(ctx, tx, req.GetId(), req.GetFromVersion(), req.GetToVersion())
		return &keysv1.DiffPolicyResponse{
			FromVersion: diff.From, ToVersion: diff.To,
			Changes: each(diff.Changes, func(c policy.Change) *keysv1.PolicyChange {
				return &keysv1.PolicyChange{
					Kind: kinds[c.Kind], FromLine: int32(c.FromLine), ToLine: int32(c.ToLine), Field: c.Field, From: c.From, To: c.To,
				}
			}),
		}, err
	})
}

// CheckPolicy tells what is wrong with a rule, without keeping it.
func (s *policyServer) CheckPolicy(ctx context.Context, req *keysv1.CheckPolicyRequest) (*keysv1.CheckPolicyResponse, error) {
	return read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (*keysv1.CheckPolicyResponse, error) {
		problems, err := s.Policies.Check(ctx, tx, req.GetName(), fromSpec(req.GetSpec()))
		return &keysv1.CheckPolicyResponse{Problems: each(problems, problemToProto)}, err
	})
}

// DeletePolicy removes a policy that is nobody's default and that no other policy names.
func (s *policyServer) DeletePolicy(ctx context.Context, req *keysv1.DeletePolicyRequest) (*keysv1.DeletePolicyResponse, error) {
	return answer(change(ctx, s.API, req, steps[*keysv1.DeletePolicyResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.DeletePolicyResponse, error) {
			return &keysv1.DeletePolicyResponse{}, s.Policies.Delete(ctx, tx, req.GetId())
		},
	}))
}
