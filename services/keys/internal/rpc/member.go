package rpc

import (
	"context"

	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	optionsv1 "github.com/claviger/claviger/proto/gen/claviger/options/v1"
	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/page"
	"github.com/claviger/claviger/services/keys/internal/store"
)

type memberServer struct{ *API }

var _ keysv1connect.MemberServiceHandler = (*memberServer)(nil)

// CreateMember adds a person with an initial password.
func (s *memberServer) CreateMember(ctx context.Context, req *keysv1.CreateMemberRequest) (*keysv1.CreateMemberResponse, error) {
	var m member.Member
	return answer(change(ctx, s.API, req, steps[*keysv1.CreateMemberResponse]{
		Prepare: func(ctx context.Context) (err error) {
			m, err = s.Members.Draft(ctx, member.New{
				OrgID: caller(ctx).OrgID, Email: req.GetEmail(), Role: fromRole(req.GetRole()), Password: secret.New(req.GetPassword()),
			})
			return err
		},
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.CreateMemberResponse, error) {
			err := s.Members.Create(ctx, tx, caller(ctx), m)
			return &keysv1.CreateMemberResponse{Member: memberToProto(m)}, err
		},
	}))
}

// GetMember returns one member.
func (s *memberServer) GetMember(ctx context.Context, req *keysv1.GetMemberRequest) (*keysv1.GetMemberResponse, error) {
	return read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (*keysv1.GetMemberResponse, error) {
		m, err := tx.Member(ctx, req.GetId())
		return &keysv1.GetMemberResponse{Member: memberToProto(m)}, err
	})
}

// ListMembers lists the members.
func (s *memberServer) ListMembers(ctx context.Context, req *keysv1.ListMembersRequest) (*keysv1.ListMembersResponse, error) {
	return read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (*keysv1.ListMembersResponse, error) {
		items, next, err := page.Of("members", req.GetPageSize(), req.GetPageToken(),
			func(m member.Member) string { return m.ID },
			func(after string, limit int) ([]member.Member, error) { return tx.Members(ctx, after, limit) })
		return &keysv1.ListMembersResponse{Members: each(items, memberToProto), NextPageToken: next}, err
	})
}

// UpdateMember changes a member's role, disables or enables them.
func (s *memberServer) UpdateMember(ctx context.Context, req *keysv1.UpdateMemberRequest) (*keysv1.UpdateMemberResponse, error) {
	edit := member.Edit{ID: req.GetId(), Disabled: req.Disabled, Cut: req.GetCutStreams(), ETag: req.GetEtag()}
	if req.GetRole() != optionsv1.Role_ROLE_UNSPECIFIED {
		edit.Role = fromRole(req.GetRole())
	}
	var suspended []string // of a retry they are not known
	res, err := answer(change(ctx, s.API, req, steps[*keysv1.UpdateMemberResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (_ *keysv1.UpdateMemberResponse, err error) {
			var m member.Member
			m, suspended, err = s.Members.Update(ctx, tx, caller(ctx), edit)
			return &keysv1.UpdateMemberResponse{Member: memberToProto(m)}, err
		},
	}))
	if err == nil && req.Disabled != nil {
		res.Receipt, err = s.receipt(ctx, suspended...)
	}
	return res, err
}

// DeleteMember removes a member, ends their sessions and revokes their API keys.
func (s *memberServer) DeleteMember(ctx context.Context, req *keysv1.DeleteMemberRequest) (*keysv1.DeleteMemberResponse, error) {
	var revoked []string // of a retry they are not known, and what was cut long ago is not told
	res, err := answer(change(ctx, s.API, req, steps[*keysv1.DeleteMemberResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (_ *keysv1.DeleteMemberResponse, err error) {
			revoked, err = s.Members.Delete(ctx, tx, caller(ctx), req.GetId(), req.GetCutStreams())
			return &keysv1.DeleteMemberResponse{}, err
		},
	}))
	if err == nil {
		res.Receipt, err = s.receipt(ctx, revoked...)
	}
	return res, err
}
