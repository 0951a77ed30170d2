package rpc

import (
	"context"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/services/keys/internal/group"
	"github.com/claviger/claviger/services/keys/internal/page"
	"github.com/claviger/claviger/services/keys/internal/store"
)

type groupServer struct{ *API }

var _ keysv1connect.GroupServiceHandler = (*groupServer)(nil)

// said is what people say of a group.
type said interface {
	GetName() string
	GetPolicyId() string
	GetEnforcePolicy() bool
	GetApprovedModels() []string
}

func fromGroup(req said) group.New {
	return group.New{Name: req.GetName(), PolicyID: req.GetPolicyId(), Enforce: req.GetEnforcePolicy(), Approved: req.GetApprovedModels()}
}

func groupToProto(g group.Group) *keysv1.Group {
	return &keysv1.Group{
		Id: g.ID, Name: g.Name, PolicyId: g.PolicyID, EnforcePolicy: g.Enforce, ApprovedModels: g.Approved, CreateTime: timestamp(g.CreatedAt), Etag: g.ETag(),
	}
}

// CreateGroup creates a group.
func (s *groupServer) CreateGroup(ctx context.Context, req *keysv1.CreateGroupRequest) (*keysv1.CreateGroupResponse, error) {
	return answer(change(ctx, s.API, req, steps[*keysv1.CreateGroupResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.CreateGroupResponse, error) {
			g, losses, err := s.Groups.Create(ctx, tx, caller(ctx), fromGroup(req))
			return &keysv1.CreateGroupResponse{Group: groupToProto(g), Warnings: each(losses, lossToProto)}, err
		},
	}))
}

// GetGroup returns one group.
func (s *groupServer) GetGroup(ctx context.Context, req *keysv1.GetGroupRequest) (*keysv1.GetGroupResponse, error) {
	return read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (*keysv1.GetGroupResponse, error) {
		g, err := tx.Group(ctx, req.GetId())
		return &keysv1.GetGroupResponse{Group: groupToProto(g)}, err
	})
}

// ListGroups lists the groups.
func (s *groupServer) ListGroups(ctx context.Context, req *keysv1.ListGroupsRequest) (*keysv1.ListGroupsResponse, error) {
	return read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (*keysv1.ListGroupsResponse, error) {
		items, next, err := page.OfLarge("groups", req.GetPageSize(), req.GetPageToken(), (*keysv1.Group).GetId, weight[*keysv1.Group],
			func(after string, limit int) ([]*keysv1.Group, error) {
				found, err := tx.Groups(ctx, after, limit)
				return each(found, groupToProto), err
			})
		return &keysv1.ListGroupsResponse{Groups: items, NextPageToken: next}, err
	})
}

// UpdateGroup replaces all that a group says.
func (s *groupServer) UpdateGroup(ctx context.Context, req *keysv1.UpdateGroupRequest) (*keysv1.UpdateGroupResponse, error) {
	return answer(change(ctx, s.API, req, steps[*keysv1.UpdateGroupResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.UpdateGroupResponse, error) {
			g, losses, err := s.Groups.Update(ctx, tx, req.GetId(), fromGroup(req), req.GetEtag())
			return &keysv1.UpdateGroupResponse{Group: groupToProto(g), Warnings: each(losses, lossToProto)}, err
		},
	}))
}

// DeleteGroup removes a group that nothing names.
func (s *groupServer) DeleteGroup(ctx context.Context, req *keysv1.DeleteGroupRequest) (*keysv1.DeleteGroupResponse, error) {
	return answer(change(ctx, s.API, req, steps[*keysv1.DeleteGroupResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.DeleteGroupResponse, error) {
			return &keysv1.DeleteGroupResponse{}, s.Groups.Delete(ctx, tx, req.GetId())
		},
	}))
}
