package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/group"
	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/policy"
	"github.com/claviger/claviger/services/keys/internal/routing"
	"github.com/claviger/claviger/services/keys/internal/store"
)

// anyPrice is a price book that knows all models.
type anyPrice struct{}

func (anyPrice) Known(string) bool      { return true }
func (anyPrice) Priced(string) bool     { return true }
func (anyPrice) Models(string) []string { return nil }
func (anyPrice) Offers(string) []string { return nil }

func (f *Fixture) policies() *policy.Service {
	return &policy.Service{Prices: anyPrice{}, Now: f.Clock.Now}
}

func (f *Fixture) caller() member.Caller {
	return member.Caller{OrgID: f.Org.ID, MemberID: f.Owner.ID, Role: member.Owner}
}

// rule has one line for each model.
func rule(models ...string) policy.Spec {
	g := policy.Group{}
	for _, m := range models {
		t := policy.Target{Model: m}
		if t.Policy() == "" {
			t.Use = policy.Own
		}
		g.Targets = append(g.Targets, t)
	}
	return policy.Spec{Groups: []policy.Group{g}}
}

// publish creates a policy that serves.
func (f *Fixture) publish(t testing.TB, name string, spec policy.Spec) (p policy.Policy) {
	t.Helper()
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) (err error) {
		p, _, err = f.policies().Create(ctx, tx, f.caller(), name, spec, true)
		return err
	})
	return p
}

func (f *Fixture) version(t testing.TB) int64 {
	t.Helper()
	v, err := f.Store.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func drafts(t *testing.T, f *Fixture) {
	before := f.version(t)
	var p policy.Policy
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) (err error) {
		p, _, err = f.policies().Create(ctx, tx, f.caller(), "fast", rule("openai/a"), false)
		return err
	})
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) (err error) {
		p, _, err = f.policies().Update(ctx, tx, f.caller(), p.ID, rule("openai/b"), false, p.ETag())
		return err
	})
	if v := f.version(t); v != before {
		t.Errorf("a draft made version %d of %d: nobody has to hear of it", v, before)
	}
	if whole, _ := f.Whole(t); len(whole) != 2 {
		t.Errorf("the whole configuration has %d objects, want the organization and its owner", len(whole))
	}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) (err error) {
		p, _, err = f.policies().Publish(ctx, tx, f.caller(), p.ID, p.ETag())
		return err
	})
	d, err := f.Store.Delta(t.Context(), before)
	if err != nil || len(d.Policies) != 1 || d.Policies[0].Version != 1 || d.Policies[0].Spec.Groups[0].Targets[0].Model != "openai/b" {
		t.Errorf("delta after publishing = %+v, %v; want version 1 with the last draft", d.Policies, err)
	}
	f.Read(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		stored, err := tx.Policy(ctx, p.ID)
		if diff := cmp.Diff(p, stored); diff != "" {
			t.Errorf("the policy came back as another (-told +stored):\n%s", diff)
		}
		return err
	})
}

func references(t *testing.T, f *Fixture) {
	naming := func(target string) (names []string) {
		f.Read(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) (err error) {
			names, err = tx.PoliciesNaming(ctx, target, 10)
			return err
		})
		return names
	}
	c, g := f.Credential(f.Org.ID, "main"), f.Group(f.Org.ID, "team")
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertCredential(ctx, c), tx.InsertGroup(ctx, g))
	})
	f.publish(t, "cheap", rule("openai/a"))
	all := rule("policy/cheap", "openai/a")
	all.Groups[0].Targets[1] = policy.Target{Model: "openai/a", CredentialID: c.ID}
	all.Groups[0].When = &policy.Condition{Groups: []string{g.ID}}
	p := f.publish(t, "fast", all)
	for _, target := range []string{"policy/cheap", c.ID, g.ID} {
		if got := naming(target); !slices.Equal(got, []string{"fast"}) {
			t.Errorf("%s is named by %v, want fast", target, got)
		}
	}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) (err error) {
		p, _, err = f.policies().Update(ctx, tx, f.caller(), p.ID, rule("openai/b"), false, p.ETag())
		return err
	})
	if got := naming(c.ID); len(got) != 1 {
		t.Errorf("with a draft beside it the credential is named by %v, want fast still", got)
	}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) (err error) {
		p, _, err = f.policies().Publish(ctx, tx, f.caller(), p.ID, p.ETag())
		return err
	})
	for _, target := range []string{"policy/cheap", c.ID, g.ID} {
		if got := naming(target); len(got) > 0 {
			t.Errorf("%s is named by %v, want nobody", target, got)
		}
	}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) (err error) {
		p, _, err = f.policies().RollBack(ctx, tx, f.caller(), p.ID, 1, p.ETag())
		return err
	})
	if got := naming(c.ID); len(got) != 1 {
		t.Errorf("after rolling back the credential is named by %v, want fast", got)
	}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return f.policies().Delete(ctx, tx, p.ID) })
	if got := naming(c.ID); len(got) > 0 || f.Count(t, "policy_version WHERE policy_id = ?", p.ID)+f.Count(t, "policy_reference WHERE policy_id = ?", p.ID) > 0 {
		t.Errorf("a deleted policy still names, or has versions (%v)", got)
	}
}

// circles has two people publish at once what is right by itself and a circle together.
func circles(t *testing.T, f *Fixture) {
	a, b := f.publish(t, "a", rule("openai/x")), f.publish(t, "b", rule("openai/y"))
	errs := make([]error, 2)
	var both sync.WaitGroup
	for i, c := range []struct {
		p    policy.Policy
		rule policy.Spec
	}{{a, rule("policy/b")}, {b, rule("policy/a")}} {
		both.Go(func() {
			errs[i] = f.TryChange(t.Context(), f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
				_, _, err := f.policies().Update(ctx, tx, f.caller(), c.p.ID, c.rule, true, c.p.ETag())
				return err
			})
		})
	}
	both.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Fatalf("errors = %v, want one of the two to be refused", errs)
	}
	for _, err := range errs {
		if err != nil && !errors.Is(err, policy.ErrInvalid) {
			t.Errorf("error = %v, want the circle", err)
		}
	}
}

func users(t *testing.T, f *Fixture) {
	p, g, c := f.publish(t, "fast", rule("openai/a")), f.Group(f.Org.ID, "team"), f.Credential(f.Org.ID, "main")
	f.publish(t, "outer", rule("policy/fast"))
	g.PolicyID = p.ID
	c.Scope = credential.Scope{Groups: []string{g.ID}}
	k, dead, expired := f.Key(f.Org.ID, f.Owner.ID, "ci"), f.Key(f.Org.ID, f.Owner.ID, "dead"), f.Key(f.Org.ID, f.Owner.ID, "expired")
	k.PolicyID, k.GroupID, dead.PolicyID, dead.GroupID, expired.PolicyID, expired.GroupID = p.ID, g.ID, p.ID, g.ID, p.ID, g.ID
	dead.RevokedAt, expired.ExpiresAt = f.Clock.Now(), f.Clock.Now()
	asking := rule("openai/a")
	asking.Groups[0].When = &policy.Condition{Groups: []string{g.ID}}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		s, err := tx.Routing(ctx)
		s.Preferences.PolicyID = p.ID
		return errors.Join(err, tx.InsertGroup(ctx, g), tx.InsertCredential(ctx, c), tx.InsertAPIKey(ctx, k), tx.InsertAPIKey(ctx, dead),
			tx.InsertAPIKey(ctx, expired), tx.UpdateRouting(ctx, s))
	})
	f.publish(t, "asking", asking)
	groups := &group.Service{Now: f.Clock.Now}
	for what, try := range map[string]struct {
		remove func(ctx context.Context, tx *store.Tx) error
		want   error
		words  string
	}{
		"policy": {
			func(ctx context.Context, tx *store.Tx) error { return f.policies().Delete(ctx, tx, p.ID) }, policy.ErrInUse,
			"policy fast is in use: it is the organization's default; it is the default of the groups team; it is the default of the API keys ci; the policies outer name it",
		},
		"group": {
			func(ctx context.Context, tx *store.Tx) error { return groups.Delete(ctx, tx, g.ID) }, group.ErrInUse,
			"group team is in use: the API keys ci are in it; the policies asking ask for it; the credentials main are for it",
		},
	} {
		err := f.TryChange(t.Context(), f.Org.ID, try.remove)
		wantError(t, "delete "+what, err, try.want)
		if told, _ := fault.Of(err); told != nil && told.Message() != try.words {
			t.Errorf("deleting the %s is refused with\n%q, want\n%q", what, told.Message(), try.words)
		}
	}
}

func routingDelta(t *testing.T, f *Fixture) {
	service := &routing.Service{}
	f.publish(t, "fast", rule("openai/a", "groq/b"))
	before := f.version(t)
	want := routing.Preferences{
		Order: []string{"groq", "openai"}, Ignore: []string{"fal"}, Providers: []routing.ProviderRule{{Provider: "openai", Platform: routing.AfterOwn}},
		Platform: routing.Never,
	}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		_, losses, err := service.UpdatePreferences(ctx, tx, want, "1")
		if len(losses) > 0 {
			t.Errorf("losses = %v, want none: no line is the platform's", losses)
		}
		return err
	})
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		_, losses, err := service.UpdateApproved(ctx, tx, []string{"openai/*"}, "1")
		if len(losses) != 1 || losses[0].PolicyName != "fast" || losses[0].Problem.Line != 2 || losses[0].Problem.Reason != policy.NotApproved {
			t.Errorf("losses = %+v, want line 2 of fast", losses)
		}
		return err
	})
	d, err := f.Store.Delta(t.Context(), before)
	if err != nil || len(d.Organizations) != 1 || d.Version != before+2 {
		t.Fatalf("delta = %d organizations at %d, %v; want one at %d", len(d.Organizations), d.Version, err, before+2)
	}
	state := routing.State{Preferences: want, Approved: []string{"openai/*"}, PreferencesVersion: 2, ApprovedVersion: 2}
	if diff := cmp.Diff(state, d.Organizations[0].Routing); diff != "" {
		t.Errorf("routing (-want +got):\n%s", diff)
	}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		_, _, err := service.UpdateApproved(ctx, tx, nil, "2")
		return err
	})
	if whole, _ := f.Whole(t); len(whole) != 3 {
		t.Errorf("the whole configuration has %d objects, want organization, owner and policy", len(whole))
	}
}
