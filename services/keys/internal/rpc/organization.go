package rpc

import (
	"context"

	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/organization"
	"github.com/claviger/claviger/services/keys/internal/page"
	"github.com/claviger/claviger/services/keys/internal/store"
)

type organizationServer struct{ *API }

var _ keysv1connect.OrganizationServiceHandler = (*organizationServer)(nil)

// CreateOrganization creates an organization and its first owner.
func (s *organizationServer) CreateOrganization(ctx context.Context, req *keysv1.CreateOrganizationRequest) (*keysv1.CreateOrganizationResponse, error) {
	var org organization.Organization
	var owner member.Member
	return answer(change(ctx, s.API, req, steps[*keysv1.CreateOrganizationResponse]{
		Prepare: func(ctx context.Context) (err error) {
			if org, err = s.Organizations.Draft(req.GetSlug(), req.GetName()); err != nil {
				return err
			}
			owner, err = s.Members.Draft(ctx, member.New{
				OrgID: org.ID, Email: req.GetOwnerEmail(), Role: member.Owner, Password: secret.New(req.GetOwnerPassword()),
			})
			return err
		},
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.CreateOrganizationResponse, error) {
			err := s.Organizations.Create(ctx, tx, org, owner)
			return &keysv1.CreateOrganizationResponse{Organization: organizationToProto(org)}, err
		},
	}))
}

// GetOrganization returns the caller's organization.
func (s *organizationServer) GetOrganization(ctx context.Context, _ *keysv1.GetOrganizationRequest) (*keysv1.GetOrganizationResponse, error) {
	return read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (*keysv1.GetOrganizationResponse, error) {
		o, err := tx.Organization(ctx)
		return &keysv1.GetOrganizationResponse{Organization: organizationToProto(o)}, err
	})
}

// UpdateOrganization changes the caller's organization.
func (s *organizationServer) UpdateOrganization(ctx context.Context, req *keysv1.UpdateOrganizationRequest) (*keysv1.UpdateOrganizationResponse, error) {
	return answer(change(ctx, s.API, req, steps[*keysv1.UpdateOrganizationResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.UpdateOrganizationResponse, error) {
			o, err := s.Organizations.Rename(ctx, tx, req.GetName(), req.GetEtag())
			return &keysv1.UpdateOrganizationResponse{Organization: organizationToProto(o)}, err
		},
	}))
}

// ListOrganizations lists all organizations.
func (s *organizationServer) ListOrganizations(ctx context.Context, req *keysv1.ListOrganizationsRequest) (*keysv1.ListOrganizationsResponse, error) {
	items, next, err := page.Of("organizations", req.GetPageSize(), req.GetPageToken(),
		func(o organization.Organization) string { return o.Slug },
		func(after string, limit int) ([]organization.Organization, error) {
			return s.Store.Organizations(ctx, after, limit)
		})
	return &keysv1.ListOrganizationsResponse{Organizations: each(items, organizationToProto), NextPageToken: next}, err
}
