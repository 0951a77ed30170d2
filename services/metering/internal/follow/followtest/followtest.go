// Package followtest is keys as metering sees it, for tests: a signed configuration that can be changed
// while it is watched, and access tokens.
package followtest

import (
	"context"
	"crypto/ed25519"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/configsig"
	"github.com/claviger/claviger/pkg/token"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
)

// Environment is the installation that everything is for.
const Environment = "test"

// Keys is a control plane with a configuration and nothing else. It begins with no organization.
type Keys struct {
	keysv1connect.UnimplementedConfigServiceHandler
	tb       testing.TB
	key      ed25519.PrivateKey
	tokenKey ed25519.PrivateKey
	server   *connect.Server

	mu      sync.Mutex
	deltas  []*keysv1.ConfigBatch // the n-th leads from version n to n+1
	changed chan struct{}
	mute    atomic.Bool
}

const heartbeatEvery = 20 * time.Millisecond

// Start returns a control plane at version 1.
func Start(tb testing.TB) *Keys {
	tb.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		tb.Fatal(err)
	}
	_, tokenKey, err := ed25519.GenerateKey(nil)
	if err != nil {
		tb.Fatal(err)
	}
	k := &Keys{tb: tb, key: key, tokenKey: tokenKey, server: connect.NewServer(), changed: make(chan struct{})}
	keysv1connect.RegisterConfigServiceHandler(k.server, k)
	k.Change(&keysv1.ConfigBatch{})
	return k
}

// Transport reaches the ConfigService.
func (k *Keys) Transport() connect.Transport { return connectinprocess.New(k.server) }

// Mute ends the heartbeats, or begins them again.
func (k *Keys) Mute(mute bool) { k.mute.Store(mute) }

// Server serves the ConfigService, for tests with listeners.
func (k *Keys) Server() *connect.Server { return k.server }

// Public verifies the configuration.
func (k *Keys) Public() ed25519.PublicKey {
	public, _ := k.key.Public().(ed25519.PublicKey)
	return public
}

func (k *Keys) tokenPublic() ed25519.PublicKey {
	public, _ := k.tokenKey.Public().(ed25519.PublicKey)
	return public
}

// Change adds a version with the objects in delta and returns its number.
func (k *Keys) Change(delta *keysv1.ConfigBatch) int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.deltas = append(k.deltas, delta)
	close(k.changed)
	k.changed = make(chan struct{})
	return int64(len(k.deltas))
}

// Token signs an access token for five minutes.
func (k *Keys) Token(orgID, slug, memberID string, role authn.Role) string {
	k.tb.Helper()
	return k.TokenFor(5*time.Minute, orgID, slug, memberID, role)
}

// TokenFor signs an access token that lives as long as is said.
func (k *Keys) TokenFor(life time.Duration, orgID, slug, memberID string, role authn.Role) string {
	k.tb.Helper()
	now := time.Now()
	raw, err := token.NewSigner(token.KeyID(k.tokenPublic()), k.tokenKey).Sign(token.Claims{
		OrgID: orgID, OrgSlug: slug, MemberID: memberID, Role: role, SessionID: "ses_a",
		AuthTime: now, IssuedAt: now, ExpiresAt: now.Add(life), Environment: Environment,
	})
	if err != nil {
		k.tb.Fatalf("sign token: %v", err)
	}
	return raw
}

// WatchConfig sends the configuration and then every change.
func (k *Keys) WatchConfig(ctx context.Context, req *keysv1.WatchConfigRequest, out keysv1connect.ConfigServiceWatchConfigServerStream) error {
	at := req.GetSinceVersion()
	for {
		k.mu.Lock()
		newest, changed := int64(len(k.deltas)), k.changed
		batch := k.batch(at, newest)
		k.mu.Unlock()
		if batch != nil {
			if err := out.Send(&keysv1.WatchConfigResponse{Message: &keysv1.WatchConfigResponse_Config{Config: k.sign(batch)}}); err != nil {
				return err
			}
			at = newest
		}
		heartbeat := &keysv1.WatchConfigResponse{Message: &keysv1.WatchConfigResponse_Heartbeat{Heartbeat: &keysv1.Heartbeat{Version: at}}}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-time.After(heartbeatEvery):
			if k.mute.Load() {
				continue
			}
			if err := out.Send(heartbeat); err != nil {
				return err
			}
		}
	}
}

// batch is what leads from one version to another, nil if they are the same.
func (k *Keys) batch(from, to int64) *keysv1.ConfigBatch {
	if from == to {
		return nil
	}
	if from > to {
		from = 0
	}
	all := &keysv1.ConfigBatch{}
	for _, d := range k.deltas[from:to] {
		proto.Merge(all, d)
		for _, r := range d.GetRemoved() {
			all.ApiKeys = slices.DeleteFunc(all.ApiKeys, func(o *keysv1.ApiKeyConfig) bool { return o.GetId() == r.GetId() })
			all.Credentials = slices.DeleteFunc(all.Credentials, func(o *keysv1.CredentialConfig) bool { return o.GetId() == r.GetId() })
			all.Members = slices.DeleteFunc(all.Members, func(o *keysv1.MemberConfig) bool { return o.GetId() == r.GetId() })
			all.Policies = slices.DeleteFunc(all.Policies, func(o *keysv1.PolicyConfig) bool { return o.GetId() == r.GetId() })
		}
	}
	if from == 0 {
		all.Removed = nil
	}
	all.Environment, all.View, all.FromVersion, all.ToVersion, all.Last = Environment, "metering", from, to, true
	all.IssuedTime = timestamppb.Now()
	all.TokenKeys = []*keysv1.TokenKey{{KeyId: token.KeyID(k.tokenPublic()), PublicKey: k.tokenPublic()}}
	return all
}

func (k *Keys) sign(b *keysv1.ConfigBatch) *keysv1.SignedConfig {
	payload, err := proto.Marshal(b)
	if err != nil {
		k.tb.Errorf("encode configuration: %v", err)
	}
	return &keysv1.SignedConfig{Payload: payload, Signature: configsig.Sign(k.key, payload), KeyId: configsig.KeyID(k.Public())}
}
