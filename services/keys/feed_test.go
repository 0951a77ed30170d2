package keys_test

import (
	"context"
	"crypto/ed25519"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	"github.com/claviger/claviger/pkg/configsig"
	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/keys"
)

// watching is a router or metering that follows the configuration.
type watching struct {
	t       testing.TB
	r       *rig
	view    string
	stop    context.CancelFunc
	inbox   chan *keysv1.WatchConfigResponse
	ended   chan error
	version int64
	wholes  int
	beats   int
	parts   int
	config  map[string]proto.Message
	keys    map[string]ed25519.PublicKey
	probes  []*keysv1.ProbeJob
	// removals are what was removed together with the answers that it gave.
	removals []string
}

func (r *rig) watch(app *keys.App, service string, since int64) *watching {
	r.t.Helper()
	ctx, stop := context.WithCancel(r.t.Context())
	stream, err := r.internal(app, service, service+"-1").WatchConfig(ctx, &keysv1.WatchConfigRequest{SinceVersion: since})
	r.must(err)
	w := &watching{
		t: r.t, r: r, view: service, stop: stop, version: since,
		inbox: make(chan *keysv1.WatchConfigResponse, 1000), ended: make(chan error, 1), config: map[string]proto.Message{},
	}
	go func() {
		for {
			msg, err := stream.Receive()
			if err != nil {
				w.ended <- err
				return
			}
			w.inbox <- msg
		}
	}()
	r.t.Cleanup(stop)
	return w
}

// take handles one message, and fails the test if none comes in time.
func (w *watching) take() *keysv1.WatchConfigResponse {
	w.t.Helper()
	select {
	case msg := <-w.inbox:
		w.handle(msg)
		return msg
	case err := <-w.ended:
		w.t.Fatalf("stream ended: %v", err)
	case <-time.After(15 * time.Second):
		w.t.Fatal("no message in time")
	}
	return nil
}

// until takes messages until ok.
func (w *watching) until(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); w.take() {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain: %s", what)
		}
	}
}

func (w *watching) handle(msg *keysv1.WatchConfigResponse) {
	w.t.Helper()
	if probe := msg.GetProbe(); probe != nil {
		c := w.credential(probe.GetCredentialId())
		gone := c == nil && !w.r.stored(probe.GetCredentialId()) // deleted since a router was given its test
		if !gone && max(c.GetRevision(), c.GetNext().GetRevision()) < probe.GetRevision() {
			w.t.Errorf("probe of revision %d came before its configuration", probe.GetRevision())
		}
		w.probes = append(w.probes, probe)
	}
	if msg.GetHeartbeat() != nil {
		w.beats++
	}
	signed := msg.GetConfig()
	if signed == nil {
		return
	}
	public, _ := w.r.configKey.Public().(ed25519.PublicKey)
	if !configsig.Verify(public, signed.GetPayload(), signed.GetSignature()) || signed.GetKeyId() != configsig.KeyID(public) {
		w.t.Fatal("the signature is wrong")
	}
	if len(signed.GetPayload()) > 1<<20 {
		w.t.Errorf("a part has %d bytes, want at most 1 MiB", len(signed.GetPayload()))
	}
	batch := &keysv1.ConfigBatch{}
	w.r.must(proto.Unmarshal(signed.GetPayload(), batch))
	w.apply(batch)
}

func (w *watching) apply(b *keysv1.ConfigBatch) {
	w.t.Helper()
	if b.GetEnvironment() != environment || b.GetView() != w.view || int(b.GetPart()) != w.parts {
		w.t.Fatalf("batch of %s for %s, part %d; want %s, %s, %d", b.GetEnvironment(), b.GetView(), b.GetPart(), environment, w.view, w.parts)
	}
	switch {
	case b.GetFromVersion() == 0 && b.GetPart() == 0:
		w.config, w.wholes = map[string]proto.Message{}, w.wholes+1
	case b.GetFromVersion() != 0 && b.GetFromVersion() != w.version:
		w.t.Fatalf("delta from %d, have %d", b.GetFromVersion(), w.version)
	}
	if b.GetPart() == 0 && w.view == "metering" {
		w.keys = map[string]ed25519.PublicKey{}
		for _, k := range b.GetTokenKeys() {
			w.keys[k.GetKeyId()] = k.GetPublicKey()
		}
	}
	for _, x := range b.GetOrganizations() {
		w.config[x.GetId()] = x
	}
	for _, x := range b.GetMembers() {
		w.config[x.GetId()] = x
	}
	for _, x := range b.GetPolicies() {
		w.config[x.GetId()] = x
	}
	for _, x := range b.GetCredentials() {
		w.config[x.GetId()] = x
	}
	for _, x := range b.GetApiKeys() {
		w.config[x.GetId()] = x
	}
	for _, x := range b.GetGroups() {
		w.config[x.GetId()] = x
	}
	for _, x := range b.GetDrills() {
		w.config[x.GetId()] = x
	}
	for _, x := range b.GetRemoved() {
		delete(w.config, x.GetId())
		if x.GetCut() {
			w.removals = append(w.removals, x.GetId())
		}
	}
	w.parts++
	if b.GetLast() {
		w.parts, w.version = 0, b.GetToVersion()
	}
}

func (w *watching) credential(id string) *keysv1.CredentialConfig {
	c, _ := w.config[id].(*keysv1.CredentialConfig)
	return c
}

func (w *watching) key(id string) *keysv1.ApiKeyConfig {
	k, _ := w.config[id].(*keysv1.ApiKeyConfig)
	return k
}

func TestViewsHoldNoMoreThanIsNeeded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.owner.policy("fast")
	c := r.owner.credential("main")
	g, k := r.owner.group("team"), r.owner.apiKey("ci", p.GetId()).GetApiKey()
	k = r.owner.editKey(&keysv1.UpdateApiKeyRequest{Id: k.GetId(), GroupId: new(g.GetId()), EnforcePolicy: new(true), Etag: k.GetEtag()})
	_, err := r.owner.groups.UpdateGroup(t.Context(), &keysv1.UpdateGroupRequest{
		Id: g.GetId(), Name: "team", PolicyId: p.GetId(), EnforcePolicy: true, ApprovedModels: []string{"openai/*"}, Etag: g.GetEtag(), IdempotencyKey: "1",
	})
	r.must(err)
	prefers := &keysv1.RoutingPreferences{
		Order: []string{"groq"}, Ignore: []string{"xai"}, Platform: keysv1.PlatformRule_PLATFORM_RULE_NEVER, PolicyId: p.GetId(), EnforcePolicy: true,
		Providers: []*keysv1.ProviderRule{{Provider: "groq", Platform: keysv1.PlatformRule_PLATFORM_RULE_AFTER_OWN}},
	}
	_, err = r.owner.routing.UpdateRoutingPreferences(t.Context(), &keysv1.UpdateRoutingPreferencesRequest{Preferences: prefers, Etag: "1", IdempotencyKey: "1"})
	r.must(err)
	_, err = r.owner.models.UpdateApprovedModels(t.Context(), &keysv1.UpdateApprovedModelsRequest{ApprovedModels: []string{"openai/*"}, Etag: "1", IdempotencyKey: "1"})
	r.must(err)
	router, metering := r.watch(r.app, "router", 0), r.watch(r.app, "metering", 0)
	for _, w := range []*watching{router, metering} {
		w.take()
		for _, id := range []string{r.orgID, p.GetId(), c.GetId(), k.GetId()} {
			if w.config[id] == nil {
				t.Errorf("the view of %s lacks %s", w.view, id)
			}
		}
	}
	if want := (&keysv1.GroupConfig{
		OrgId: r.orgID, Id: g.GetId(), Name: "team", PolicyId: p.GetId(), EnforcePolicy: true, ApprovedModels: []string{"openai/*"},
	}); !proto.Equal(router.config[g.GetId()], want) || metering.config[g.GetId()] != nil {
		t.Errorf("group: routers see %v, metering %v; want %v and nothing", router.config[g.GetId()], metering.config[g.GetId()], want)
	}
	for w, sees := range map[*watching]bool{router: true, metering: false} {
		org, _ := w.config[r.orgID].(*keysv1.OrganizationConfig)
		rule, _ := w.config[p.GetId()].(*keysv1.PolicyConfig)
		key := w.key(k.GetId())
		for what, there := range map[string]bool{
			"preferences": proto.Equal(org.GetPreferences(), prefers), "approved models": len(org.GetApprovedModels()) == 1,
			"the rule": proto.Equal(rule.GetSpec(), p.GetSpec()), "the key's group": key.GetGroupId() == g.GetId(), "what is enforced": key.GetEnforcePolicy(),
		} {
			if there != sees {
				t.Errorf("the view of %s has %s: %v, want %v", w.view, what, there, sees)
			}
		}
	}
	if router.config[r.owner.id] != nil || len(router.keys) > 0 {
		t.Error("routers see members or token keys")
	}
	if metering.config[r.owner.id] == nil || len(metering.keys) != 1 {
		t.Error("metering sees no members or token keys")
	}
	seen, blind := router.credential(c.GetId()), metering.credential(c.GetId())
	if seen.GetSealed() == "" || blind.GetSealed() != "" {
		t.Errorf("sealed text: routers see %d bytes, metering %d", len(seen.GetSealed()), len(blind.GetSealed()))
	}
	key, hashless := router.key(k.GetId()), metering.key(k.GetId())
	if key.GetPolicyId() != p.GetId() {
		t.Errorf("routers see the policy %q of an API key, want %q", key.GetPolicyId(), p.GetId())
	}
	if len(key.GetHash()) != 32 || len(hashless.GetHash()) != 0 || hashless.GetPublicId() == "" {
		t.Errorf("hash: routers see %d bytes, metering %d", len(key.GetHash()), len(hashless.GetHash()))
	}
}

func TestChangesReachWatchersAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.watch(r.app, "router", 0)
	w.until("up to date", func() bool { return w.config[r.orgID] != nil })
	begin := time.Now()
	p := r.owner.policy("fast")
	w.until("the policy", func() bool { return w.config[p.GetId()] != nil })
	t.Logf("a change took %s from the call to the watcher", time.Since(begin))
	_, err := r.owner.policies.DeletePolicy(t.Context(), &keysv1.DeletePolicyRequest{Id: p.GetId(), IdempotencyKey: "1"})
	r.must(err)
	w.until("the policy gone", func() bool { return w.config[p.GetId()] == nil })
	k := r.owner.apiKey("ci", "").GetApiKey()
	_, err = r.owner.apiKeys.RevokeApiKey(t.Context(), &keysv1.RevokeApiKeyRequest{Id: k.GetId(), IdempotencyKey: "1"})
	r.must(err)
	w.until("the key revoked", func() bool { return w.key(k.GetId()).GetRevoked() })
	g := r.owner.group("team")
	w.until("the group", func() bool { return w.config[g.GetId()] != nil })
	_, err = r.owner.groups.UpdateGroup(t.Context(), &keysv1.UpdateGroupRequest{
		Id: g.GetId(), Name: "team", ApprovedModels: []string{"openai/*"}, Etag: g.GetEtag(), IdempotencyKey: "1",
	})
	r.must(err)
	w.until("what the group may use", func() bool {
		now, _ := w.config[g.GetId()].(*keysv1.GroupConfig)
		return len(now.GetApprovedModels()) == 1
	})
	_, err = r.owner.groups.DeleteGroup(t.Context(), &keysv1.DeleteGroupRequest{Id: g.GetId(), IdempotencyKey: "1"})
	r.must(err)
	w.until("the group gone", func() bool { return w.config[g.GetId()] == nil })
	_, err = r.owner.routing.UpdateRoutingPreferences(t.Context(), &keysv1.UpdateRoutingPreferencesRequest{
		Preferences: &keysv1.RoutingPreferences{Ignore: []string{"groq"}}, Etag: "1", IdempotencyKey: "1",
	})
	r.must(err)
	w.until("the preferences", func() bool {
		org, _ := w.config[r.orgID].(*keysv1.OrganizationConfig)
		return len(org.GetPreferences().GetIgnore()) == 1
	})
	if w.wholes != 1 {
		t.Errorf("the watcher got %d whole configurations, want 1 and then deltas", w.wholes)
	}
	again := r.watch(r.app, "router", w.version)
	if msg := again.take(); msg.GetHeartbeat().GetVersion() != w.version {
		t.Errorf("first message to an up-to-date watcher = %v, want a heartbeat at %d", msg.GetMessage(), w.version)
	}
	tooNew := r.watch(r.app, "router", w.version+1000)
	tooNew.until("what there is", func() bool { return tooNew.version == w.version })
	if tooNew.wholes != 1 {
		t.Errorf("watcher with a version of another database got %d whole configurations, want 1", tooNew.wholes)
	}
}

func TestHeartbeatsFillTheSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		w := r.watch(r.app, "router", 0)
		w.until("the first heartbeat", func() bool { return w.beats == 1 })
		begin := time.Now()
		w.until("two more", func() bool { return w.beats == 3 })
		if got := time.Since(begin); got != 20*time.Second {
			t.Errorf("two heartbeats took %s, want ten seconds each", got)
		}
	})
}

func TestOtherReplicasChangesReachWatchers(t *testing.T) {
	t.Parallel()
	for engine, open := range map[string]func(testing.TB) string{"sqlite": sqltest.SQLite, "postgres": sqltest.Postgres} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			r := newRigOn(t, open(t))
			other := r.replica(sqltest.Open(t, r.url))
			w := r.watch(other, "router", 0)
			w.until("up to date", func() bool { return w.config[r.orgID] != nil })
			c := r.owner.credential("main")
			w.until("credential and its key test", func() bool { return w.credential(c.GetId()) != nil && len(w.probes) == 1 })
			r.report(other, w.probes[0], keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE)
			w.until("the verdict", func() bool {
				return w.credential(c.GetId()).GetState() == keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE
			})
		})
	}
}

func TestWatchersAreSentAwayWhenTheServiceStops(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	app := r.idle(r.db)
	w := r.watch(app, "metering", 0)
	w.take()
	app.Drain()
	eventually(t, "the stream ends", func() bool {
		select {
		case err := <-w.ended:
			refused(t, "WatchConfig", err, connect.CodeUnavailable, "KEYS_DRAINING")
			return true
		case <-w.inbox:
		default:
		}
		return false
	})
}

func TestManyKeysComeInSmallParts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const n = 20_000
	r.bulkKeys(n)
	begin := time.Now()
	w := r.watch(r.app, "router", 0)
	biggest := 0
	w.until("a whole configuration", func() bool { biggest = max(biggest, w.parts); return w.version > 0 })
	t.Logf("%d keys came in %d parts, read, packed, signed and checked in %s", n, biggest+1, time.Since(begin))
	keys := 0
	for _, x := range w.config {
		if _, ok := x.(*keysv1.ApiKeyConfig); ok {
			keys++
		}
	}
	if keys != n || biggest+1 < 3 {
		t.Errorf("got %d keys in %d parts, want %d in several", keys, biggest+1, n)
	}
	again := r.watch(r.app, "router", 0)
	again.until("the same again", func() bool { return again.version > 0 })
	if again.version != w.version || len(again.config) != len(w.config) {
		t.Errorf("second watcher is at %d with %d objects, want %d and %d", again.version, len(again.config), w.version, len(w.config))
	}
	r.owner.policy("late") // what is kept for further watchers is older than this
	third := r.watch(r.app, "router", 0)
	third.until("everything", func() bool { return len(third.config) == len(w.config)+1 })
	if third.wholes != 1 {
		t.Errorf("third watcher got %d whole configurations, want the kept one and a delta", third.wholes)
	}
}

// bulkKeys stores n API keys past the API.
func (r *rig) bulkKeys(n int) {
	r.t.Helper()
	f := r.fixture()
	f.BulkKeys(r.t, n)
}

func TestTokenKeysReachMetering(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.watch(r.app, "metering", 0)
	w.until("up to date", func() bool { return len(w.keys) == 1 })
	_, next, err := ed25519.GenerateKey(nil)
	r.must(err)
	r.tokenKey = next
	r.idle(r.db)
	w.until("the next key", func() bool { return len(w.keys) == 2 })
}

func (r *rig) report(app *keys.App, probe *keysv1.ProbeJob, state keysv1.CredentialState) {
	r.t.Helper()
	_, err := r.internal(app, "router", "router-1").ReportRouterState(r.t.Context(), &keysv1.ReportRouterStateRequest{
		Router: "router-1", Closing: true, ProbeResults: []*keysv1.ProbeResult{{
			ProbeId: probe.GetId(), OrgId: probe.GetOrgId(), CredentialId: probe.GetCredentialId(), Revision: probe.GetRevision(),
			State: state, Reason: "because", Time: timestamp(r.clock.Now()),
		}},
	})
	r.must(err)
}
