package snapshot

import (
	"slices"
	"testing"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

func TestWhatIsSwitchedOffIsCutOnceHoweverItIsHeardOf(t *testing.T) {
	t.Parallel()
	disabled := func(cut bool) []*keysv1.CredentialConfig {
		return []*keysv1.CredentialConfig{{OrgId: "org_a", Id: "cred_1", Provider: "openai", State: keysv1.CredentialState_CREDENTIAL_STATE_DISABLED, Cut: cut}}
	}
	enabled := []*keysv1.CredentialConfig{{OrgId: "org_a", Id: "cred_1", Provider: "openai", Sealed: "s"}}
	removed := []*keysv1.RemovedConfig{{OrgId: "org_a", Id: "cred_2", Cut: true}}
	credential := Off{Credentials: []string{"cred_1"}}
	type change struct {
		whole bool
		batch *keysv1.ConfigBatch
		want  Off
	}
	suspended := func(cut bool) []*keysv1.ApiKeyConfig {
		return []*keysv1.ApiKeyConfig{{OrgId: "org_a", Id: "key_2", PublicId: "two", Suspended: true, Cut: cut}}
	}
	for name, changes := range map[string][]change{
		"disabled, later told again": {
			{batch: &keysv1.ConfigBatch{Credentials: disabled(true)}, want: credential},
			{batch: &keysv1.ConfigBatch{Credentials: disabled(true)}},
		},
		"disabled without, then with a cut": {
			{batch: &keysv1.ConfigBatch{Credentials: disabled(false)}},
			{batch: &keysv1.ConfigBatch{Credentials: disabled(true)}, want: credential},
		},
		"enabled in between": {
			{batch: &keysv1.ConfigBatch{Credentials: disabled(true)}, want: credential},
			{batch: &keysv1.ConfigBatch{Credentials: enabled}},
			{batch: &keysv1.ConfigBatch{Credentials: disabled(false)}},
			{batch: &keysv1.ConfigBatch{Credentials: disabled(true)}, want: credential},
		},
		"a member who is disabled, enabled and disabled again": {
			{batch: &keysv1.ConfigBatch{ApiKeys: suspended(true)}, want: Off{APIKeys: []string{"key_2"}}},
			{batch: &keysv1.ConfigBatch{ApiKeys: []*keysv1.ApiKeyConfig{{OrgId: "org_a", Id: "key_2", PublicId: "two"}}}},
			{batch: &keysv1.ConfigBatch{ApiKeys: suspended(false)}},
			{batch: &keysv1.ConfigBatch{ApiKeys: suspended(true)}, want: Off{APIKeys: []string{"key_2"}}},
		},
		"removed": {
			{batch: &keysv1.ConfigBatch{Removed: []*keysv1.RemovedConfig{{OrgId: "org_a", Id: "cred_1"}}}},
			{batch: &keysv1.ConfigBatch{Removed: removed}, want: Off{Credentials: []string{"cred_2"}}},
			{batch: &keysv1.ConfigBatch{Removed: removed}},
		},
		"unknown here": {
			{batch: &keysv1.ConfigBatch{
				Removed:     []*keysv1.RemovedConfig{{OrgId: "org_x", Id: "cred_x", Cut: true}},
				Credentials: []*keysv1.CredentialConfig{{OrgId: "org_a", Id: "cred_new", Provider: "openai", Cut: true}},
				ApiKeys:     []*keysv1.ApiKeyConfig{{OrgId: "org_a", Id: "key_new", PublicId: "new", Revoked: true, Cut: true}},
			}},
		},
		"away meanwhile": {
			{whole: true, batch: &keysv1.ConfigBatch{
				Organizations: []*keysv1.OrganizationConfig{{Id: "org_a", Slug: "acme"}}, Credentials: disabled(true), Removed: removed,
				ApiKeys: []*keysv1.ApiKeyConfig{{OrgId: "org_a", Id: "key_2", PublicId: "two", Revoked: true, Cut: true}},
			}, want: Off{Credentials: []string{"cred_1", "cred_2"}, APIKeys: []string{"key_2"}}},
			{whole: true, batch: &keysv1.ConfigBatch{
				Organizations: []*keysv1.OrganizationConfig{{Id: "org_a", Slug: "acme"}}, Credentials: disabled(true), Removed: removed,
				ApiKeys: []*keysv1.ApiKeyConfig{{OrgId: "org_a", Id: "key_2", PublicId: "two", Revoked: true, Cut: true}},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSigner()
			f := s.follower(t, t.TempDir())
			var got Off
			served := int64(0)
			f.o.OnServed = func(state *State, off Off) {
				if now, err := f.State(); err != nil || now != state {
					t.Error("it was not served yet")
				}
				got, served = off, state.Version()
			}
			pieces, _ := s.base(1)
			version := int64(2)
			if err := apply(f, append(pieces, s.sign(&keysv1.ConfigBatch{
				FromVersion: 1, ToVersion: version, Last: true, ApiKeys: []*keysv1.ApiKeyConfig{{OrgId: "org_a", Id: "key_2", PublicId: "two"}},
			}))...); err != nil {
				t.Fatal(err)
			}
			for i, c := range changes {
				c.batch.ToVersion, c.batch.Last = version+1, true
				if !c.whole {
					c.batch.FromVersion = version
				}
				if err := apply(f, s.sign(c.batch)); err != nil {
					t.Fatal(err)
				}
				version++
				if served != version || !slices.Equal(got.Credentials, c.want.Credentials) || !slices.Equal(got.APIKeys, c.want.APIKeys) {
					t.Errorf("change %d: version %d cuts %+v, want version %d and %+v", i, served, got, version, c.want)
				}
			}
		})
	}
}
