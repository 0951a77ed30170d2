package keys_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/transit"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

const second = "sk-second-fedcba9876543210"

// staged is a credential of p with a second secret that has passed its test.
func (r *rig) staged(p *person, label string) *keysv1.Credential {
	r.t.Helper()
	c := p.credential(label)
	res, err := p.creds.StageSecret(r.t.Context(), &keysv1.StageSecretRequest{Id: c.GetId(), Secret: second, Etag: c.GetEtag(), IdempotencyKey: "stage " + label})
	r.must(err)
	next := res.GetCredential().GetNext()
	r.report(r.app, &keysv1.ProbeJob{Id: "probe_x", OrgId: r.orgID, CredentialId: c.GetId(), Revision: next.GetRevision()}, active)
	return r.get(c.GetId())
}

// rotating is a credential under rotation, seen by its owner and by a router.
type rotating struct {
	*rig
	t  *testing.T
	id string
	w  *watching
	n  int
}

func newRotating(t *testing.T) *rotating {
	t.Helper()
	r := newRig(t)
	x := &rotating{rig: r, t: t, id: r.owner.credential("main").GetId(), w: r.watch(r.app, "router", 0)}
	x.w.until("the first test", func() bool { return len(x.w.probes) == 1 })
	r.report(r.app, x.w.probes[0], active)
	return x
}

func (x *rotating) now() *keysv1.Credential { return x.get(x.id) }

func (x *rotating) key() string { x.n++; return fmt.Sprint("call ", x.n) }

func (x *rotating) stage() *keysv1.Credential {
	x.t.Helper()
	res, err := x.owner.creds.StageSecret(x.t.Context(), &keysv1.StageSecretRequest{Id: x.id, Secret: second, Etag: x.now().GetEtag(), IdempotencyKey: x.key()})
	x.must(err)
	return res.GetCredential()
}

func (x *rotating) share(percent, revision int32) error {
	_, err := x.owner.creds.SetSecretShare(x.t.Context(), &keysv1.SetSecretShareRequest{
		Id: x.id, SharePercent: percent, Revision: revision, Etag: x.now().GetEtag(), IdempotencyKey: x.key(),
	})
	return err
}

func (x *rotating) promote(revision int32) (*keysv1.Credential, error) {
	res, err := x.owner.creds.PromoteSecret(x.t.Context(), &keysv1.PromoteSecretRequest{Id: x.id, Revision: revision, Etag: x.now().GetEtag(), IdempotencyKey: x.key()})
	return res.GetCredential(), err
}

func (x *rotating) discard(revision int32) (*keysv1.Credential, error) {
	res, err := x.owner.creds.DiscardSecret(x.t.Context(), &keysv1.DiscardSecretRequest{Id: x.id, Revision: revision, Etag: x.now().GetEtag(), IdempotencyKey: x.key()})
	return res.GetCredential(), err
}

// verdict lets the router answer the next test, which must be of revision.
func (x *rotating) verdict(tests int, revision int32, state keysv1.CredentialState) {
	x.t.Helper()
	x.w.until("the test", func() bool { return len(x.w.probes) == tests })
	if got := x.w.probes[tests-1].GetRevision(); got != revision {
		x.t.Fatalf("test of revision %d, want %d", got, revision)
	}
	x.report(x.app, x.w.probes[tests-1], state)
}

// used has a router tell of a use.
func (x *rotating) used(revision int32, at time.Time) {
	x.t.Helper()
	_, err := x.internal(x.app, "router", "router-1").ReportRouterState(x.t.Context(), &keysv1.ReportRouterStateRequest{
		Router: "router-1", Uses: []*keysv1.SecretUse{{OrgId: x.orgID, CredentialId: x.id, Revision: revision, Time: timestamp(at)}},
	})
	x.must(err)
}

func (x *rotating) audited(action string) int {
	return x.count("audit_event WHERE action = ? AND target = ?", action, x.id)
}

func TestASecondSecretThatIsRefusedLosesItsShareAtOnce(t *testing.T) {
	t.Parallel()
	x := newRotating(t)
	c := x.stage()
	if n := c.GetNext(); n.GetRevision() != 2 || n.GetState() != unverified || n.GetSharePercent() != 0 || n.GetHint() != "…3210" || c.GetRevision() != 1 || c.GetState() != active {
		t.Errorf("staged: %v beside revision %d, %v", n, c.GetRevision(), c.GetState())
	}
	refused(t, "a share before the test", x.share(1, 2), connect.CodeFailedPrecondition, "SECRET_NOT_TESTED")
	x.verdict(2, 2, active)
	refused(t, "a share of another revision", x.share(1, 1), connect.CodeAborted, "SECRET_REVISION_MISMATCH")
	x.must(x.share(1, 2))
	x.w.until("the share", func() bool { return x.w.credential(x.id).GetNext().GetSharePercent() == 1 })
	next := x.w.credential(x.id).GetNext()
	bound := transit.Context{Environment: environment, OrgID: x.orgID, CredentialID: x.id, Revision: 2, Binding: transit.Bind("openai")}
	if plain, err := x.keyset.Opener().Open(t.Context(), next.GetSealed(), bound); err != nil || plain.Reveal() != second {
		t.Errorf("routers cannot open the second secret: %v", err)
	}

	etag := x.now().GetEtag()
	x.evidence(x.id, 2, "auth_invalid")
	got := x.now()
	if n := got.GetNext(); n.GetSharePercent() != 0 || !n.GetRolledBack() || n.GetState() != rejected || n.GetStateReason() != "the provider said so" {
		t.Errorf("after a 401 on it: %v, want no share, rolled back and rejected", n)
	}
	if got.GetState() != active || got.GetEtag() != etag {
		t.Errorf("the first secret is %v with etag %s, want it untouched: active, %s", got.GetState(), got.GetEtag(), etag)
	}
	x.w.until("the roll-back", func() bool { return x.w.credential(x.id).GetNext().GetSharePercent() == 0 })
	x.evidence(x.id, 2, "auth_invalid")
	if n := x.audited("credential.roll_back"); n != 1 {
		t.Errorf("%d roll-backs are audited, want 1", n)
	}
	refused(t, "a share after the roll-back", x.share(1, 2), connect.CodeFailedPrecondition, "SECRET_NOT_TESTED")
	if _, err := x.promote(2); err == nil {
		t.Error("a refused secret was promoted")
	}
	res := x.testOf(x.id, 2, func() { x.verdict(3, 2, active) })
	if !res.GetTested() || res.GetCredential().GetNext().GetState() != active {
		t.Errorf("test of the second secret = %v, %v", res.GetTested(), res.GetCredential().GetNext().GetState())
	}
	x.must(x.share(1, 2))
	if n := x.now().GetNext(); n.GetRolledBack() || n.GetSharePercent() != 1 {
		t.Errorf("with a share again: %v", n)
	}
	x.evidence(x.id, 2, "auth_limited") // a 403
	if n := x.now().GetNext(); n.GetSharePercent() != 0 || !n.GetRolledBack() || n.GetState() != degraded {
		t.Errorf("after a 403: %v, want no share and degraded", n)
	}
}

func TestASecondSecretTakesThePlaceOfTheFirstStepByStep(t *testing.T) {
	t.Parallel()
	x := newRotating(t)
	x.used(1, x.clock.Now())
	x.stage()
	x.verdict(2, 2, active)
	for _, percent := range []int32{1, 10, 100} {
		x.must(x.share(percent, 2))
		x.clock.Advance(time.Hour)
		x.must(x.owner.refresh())
		x.used(2, x.clock.Now())
	}
	x.used(1, x.clock.Now().Add(-10*time.Minute))
	before := x.now()
	if before.GetLastUseTime().AsTime() != x.clock.Now().Add(-10*time.Minute) || before.GetNext().GetLastUseTime().AsTime() != x.clock.Now() {
		t.Errorf("last uses = %v and %v", before.GetLastUseTime().AsTime(), before.GetNext().GetLastUseTime().AsTime())
	}
	sealed := x.w.credential(x.id).GetSealed()
	promoted, err := x.promote(2)
	x.must(err)
	if promoted.GetRevision() != 2 || promoted.GetHint() != "…3210" || promoted.GetState() != active || promoted.GetNext() != nil {
		t.Errorf("promoted: revision %d %q %v, next %v", promoted.GetRevision(), promoted.GetHint(), promoted.GetState(), promoted.GetNext())
	}
	x.w.until("the promotion", func() bool { return x.w.credential(x.id).GetRevision() == 2 && x.w.credential(x.id).GetNext() == nil })
	bound := transit.Context{Environment: environment, OrgID: x.orgID, CredentialID: x.id, Revision: 2, Binding: transit.Bind("openai")}
	if _, err := x.keyset.Opener().Open(t.Context(), x.w.credential(x.id).GetSealed(), bound); err != nil {
		t.Errorf("what was promoted does not open: %v", err)
	}
	if n := x.count("credential WHERE sealed = ? OR next_sealed <> ''", sealed); n != 0 {
		t.Error("the old sealed text is still in the database")
	}
	p := x.now().GetPrevious()
	if p.GetRevision() != 1 || p.GetHint() != "…cdef" || p.GetPromoteTime().AsTime() != x.clock.Now() || p.GetLastUseTime().AsTime() != x.clock.Now().Add(-10*time.Minute) {
		t.Errorf("previous = %v", p)
	}
	x.evidence(x.id, 1, "auth_invalid") // of a request that began before
	if got := x.now(); got.GetState() != active {
		t.Errorf("evidence about the old secret made the credential %v", got.GetState())
	}
	if n := x.audited("credential.promote"); n != 1 {
		t.Errorf("%d promotions are audited, want 1", n)
	}
	refused(t, "discard of what serves", second2(x.discard(2)), connect.CodeAborted, "SECRET_REVISION_MISMATCH")
	gone, err := x.discard(1)
	x.must(err)
	if gone.GetPrevious() != nil || x.count("secret_use WHERE credential_id = ? AND revision = 1", x.id) != 0 {
		t.Error("the old secret is still known")
	}
}

func second2[T any](_ T, err error) error { return err }

// TestTheOldSecretIsSafeToRevokeOnceNobodyCanUseIt follows the rule: a day without use, and every connected
// router has said that it serves without it.
func TestTheOldSecretIsSafeToRevokeOnceNobodyCanUseIt(t *testing.T) {
	t.Parallel()
	x := newRotating(t)
	x.stage()
	x.verdict(2, 2, active)
	_, err := x.promote(2)
	x.must(err)
	x.w.until("the promotion", func() bool { return x.w.credential(x.id).GetRevision() == 2 })
	// applied has a router say what it serves, and waits until that counts.
	applied := func(router string, version int64, closing bool) {
		t.Helper()
		_, err := x.internal(x.app, "router", router).ReportRouterState(t.Context(), &keysv1.ReportRouterStateRequest{
			Router: router, Epoch: "1", AppliedVersion: version, Closing: closing,
		})
		x.must(err)
		eventually(t, "the report", func() bool {
			return x.count("router_state WHERE name = ? AND applied_version = ? AND closed = ? AND seen_at = ?", router, version, closing, x.clock.Now().UnixMicro()) == 1
		})
	}
	previous := func() *keysv1.PreviousSecret { t.Helper(); return x.now().GetPrevious() }
	wait := func(d time.Duration) {
		t.Helper()
		x.clock.Advance(d)
		x.owner = x.signIn("acme", "owner@acme.example")
	}
	used := x.clock.Now().Add(time.Hour)
	wait(2 * time.Hour)
	if p := previous(); p.GetSafe() || p.GetSafeTime() != nil {
		t.Errorf("without any router: %v, want that nothing is said", p)
	}
	applied("router-1", x.w.version, false)
	applied("router-2", x.w.version-1, false)
	if p := previous(); p.GetSafe() || p.GetSafeTime() != nil {
		t.Errorf("with a router that has not heard: %v, want that nothing is said", p)
	}
	applied("router-2", x.w.version, false)
	x.used(1, used) // it used the old one until it heard
	safeAt := used.Add(24*time.Hour + time.Minute)
	if p := previous(); p.GetSafe() || p.GetSafeTime().AsTime() != safeAt {
		t.Errorf("previous = %v, want it to be safe at %s", p, safeAt)
	}
	wait(safeAt.Sub(x.clock.Now()) - time.Microsecond)
	applied("router-1", x.w.version, false)
	if p := previous(); p.GetSafe() || p.GetSafeTime() == nil {
		t.Errorf("just before: %v, want it not to be safe yet", p)
	}
	wait(time.Microsecond)
	if p := previous(); !p.GetSafe() {
		t.Errorf("previous = %v, want it to be safe", p)
	}
	list, err := x.owner.creds.ListCredentials(t.Context(), &keysv1.ListCredentialsRequest{})
	if err != nil || !list.GetCredentials()[0].GetPrevious().GetSafe() {
		t.Errorf("the list does not say so: %v, %v", list.GetCredentials()[0].GetPrevious(), err)
	}
	applied("router-3", 1, false) // one that comes up with an old configuration, and falls silent
	wait(time.Minute)
	applied("router-1", x.w.version, false)
	if previous().GetSafe() {
		t.Error("safe, although a router may serve with the old one, cut off from here")
	}
	applied("router-3", 1, true)
	if !previous().GetSafe() {
		t.Error("not safe, although that router has said goodbye")
	}
}

func TestRotatingAtOnceLeavesThePreviousSecretAndDiscardsAStagedOne(t *testing.T) {
	t.Parallel()
	x := newRotating(t)
	x.stage()
	res, err := x.owner.creds.RotateCredential(t.Context(), &keysv1.RotateCredentialRequest{Id: x.id, Secret: "sk-third-0123456789", Etag: x.now().GetEtag(), IdempotencyKey: "rotate"})
	x.must(err)
	c := res.GetCredential()
	if c.GetRevision() != 3 || c.GetNext() != nil || c.GetPrevious().GetRevision() != 1 || c.GetPrevious().GetHint() != "…cdef" || c.GetState() != unverified {
		t.Errorf("rotated: revision %d, next %v, previous %v, %v", c.GetRevision(), c.GetNext(), c.GetPrevious(), c.GetState())
	}
	x.report(x.app, &keysv1.ProbeJob{OrgId: x.orgID, CredentialId: x.id, Revision: 2}, rejected)
	x.evidence(x.id, 2, "auth_invalid")
	if got := x.now(); got.GetState() != unverified {
		t.Errorf("findings about a discarded secret made the credential %v", got.GetState())
	}
	moved, err := x.owner.creds.UpdateCredential(t.Context(), &keysv1.UpdateCredentialRequest{Id: x.id, BaseUrl: new("https://llm.example/v1"), Etag: x.now().GetEtag(), IdempotencyKey: "move"})
	x.must(err)
	if c := moved.GetCredential(); c.GetState() != noSecret || c.GetPrevious().GetRevision() != 3 {
		t.Errorf("moved: %v, previous %v; want no secret and the discarded one as previous", c.GetState(), c.GetPrevious())
	}
	_, err = x.owner.creds.StageSecret(t.Context(), &keysv1.StageSecretRequest{Id: x.id, Secret: second, Etag: x.now().GetEtag(), IdempotencyKey: "stage again"})
	refused(t, "a second secret without a first", err, connect.CodeFailedPrecondition, "CREDENTIAL_NO_SECRET")
	refused(t, "a share without a second secret", x.share(1, 4), connect.CodeFailedPrecondition, "SECRET_NOT_STAGED")
}

// TestASecondSecretGoesToItsOwnPlacesAlone stages a secret that leads elsewhere: each is bound to its own places.
func TestASecondSecretGoesToItsOwnPlacesAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.watch(r.app, "router", 0)
	aws := func(region string) string {
		return fmt.Sprintf(`{"accessKeyId":"AKIDEXAMPLE","secretAccessKey":"secret-of-%s","region":%q}`, region, region)
	}
	created, err := r.owner.creds.CreateCredential(t.Context(), &keysv1.CreateCredentialRequest{
		Provider: "bedrock", Label: "aws", Secret: aws("us-east-1"), AcceptTerms: true, IdempotencyKey: "1",
	})
	r.must(err)
	c := created.GetCredential()
	res, err := r.owner.creds.StageSecret(t.Context(), &keysv1.StageSecretRequest{Id: c.GetId(), Secret: aws("eu-central-1"), Etag: c.GetEtag(), IdempotencyKey: "2"})
	r.must(err)
	if got := res.GetWarnings(); len(got) != 1 || !contains(got[0].GetDescription(), "other places") {
		t.Errorf("warnings = %v, want one of other places", got)
	}
	w.until("both", func() bool { return w.credential(c.GetId()).GetNext() != nil })
	seen := w.credential(c.GetId())
	if seen.GetSettings().GetRegion() != "us-east-1" || seen.GetNext().GetSettings().GetRegion() != "eu-central-1" {
		t.Errorf("routers see the regions %q and %q", seen.GetSettings().GetRegion(), seen.GetNext().GetSettings().GetRegion())
	}
	for region, sealed := range map[string]string{"us-east-1": seen.GetSealed(), "eu-central-1": seen.GetNext().GetSealed()} {
		form, err := keyform.Parse("bedrock", secret.New(aws(region)))
		r.must(err)
		for revision := range 3 {
			bound := transit.Context{Environment: environment, OrgID: r.orgID, CredentialID: c.GetId(), Revision: revision, Binding: transit.Bind("bedrock", form.Settings.Places()...)}
			_, err := r.keyset.Opener().Open(t.Context(), sealed, bound)
			if own := revision == map[string]int{"us-east-1": 1, "eu-central-1": 2}[region]; own != (err == nil) {
				t.Errorf("Open(%s, revision %d) = %v", region, revision, err)
			}
		}
	}
	if got := seen.GetNext().GetSettings().GetClientEmail() + fmt.Sprint(seen.GetNext().GetSettings().GetSecrets()); got != "[]" {
		t.Errorf("routers are told ends of secrets: %s", got)
	}
}

func TestExpiryWeightAndScopeReachRouters(t *testing.T) {
	t.Parallel()
	x := newRotating(t)
	update := func(req *keysv1.UpdateCredentialRequest) (*keysv1.Credential, error) {
		req.Id, req.Etag, req.IdempotencyKey = x.id, x.now().GetEtag(), x.key()
		res, err := x.owner.creds.UpdateCredential(t.Context(), req)
		return res.GetCredential(), err
	}
	k := x.owner.apiKey("ci", "").GetApiKey()
	g := x.owner.group("team")
	_, err := update(&keysv1.UpdateCredentialRequest{Scope: &keysv1.CredentialScope{GroupIds: []string{g.GetId(), "grp_none"}}})
	refused(t, "a scope with a group that is none", err, connect.CodeInvalidArgument, "CREDENTIAL_SCOPE_INVALID")
	_, err = x.owner.creds.CreateCredential(t.Context(), &keysv1.CreateCredentialRequest{
		Provider: "openai", Label: "narrow", Secret: second, AcceptTerms: true, Scope: &keysv1.CredentialScope{ApiKeyIds: []string{"key_none"}}, IdempotencyKey: "narrow",
	})
	refused(t, "a new credential for a key that is none", err, connect.CodeInvalidArgument, "CREDENTIAL_SCOPE_INVALID")
	_, err = update(&keysv1.UpdateCredentialRequest{Scope: &keysv1.CredentialScope{ApiKeyIds: []string{k.GetId(), "key_none"}}})
	refused(t, "a scope with a key that is none", err, connect.CodeInvalidArgument, "CREDENTIAL_SCOPE_INVALID")
	if err != nil && !contains(err.Error(), "scope.api_key_ids[1]: there is no API key key_none") {
		t.Errorf("error = %v, want the field and the id", err)
	}
	_, err = update(&keysv1.UpdateCredentialRequest{Scope: &keysv1.CredentialScope{Models: []string{"openai/gpt 4"}}})
	if connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a pattern with a space: %v", err)
	}
	_, err = update(&keysv1.UpdateCredentialRequest{ExpireTime: timestamp(x.clock.Now())})
	refused(t, "an end that is now", err, connect.CodeInvalidArgument, "EXPIRE_TIME_INVALID")

	end := x.clock.Now().Add(time.Hour)
	scope := &keysv1.CredentialScope{Models: []string{"openai/gpt-*"}, ApiKeyIds: []string{k.GetId()}, GroupIds: []string{g.GetId()}}
	c, err := update(&keysv1.UpdateCredentialRequest{Weight: new(int32(5)), Scope: scope, ExpireTime: timestamp(end)})
	x.must(err)
	if c.GetWeight() != 5 || c.GetScope().GetModels()[0] != "openai/gpt-*" || c.GetExpireTime().AsTime() != end {
		t.Errorf("credential = weight %d, scope %v, until %v", c.GetWeight(), c.GetScope(), c.GetExpireTime().AsTime())
	}
	x.w.until("all of it", func() bool {
		got := x.w.credential(x.id)
		return got.GetWeight() == 5 && got.GetExpireTime().AsTime().Equal(end) && len(got.GetScope().GetApiKeyIds()) == 1 && len(got.GetScope().GetModels()) == 1
	})
	metering := x.watch(x.app, "metering", 0)
	metering.until("the credential", func() bool { return metering.credential(x.id) != nil })
	if got := metering.credential(x.id); got.GetScope() != nil || got.GetNext() != nil || got.GetWeight() != 0 || got.GetExpireTime() != nil {
		t.Errorf("metering sees %v", got)
	}

	x.clock.Advance(time.Hour)
	x.must(x.owner.refresh())
	x.w.until("its end", func() bool { return x.w.credential(x.id).GetState() == expired })
	if got := x.now(); got.GetState() != expired || !contains(got.GetStateReason(), "its time was up at") {
		t.Errorf("after its end: %v %q", got.GetState(), got.GetStateReason())
	}
	if n := x.count("audit_event WHERE action = 'credential.state' AND actor = 'keys' AND detail LIKE '%time_up%' AND target = ?", x.id); n != 1 {
		t.Errorf("%d ends are audited, want 1", n)
	}
	_, err = x.owner.creds.TestCredential(t.Context(), &keysv1.TestCredentialRequest{Id: x.id})
	refused(t, "a test after its end", err, connect.CodeFailedPrecondition, "CREDENTIAL_EXPIRED")
	c, err = update(&keysv1.UpdateCredentialRequest{ClearExpireTime: true, Scope: &keysv1.CredentialScope{}})
	x.must(err)
	if c.GetState() != unverified || c.GetExpireTime() != nil || c.GetScope() != nil {
		t.Errorf("with more time: %v until %v, scope %v", c.GetState(), c.GetExpireTime(), c.GetScope())
	}
}

// TestAStagedSecretIsNowhereButSealed looks for it wherever something is kept or told.
func TestAStagedSecretIsNowhereButSealed(t *testing.T) {
	t.Parallel()
	x := newRotating(t)
	x.tell(x.stage())
	x.verdict(2, 2, active)
	x.must(x.share(10, 2))
	x.evidence(x.id, 2, "auth_invalid")
	x.testOf(x.id, 2, func() { x.verdict(3, 2, active) })
	promoted, err := x.promote(2)
	x.must(err)
	x.tell(promoted)
	third := x.stage()
	x.tell(third)
	gone, err := x.discard(third.GetNext().GetRevision())
	x.must(err)
	x.tell(gone)
	for _, sealed := range []string{x.w.credential(x.id).GetSealed()} {
		if n := x.count("idempotency WHERE response LIKE ?", "%"+sealed+"%") + x.count("audit_event WHERE detail LIKE ?", "%"+sealed+"%"); n != 0 {
			t.Error("the sealed text is kept in answers or the audit")
		}
	}
	x.holdsNoSecret([]string{second, "c2stc2Vjb25kLWZlZGNiYTk4NzY1NDMyMTA", strings.TrimPrefix(second, "sk-")})
}

// tell checks an answer for secrets.
func (x *rotating) tell(c *keysv1.Credential) {
	x.t.Helper()
	holdsNone(x.t, "an answer", c.String(), []string{second, x.w.credential(x.id).GetSealed()})
}
