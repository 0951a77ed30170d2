package rpc

import (
	"context"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/services/keys/internal/apikey"
	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/page"
	"github.com/claviger/claviger/services/keys/internal/store"
)

type apiKeyServer struct{ *API }

var _ keysv1connect.ApiKeyServiceHandler = (*apiKeyServer)(nil)

// CreateApiKey creates an API key of the caller and shows it this once.
func (s *apiKeyServer) CreateApiKey(ctx context.Context, req *keysv1.CreateApiKeyRequest) (*keysv1.CreateApiKeyResponse, error) {
	if expire := req.GetExpireTime(); expire != nil && expire.CheckValid() != nil {
		return nil, apikey.ErrExpiry.Violating(fault.Violation{Field: "expire_time", Description: "is no time"})
	}
	var key apikey.Key
	var plain secret.Text
	res, replayed, err := change(ctx, s.API, req, steps[*keysv1.CreateApiKeyResponse]{
		Prepare: func(ctx context.Context) (err error) {
			key, plain, err = s.APIKeys.Draft(ctx, caller(ctx), apikey.New{
				Name: req.GetName(), PolicyID: req.GetPolicyId(), Enforce: req.GetEnforcePolicy(), GroupID: req.GetGroupId(), ExpiresAt: fromTimestamp(req.GetExpireTime()),
				Provenance: from(provenances, req.GetProvenance(), apikey.Basic),
			})
			return err
		},
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.CreateApiKeyResponse, error) {
			k, err := s.APIKeys.Create(ctx, tx, caller(ctx), key)
			return &keysv1.CreateApiKeyResponse{ApiKey: apiKeyToProto(k)}, err
		},
	})
	if err != nil {
		return nil, err
	}
	if replayed {
		return nil, apikey.ErrShown.With("api_key_id", res.GetApiKey().GetId())
	}
	res.Secret = plain.Reveal() // only now: what is kept for retries has none
	return res, nil
}

// ListApiKeys lists the API keys; a member sees their own.
func (s *apiKeyServer) ListApiKeys(ctx context.Context, req *keysv1.ListApiKeysRequest) (*keysv1.ListApiKeysResponse, error) {
	owner := ""
	if c := caller(ctx); c.Role == member.Ordinary {
		owner = c.MemberID
	}
	return read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (*keysv1.ListApiKeysResponse, error) {
		items, next, err := page.Of("api_keys", req.GetPageSize(), req.GetPageToken(),
			func(k apikey.Key) string { return k.ID },
			func(after string, limit int) ([]apikey.Key, error) { return tx.APIKeys(ctx, owner, after, limit) })
		return &keysv1.ListApiKeysResponse{ApiKeys: each(items, apiKeyToProto), NextPageToken: next}, err
	})
}

// UpdateApiKey changes an API key, not its secret.
func (s *apiKeyServer) UpdateApiKey(ctx context.Context, req *keysv1.UpdateApiKeyRequest) (*keysv1.UpdateApiKeyResponse, error) {
	edit := apikey.Edit{ID: req.GetId(), Name: req.Name, PolicyID: req.PolicyId, Enforce: req.EnforcePolicy, GroupID: req.GroupId, ETag: req.GetEtag()}
	if req.Provenance != nil {
		edit.Provenance = new(from(provenances, req.GetProvenance(), apikey.Basic))
	}
	switch expire := req.GetExpireTime(); {
	case expire != nil && (req.GetClearExpireTime() || expire.CheckValid() != nil):
		return nil, apikey.ErrExpiry.Saying("expire_time is no time, or is to be cleared and set at once").
			Violating(fault.Violation{Field: "expire_time", Description: "is no time, or is to be cleared, too"})
	case expire != nil:
		edit.ExpiresAt = new(fromTimestamp(expire))
	case req.GetClearExpireTime():
		edit.ExpiresAt = new(time.Time)
	}
	return answer(change(ctx, s.API, req, steps[*keysv1.UpdateApiKeyResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.UpdateApiKeyResponse, error) {
			k, err := s.APIKeys.Update(ctx, tx, caller(ctx), edit)
			return &keysv1.UpdateApiKeyResponse{ApiKey: apiKeyToProto(k)}, err
		},
	}))
}

// RevokeApiKey ends an API key for good.
func (s *apiKeyServer) RevokeApiKey(ctx context.Context, req *keysv1.RevokeApiKeyRequest) (*keysv1.RevokeApiKeyResponse, error) {
	res, err := answer(change(ctx, s.API, req, steps[*keysv1.RevokeApiKeyResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.RevokeApiKeyResponse, error) {
			k, err := s.APIKeys.Revoke(ctx, tx, caller(ctx), req.GetId(), req.GetCutStreams())
			return &keysv1.RevokeApiKeyResponse{ApiKey: apiKeyToProto(k)}, err
		},
	}))
	if err == nil {
		res.Receipt, err = s.receipt(ctx, req.GetId())
	}
	return res, err
}
