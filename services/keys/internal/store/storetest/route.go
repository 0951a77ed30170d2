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

	"github.com/claviger/claviger/services/keys/internal/route"
	"github.com/claviger/claviger/services/keys/internal/store"
)

func questions(t *testing.T, f *Fixture) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	replica := store.New(f.DB, f.Clock.Now)
	ask := func(id string) route.Question {
		q := route.Question{OrgID: f.Org.ID, ID: id, APIKeyID: "key_1", Whole: true, Request: []byte("\x00\xffrequest"), CreatedAt: f.Clock.Now()}
		must(f.Store.InsertQuestion(ctx, q))
		return q
	}
	claim := func(s *store.Store) []route.Question {
		got, err := s.ClaimQuestions(ctx, 100)
		must(err)
		return got
	}
	answerOf := func(id string) (route.Answer, bool) {
		a, done, err := replica.Answer(ctx, f.Org.ID, id)
		must(err)
		return a, done
	}

	first := ask("rq_1")
	// Nobody can answer what no router was given.
	must(f.Store.SaveAnswer(ctx, f.Org.ID, first.ID, route.Answer{Router: "forger"}))
	if _, done := answerOf(first.ID); done {
		t.Error("a question is answered before a router was asked")
	}
	var claims []route.Question
	var mu sync.Mutex
	var both sync.WaitGroup
	for _, s := range []*store.Store{f.Store, replica} {
		both.Go(func() { got := claim(s); mu.Lock(); defer mu.Unlock(); claims = append(claims, got...) })
	}
	both.Wait()
	if diff := cmp.Diff([]route.Question{first}, claims); diff != "" {
		t.Errorf("two replicas claim (-want +got):\n%s", diff)
	}
	if got := claim(f.Store); len(got) > 0 {
		t.Errorf("claimed %v again at once", got)
	}
	f.Clock.Advance(3 * time.Second)
	if got := claim(replica); len(got) != 1 {
		t.Errorf("claimed %v after three seconds without an answer, want the question again", got)
	}
	told := route.Answer{Router: "r-1", Route: []byte("\x00\xffroute")}
	must(replica.SaveAnswer(ctx, "org_other", first.ID, told))
	if _, done := answerOf(first.ID); done {
		t.Error("another organization's answer is taken")
	}
	must(replica.SaveAnswer(ctx, f.Org.ID, first.ID, told))
	must(f.Store.SaveAnswer(ctx, f.Org.ID, first.ID, route.Answer{Router: "late"}))
	if got, done := answerOf(first.ID); !done || !cmp.Equal(got, told) {
		t.Errorf("answer = %+v, %v; want the first, %+v", got, done, told)
	}
	second := ask("rq_2")
	claim(f.Store)
	refusal := route.Answer{Router: "r-1", Route: []byte{}, Refusal: &route.Refusal{Code: 5, Reason: "MODEL_UNKNOWN", Message: "no such model", Hint: "name another"}}
	must(f.Store.SaveAnswer(ctx, f.Org.ID, second.ID, refusal))
	if got, _ := answerOf(second.ID); !cmp.Equal(got, refusal) {
		t.Errorf("refusal = %+v, want %+v", got, refusal)
	}
	must(f.Store.DeleteQuestion(ctx, f.Org.ID, first.ID))
	if _, done := answerOf(first.ID); done {
		t.Error("a question that nobody waits for is still answered")
	}

	for i := range route.Waiting {
		ask(fmt.Sprint("rq_w", i))
	}
	err := f.Store.InsertQuestion(ctx, route.Question{OrgID: f.Org.ID, ID: "rq_beyond", CreatedAt: f.Clock.Now()})
	if !errors.Is(err, route.ErrTooMany) {
		t.Errorf("one question beyond the bound: %v, want ErrTooMany", err)
	}
	f.Clock.Advance(time.Minute) // whoever asked is long gone
	if got := claim(f.Store); len(got) > 0 {
		t.Errorf("claimed %d questions that nobody waits for", len(got))
	}
	ask("rq_later")
	f.Clock.Advance(2 * route.Retention)
	must(f.Store.Expire(ctx, 1000))
	left := 0
	must(f.DB.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		return tx.NewRaw("SELECT count(*) FROM route_question").Scan(ctx, &left)
	}))
	if left > 0 {
		t.Errorf("%d questions are kept for ever", left)
	}
}
