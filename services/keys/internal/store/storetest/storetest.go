// Package storetest is the conformance suite of the control plane's store: what it promises must
// hold on every engine.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/uptrace/bun"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/services/keys/internal/apikey"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/drill"
	"github.com/claviger/claviger/services/keys/internal/group"
	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/organization"
	"github.com/claviger/claviger/services/keys/internal/policy"
	"github.com/claviger/claviger/services/keys/internal/store"
)

// Run runs the suite. Each call of open gives another empty database.
func Run(t *testing.T, open func(t *testing.T) *sqldb.DB) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, *Fixture){
		"OtherOrganizationsAreOutOfReach":              otherOrganizations,
		"TakenNamesAreConflicts":                       takenNames,
		"FailedChangeLeavesNothing":                    failedChange,
		"RetryRunsOnce":                                retries,
		"ConcurrentRetriesRunOnce":                     concurrentRetries,
		"EndedSessionChangesNothing":                   endedSession,
		"EditedAuditIsFound":                           editedAudit,
		"VersionsAreContiguous":                        contiguousVersions,
		"DeltasLeadToTheWhole":                         deltas,
		"ForgottenAndUnknownVersionsHaveNoDelta":       unknownVersions,
		"ManyChangesHaveNoDelta":                       manyChanges,
		"WholeIsOneMoment":                             wholeIsOneMoment,
		"ProbeIsClaimedOnceAndAgainWhenUnanswered":     probes,
		"QuestionsAreAnsweredOnceAndForgotten":         questions,
		"DeletedMemberLosesSessionsAndKeys":            deletedMember,
		"LastOwnerStaysWhenTwoLeaveAtOnce":             lastOwner,
		"ExpiryForgetsOnlyWhatIsOver":                  expiry,
		"TokenKeysOutliveTheirReplica":                 tokenKeys,
		"CredentialsComeBackAsTheyWere":                wholeCredentials,
		"PagesAreKeyset":                               listPages,
		"DraftsReachNobody":                            drafts,
		"NamesFollowTheVersionThatServes":              references,
		"CirclesAreRefusedWhenTwoPublishAtOnce":        circles,
		"WhatIsInUseIsNamed":                           users,
		"RoutingReachesRoutersInOneDelta":              routingDelta,
		"LastUsesMoveForwardByStepsOfSecretsThatExist": uses,
		"ManyUsesMakeNoVersion":                        manyUses,
		"CredentialsAreDueForTestsAndEnds":             dueCredentials,
		"AReplacedSecretKnowsItsVersion":               stampedSecret,
		"UnknownKeysAreThoseOfOthersToo":               unknownKeys,
		"RouterThatSaidGoodbyeStaysAway":               routers,
		"WhatWasRemovedAndCutIsInTheWhole":             cutRemovals,
		"DrillsAreToldWhileTheyRun":                    drills,
		"OldHeadroomDoesNotReplaceNewer":               oldHeadroom,
		"NobodyGoesBeyondABound":                       bounds,
		"LinesAndBytesAreThoseOfTheRules":              policyTotals,
		"TheNewestHundredVersionsAreKept":              keptVersions,
		"TheNewestDrillsAreKept":                       keptDrills,
		"LongRevokedAPIKeysAreForgotten":               deadKeys,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, New(t, open(t)))
		})
	}
}

// Clock is a clock that tests move.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// NewClock returns a clock at a fixed time.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)} }

// Fixture is a migrated store with one organization.
type Fixture struct {
	DB    *sqldb.DB
	Store *store.Store
	Clock *Clock
	Org   organization.Organization
	Owner member.Member
}

// New migrates db and makes the organization "acme" with an owner.
func New(t testing.TB, db *sqldb.DB) *Fixture {
	t.Helper()
	f := &Fixture{DB: db, Clock: NewClock()}
	f.Store = store.New(db, f.Clock.Now)
	if err := f.Store.Migrate(t.Context()); err != nil {
		t.Fatalf("Migrate: %v", err)
	}
	f.Org, f.Owner = f.AddOrganization(t, "acme")
	return f
}

// AddOrganization makes an organization with an owner.
func (f *Fixture) AddOrganization(t testing.TB, slug string) (organization.Organization, member.Member) {
	t.Helper()
	o := organization.Organization{ID: id.New("org"), Slug: slug, Name: slug, CreatedAt: f.Clock.Now(), Version: 1}
	o, err := f.Store.EnsureOrganization(t.Context(), o, "test")
	if err != nil {
		t.Fatalf("EnsureOrganization(%s): %v", slug, err)
	}
	m := f.Member(o.ID, "owner@"+slug+".example", member.Owner)
	f.Change(t, o.ID, func(ctx context.Context, tx *store.Tx) error { return tx.InsertMember(ctx, m) })
	return o, m
}

// Member returns a member that is not stored.
func (f *Fixture) Member(orgID, email string, role member.Role) member.Member {
	return member.Member{OrgID: orgID, ID: id.New("mem"), Email: email, Role: role, PasswordHash: "x", CreatedAt: f.Clock.Now(), Version: 1}
}

// Policy returns a policy that is not stored.
func (f *Fixture) Policy(orgID, name string) policy.Policy {
	return policy.Policy{
		OrgID: orgID, ID: id.New("pol"), Name: name, Version: 1, Revision: 1,
		Spec:        policy.Spec{Groups: []policy.Group{{Targets: []policy.Target{{Model: "openai/gpt-4o", Use: policy.Own}}}}},
		PublishedAt: f.Clock.Now(), CreatedAt: f.Clock.Now(), UpdatedAt: f.Clock.Now(),
	}
}

// Group returns a group that is not stored.
func (f *Fixture) Group(orgID, name string) group.Group {
	return group.Group{OrgID: orgID, ID: id.New("grp"), Name: name, Approved: []string{"openai/*"}, CreatedAt: f.Clock.Now(), Version: 1}
}

// Credential returns a credential that is not stored.
func (f *Fixture) Credential(orgID, label string) credential.Credential {
	return credential.Credential{
		OrgID: orgID, ID: id.New("cred"), Provider: "openai", Label: label, Revision: 1, Sealed: "vault:v1:abc", Verdict: credential.Unverified,
		StateAt: f.Clock.Now(), CreatedAt: f.Clock.Now(), UpdatedAt: f.Clock.Now(), Version: 1,
		Settings: keyform.Settings{Region: "us-east-1", Deployments: []keyform.Deployment{{ModelSlug: "m", EndpointURL: "https://llm.example", ModelID: "d"}}},
		Models:   []string{"a", "b"}, Weight: 1,
	}
}

// Key returns an API key that is not stored.
func (f *Fixture) Key(orgID, memberID, name string) apikey.Key {
	keyID := id.New("key")
	return apikey.Key{
		OrgID: orgID, ID: keyID, Name: name, PublicID: keyID[len(keyID)-20:], Hash: []byte("0123456789abcdef0123456789abcdef"), MemberID: memberID,
		Provenance: apikey.Basic, CreatedAt: f.Clock.Now(), Version: 1,
	}
}

// Change runs fn as a change and fails the test if it fails.
func (f *Fixture) Change(t testing.TB, orgID string, fn func(ctx context.Context, tx *store.Tx) error) {
	t.Helper()
	if err := f.TryChange(t.Context(), orgID, fn); err != nil {
		t.Fatalf("Change: %v", err)
	}
}

// TryChange runs fn as a change.
func (f *Fixture) TryChange(ctx context.Context, orgID string, fn func(ctx context.Context, tx *store.Tx) error) error {
	_, _, err := f.Store.Change(ctx, store.Command{OrgID: orgID, Actor: "test"}, func(ctx context.Context, tx *store.Tx) ([]byte, error) {
		return nil, fn(ctx, tx)
	})
	return err
}

// Read runs fn on one picture of an organization and fails the test if it fails.
func (f *Fixture) Read(t testing.TB, orgID string, fn func(ctx context.Context, tx *store.Tx) error) {
	t.Helper()
	if err := f.Store.Read(t.Context(), orgID, fn); err != nil {
		t.Fatalf("Read: %v", err)
	}
}

// SQL runs a statement past the store.
func (f *Fixture) SQL(t testing.TB, statement string, args ...any) {
	t.Helper()
	err := f.DB.InTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewRaw(statement, args...).Exec(ctx)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Count counts rows past the store.
func (f *Fixture) Count(t testing.TB, from string, args ...any) (n int) {
	t.Helper()
	err := f.DB.InReadTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		return tx.NewRaw("SELECT count(*) FROM "+from, args...).Scan(ctx, &n)
	})
	if err != nil {
		t.Fatalf("count %s: %v", from, err)
	}
	return n
}

func wantError(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error = %v, want %v", what, err, want)
	}
}

func otherOrganizations(t *testing.T, f *Fixture) {
	other, _ := f.AddOrganization(t, "other")
	m := f.Member(f.Org.ID, "a@acme.example", member.Admin)
	p, c, k := f.Policy(f.Org.ID, "fast"), f.Credential(f.Org.ID, "main"), f.Key(f.Org.ID, m.ID, "ci")
	d, g := f.Drill(f.Org.ID, c.ID, k.ID), f.Group(f.Org.ID, "team")
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertMember(ctx, m), tx.InsertPolicy(ctx, p), tx.InsertCredential(ctx, c), tx.InsertAPIKey(ctx, k), tx.InsertDrill(ctx, d),
			tx.InsertGroup(ctx, g), tx.InsertPolicyVersion(ctx, p.ID, policy.Version{Version: 1, Spec: p.Spec}))
	})
	// The same look-ups by the owner find them, so the errors below are not for another reason.
	f.Read(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		_, err1 := tx.Member(ctx, m.ID)
		_, err2 := tx.Policy(ctx, p.ID)
		_, err3 := tx.Credential(ctx, c.ID)
		_, err4 := tx.APIKey(ctx, k.ID)
		_, err5 := tx.Drill(ctx, d.ID)
		return errors.Join(err1, err2, err3, err4, err5)
	})
	for name, want := range map[string]struct {
		try  func(ctx context.Context, tx *store.Tx) error
		want error
	}{
		"read member": {func(ctx context.Context, tx *store.Tx) error { _, err := tx.Member(ctx, m.ID); return err }, member.ErrNotFound},
		"change role": {func(ctx context.Context, tx *store.Tx) error { return tx.UpdateMember(ctx, m) }, member.ErrNotFound},
		"delete member": {func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.DeleteMember(ctx, m.ID, f.Clock.Now(), false)
			return err
		}, member.ErrNotFound},
		"set password": {func(ctx context.Context, tx *store.Tx) error { return tx.UpdatePassword(ctx, m.ID, "y") }, member.ErrNotFound},
		"read policy":  {func(ctx context.Context, tx *store.Tx) error { _, err := tx.Policy(ctx, p.ID); return err }, policy.ErrNotFound},
		"read version of policy": {func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.PolicyVersion(ctx, p.ID, 1)
			return err
		}, policy.ErrVersion},
		"read group":        {func(ctx context.Context, tx *store.Tx) error { _, err := tx.Group(ctx, g.ID); return err }, group.ErrNotFound},
		"update group":      {func(ctx context.Context, tx *store.Tx) error { return tx.UpdateGroup(ctx, g) }, group.ErrNotFound},
		"delete group":      {func(ctx context.Context, tx *store.Tx) error { return tx.DeleteGroup(ctx, g.ID) }, group.ErrNotFound},
		"update API key":    {func(ctx context.Context, tx *store.Tx) error { return tx.UpdateAPIKey(ctx, k) }, apikey.ErrNotFound},
		"update policy":     {func(ctx context.Context, tx *store.Tx) error { return tx.UpdatePolicy(ctx, p) }, policy.ErrNotFound},
		"delete policy":     {func(ctx context.Context, tx *store.Tx) error { return tx.DeletePolicy(ctx, p.ID) }, policy.ErrNotFound},
		"read credential":   {func(ctx context.Context, tx *store.Tx) error { _, err := tx.Credential(ctx, c.ID); return err }, credential.ErrNotFound},
		"update credential": {func(ctx context.Context, tx *store.Tx) error { return tx.UpdateCredential(ctx, c) }, credential.ErrNotFound},
		"move its schedule": {func(ctx context.Context, tx *store.Tx) error { return tx.UpdateSchedule(ctx, c) }, credential.ErrNotFound},
		"delete credential": {func(ctx context.Context, tx *store.Tx) error { return tx.DeleteCredential(ctx, c.ID, false) }, credential.ErrNotFound},
		"read API key":      {func(ctx context.Context, tx *store.Tx) error { _, err := tx.APIKey(ctx, k.ID); return err }, apikey.ErrNotFound},
		"read drill":        {func(ctx context.Context, tx *store.Tx) error { _, err := tx.Drill(ctx, d.ID); return err }, drill.ErrNotFound},
		"end drill":         {func(ctx context.Context, tx *store.Tx) error { return tx.EndDrill(ctx, d.ID, f.Clock.Now()) }, drill.ErrNotFound},
		"revoke API key":    {func(ctx context.Context, tx *store.Tx) error { return tx.RevokeAPIKey(ctx, k.ID, f.Clock.Now(), false) }, apikey.ErrNotFound},
	} {
		wantError(t, name, f.TryChange(t.Context(), other.ID, want.try), want.want)
	}
	f.Read(t, other.ID, func(ctx context.Context, tx *store.Tx) error {
		members, err1 := tx.Members(ctx, "", 10)
		policies, err2 := tx.Policies(ctx, "", 10)
		credentials, err3 := tx.Credentials(ctx, "", 10)
		keys, err4 := tx.APIKeys(ctx, "", "", 10)
		drills, err5 := tx.Drills(ctx, "", 10)
		groups, err11 := tx.Groups(ctx, "", 10)
		if n := len(policies) + len(credentials) + len(keys) + len(drills) + len(groups); len(members) != 1 || n > 0 {
			t.Errorf("lists of the other organization = %d members, %d policies, %d credentials, %d keys, %d drills, %d groups; want its owner alone",
				len(members), len(policies), len(credentials), len(keys), len(drills), len(groups))
		}
		versions, err6 := tx.PolicyVersions(ctx, p.ID, 0, 10)
		named, err7 := tx.PoliciesByName(ctx, []string{p.Name})
		facts, err8 := tx.KeyFacts(ctx, []string{k.ID})
		names, err9 := tx.GroupNames(ctx, []string{g.ID})
		found, err10 := tx.CredentialsFor(ctx, []string{c.Provider}, []string{c.ID})
		if n := len(versions) + len(named) + len(facts) + len(names) + len(found); n > 0 {
			t.Errorf("the other organization is told %d facts of this one, want none", n)
		}
		return errors.Join(err1, err2, err3, err4, err5, err6, err7, err8, err9, err10, err11)
	})
}

func takenNames(t *testing.T, f *Fixture) {
	other, _ := f.AddOrganization(t, "other")
	k := f.Key(f.Org.ID, f.Owner.ID, "ci")
	insertAll := func(orgID string, key apikey.Key) []error {
		return []error{
			f.TryChange(t.Context(), orgID, func(ctx context.Context, tx *store.Tx) error {
				return tx.InsertMember(ctx, f.Member(orgID, "a@acme.example", member.Viewer))
			}),
			f.TryChange(t.Context(), orgID, func(ctx context.Context, tx *store.Tx) error { return tx.InsertPolicy(ctx, f.Policy(orgID, "fast")) }),
			f.TryChange(t.Context(), orgID, func(ctx context.Context, tx *store.Tx) error {
				return tx.InsertCredential(ctx, f.Credential(orgID, "main"))
			}),
			f.TryChange(t.Context(), orgID, func(ctx context.Context, tx *store.Tx) error { return tx.InsertAPIKey(ctx, key) }),
			f.TryChange(t.Context(), orgID, func(ctx context.Context, tx *store.Tx) error { return tx.InsertGroup(ctx, f.Group(orgID, "team")) }),
		}
	}
	if err := errors.Join(insertAll(f.Org.ID, k)...); err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{member.ErrExists, policy.ErrExists, credential.ErrExists, apikey.ErrExists, group.ErrExists} {
		wantError(t, "same name again", insertAll(f.Org.ID, f.Key(f.Org.ID, f.Owner.ID, "ci"))[i], want)
	}
	if err := errors.Join(insertAll(other.ID, f.Key(other.ID, "mem_x", "ci"))...); err != nil {
		t.Errorf("same names in another organization: %v", err)
	}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return tx.RevokeAPIKey(ctx, k.ID, f.Clock.Now(), false) })
	if err := insertAll(f.Org.ID, f.Key(f.Org.ID, f.Owner.ID, "ci"))[3]; err != nil {
		t.Errorf("name of a revoked key: %v", err)
	}
	second := f.Credential(f.Org.ID, "second")
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return tx.InsertCredential(ctx, second) })
	second.Label = "main"
	err := f.TryChange(t.Context(), f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return tx.UpdateCredential(ctx, second) })
	wantError(t, "rename to a taken label", err, credential.ErrExists)
	otherGroup, otherKey := f.Group(f.Org.ID, "second"), f.Key(f.Org.ID, f.Owner.ID, "second")
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertGroup(ctx, otherGroup), tx.InsertAPIKey(ctx, otherKey))
	})
	otherGroup.Name, otherKey.Name = "team", "ci"
	err = f.TryChange(t.Context(), f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return tx.UpdateGroup(ctx, otherGroup) })
	wantError(t, "rename a group to a taken name", err, group.ErrExists)
	err = f.TryChange(t.Context(), f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return tx.UpdateAPIKey(ctx, otherKey) })
	wantError(t, "rename an API key to a taken name", err, apikey.ErrExists)
	err = f.TryChange(t.Context(), f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		return tx.Found(ctx, organization.Organization{ID: id.New("org"), Slug: "other"}, f.Member("", "x@other.example", member.Owner), "organization.create")
	})
	wantError(t, "taken slug", err, organization.ErrExists)
	err = f.TryChange(t.Context(), id.New("org"), func(context.Context, *store.Tx) error { return nil })
	wantError(t, "change of an organization that is not there", err, organization.ErrNotFound)
}

func listPages(t *testing.T, f *Fixture) {
	var want []string
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		for i := range 7 {
			p := f.Policy(f.Org.ID, fmt.Sprint("p", i))
			want = append(want, p.ID)
			if err := tx.InsertPolicy(ctx, p); err != nil {
				return err
			}
		}
		return nil
	})
	var got []string
	f.Read(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		got = nil
		for {
			after := ""
			if len(got) > 0 {
				after = got[len(got)-1]
			}
			items, err := tx.Policies(ctx, after, 3)
			for _, p := range items {
				got = append(got, p.ID)
			}
			if err != nil || len(items) < 3 {
				return err
			}
		}
	})
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("pages = %v, want %v", got, want)
	}
	for _, slug := range []string{"beta", "gamma"} {
		f.AddOrganization(t, slug)
	}
	page, err := f.Store.Organizations(t.Context(), "acme", 1)
	if err != nil || len(page) != 1 || page[0].Slug != "beta" {
		t.Errorf("Organizations(after acme, 1) = %v, %v; want beta", page, err)
	}
}

// wholeCredentials also has a row as the version before writes it, which knows neither column.
func wholeCredentials(t *testing.T, f *Fixture) {
	full, bare := f.Credential(f.Org.ID, "full"), f.Credential(f.Org.ID, "bare")
	full.Settings = keyform.Settings{
		Region: "us-east-1", Project: "acme", Location: "global", ClientEmail: "router@acme.example",
		Deployments: []keyform.Deployment{{ModelSlug: "openai/gpt-4o", EndpointURL: "https://acme.openai.azure.com?api-version=1", ModelID: "d <é>"}},
		Secrets:     []keyform.Masked{{Field: "[0].api_key", Hint: "…cdef"}},
	}
	at := f.Clock.Now()
	full.Weight, full.ExpiresAt, full.Expired, full.LastRevision = 7, at.Add(time.Hour), true, 3
	full.Scope = credential.Scope{Models: []string{"openai/*"}, APIKeys: []string{"key_1"}, Groups: []string{"grp_1"}}
	full.Doubt = credential.Doubt{Since: at, Acquittals: 2, AcquittedAt: at.Add(time.Microsecond), Heard: credential.Heard{TestedAt: at, SaidAt: at}}
	full.Next = &credential.Staged{
		Revision: 3, Hint: "…3210", Sealed: "vault:v1:next", Settings: keyform.Settings{Region: "eu-central-1"}, Models: []string{"c"}, Verdict: credential.Active,
		Reason: "it works", DecidedAt: at, Share: 10, StagedAt: at, SharedAt: at, RolledBack: true, Setbacks: 1, NextProbeAt: at.Add(time.Minute), Heard: credential.Heard{TestedAt: at},
	}
	full.Previous = &credential.Previous{Revision: 1, Hint: "…cdef", ReplacedAt: at, Version: 42}
	bare.Settings, bare.Models = keyform.Settings{}, nil
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertCredential(ctx, full), tx.InsertCredential(ctx, bare))
	})
	if n := f.Count(t, "credential WHERE next LIKE '%vault:%'"); n != 0 {
		t.Error("the sealed text stands among the readable parts")
	}
	for _, want := range []credential.Credential{full, bare} {
		f.Read(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.Credential(ctx, want.ID)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s came back as another: %s", want.Label, diff)
			}
			return err
		})
	}
}
