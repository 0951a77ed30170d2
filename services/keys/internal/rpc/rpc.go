// Package rpc serves the contracts claviger.keys.v1: it turns messages into values, asks the domain
// to decide inside one transaction of the store, and turns the result back. Generated messages stop
// here.
package rpc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/token"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/services/keys/internal/apikey"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/dispatch"
	"github.com/claviger/claviger/services/keys/internal/drill"
	"github.com/claviger/claviger/services/keys/internal/group"
	"github.com/claviger/claviger/services/keys/internal/idempotency"
	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/organization"
	"github.com/claviger/claviger/services/keys/internal/policy"
	"github.com/claviger/claviger/services/keys/internal/route"
	"github.com/claviger/claviger/services/keys/internal/routerstate"
	"github.com/claviger/claviger/services/keys/internal/routing"
	"github.com/claviger/claviger/services/keys/internal/session"
	"github.com/claviger/claviger/services/keys/internal/store"
)

// API is what the public services share.
type API struct {
	Store         *store.Store
	Organizations *organization.Service
	Members       *member.Service
	Sessions      *session.Service
	Credentials   *credential.Service
	Policies      *policy.Service
	APIKeys       *apikey.Service
	Groups        *group.Service
	Routing       *routing.Service
	Drills        *drill.Service
	Probes        *dispatch.Dispatcher[credential.Probe]
	Routes        *route.Service
	Routers       *routerstate.Registry
	Tokens        *token.Signer
	Environment   string
	// PlatformOrgID is the operator's organization.
	PlatformOrgID string
	Now           func() time.Time
}

// Register puts the public services on server.
func (a *API) Register(server *connect.Server) {
	keysv1connect.RegisterOrganizationServiceHandler(server, &organizationServer{a})
	keysv1connect.RegisterMemberServiceHandler(server, &memberServer{a})
	keysv1connect.RegisterSessionServiceHandler(server, &sessionServer{a})
	keysv1connect.RegisterCredentialServiceHandler(server, &credentialServer{API: a})
	keysv1connect.RegisterPolicyServiceHandler(server, &policyServer{a})
	keysv1connect.RegisterGroupServiceHandler(server, &groupServer{a})
	keysv1connect.RegisterRoutingServiceHandler(server, &routingServer{a})
	keysv1connect.RegisterModelServiceHandler(server, &modelServer{a})
	keysv1connect.RegisterApiKeyServiceHandler(server, &apiKeyServer{a})
	keysv1connect.RegisterDrillServiceHandler(server, &drillServer{API: a})
	keysv1connect.RegisterRouteServiceHandler(server, &routeServer{a})
}

// caller is the member who calls.
func caller(ctx context.Context) member.Caller {
	p := authn.FromContext(ctx)
	return member.Caller{OrgID: p.OrgID, MemberID: p.MemberID, Role: fromRole(p.Role)}
}

// command is a change by whoever calls.
func command(ctx context.Context) store.Command {
	p := authn.FromContext(ctx)
	return store.Command{OrgID: p.OrgID, Actor: p.Actor(), SessionID: p.SessionID, RequestID: intercept.RequestID(ctx)}
}

// read runs fn on one consistent picture of the caller's organization.
func read[T any](ctx context.Context, a *API, fn func(ctx context.Context, tx *store.Tx) (T, error)) (out T, err error) {
	err = a.Store.Read(ctx, authn.FromContext(ctx).OrgID, func(ctx context.Context, tx *store.Tx) (err error) {
		out, err = fn(ctx, tx)
		return err
	})
	return out, err
}

// retryable is a request of a change.
type retryable interface {
	proto.Message
	GetIdempotencyKey() string
}

// steps are the parts of a change. Prepare does what is slow, before the transaction; Apply decides
// and stores, and may run more than once.
type steps[Res proto.Message] struct {
	Prepare func(ctx context.Context) error
	Apply   func(ctx context.Context, tx *store.Tx) (Res, error)
}

// change runs the steps once per idempotency key. A retry gets the first answer and runs none of
// them. Res must hold no secret: it is kept.
func change[Res proto.Message](ctx context.Context, a *API, req retryable, do steps[Res]) (res Res, replayed bool, err error) {
	cmd := command(ctx)
	if cmd.Idempotency, err = idempotencyKey(cmd, req); err != nil {
		return res, false, err
	}
	answer, replayed, err := a.Store.Answered(ctx, cmd)
	if err == nil && !replayed {
		if do.Prepare != nil {
			if err := do.Prepare(ctx); err != nil {
				return res, false, err
			}
		}
		answer, replayed, err = a.Store.Change(ctx, cmd, func(ctx context.Context, tx *store.Tx) ([]byte, error) {
			if res, err = do.Apply(ctx, tx); err != nil {
				return nil, err
			}
			return proto.Marshal(res)
		})
	}
	if err != nil || !replayed {
		return res, false, err
	}
	first, _ := res.ProtoReflect().Type().New().Interface().(Res)
	if err := proto.Unmarshal(answer, first); err != nil {
		return res, false, fmt.Errorf("decode earlier answer: %w", err)
	}
	return first, true, nil
}

// answer drops whether it is a first one, which most callers need not know.
func answer[Res proto.Message](res Res, _ bool, err error) (Res, error) {
	if err != nil {
		var none Res
		return none, err
	}
	return res, nil
}

// idempotencyKey names the change by method and client's key. The digest covers the caller too, so
// that nobody is given an answer to somebody else's request.
func idempotencyKey(cmd store.Command, req retryable) (idempotency.Key, error) {
	harmless := proto.Clone(req)
	redact(harmless.ProtoReflect())
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(harmless)
	if err != nil {
		return idempotency.Key{}, fmt.Errorf("encode request: %w", err)
	}
	sum := sha256.New()
	sum.Write([]byte(cmd.Actor + "\x00"))
	sum.Write(encoded)
	return idempotency.Key{
		Method: string(req.ProtoReflect().Descriptor().FullName()), Value: req.GetIdempotencyKey(), Digest: hex.EncodeToString(sum.Sum(nil)),
	}, nil
}

// redact clears the fields that the contract marks as secret.
func redact(m protoreflect.Message) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if options, ok := field.Options().(*descriptorpb.FieldOptions); ok && options.GetDebugRedact() {
			m.Clear(field)
			return true
		}
		switch {
		case field.Message() == nil || field.IsMap():
		case field.IsList():
			for i := range value.List().Len() {
				redact(value.List().Get(i).Message())
			}
		default:
			redact(value.Message())
		}
		return true
	})
}
