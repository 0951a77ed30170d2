package keys_test

import (
	"slices"
	"testing"

	"connectrpc.com/connect/v2"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

// set disables or enables a member, as they are now.
func (p *person) set(id string, disabled, cut bool, key string) (*keysv1.UpdateMemberResponse, error) {
	read, err := p.members.GetMember(p.r.t.Context(), &keysv1.GetMemberRequest{Id: id})
	if err != nil {
		return nil, err
	}
	return p.members.UpdateMember(p.r.t.Context(), &keysv1.UpdateMemberRequest{
		Id: id, Disabled: &disabled, CutStreams: cut, Etag: read.GetMember().GetEtag(), IdempotencyKey: key,
	})
}

func TestADisabledMemberIsOutWithTheirAPIKeysUntilEnabled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w, metering := r.watch(r.app, "router", 0), r.watch(r.app, "metering", 0)
	p := r.add("suspect", plain)
	live, dead, others := p.apiKey("live", "").GetApiKey(), p.apiKey("dead", "").GetApiKey(), r.owner.apiKey("other", "").GetApiKey()
	_, err := p.apiKeys.RevokeApiKey(t.Context(), &keysv1.RevokeApiKeyRequest{Id: dead.GetId(), IdempotencyKey: "1"})
	r.must(err)

	out, err := r.owner.set(p.id, true, true, "2")
	r.must(err)
	if m := out.GetMember(); m.GetDisableTime() == nil || m.GetRole() != plain || out.GetReceipt() == nil {
		t.Errorf("disabled: %v with receipt %v", m, out.GetReceipt())
	}
	w.until("suspended", func() bool { return w.key(live.GetId()).GetSuspended() })
	if got := w.cut(); !slices.Equal(got, []string{live.GetId()}) || w.key(others.GetId()).GetSuspended() || w.key(dead.GetId()).GetSuspended() {
		t.Errorf("routers are told to cut %v, want the one key that was live", got)
	}
	refused(t, "sign-in", r.trySignIn("acme", "suspect@acme.example", passphrase), connect.CodePermissionDenied, "MEMBER_DISABLED")
	refused(t, "sign-in without the password", r.trySignIn("acme", "suspect@acme.example", "a wrong password"), connect.CodeUnauthenticated, "SIGN_IN_FAILED")
	list, err := r.owner.apiKeys.ListApiKeys(t.Context(), &keysv1.ListApiKeysRequest{})
	r.must(err)
	for _, k := range list.GetApiKeys() {
		if k.GetSuspended() != (k.GetId() == live.GetId()) {
			t.Errorf("API key %s is listed as suspended: %v", k.GetName(), k.GetSuspended())
		}
	}

	back, err := r.owner.set(p.id, false, false, "3")
	r.must(err)
	if m := back.GetMember(); m.GetDisableTime() != nil || back.GetReceipt() == nil {
		t.Errorf("enabled: %v with receipt %v", m, back.GetReceipt())
	}
	w.until("it serves again", func() bool { return !w.key(live.GetId()).GetSuspended() })
	if got := w.cut(); len(got) > 0 || !w.key(dead.GetId()).GetRevoked() {
		t.Errorf("routers are told to cut %v, and that the revoked key lives", got)
	}
	r.signIn("acme", "suspect@acme.example")

	_, err = r.owner.set(p.id, true, false, "4")
	r.must(err)
	w.until("suspended again", func() bool { return w.key(live.GetId()).GetSuspended() })
	if got := w.cut(); len(got) > 0 {
		t.Errorf("without being asked routers are told to cut %v", got)
	}
	_, err = r.owner.set(p.id, true, true, "5") // second thoughts
	r.must(err)
	w.until("cut after all", func() bool { return w.key(live.GetId()).GetCut() })
	metering.until("all of it", func() bool { return metering.version >= w.version })
	if metering.key(live.GetId()).GetSuspended() {
		t.Error("metering is told of suspended keys")
	}

	details := r.details("member.update")
	want := []string{
		`{"api_keys":["` + live.GetId() + `"],"cut_streams":true,"disabled":{"from":false,"to":true}}`,
		`{"api_keys":["` + live.GetId() + `"],"cut_streams":false,"disabled":{"from":true,"to":false}}`,
		`{"api_keys":["` + live.GetId() + `"],"cut_streams":false,"disabled":{"from":false,"to":true}}`,
		`{"api_keys":["` + live.GetId() + `"],"cut_streams":true,"disabled":{"from":true,"to":true}}`,
	}
	for i, text := range details {
		if i >= len(want) || !contains(text, want[i]) {
			t.Errorf("the audit says %s", text)
		}
	}
	if len(details) != len(want) {
		t.Errorf("the audit has %d events, want %d", len(details), len(want))
	}
}

func TestAnOrganizationKeepsAnOwnerWhoCanSignIn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	boss, second := r.add("boss", admin), r.add("second", owner)
	_, err := boss.set(second.id, true, false, "1")
	refused(t, "an admin disables an owner", err, connect.CodePermissionDenied, "OWNER_ONLY")
	_, err = r.owner.set(second.id, true, false, "2")
	r.must(err)
	_, err = boss.set(second.id, false, false, "3")
	refused(t, "an admin enables an owner", err, connect.CodePermissionDenied, "OWNER_ONLY")

	_, err = r.owner.set(r.owner.id, true, false, "4")
	refused(t, "the last one disables herself", err, connect.CodeFailedPrecondition, "LAST_OWNER")
	_, err = r.owner.members.UpdateMember(ctx, &keysv1.UpdateMemberRequest{Id: r.owner.id, Role: viewer, Etag: "1", IdempotencyKey: "5"})
	refused(t, "the last one steps down", err, connect.CodeFailedPrecondition, "LAST_OWNER")
	_, err = r.owner.members.DeleteMember(ctx, &keysv1.DeleteMemberRequest{Id: r.owner.id, IdempotencyKey: "6"})
	refused(t, "the last one leaves", err, connect.CodeFailedPrecondition, "LAST_OWNER")

	_, err = r.owner.members.DeleteMember(ctx, &keysv1.DeleteMemberRequest{Id: second.id, IdempotencyKey: "7"})
	r.must(err) // one who is disabled is none that would be missed
}
