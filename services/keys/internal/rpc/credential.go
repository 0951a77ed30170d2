package rpc

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/page"
	"github.com/claviger/claviger/services/keys/internal/store"
)

const (
	// testPatience is how long TestCredential waits for a router's verdict.
	testPatience = 10 * time.Second
	// testPoll finds verdicts that another replica's router has reported.
	testPoll = 250 * time.Millisecond
)

// errNoTime is also of a moment that no calendar holds: binary clients can write it, and no reader of JSON could
// read the list that it stands in.
var errNoTime = credential.ErrExpiry.Saying("expire_time is no time, or is to be cleared and set at once").
	Violating(fault.Violation{Field: "expire_time", Description: "is no time, or is to be cleared, too"})

type credentialServer struct {
	*API
	keysv1connect.UnimplementedCredentialServiceHandler
}

var _ keysv1connect.CredentialServiceHandler = (*credentialServer)(nil)

// CreateCredential seals a provider secret, stores the sealed form and starts a key test.
func (s *credentialServer) CreateCredential(ctx context.Context, req *keysv1.CreateCredentialRequest) (*keysv1.CreateCredentialResponse, error) {
	if expire := req.GetExpireTime(); expire != nil && expire.CheckValid() != nil {
		return nil, errNoTime
	}
	var draft credential.Draft
	return answer(change(ctx, s.API, req, steps[*keysv1.CreateCredentialResponse]{
		Prepare: func(ctx context.Context) (err error) {
			draft, err = s.Credentials.Draft(ctx, caller(ctx), credential.New{
				Provider: req.GetProvider(), Label: req.GetLabel(), Secret: secret.New(req.GetSecret()),
				BaseURL: req.GetBaseUrl(), Priority: int(req.GetPriority()), Weight: int(req.GetWeight()), Scope: fromScope(req.GetScope()),
				ExpiresAt: fromTimestamp(req.GetExpireTime()), AcceptTerms: req.GetAcceptTerms(),
			})
			return err
		},
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.CreateCredentialResponse, error) {
			return &keysv1.CreateCredentialResponse{
				Credential: credentialToProto(draft.Credential), Warnings: each(draft.Warnings, warningToProto),
			}, s.Credentials.Create(ctx, tx, draft.Credential)
		},
	}))
}

// GetCredential returns one credential, without its secret.
func (s *credentialServer) GetCredential(ctx context.Context, req *keysv1.GetCredentialRequest) (*keysv1.GetCredentialResponse, error) {
	c, err := read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (credential.Credential, error) {
		return used(ctx, tx, req.GetId())
	})
	if err != nil {
		return nil, err
	}
	shown, err := s.shownOne(ctx, c)
	return &keysv1.GetCredentialResponse{Credential: shown}, err
}

func (s *credentialServer) read(ctx context.Context, credentialID string) (credential.Credential, error) {
	return read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (credential.Credential, error) {
		return tx.Credential(ctx, credentialID)
	})
}

// ListCredentials lists the credentials, without their secrets.
func (s *credentialServer) ListCredentials(ctx context.Context, req *keysv1.ListCredentialsRequest) (*keysv1.ListCredentialsResponse, error) {
	var next string
	list, err := read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (items []credential.Credential, err error) {
		items, next, err = page.OfLarge("credentials", req.GetPageSize(), req.GetPageToken(),
			func(c credential.Credential) string { return c.ID }, func(c credential.Credential) int { return proto.Size(credentialToProto(c)) },
			func(after string, limit int) ([]credential.Credential, error) {
				return tx.Credentials(ctx, after, limit)
			})
		if err != nil {
			return nil, err
		}
		return items, tx.FillUses(ctx, items)
	})
	if err != nil {
		return nil, err
	}
	shown, err := s.shown(ctx, list)
	return &keysv1.ListCredentialsResponse{Credentials: shown, NextPageToken: next}, err
}

// UpdateCredential changes what people set. A new base URL discards the secret.
func (s *credentialServer) UpdateCredential(ctx context.Context, req *keysv1.UpdateCredentialRequest) (*keysv1.UpdateCredentialResponse, error) {
	edit := credential.Edit{ID: req.GetId(), Label: req.Label, BaseURL: req.BaseUrl, Disabled: req.Disabled, CutStreams: req.GetCutStreams(), ETag: req.GetEtag()}
	if req.Priority != nil {
		edit.Priority = new(int(req.GetPriority()))
	}
	if req.Weight != nil {
		edit.Weight = new(int(req.GetWeight()))
	}
	if req.Scope != nil {
		edit.Scope = new(fromScope(req.GetScope()))
	}
	switch expire := req.GetExpireTime(); {
	case expire != nil && (req.GetClearExpireTime() || expire.CheckValid() != nil):
		return nil, errNoTime
	case expire != nil || req.GetClearExpireTime():
		edit.ExpiresAt = new(fromTimestamp(expire))
	}
	res, err := answer(change(ctx, s.API, req, steps[*keysv1.UpdateCredentialResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.UpdateCredentialResponse, error) {
			c, err := s.Credentials.Update(ctx, tx, caller(ctx), edit)
			return &keysv1.UpdateCredentialResponse{Credential: credentialToProto(c)}, err
		},
	}))
	if err == nil && req.GetDisabled() {
		res.Receipt, err = s.receipt(ctx, req.GetId())
	}
	return res, err
}

// RotateCredential replaces the secret and starts a key test.
func (s *credentialServer) RotateCredential(ctx context.Context, req *keysv1.RotateCredentialRequest) (*keysv1.RotateCredentialResponse, error) {
	var rotation credential.Rotation
	return answer(change(ctx, s.API, req, steps[*keysv1.RotateCredentialResponse]{
		Prepare: func(ctx context.Context) error {
			c, err := s.read(ctx, req.GetId())
			if err != nil {
				return err
			}
			rotation, err = s.Credentials.DraftRotation(ctx, c, secret.New(req.GetSecret()), req.GetEtag())
			return err
		},
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.RotateCredentialResponse, error) {
			c, err := s.Credentials.Rotate(ctx, tx, caller(ctx), rotation)
			return &keysv1.RotateCredentialResponse{Credential: credentialToProto(c), Warnings: each(rotation.Warnings, warningToProto)}, err
		},
	}))
}

// TestCredential has a router try the key and waits for its verdict.
func (s *credentialServer) TestCredential(ctx context.Context, req *keysv1.TestCredentialRequest) (*keysv1.TestCredentialResponse, error) {
	var probeID string
	_, _, err := s.Store.Change(ctx, command(ctx), func(ctx context.Context, tx *store.Tx) (_ []byte, err error) {
		probeID, err = s.Credentials.Test(ctx, tx, req.GetId(), int(req.GetRevision()))
		return nil, err
	})
	if err != nil {
		return nil, err
	}
	patience := time.NewTimer(testPatience)
	defer patience.Stop()
	poll := time.NewTicker(testPoll)
	defer poll.Stop()
	for over := false; ; {
		answered := s.Probes.Answered()
		res, waiting, err := s.verdict(ctx, req.GetId(), probeID)
		if err != nil || !waiting || over {
			return res, err
		}
		select {
		case <-answered:
		case <-poll.C:
		case <-patience.C:
			over = true
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *credentialServer) verdict(ctx context.Context, credentialID, probeID string) (res *keysv1.TestCredentialResponse, waiting bool, err error) {
	var answered bool
	c, err := read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (credential.Credential, error) {
		if waiting, answered, err = tx.ProbeState(ctx, probeID); err != nil {
			return credential.Credential{}, err
		}
		return used(ctx, tx, credentialID)
	})
	if err != nil {
		return nil, false, err
	}
	shown, err := s.shownOne(ctx, c)
	return &keysv1.TestCredentialResponse{Credential: shown, Tested: answered}, waiting, err
}

// DeleteCredential removes a credential and its sealed secret for good.
func (s *credentialServer) DeleteCredential(ctx context.Context, req *keysv1.DeleteCredentialRequest) (*keysv1.DeleteCredentialResponse, error) {
	res, err := answer(change(ctx, s.API, req, steps[*keysv1.DeleteCredentialResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.DeleteCredentialResponse, error) {
			return &keysv1.DeleteCredentialResponse{}, s.Credentials.Delete(ctx, tx, req.GetId(), req.GetCutStreams())
		},
	}))
	if err == nil {
		res.Receipt, err = s.receipt(ctx, req.GetId())
	}
	return res, err
}
