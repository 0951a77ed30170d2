package completion

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/claviger/claviger/pkg/fault"
)

// stay is a request that was let in.
type stay struct {
	at    *holders
	orgID string
}

// refusal is why a request was refused: "full", "share" or nothing.
func refusal(err error) string {
	f, ok := fault.Of(err)
	switch {
	case err == nil:
		return ""
	case !ok || !errors.Is(err, ErrOverloaded):
		return err.Error()
	case f.Facts()["part"] == "organization":
		return "share"
	}
	return "full"
}

// known is how many organizations take memory.
func (a *admission) known() (n int) {
	for i := range a.holders {
		n += len(a.holders[i].open)
	}
	return n
}

// TestNobodyIsRefusedBelowTheirShare whoever comes and goes: the limit is never passed, who has nothing gets a place
// as long as there is one, nobody is refused while a tenth is free, and what has ended leaves nothing behind.
func TestNobodyIsRefusedBelowTheirShare(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 200).Draw(t, "limit")
		orgs := rapid.IntRange(1, 12).Draw(t, "organizations")
		a, has, inside := newAdmission(limit), map[string]int{}, []stay(nil)
		leave := func(i int) {
			s := inside[i]
			inside[i] = inside[len(inside)-1]
			inside = inside[:len(inside)-1]
			a.leave(s.at, s.orgID)
			has[s.orgID]--
		}
		for range rapid.IntRange(limit, 4*limit).Draw(t, "steps") {
			if len(inside) > 0 && rapid.IntRange(0, 3).Draw(t, "what") == 0 {
				leave(rapid.IntRange(0, len(inside)-1).Draw(t, "who leaves"))
				continue
			}
			orgID := fmt.Sprint("org_", rapid.IntRange(0, orgs-1).Draw(t, "who comes"))
			free := limit - len(inside)
			place, err := a.enter(orgID)
			want := ""
			switch {
			case free == 0:
				want = "full"
			case has[orgID] >= 9*free:
				want = "share"
			}
			if got := refusal(err); got != want {
				t.Fatalf("%s with %d open comes while %d of %d are free: refused for %q, want %q", orgID, has[orgID], free, limit, got, want)
			}
			switch {
			case err != nil && free > 0 && has[orgID] == 0:
				t.Fatalf("%s has nothing and is refused while %d are free", orgID, free)
			case err != nil && 10*free > limit:
				t.Fatalf("%s is refused while %d of %d are free", orgID, free, limit)
			case err == nil:
				inside, has[orgID] = append(inside, stay{place, orgID}), has[orgID]+1
			}
			if taken := a.taken.Load(); taken != int64(len(inside)) || taken > int64(limit) {
				t.Fatalf("%d are taken, with %d inside of %d", taken, len(inside), limit)
			}
		}
		for len(inside) > 0 {
			leave(len(inside) - 1)
		}
		if a.taken.Load() != 0 || a.known() != 0 {
			t.Fatalf("all have left: %d are taken, %d organizations are known", a.taken.Load(), a.known())
		}
	})
}

// TestSharesBecomeEven when requests end, however they were before: who wants little has all of it, and of the others
// nobody has less than nine tenths of an nth, but for the rounding.
func TestSharesBecomeEven(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		wants := rapid.SliceOfN(rapid.IntRange(1, 2000), 1, 10).Draw(t, "wants")
		draw := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		const limit = 1000
		a, inside := newAdmission(limit), make([][]stay, len(wants))
		comes := func(i int) bool {
			orgID := fmt.Sprint("org_", i)
			place, err := a.enter(orgID)
			if err == nil {
				inside[i] = append(inside[i], stay{place, orgID})
			}
			return err == nil
		}
		for range 4 * limit {
			for _, i := range draw.Perm(len(wants)) {
				for len(inside[i]) < wants[i] && comes(i) {
				}
			}
			most := 0
			for i := range inside {
				if len(inside[i]) > len(inside[most]) {
					most = i
				}
			}
			last := len(inside[most]) - 1
			a.leave(inside[most][last].at, inside[most][last].orgID)
			inside[most] = inside[most][:last]
		}
		n := len(wants)
		least := 9 * (limit - 9*n) / (9*n + 1)
		for i := range wants {
			if has := len(inside[i]); has < min(wants[i], least)-1 { // one has just left
				t.Fatalf("of %v, the organization that wants %d has %d, want %d", wants, wants[i], has, least)
			}
		}
	})
}

// TestAnOrganizationAloneHasNineTenths exactly, and others come in beside it.
func TestAnOrganizationAloneHasNineTenths(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int]int{1: 1, 9: 9, 10: 9, 11: 10, 19: 18, 20: 18, 100: 90, 10_000: 9000} {
		a, has := newAdmission(limit), 0
		var err error
		for ; err == nil; has++ {
			_, err = a.enter("org_large")
		}
		if has--; has != want {
			t.Errorf("of %d places an organization alone has %d, want %d", limit, has, want)
		}
		for i := range limit - want {
			if _, err := a.enter(fmt.Sprint("org_small_", i)); err != nil {
				t.Errorf("limit %d: small organization %d: %v", limit, i, err)
			}
		}
		if _, err := a.enter("org_late"); refusal(err) != "full" {
			t.Errorf("limit %d: one too many: %v", limit, err)
		}
	}
}

// TestTheLimitHoldsForAllWhoComeAtOnce, and all that left is forgotten.
func TestTheLimitHoldsForAllWhoComeAtOnce(t *testing.T) {
	t.Parallel()
	const limit, callers, rounds = 64, 16, 50_000
	a, orgs := newAdmission(limit), names(64)
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() {
			draw := rand.New(rand.NewPCG(uint64(caller), 1))
			var inside []stay
			for range rounds {
				if len(inside) > 0 && draw.IntN(3) == 0 {
					a.leave(inside[0].at, inside[0].orgID)
					inside = inside[1:]
					continue
				}
				orgID := orgs[draw.IntN(len(orgs))]
				if place, err := a.enter(orgID); err == nil {
					inside = append(inside, stay{place, orgID})
				}
				if taken := a.taken.Load(); taken > limit || taken < int64(len(inside)) {
					t.Errorf("%d of %d are taken", taken, limit)
					break
				}
			}
			for _, s := range inside {
				a.leave(s.at, s.orgID)
			}
		})
	}
	group.Wait()
	if a.taken.Load() != 0 || a.known() != 0 {
		t.Errorf("all have left: %d are taken, %d organizations are known", a.taken.Load(), a.known())
	}
	if a.full.Load()+a.over.Load() == 0 {
		t.Error("nobody was refused: the test shows nothing")
	}
}

// names are of so many organizations.
func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("org_%08d", i)
	}
	return out
}

func TestComingInAllocatesNothing(t *testing.T) {
	for _, orgs := range []int{1, 100_000} {
		all, a, i := names(orgs), newAdmission(10_000), 0
		for range orgs { // room for the counts is made once
			place, _ := a.enter(all[i%orgs])
			a.leave(place, all[i%orgs])
			i++
		}
		if n := testing.AllocsPerRun(10_000, func() {
			place, err := a.enter(all[i%orgs])
			if err != nil {
				t.Fatal(err)
			}
			a.leave(place, all[i%orgs])
			i++
		}); n != 0 {
			t.Errorf("with %d organizations a request allocates %v times", orgs, n)
		}
	}
}

func BenchmarkAdmission(b *testing.B) {
	for _, orgs := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprint("organizations=", orgs), func(b *testing.B) {
			all, a := names(orgs), newAdmission(10_000)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.IntN(orgs); pb.Next(); i++ {
					orgID := all[i%orgs]
					place, err := a.enter(orgID)
					if err != nil {
						b.Fail()
						return
					}
					a.leave(place, orgID)
				}
			})
		})
	}
}
