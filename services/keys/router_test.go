package keys_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/uptrace/bun"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/keys"
)

// follower is a router that says at once what it has applied.
type follower struct {
	r       *rig
	name    string
	app     *keys.App
	stop    context.CancelFunc
	running sync.WaitGroup

	mu   sync.Mutex
	cuts []*keysv1.StreamsCut // what it says that it ended
	deaf bool                 // it applies nothing
}

func (r *rig) follow(app *keys.App, name string) *follower {
	r.t.Helper()
	ctx, stop := context.WithCancel(r.t.Context())
	f := &follower{r: r, name: name, app: app, stop: stop}
	stream, err := r.internal(app, "router", name).WatchConfig(ctx, &keysv1.WatchConfigRequest{})
	r.must(err)
	f.running.Go(func() {
		for {
			msg, err := stream.Receive()
			if err != nil {
				return
			}
			f.apply(ctx, msg)
		}
	})
	r.t.Cleanup(func() { stop(); f.running.Wait() })
	eventually(r.t, "keys has heard of "+name, func() bool { return r.count("router_state WHERE name = ? AND applied_version > 0", name) == 1 })
	return f
}

func (f *follower) apply(ctx context.Context, msg *keysv1.WatchConfigResponse) {
	batch := &keysv1.ConfigBatch{}
	if msg.GetConfig() == nil || proto.Unmarshal(msg.GetConfig().GetPayload(), batch) != nil || !batch.GetLast() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.deaf {
		return
	}
	count := func(id string, cut bool) {
		if cut {
			f.cuts = append(f.cuts, &keysv1.StreamsCut{Id: id, Streams: 2})
		}
	}
	for _, c := range batch.GetCredentials() {
		count(c.GetId(), c.GetCut())
	}
	for _, k := range batch.GetApiKeys() {
		count(k.GetId(), k.GetCut())
	}
	for _, x := range batch.GetRemoved() {
		count(x.GetId(), x.GetCut())
	}
	f.say(ctx, batch.GetToVersion(), false)
}

func (f *follower) say(ctx context.Context, version int64, closing bool) {
	_, _ = f.r.internal(f.app, "router", f.name).ReportRouterState(ctx, &keysv1.ReportRouterStateRequest{
		Router: f.name, Epoch: "e", AppliedVersion: version, Cuts: f.cuts, Closing: closing,
	})
}

func (f *follower) set(deaf bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deaf = deaf
}

// switchOffs are the calls that answer with a receipt; each switches something fresh off and cuts.
var switchOffs = map[string]func(t *testing.T, r *rig, p *person) *keysv1.Receipt{
	"UpdateCredential": func(t *testing.T, _ *rig, p *person) *keysv1.Receipt {
		t.Helper()
		c := p.credential("to disable")
		res, err := p.creds.UpdateCredential(t.Context(), &keysv1.UpdateCredentialRequest{
			Id: c.GetId(), Disabled: new(true), CutStreams: true, Etag: c.GetEtag(), IdempotencyKey: "disable",
		})
		p.r.must(err)
		return res.GetReceipt()
	},
	"DeleteCredential": func(t *testing.T, _ *rig, p *person) *keysv1.Receipt {
		t.Helper()
		res, err := p.creds.DeleteCredential(t.Context(), &keysv1.DeleteCredentialRequest{
			Id: p.credential("to delete").GetId(), CutStreams: true, IdempotencyKey: "delete",
		})
		p.r.must(err)
		return res.GetReceipt()
	},
	"RevokeApiKey": func(t *testing.T, _ *rig, p *person) *keysv1.Receipt {
		t.Helper()
		res, err := p.apiKeys.RevokeApiKey(t.Context(), &keysv1.RevokeApiKeyRequest{
			Id: p.apiKey("to revoke", "").GetApiKey().GetId(), CutStreams: true, IdempotencyKey: "revoke",
		})
		p.r.must(err)
		return res.GetReceipt()
	},
	"UpdateMember": func(t *testing.T, r *rig, p *person) *keysv1.Receipt {
		t.Helper()
		suspect := r.add("suspect", plain)
		suspect.apiKey("suspect's", "")
		res, err := p.members.UpdateMember(t.Context(), &keysv1.UpdateMemberRequest{
			Id: suspect.id, Disabled: new(true), CutStreams: true, Etag: "1", IdempotencyKey: "suspect",
		})
		p.r.must(err)
		return res.GetReceipt()
	},
	"DeleteMember": func(t *testing.T, r *rig, p *person) *keysv1.Receipt {
		t.Helper()
		leaving := r.add("leaving", plain)
		leaving.apiKey("theirs", "")
		res, err := p.members.DeleteMember(t.Context(), &keysv1.DeleteMemberRequest{Id: leaving.id, CutStreams: true, IdempotencyKey: "leave"})
		p.r.must(err)
		return res.GetReceipt()
	},
}

func TestWhatIsSwitchedOffIsConfirmedByRoutersOfAllReplicas(t *testing.T) {
	t.Parallel()
	for engine, open := range map[string]func(testing.TB) string{"sqlite": sqltest.SQLite, "postgres": sqltest.Postgres} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			r := newRigOn(t, open(t))
			other := r.replica(sqltest.Open(t, r.url))
			for name, app := range map[string]*keys.App{"router-1": r.app, "router-2": other, "router-3": other} {
				r.follow(app, name)
			}
			for name, switchOff := range switchOffs {
				got := switchOff(t, r, r.owner)
				if got.GetConnected() != 3 || got.GetConfirmed() != 3 || len(got.GetMissing()) != 0 || got.GetUnreachable() != 0 || got.GetConfigVersion() == 0 {
					t.Errorf("%s: receipt = %v, want all three routers", name, got)
				}
				if got.GetStreamsCut() != 6 {
					t.Errorf("%s: %d answers were ended, want the two of each router", name, got.GetStreamsCut())
				}
				t.Logf("%s was confirmed within %s", name, got.GetElapsed().AsDuration())
			}
		})
	}
}

func TestARouterThatDoesNotFollowIsToldOfAndTheChangeHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.follow(r.app, "router-1")
		deaf := r.follow(r.app, "router-2")
		deaf.set(true)
		key := r.owner.apiKey("ci", "").GetApiKey()
		req := &keysv1.RevokeApiKeyRequest{Id: key.GetId(), IdempotencyKey: "1"}
		res, err := r.owner.apiKeys.RevokeApiKey(t.Context(), req)
		r.must(err)
		got := res.GetReceipt()
		if got.GetConnected() != 2 || got.GetConfirmed() != 1 || got.GetElapsed().AsDuration() != 5*time.Second || res.GetApiKey().GetRevokeTime() == nil {
			t.Errorf("receipt = %v, want one of two routers after exactly five seconds", got)
		}
		if len(got.GetMissing()) != 0 {
			t.Errorf("a tenant is told the names of routers: %v", got.GetMissing())
		}
		operators, err := r.operator.apiKeys.RevokeApiKey(t.Context(), &keysv1.RevokeApiKeyRequest{
			Id: r.operator.apiKey("theirs", "").GetApiKey().GetId(), IdempotencyKey: "1",
		})
		r.must(err)
		if missing := operators.GetReceipt().GetMissing(); !slices.Equal(missing, []string{"router-2"}) {
			t.Errorf("the operator is told that %v have not confirmed, want router-2", missing)
		}
		// It closes: nobody waits for it any more, and a retry says so.
		deaf.say(t.Context(), 1, true)
		eventually(t, "it is closed", func() bool { return r.count("router_state WHERE closed") == 1 })
		again, err := r.owner.apiKeys.RevokeApiKey(t.Context(), req)
		r.must(err)
		if got := again.GetReceipt(); got.GetConnected() != 1 || got.GetConfirmed() != 1 || got.GetUnreachable() != 0 {
			t.Errorf("receipt of a retry = %v, want the one router that is left", got)
		}
	})
}

func TestASilentRouterIsUnreachableOnceItsLeaseIsOver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	silent := r.follow(r.app, "router-1")
	silent.set(true)
	r.clock.Advance(21 * time.Second)
	got := switchOffs["RevokeApiKey"](t, r, r.owner)
	if got.GetConnected() != 0 || got.GetUnreachable() != 1 || got.GetElapsed().AsDuration() > 4*time.Second {
		t.Errorf("receipt = %v, want one router that nobody reaches, at once", got)
	}
	r.clock.Advance(time.Hour)
	r.owner = r.signIn("acme", "owner@acme.example")
	if got := switchOffs["DeleteCredential"](t, r, r.owner); got.GetUnreachable() != 0 {
		t.Errorf("receipt = %v, want no word of a router that was heard of an hour ago", got)
	}
}

func TestWhatWasCutIsToldToRoutersThatWereAway(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.watch(r.app, "router", 0)
	w.until("up to date", func() bool { return w.config[r.orgID] != nil })
	c, gone, key := r.owner.credential("main"), r.owner.credential("gone"), r.owner.apiKey("ci", "").GetApiKey()
	disable := func(tag string, disabled, cut bool) string {
		t.Helper()
		res, err := r.owner.creds.UpdateCredential(t.Context(), &keysv1.UpdateCredentialRequest{
			Id: c.GetId(), Disabled: new(disabled), CutStreams: cut, Etag: tag, IdempotencyKey: tag,
		})
		r.must(err)
		if (res.GetReceipt() != nil) != disabled {
			t.Errorf("disabled %v: receipt = %v", disabled, res.GetReceipt())
		}
		return res.GetCredential().GetEtag()
	}
	tag := disable(c.GetEtag(), true, false)
	tag = disable(tag, true, true) // second thoughts
	_, err := r.owner.creds.DeleteCredential(t.Context(), &keysv1.DeleteCredentialRequest{Id: gone.GetId(), CutStreams: true, IdempotencyKey: "1"})
	r.must(err)
	_, err = r.owner.apiKeys.RevokeApiKey(t.Context(), &keysv1.RevokeApiKeyRequest{Id: key.GetId(), CutStreams: true, IdempotencyKey: "1"})
	r.must(err)
	want := []string{c.GetId(), gone.GetId(), key.GetId()}
	slices.Sort(want)
	delta, whole := r.watch(r.app, "router", w.version), r.watch(r.app, "router", 0)
	metering := r.watch(r.app, "metering", 0)
	for name, w := range map[string]*watching{"changes": delta, "whole": whole} {
		w.until("everything", func() bool { return w.key(key.GetId()).GetRevoked() })
		if got := w.cut(); !slices.Equal(got, want) {
			t.Errorf("%s cut %v, want %v", name, got, want)
		}
	}
	metering.until("everything", func() bool { return metering.key(key.GetId()).GetRevoked() })
	if got := metering.cut(); len(got) != 0 {
		t.Errorf("metering is told to cut %v", got)
	}
	tag = disable(tag, false, true) // what is on is not cut
	disable(tag, true, false)
	w.until("disabled again", func() bool {
		return w.credential(c.GetId()).GetState() == keysv1.CredentialState_CREDENTIAL_STATE_DISABLED && !w.credential(c.GetId()).GetCut()
	})
}

// cut are the ids that the watcher was told to cut, sorted.
func (w *watching) cut() (ids []string) {
	for id, x := range w.config {
		if c, ok := x.(interface{ GetCut() bool }); ok && c.GetCut() {
			ids = append(ids, id)
		}
	}
	ids = append(ids, w.removals...)
	slices.Sort(ids)
	return ids
}

// stored reports whether there is a credential.
func (r *rig) stored(credentialID string) (there bool) {
	r.t.Helper()
	r.must(r.db.InReadTx(r.t.Context(), func(ctx context.Context, tx bun.Tx) (err error) {
		there, err = tx.NewSelect().Table("credential").Where("id = ?", credentialID).Exists(ctx)
		return err
	}))
	return there
}

// leases are the ends of routers' leases.
func (r *rig) leases() map[string]int64 {
	r.t.Helper()
	out := map[string]int64{}
	r.must(r.db.InReadTx(r.t.Context(), func(ctx context.Context, tx bun.Tx) error {
		var rows []struct {
			Name       string
			LeaseUntil int64
		}
		if err := tx.NewRaw("SELECT name, lease_until FROM router_state").Scan(ctx, &rows); err != nil {
			return err
		}
		for _, row := range rows {
			out[row.Name] = row.LeaseUntil
		}
		return nil
	}))
	return out
}

func TestIdleRoutersCauseNothingButTheirLeases(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	report := func(name string) {
		t.Helper()
		_, err := r.internal(r.app, "router", name).ReportRouterState(t.Context(), &keysv1.ReportRouterStateRequest{Router: name, Epoch: "e", AppliedVersion: 1})
		r.must(err)
	}
	names := []string{"router-1", "router-2", "router-3"}
	for _, name := range names {
		report(name)
	}
	eventually(t, "all are known", func() bool { return r.count("router_state") == len(names) })
	version, events := r.count("config_change"), r.count("audit_event")
	written := r.leases()
	r.clock.Advance(5 * time.Second) // less than half of the lease is over
	for _, name := range names {
		report(name)
	}
	r.clock.Advance(5 * time.Second)
	report("router-1")
	eventually(t, "its lease is longer", func() bool { return r.leases()["router-1"] > written["router-1"] })
	for _, name := range names[1:] {
		if got := r.leases()[name]; got != written[name] {
			t.Errorf("%s has a lease until %d, want %d as before: it was long enough", name, got, written[name])
		}
	}
	if got := r.count("config_change"); got != version {
		t.Errorf("%d changes of the configuration, want %d as before", got, version)
	}
	if got := r.count("audit_event"); got != events {
		t.Errorf("%d events, want %d as before", got, events)
	}
}

func TestHeadroomIsKeptPerRouterAndShownToItsOrganizationAlone(t *testing.T) {
	t.Parallel()
	for engine, open := range map[string]func(testing.TB) string{"sqlite": sqltest.SQLite, "postgres": sqltest.Postgres} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			r := newRigOn(t, open(t))
			rival := r.other("rival")
			c, second, platforms := r.owner.credential("main"), r.owner.credential("second"), r.operator.credential("main")
			platform := r.operator.org()
			tell := func(router string, told ...*keysv1.HeadroomReport) {
				t.Helper()
				_, err := r.internal(r.app, "router", router).ReportRouterState(t.Context(), &keysv1.ReportRouterStateRequest{
					Router: router, Epoch: "e", Closing: true, Headroom: told,
				})
				r.must(err)
			}
			now := r.clock.Now()
			left := func(orgID, id, model string, remaining int64, at time.Time) *keysv1.HeadroomReport {
				return &keysv1.HeadroomReport{OrgId: orgID, Headroom: &keysv1.Headroom{
					CredentialId: id, Model: model, Router: "forged", Time: timestamp(at), CoolingUntil: timestamp(at.Add(time.Minute)),
					Requests: &keysv1.Allowance{Limit: 100, Remaining: remaining, ResetTime: timestamp(at.Add(time.Second))},
				}}
			}
			versions := r.count("config_change")
			tell("router-1",
				left(r.orgID, c.GetId(), "openai/a", 9, now), left(r.orgID, c.GetId(), "openai/a", 10, now.Add(-time.Second)), // twice, the newer counts
				left(r.orgID, c.GetId(), "openai/b", 7, now), left(r.orgID, second.GetId(), "openai/a", 5, now),
				left(platform, platforms.GetId(), "openai/a", 3, now),
				left(rival.org(), c.GetId(), "openai/a", 99, now), left("org_forged", c.GetId(), "openai/a", 99, now), left(r.orgID, "cred_forged", "openai/a", 99, now))
			r.clock.Advance(time.Second)
			tell("router-1", left(r.orgID, c.GetId(), "openai/a", 8, now.Add(time.Hour)), // its clock is fast: that is now
				left(r.orgID, c.GetId(), "openai/b", 77, now.Add(-time.Second)))
			tell("router-2", left(r.orgID, c.GetId(), "openai/a", 1, now))
			if got := r.count("config_change"); got != versions {
				t.Errorf("headroom made %d changes of the configuration", got-versions)
			}
			list := func(p *person, credentialID string) (all []*keysv1.Headroom) {
				t.Helper()
				for token := ""; ; {
					res, err := p.creds.ListHeadroom(t.Context(), &keysv1.ListHeadroomRequest{CredentialId: credentialID, PageSize: 2, PageToken: token})
					r.must(err)
					all = append(all, res.GetHeadroom()...)
					if token = res.GetNextPageToken(); token == "" {
						return all
					}
				}
			}
			type row struct {
				Credential, Model string
				Remaining         int64
			}
			rows := func(list []*keysv1.Headroom) (out []row) {
				for _, h := range list {
					out = append(out, row{h.GetCredentialId(), h.GetModel(), h.GetRequests().GetRemaining()})
				}
				slices.SortFunc(out, func(a, b row) int {
					return cmp.Or(cmp.Compare(a.Credential, b.Credential), cmp.Compare(a.Model, b.Model), cmp.Compare(a.Remaining, b.Remaining))
				})
				return out
			}
			mine := list(r.owner, "")
			want := []row{{c.GetId(), "openai/a", 1}, {c.GetId(), "openai/a", 8}, {c.GetId(), "openai/b", 7}, {second.GetId(), "openai/a", 5}}
			if diff := gocmp.Diff(want, rows(mine)); diff != "" {
				t.Errorf("acme sees (-want +got):\n%s", diff)
			}
			routers := map[string]bool{}
			for _, h := range mine {
				routers[h.GetRouter()] = true
			}
			if len(routers) != 2 || routers["router-1"] || routers["router-2"] {
				t.Errorf("a tenant sees the routers %v, want two words that are not their names", routers)
			}
			if got := list(r.owner, second.GetId()); len(got) != 1 {
				t.Errorf("%d of one credential, want 1", len(got))
			}
			if got := list(rival, ""); len(got) != 0 {
				t.Errorf("the rival sees %v", got)
			}
			_, err := rival.creds.ListHeadroom(t.Context(), &keysv1.ListHeadroomRequest{CredentialId: c.GetId()})
			refused(t, "another organization's credential", err, connect.CodeNotFound, "CREDENTIAL_NOT_FOUND")
			wantPlatform := left("", platforms.GetId(), "openai/a", 3, now).GetHeadroom()
			wantPlatform.Router = "router-1"
			if diff := gocmp.Diff([]*keysv1.Headroom{wantPlatform}, list(r.operator, ""), protocmp.Transform()); diff != "" {
				t.Errorf("the operator sees (-want +got):\n%s", diff)
			}
			_, err = r.owner.creds.DeleteCredential(t.Context(), &keysv1.DeleteCredentialRequest{Id: second.GetId(), IdempotencyKey: "1"})
			r.must(err)
			if n := r.count("headroom WHERE credential_id = ?", second.GetId()); n != 0 {
				t.Error("headroom of a deleted credential is kept")
			}
		})
	}
}

// BenchmarkReceipt revokes API keys one after the other, with twenty routers at two replicas, and tells how
// long the receipts took.
func BenchmarkReceipt(b *testing.B) {
	for engine, open := range map[string]func(testing.TB) string{"sqlite": sqltest.SQLite, "postgres": sqltest.Postgres} {
		b.Run(engine, func(b *testing.B) {
			r := newRigOn(b, open(b))
			other := r.replica(sqltest.Open(b, r.url))
			for i := range 20 {
				r.follow([]*keys.App{r.app, other}[i%2], fmt.Sprint("router-", i))
			}
			var took []time.Duration
			for b.Loop() {
				name := fmt.Sprint("key ", len(took))
				res, err := r.owner.apiKeys.RevokeApiKey(b.Context(), &keysv1.RevokeApiKeyRequest{
					Id: r.owner.apiKey(name, "").GetApiKey().GetId(), CutStreams: true, IdempotencyKey: name,
				})
				r.must(err)
				if got := res.GetReceipt(); got.GetConfirmed() != 20 {
					b.Fatalf("receipt = %v, want all routers", got)
				}
				took = append(took, res.GetReceipt().GetElapsed().AsDuration())
			}
			slices.Sort(took)
			for name, at := range map[string]int{"p50-ms": len(took) / 2, "p99-ms": len(took) * 99 / 100, "max-ms": len(took) - 1} {
				b.ReportMetric(float64(took[at].Milliseconds()), name)
			}
		})
	}
}
