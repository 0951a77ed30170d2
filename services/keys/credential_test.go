package keys_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/claviger/claviger/pkg/transit"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/keys/internal/organization"
	"github.com/claviger/claviger/services/keys/internal/store"
	"github.com/claviger/claviger/services/keys/internal/store/storetest"
)

// fixture reaches the store of the rig's organization past the API.
func (r *rig) fixture() *storetest.Fixture {
	f := &storetest.Fixture{DB: r.db, Store: store.New(r.db, r.clock.Now), Clock: r.clock, Org: organization.Organization{ID: r.orgID}}
	f.Owner.ID = r.owner.id
	return f
}

const (
	unverified = keysv1.CredentialState_CREDENTIAL_STATE_UNVERIFIED
	active     = keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE
	degraded   = keysv1.CredentialState_CREDENTIAL_STATE_DEGRADED
	exhausted  = keysv1.CredentialState_CREDENTIAL_STATE_QUOTA_EXHAUSTED
	rejected   = keysv1.CredentialState_CREDENTIAL_STATE_REJECTED
	disabled   = keysv1.CredentialState_CREDENTIAL_STATE_DISABLED
	noSecret   = keysv1.CredentialState_CREDENTIAL_STATE_NO_SECRET
	expired    = keysv1.CredentialState_CREDENTIAL_STATE_EXPIRED
)

func TestCredentialRules(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	good := func() *keysv1.CreateCredentialRequest {
		return &keysv1.CreateCredentialRequest{Provider: "openai", Label: "main", Secret: "sk-test-0123456789abcdef", AcceptTerms: true}
	}
	for name, c := range map[string]struct {
		spoil   func(*keysv1.CreateCredentialRequest)
		code    connect.Code
		reason  string
		message string
	}{
		"terms":            {func(q *keysv1.CreateCredentialRequest) { q.AcceptTerms = false }, connect.CodeFailedPrecondition, "TERMS_NOT_ACCEPTED", "set accept_terms"},
		"unknown provider": {func(q *keysv1.CreateCredentialRequest) { q.Provider = "acme" }, connect.CodeInvalidArgument, "PROVIDER_UNKNOWN", "known are anthropic, azure"},
		"fixed address":    {func(q *keysv1.CreateCredentialRequest) { q.Provider, q.BaseUrl = "anthropic", "https://llm.example/v1" }, connect.CodeInvalidArgument, "BASE_URL_NOT_ALLOWED", "anthropic"},
		"not its address":  {func(q *keysv1.CreateCredentialRequest) { q.Provider, q.BaseUrl = "moonshot", "https://llm.example/v1" }, connect.CodeInvalidArgument, "BASE_URL_NOT_ALLOWED", "https://api.moonshot.cn/v1"},
		"plain http":       {func(q *keysv1.CreateCredentialRequest) { q.BaseUrl = "http://llm.example/v1" }, connect.CodeInvalidArgument, "EGRESS_DENIED", ""},
		"line break":       {func(q *keysv1.CreateCredentialRequest) { q.Secret += "\n" }, connect.CodeInvalidArgument, "SECRET_MALFORMED", "line break at byte 25"},
		"space in front":   {func(q *keysv1.CreateCredentialRequest) { q.Secret = " " + q.Secret }, connect.CodeInvalidArgument, "SECRET_MALFORMED", "white space at byte 1"},
		"control":          {func(q *keysv1.CreateCredentialRequest) { q.Secret = "sk-\x00-0123456" }, connect.CodeInvalidArgument, "SECRET_MALFORMED", "control character at byte 4"},
		"smart quote":      {func(q *keysv1.CreateCredentialRequest) { q.Secret = "“" + q.Secret }, connect.CodeInvalidArgument, "SECRET_MALFORMED", "at byte 1"},
		"label":            {func(q *keysv1.CreateCredentialRequest) { q.Label = "a\tb" }, connect.CodeInvalidArgument, "NAME_INVALID", "label"},
	} {
		req := good()
		c.spoil(req)
		req.IdempotencyKey = name
		_, err := r.owner.creds.CreateCredential(t.Context(), req)
		if c.reason == "EGRESS_DENIED" { // its reasons are another package's
			if connect.CodeOf(err) != c.code {
				t.Errorf("%s: %v, want %v", name, err, c.code)
			}
			continue
		}
		refused(t, name, err, c.code, c.reason)
		if err != nil && (!strings.Contains(err.Error(), c.message) || strings.Contains(err.Error(), "sk-test")) {
			t.Errorf("%s: message %q, want %q in it and no secret", name, err, c.message)
		}
	}
	if r.sealer.calls.Load() != 0 {
		t.Errorf("refused credentials were sealed %d times", r.sealer.calls.Load())
	}
	r.owner.credential("main")
	again := good()
	again.IdempotencyKey = "taken"
	_, err := r.owner.creds.CreateCredential(t.Context(), again)
	refused(t, "taken label", err, connect.CodeAborted, "CREDENTIAL_EXISTS")
}

func TestSealedSecretOpensOnlyInItsPlace(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.watch(r.app, "router", 0)
	fixed := r.owner.credential("main")
	custom, err := r.owner.creds.CreateCredential(t.Context(), &keysv1.CreateCredentialRequest{
		Provider: "openai", Label: "own server", Secret: "sk-test-0123456789abcdef", BaseUrl: "https://LLM.example:443/v1/", AcceptTerms: true, IdempotencyKey: "1",
	})
	r.must(err)
	if got := custom.GetCredential().GetBaseUrl(); got != "https://llm.example/v1" {
		t.Errorf("base URL = %q, want its normal form", got)
	}
	if got := fixed.GetHint(); got != "…cdef" {
		t.Errorf("hint = %q, want the end of the secret", got)
	}
	w.until("both credentials", func() bool {
		return w.credential(fixed.GetId()) != nil && w.credential(custom.GetCredential().GetId()) != nil
	})
	for id, binding := range map[string]string{
		fixed.GetId():                  transit.Bind("openai"),
		custom.GetCredential().GetId(): transit.Bind("openai", "https://llm.example"),
	} {
		bound := transit.Context{Environment: environment, OrgID: r.orgID, CredentialID: id, Revision: 1, Binding: binding}
		sealed := w.credential(id).GetSealed()
		if plain, err := r.keyset.Opener().Open(t.Context(), sealed, bound); err != nil || plain.Reveal() != "sk-test-0123456789abcdef" {
			t.Errorf("Open(%s): %v", id, err)
		}
		bound.OrgID = "org_other"
		if _, err := r.keyset.Opener().Open(t.Context(), sealed, bound); err == nil {
			t.Errorf("Open(%s) in another organization succeeded", id)
		}
	}
}

func TestNewBaseURLDiscardsTheSecret(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.watch(r.app, "router", 0)
	c := r.owner.credential("main")
	update := func(req *keysv1.UpdateCredentialRequest) *keysv1.Credential {
		t.Helper()
		req.Id, req.Etag, req.IdempotencyKey = c.GetId(), c.GetEtag(), "update "+c.GetEtag()
		res, err := r.owner.creds.UpdateCredential(t.Context(), req)
		r.must(err)
		c = res.GetCredential()
		return c
	}
	update(&keysv1.UpdateCredentialRequest{BaseUrl: new(""), Priority: new(int32(3)), Label: new("second")})
	if c.GetState() != unverified || c.GetHint() == "" || c.GetPriority() != 3 || c.GetLabel() != "second" {
		t.Errorf("credential after harmless changes = %v %q %d %q", c.GetState(), c.GetHint(), c.GetPriority(), c.GetLabel())
	}
	update(&keysv1.UpdateCredentialRequest{BaseUrl: new("https://llm.example/v1")})
	if c.GetState() != noSecret || c.GetHint() != "" || c.GetRevision() != 1 {
		t.Errorf("credential after a new base URL = %v %q revision %d, want no secret and revision 1", c.GetState(), c.GetHint(), c.GetRevision())
	}
	if n := r.count("credential WHERE id = ? AND sealed = ''", c.GetId()); n != 1 {
		t.Error("the sealed secret is still in the database")
	}
	_, err := r.owner.creds.TestCredential(t.Context(), &keysv1.TestCredentialRequest{Id: c.GetId()})
	refused(t, "test without a secret", err, connect.CodeFailedPrecondition, "CREDENTIAL_NO_SECRET")
	update(&keysv1.UpdateCredentialRequest{Disabled: new(true)})
	update(&keysv1.UpdateCredentialRequest{Disabled: new(false)})
	if c.GetState() != noSecret {
		t.Errorf("switching it off and on brought the state %v, want no secret", c.GetState())
	}
	res, err := r.owner.creds.RotateCredential(t.Context(), &keysv1.RotateCredentialRequest{Id: c.GetId(), Secret: "sk-next-fedcba9876543210", Etag: c.GetEtag(), IdempotencyKey: "rotate"})
	r.must(err)
	c = res.GetCredential()
	if c.GetState() != unverified || c.GetRevision() != 2 || c.GetHint() != "…3210" {
		t.Errorf("credential after rotation = %v revision %d %q", c.GetState(), c.GetRevision(), c.GetHint())
	}
	w.until("revision 2", func() bool { return w.credential(c.GetId()).GetRevision() == 2 })
	bound := transit.Context{Environment: environment, OrgID: r.orgID, CredentialID: c.GetId(), Revision: 2, Binding: transit.Bind("openai", "https://llm.example")}
	if _, err := r.keyset.Opener().Open(t.Context(), w.credential(c.GetId()).GetSealed(), bound); err != nil {
		t.Errorf("Open(revision 2): %v", err)
	}
}

func TestSealedVaultStopsSealingAndNothingElse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c := r.owner.credential("main")
	r.sealer.down.Store(true)
	ctx := t.Context()
	create := &keysv1.CreateCredentialRequest{Provider: "openai", Label: "next", Secret: "sk-test-0123456789abcdef", AcceptTerms: true, IdempotencyKey: "next"}
	_, err := r.owner.creds.CreateCredential(ctx, create)
	refused(t, "CreateCredential", err, connect.CodeUnavailable, "VAULT_SEALED")
	_, err = r.owner.creds.RotateCredential(ctx, &keysv1.RotateCredentialRequest{Id: c.GetId(), Secret: "sk-test-other", Etag: c.GetEtag(), IdempotencyKey: "rotate"})
	refused(t, "RotateCredential", err, connect.CodeUnavailable, "VAULT_SEALED")
	_, err = r.owner.apiKeys.CreateApiKey(ctx, &keysv1.CreateApiKeyRequest{Name: "first", IdempotencyKey: "first"})
	refused(t, "the first CreateApiKey, whose pepper is in the vault", err, connect.CodeUnavailable, "VAULT_SEALED")

	r.must(r.app.Ready(ctx))
	r.must(r.trySignIn("acme", "owner@acme.example", passphrase))
	r.owner.policy("fast")
	_, err = r.owner.creds.UpdateCredential(ctx, &keysv1.UpdateCredentialRequest{Id: c.GetId(), Priority: new(int32(1)), Etag: c.GetEtag(), IdempotencyKey: "u"})
	r.must(err)
	again, err := r.owner.creds.CreateCredential(ctx, &keysv1.CreateCredentialRequest{
		Provider: "openai", Label: "main", Secret: "sk-test-0123456789abcdef", AcceptTerms: true, IdempotencyKey: "credential main",
	})
	if err != nil || again.GetCredential().GetId() != c.GetId() {
		t.Errorf("retry of what was created before: %v, %v", again.GetCredential().GetId(), err)
	}
	w := r.watch(r.app, "router", 0)
	w.until("the configuration", func() bool { return w.credential(c.GetId()) != nil })
	_, err = r.owner.creds.DeleteCredential(ctx, &keysv1.DeleteCredentialRequest{Id: c.GetId(), IdempotencyKey: "d"})
	r.must(err)

	r.sealer.down.Store(false)
	_, err = r.owner.creds.CreateCredential(ctx, create) // with the same key: the failed attempt left nothing
	r.must(err)
	r.owner.apiKey("first", "")
	r.sealer.down.Store(true)
	r.owner.apiKey("second", "") // the pepper is known now
}

func TestDeletedCredentialLeavesNoSealedText(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.watch(r.app, "router", 0)
	c := r.owner.credential("main")
	w.until("the credential", func() bool { return w.credential(c.GetId()) != nil })
	sealed := w.credential(c.GetId()).GetSealed()
	_, err := r.owner.creds.DeleteCredential(t.Context(), &keysv1.DeleteCredentialRequest{Id: c.GetId(), IdempotencyKey: "1"})
	r.must(err)
	for table, column := range map[string]string{"credential": "sealed", "idempotency": "response", "audit_event": "detail"} {
		if n := r.count(fmt.Sprintf("%s WHERE %s LIKE ?", table, column), "%"+sealed+"%"); n != 0 {
			t.Errorf("%s still holds the sealed text", table)
		}
	}
	if n := r.count("probe WHERE credential_id = ?", c.GetId()); n != 0 {
		t.Error("its probe is still there")
	}
	w.until("its end", func() bool { return w.credential(c.GetId()) == nil })
}

func TestKeyTestsDecideTheState(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.watch(r.app, "router", 0)
	c := r.owner.credential("main")
	w.until("the first test", func() bool { return len(w.probes) == 1 })
	if got := w.probes[0]; got.GetCredentialId() != c.GetId() || got.GetOrgId() != r.orgID || got.GetRevision() != 1 {
		t.Errorf("probe = %s %s %d", got.GetCredentialId(), got.GetOrgId(), got.GetRevision())
	}
	r.report(r.app, w.probes[0], active)
	if got := r.get(c.GetId()); got.GetState() != active || got.GetStateReason() != "because" || got.GetEtag() != c.GetEtag() {
		t.Errorf("after the test: %v %q etag %s, want active and the etag %s", got.GetState(), got.GetStateReason(), got.GetEtag(), c.GetEtag())
	}
	if n := r.count("audit_event WHERE action = 'credential.state' AND actor = 'router/router-1' AND target = ?", c.GetId()); n != 1 {
		t.Errorf("%d audit events name the router, want 1", n)
	}
	for _, verdict := range []keysv1.CredentialState{rejected, degraded, exhausted, active} {
		res := r.test(c.GetId(), func() {
			before := len(w.probes)
			w.until("the next test", func() bool { return len(w.probes) > before })
			r.report(r.app, w.probes[before], verdict)
		})
		if !res.GetTested() || res.GetCredential().GetState() != verdict {
			t.Errorf("TestCredential = tested %v, %v; want %v", res.GetTested(), res.GetCredential().GetState(), verdict)
		}
		w.until("the verdict", func() bool { return w.credential(c.GetId()).GetState() == verdict })
	}
	version := w.version
	res := r.test(c.GetId(), func() {
		before := len(w.probes)
		w.until("the next test", func() bool { return len(w.probes) > before })
		r.report(r.app, w.probes[before], keysv1.CredentialState_CREDENTIAL_STATE_UNSPECIFIED)
	})
	if !res.GetTested() || res.GetCredential().GetState() != active || !strings.Contains(res.GetCredential().GetStateReason(), "no verdict: because") {
		t.Errorf("TestCredential without a verdict = %v, %v, %q", res.GetTested(), res.GetCredential().GetState(), res.GetCredential().GetStateReason())
	}
	p := r.owner.policy("marker")
	w.until("the marker", func() bool { return w.config[p.GetId()] != nil })
	if w.version != version+1 {
		t.Errorf("%d versions came, want one: a test without news is none", w.version-version)
	}
}

// test calls TestCredential while the router does its part.
func (r *rig) test(id string, router func()) (res *keysv1.TestCredentialResponse) {
	r.t.Helper()
	return r.testOf(id, 0, router)
}

func (r *rig) testOf(id string, revision int32, router func()) (res *keysv1.TestCredentialResponse) {
	r.t.Helper()
	var call sync.WaitGroup
	call.Go(func() {
		var err error
		if res, err = r.owner.creds.TestCredential(r.t.Context(), &keysv1.TestCredentialRequest{Id: id, Revision: revision}); err != nil {
			r.t.Errorf("TestCredential: %v", err)
		}
	})
	router()
	call.Wait()
	return res
}

func (r *rig) get(id string) *keysv1.Credential {
	r.t.Helper()
	res, err := r.owner.creds.GetCredential(r.t.Context(), &keysv1.GetCredentialRequest{Id: id})
	r.must(err)
	return res.GetCredential()
}

func TestTestWithoutARouterEndsUntested(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		c := r.owner.credential("main")
		begin := time.Now()
		res, err := r.owner.creds.TestCredential(t.Context(), &keysv1.TestCredentialRequest{Id: c.GetId()})
		if err != nil || res.GetTested() || res.GetCredential().GetState() != unverified {
			t.Errorf("TestCredential = tested %v, %v, %v; want untested and unverified", res.GetTested(), res.GetCredential().GetState(), err)
		}
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("it took %s, want ten seconds", took)
		}
		w := r.watch(r.app, "router", 0) // the verdict arrives later
		w.until("the test", func() bool { return len(w.probes) == 1 })
		r.report(r.app, w.probes[0], active)
		if got := r.get(c.GetId()).GetState(); got != active {
			t.Errorf("state = %v, want active", got)
		}
	})
}

func TestFindingsAboutAnotherSecretChangeNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.watch(r.app, "router", 0)
	c := r.owner.credential("main")
	w.until("the first test", func() bool { return len(w.probes) == 1 })
	res, err := r.owner.creds.RotateCredential(t.Context(), &keysv1.RotateCredentialRequest{Id: c.GetId(), Secret: "sk-next-fedcba9876543210", Etag: c.GetEtag(), IdempotencyKey: "1"})
	r.must(err)
	r.report(r.app, w.probes[0], rejected)
	r.evidence(c.GetId(), 1, "auth_invalid")
	if got := r.get(c.GetId()); got.GetState() != unverified || got.GetRevision() != 2 {
		t.Errorf("after findings about revision 1: %v, revision %d; want unverified, 2", got.GetState(), got.GetRevision())
	}
	w.until("the second test", func() bool { return len(w.probes) == 2 })
	if got := w.probes[1].GetRevision(); got != 2 {
		t.Errorf("second test is of revision %d", got)
	}
	off, err := r.owner.creds.UpdateCredential(t.Context(), &keysv1.UpdateCredentialRequest{Id: c.GetId(), Disabled: new(true), Etag: res.GetCredential().GetEtag(), IdempotencyKey: "2"})
	r.must(err)
	r.report(r.app, w.probes[1], active)
	r.evidence(c.GetId(), 2, "auth_invalid")
	if got := r.get(c.GetId()).GetState(); got != disabled {
		t.Errorf("findings about a disabled credential made it %v", got)
	}
	_, err = r.owner.creds.TestCredential(t.Context(), &keysv1.TestCredentialRequest{Id: c.GetId()})
	refused(t, "test of a disabled credential", err, connect.CodeFailedPrecondition, "CREDENTIAL_DISABLED")
	_, err = r.owner.creds.UpdateCredential(t.Context(), &keysv1.UpdateCredentialRequest{Id: c.GetId(), Disabled: new(false), Etag: off.GetCredential().GetEtag(), IdempotencyKey: "3"})
	r.must(err)
	w.until("a test after switching it on", func() bool { return len(w.probes) == 3 })
	r.evidence("cred_unknown", 1, "auth_invalid") // passed over
	r.evidence(c.GetId(), 2, "rate_limited")      // says nothing of the key
	if got := r.get(c.GetId()).GetState(); got != unverified {
		t.Errorf("state = %v, want unverified", got)
	}
}

func (r *rig) evidence(id string, revision int32, class string) {
	r.t.Helper()
	_, err := r.internal(r.app, "router", "router-1").ReportRouterState(r.t.Context(), &keysv1.ReportRouterStateRequest{
		Router: "router-1", Closing: true, Evidence: []*keysv1.CredentialEvidence{
			{OrgId: r.orgID, CredentialId: id, Revision: revision, ErrorClass: class, Reason: "the provider said so", Time: timestamp(r.clock.Now())},
			{OrgId: "org_unknown", CredentialId: id, Revision: revision, ErrorClass: class},
		},
	})
	r.must(err)
}

func TestEvidenceMovesTheStateOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.watch(r.app, "router", 0)
	c := r.owner.credential("main")
	w.until("the first test", func() bool { return len(w.probes) == 1 })
	r.report(r.app, w.probes[0], active)
	for range 3 {
		r.evidence(c.GetId(), 1, "quota_exhausted")
	}
	if got := r.get(c.GetId()); got.GetState() != exhausted || got.GetStateReason() != "the provider said so" {
		t.Errorf("after evidence: %v %q", got.GetState(), got.GetStateReason())
	}
	for range 3 { // one bad moment asks for one test
		r.evidence(c.GetId(), 1, "auth_invalid")
		r.evidence(c.GetId(), 1, "quota_exhausted")
	}
	w.until("a test of what was refused", func() bool { return len(w.probes) == 2 })
	if got := r.get(c.GetId()); got.GetState() != exhausted || !contains(got.GetStateReason(), "a test follows: the provider said so") {
		t.Errorf("after a refusal: %v %q", got.GetState(), got.GetStateReason())
	}
	r.report(r.app, w.probes[1], rejected)
	for range 3 {
		r.evidence(c.GetId(), 1, "quota_exhausted") // lifts no rejection
	}
	if got := r.get(c.GetId()).GetState(); got != rejected {
		t.Errorf("after a test of a wrong key: %v", got)
	}
	if n := r.count("audit_event WHERE action = 'credential.state' AND target = ?", c.GetId()); n != 3 {
		t.Errorf("%d moves are audited, want 3: active, exhausted, rejected", n)
	}
	if n := r.count("audit_event WHERE action = 'credential.state' AND detail LIKE ? AND target = ?", `%"tell":"`+r.owner.id+`"%`, c.GetId()); n != 2 {
		t.Errorf("%d of them name who has to know, want 2", n)
	}
	// A test that follows by itself brings it back.
	r.clock.Advance(time.Hour)
	r.must(r.owner.refresh())
	w.until("a test that nobody asked for", func() bool { return len(w.probes) == 3 })
	r.report(r.app, w.probes[2], active)
	if got := r.get(c.GetId()).GetState(); got != active {
		t.Errorf("after a good test: %v, want active", got)
	}
}

// TestALackOfARightDegradesOnceAndServesOn: a 403 of one model takes nothing from the others, and a test that
// passes later lifts it.
func TestALackOfARightDegradesOnceAndServesOn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.watch(r.app, "router", 0)
	c := r.owner.credential("main")
	w.until("the first test", func() bool { return len(w.probes) == 1 })
	r.report(r.app, w.probes[0], active)
	for range 3 {
		r.evidence(c.GetId(), 1, "auth_limited")
	}
	if got := r.get(c.GetId()); got.GetState() != degraded || got.GetStateReason() != "the provider said so" {
		t.Errorf("after a 403: %v %q, want degraded with the provider's word", got.GetState(), got.GetStateReason())
	}
	w.until("the state at routers", func() bool { return w.credential(c.GetId()).GetState() == degraded })
	if w.credential(c.GetId()).GetSealed() == "" {
		t.Error("routers have no secret of it any more")
	}
	if n := r.count("audit_event WHERE action = 'credential.state' AND detail LIKE ? AND target = ?", `%"tell":"`+r.owner.id+`"%`, c.GetId()); n != 1 {
		t.Errorf("%d audited moves name who has to know, want 1", n)
	}
	r.clock.Advance(time.Hour)
	r.must(r.owner.refresh())
	w.until("a test that follows by itself", func() bool { return len(w.probes) == 2 })
	r.report(r.app, w.probes[1], active)
	if got := r.get(c.GetId()).GetState(); got != active {
		t.Errorf("after a test that passes: %v, want active", got)
	}
}
