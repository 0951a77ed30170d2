package keys_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/keys/internal/policy"
	"github.com/claviger/claviger/services/keys/internal/store"
)

// TestListsOfLargePoliciesComeInBoundedAnswers has policies as large as they may be. Five hundred of them, with
// their drafts, would be an answer of 250 MiB.
func TestListsOfLargePoliciesComeInBoundedAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	f := r.fixture()
	const n, bound = 20, 5 << 19
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
		if size := proto.Size(res); size > bound {
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
		if size := proto.Size(res); size > bound {
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
