package rpc

import (
	"context"
	"slices"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/store"
)

// StageSecret seals a second secret beside the one that serves, and starts a key test of it.
func (s *credentialServer) StageSecret(ctx context.Context, req *keysv1.StageSecretRequest) (*keysv1.StageSecretResponse, error) {
	var stage credential.Rotation
	return answer(change(ctx, s.API, req, steps[*keysv1.StageSecretResponse]{
		Prepare: func(ctx context.Context) error {
			c, err := s.read(ctx, req.GetId())
			if err != nil {
				return err
			}
			stage, err = s.Credentials.DraftStage(ctx, c, secret.New(req.GetSecret()), req.GetEtag())
			return err
		},
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.StageSecretResponse, error) {
			c, err := s.Credentials.Stage(ctx, tx, caller(ctx), stage)
			return &keysv1.StageSecretResponse{Credential: credentialToProto(c), Warnings: each(stage.Warnings, warningToProto)}, err
		},
	}))
}

// SetSecretShare gives the second secret its share of the requests.
func (s *credentialServer) SetSecretShare(ctx context.Context, req *keysv1.SetSecretShareRequest) (*keysv1.SetSecretShareResponse, error) {
	return answer(change(ctx, s.API, req, steps[*keysv1.SetSecretShareResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.SetSecretShareResponse, error) {
			c, err := s.Credentials.Share(ctx, tx, caller(ctx), chosen(req), int(req.GetSharePercent()))
			return &keysv1.SetSecretShareResponse{Credential: credentialToProto(c)}, err
		},
	}))
}

// PromoteSecret makes the second secret the one that serves.
func (s *credentialServer) PromoteSecret(ctx context.Context, req *keysv1.PromoteSecretRequest) (*keysv1.PromoteSecretResponse, error) {
	return answer(change(ctx, s.API, req, steps[*keysv1.PromoteSecretResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.PromoteSecretResponse, error) {
			c, err := s.Credentials.Promote(ctx, tx, caller(ctx), chosen(req))
			return &keysv1.PromoteSecretResponse{Credential: credentialToProto(c)}, err
		},
	}))
}

// DiscardSecret forgets the second secret, or the old one after a promotion.
func (s *credentialServer) DiscardSecret(ctx context.Context, req *keysv1.DiscardSecretRequest) (*keysv1.DiscardSecretResponse, error) {
	return answer(change(ctx, s.API, req, steps[*keysv1.DiscardSecretResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.DiscardSecretResponse, error) {
			c, err := s.Credentials.Discard(ctx, tx, caller(ctx), chosen(req))
			return &keysv1.DiscardSecretResponse{Credential: credentialToProto(c)}, err
		},
	}))
}

// chosen is which secret of which credential a request means.
func chosen(req interface {
	GetId() string
	GetRevision() int32
	GetEtag() string
},
) credential.Chosen {
	return credential.Chosen{ID: req.GetId(), Revision: int(req.GetRevision()), ETag: req.GetEtag()}
}

// shown are credentials as people see them: besides what is stored, with whether the secrets that were replaced may
// be revoked. That takes a look at the routers, outside of the transaction that has read credentials.
func (a *API) shown(ctx context.Context, credentials []credential.Credential) ([]*keysv1.Credential, error) {
	out := each(credentials, credentialToProto)
	if !slices.ContainsFunc(credentials, func(c credential.Credential) bool { return c.Previous != nil }) {
		return out, nil
	}
	applied, known, err := a.Routers.Applied(ctx)
	if err != nil {
		return nil, err
	}
	for i, c := range credentials {
		if p := c.Previous; p != nil && known && p.Version > 0 && applied >= p.Version {
			safeAt := p.SafeAt()
			out[i].Previous.SafeTime, out[i].Previous.Safe = timestamp(safeAt), !a.Now().Before(safeAt)
		}
	}
	return out, nil
}

// shownOne is a credential as people see it.
func (a *API) shownOne(ctx context.Context, c credential.Credential) (*keysv1.Credential, error) {
	shown, err := a.shown(ctx, []credential.Credential{c})
	if err != nil {
		return nil, err
	}
	return shown[0], nil
}

// used reads a credential with the last uses of its secrets.
func used(ctx context.Context, tx *store.Tx, credentialID string) (credential.Credential, error) {
	c, err := tx.Credential(ctx, credentialID)
	if err != nil {
		return credential.Credential{}, err
	}
	one := []credential.Credential{c}
	err = tx.FillUses(ctx, one)
	return one[0], err
}

func fromScope(s *keysv1.CredentialScope) credential.Scope {
	return credential.Scope{Models: s.GetModels(), APIKeys: s.GetApiKeyIds(), Groups: s.GetGroupIds()}
}

// scopeToProto returns nil for a scope that narrows nothing.
func scopeToProto(s credential.Scope) *keysv1.CredentialScope {
	if len(s.Models) == 0 && len(s.APIKeys) == 0 && len(s.Groups) == 0 {
		return nil
	}
	return &keysv1.CredentialScope{Models: s.Models, ApiKeyIds: s.APIKeys, GroupIds: s.Groups}
}

func stagedToProto(n *credential.Staged) *keysv1.StagedSecret {
	if n == nil {
		return nil
	}
	return &keysv1.StagedSecret{
		Revision: int32(n.Revision), Hint: n.Hint, Settings: settingsToProto(n.Settings), State: states[n.Verdict], StateReason: n.Reason,
		SharePercent: int32(n.Share), StageTime: timestamp(n.StagedAt), ShareTime: timestamp(n.SharedAt), LastUseTime: timestamp(n.LastUseAt),
		RolledBack: n.RolledBack,
	}
}

func previousToProto(p *credential.Previous) *keysv1.PreviousSecret {
	if p == nil {
		return nil
	}
	return &keysv1.PreviousSecret{Revision: int32(p.Revision), Hint: p.Hint, PromoteTime: timestamp(p.ReplacedAt), LastUseTime: timestamp(p.LastUseAt)}
}

// nextSecret is a second secret as routers know it.
func nextSecret(n *credential.Staged) *keysv1.NextSecret {
	if n == nil {
		return nil
	}
	return &keysv1.NextSecret{
		Revision: int32(n.Revision), Sealed: n.Sealed, Settings: usedSettings(n.Settings), SharePercent: int32(n.Share), Models: n.Models,
	}
}

// usesOf are the last uses of secrets that a router tells.
func usesOf(req *keysv1.ReportRouterStateRequest) []credential.Use {
	out := make([]credential.Use, 0, len(req.GetUses()))
	for _, u := range req.GetUses() {
		at := fromTimestamp(u.GetTime())
		if u.GetOrgId() != "" && u.GetRevision() > 0 && at.After(time.Unix(0, 0)) {
			out = append(out, credential.Use{OrgID: u.GetOrgId(), CredentialID: u.GetCredentialId(), Revision: int(u.GetRevision()), At: at})
		}
	}
	return out
}
