package keys_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/keys/internal/bound"
	"github.com/claviger/claviger/services/keys/internal/policy"
	"github.com/claviger/claviger/services/keys/internal/store"
)

// TestListsOfLargePoliciesComeInBoundedAnswers has policies as large as they may be. Five hundred of them, with
// their drafts, would be an answer of 250 MiB.
func TestListsOfLargePoliciesComeInBoundedAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	f := r.fixture()
	const n, most = 20, 5 << 19
	spec := f.Policy(r.orgID, "x").Spec
	for i := range 250 {
		spec.Groups[0].Targets = append(spec.Groups[0].Targets, policy.Target{Model: fmt.Sprint("openai/", i, strings.Repeat("x", 990)), Use: policy.Own})
	}
	var first policy.Policy
	f.Change(t, r.orgID, func(ctx context.Context, tx *store.Tx) error {
		for i := range n {
			p := f.Policy(r.orgID, fmt.Sprint("p", i))
			p.Spec, p.Draft = spec, &spec
			if err := tx.InsertPolicy(ctx, p); err != nil {
				return err
			}
			if i == 0 {
				first = p
			}
			if err := tx.InsertPolicyVersion(ctx, first.ID, policy.Version{Version: int64(i + 1), Spec: spec, PublishedAt: f.Clock.Now()}); err != nil {
				return err
			}
		}
		return nil
	})
	names, versions := map[string]bool{}, []int64{}
	for token := ""; ; {
		res, err := r.owner.policies.ListPolicies(t.Context(), &keysv1.ListPoliciesRequest{PageSize: 500, PageToken: token})
		r.must(err)
		if size := proto.Size(res); size > most {
			t.Errorf("an answer of %d KiB", size>>10)
		}
		for _, p := range res.GetPolicies() {
			names[p.GetName()] = true
		}
		if token = res.GetNextPageToken(); token == "" {
			break
		}
	}
	for token := ""; ; {
		res, err := r.owner.policies.ListPolicyVersions(t.Context(), &keysv1.ListPolicyVersionsRequest{Id: first.ID, PageSize: 500, PageToken: token})
		r.must(err)
		if size := proto.Size(res); size > most {
			t.Errorf("an answer of %d KiB", size>>10)
		}
		for _, v := range res.GetVersions() {
			versions = append(versions, v.GetVersion())
		}
		if token = res.GetNextPageToken(); token == "" {
			break
		}
	}
	if len(names) != n || len(versions) != n || versions[0] != n || versions[n-1] != 1 {
		t.Errorf("%d policies and the versions %v came, want %d of each", len(names), versions, n)
	}
}

// TestListsOfWhatMayBeLargeComeInBoundedAnswers has credentials, groups and drills that say as much as they may.
func TestListsOfWhatMayBeLargeComeInBoundedAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	f := r.fixture()
	const n, most = 40, 5 << 19
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprint("openai/", i, strings.Repeat("x", 200)))
	}
	f.Change(t, r.orgID, func(ctx context.Context, tx *store.Tx) error {
		for i := range n {
			c, g := f.Credential(r.orgID, fmt.Sprint("c", i)), f.Group(r.orgID, fmt.Sprint("g", i))
			c.Models, g.Approved = names, names
			if err := errors.Join(tx.InsertCredential(ctx, c), tx.InsertGroup(ctx, g), tx.InsertDrill(ctx, f.Drill(r.orgID, c.ID, "key_1"))); err != nil {
				return err
			}
		}
		return nil
	})
	var served []string
	for i := range 256 {
		served = append(served, fmt.Sprintf(`{"model":"m%d%s","requests":1}`, i, strings.Repeat("x", 800)))
	}
	f.SQL(t, "INSERT INTO drill_report (org_id, drill_id, router, epoch, requests, failed_calls, unserved, served) SELECT org_id, id, 'one', 'e', 1, 1, 0, ? FROM drill",
		"["+strings.Join(served, ",")+"]")
	lists := map[string]func(token string) (proto.Message, int, string, error){
		"credentials": func(token string) (proto.Message, int, string, error) {
			res, err := r.owner.creds.ListCredentials(t.Context(), &keysv1.ListCredentialsRequest{PageSize: 500, PageToken: token})
			return res, len(res.GetCredentials()), res.GetNextPageToken(), err
		},
		"groups": func(token string) (proto.Message, int, string, error) {
			res, err := r.owner.groups.ListGroups(t.Context(), &keysv1.ListGroupsRequest{PageSize: 500, PageToken: token})
			return res, len(res.GetGroups()), res.GetNextPageToken(), err
		},
		"drills": func(token string) (proto.Message, int, string, error) {
			res, err := r.owner.drills().ListDrills(t.Context(), &keysv1.ListDrillsRequest{PageSize: 500, PageToken: token})
			return res, len(res.GetDrills()), res.GetNextPageToken(), err
		},
	}
	for what, list := range lists {
		total := 0
		for token := ""; ; {
			res, count, next, err := list(token)
			r.must(err)
			if size := proto.Size(res); size > most {
				t.Errorf("%s: an answer of %d KiB", what, size>>10)
			}
			total += count
			if token = next; token == "" {
				break
			}
		}
		if total != n {
			t.Errorf("%d %s came, want %d", total, what, n)
		}
	}
}

func TestWhoGoesBeyondABoundIsToldWhichAndWhatToDo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	f := r.fixture()
	f.Change(t, r.orgID, func(ctx context.Context, tx *store.Tx) error {
		for i := range bound.Groups.Most {
			if err := tx.InsertGroup(ctx, f.Group(r.orgID, fmt.Sprint("g", i))); err != nil {
				return err
			}
		}
		return nil
	})
	_, err := r.owner.groups.CreateGroup(t.Context(), &keysv1.CreateGroupRequest{Name: "one more", IdempotencyKey: "1"})
	refused(t, "one group more", err, connect.CodeFailedPrecondition, "TOO_MANY_GROUPS")
	if m := info(err).GetMetadata(); m["bound"] != "1000" || !contains(m["hint"], "delete groups") || !contains(err.Error(), "1001 groups") {
		t.Errorf("error = %v with %v, want the bound and what to do", err, m)
	}
}
