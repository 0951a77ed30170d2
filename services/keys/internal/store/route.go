package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/services/keys/internal/route"
)

type questionRow struct {
	bun.BaseModel `bun:"table:route_question"`

	OrgID     string `bun:"org_id,pk"`
	ID        string `bun:"id,pk"`
	APIKeyID  string `bun:"api_key_id"`
	Whole     bool   `bun:"whole"`
	Request   string `bun:"request"`
	CreatedAt int64  `bun:"created_at"`
	ClaimedAt int64  `bun:"claimed_at"`
	DoneAt    int64  `bun:"done_at"`
	Router    string `bun:"router"`
	Route     string `bun:"route"`
	Refusal   string `bun:"refusal"`
}

func (r questionRow) domain() route.Question {
	request, _ := base64.StdEncoding.DecodeString(r.Request)
	return route.Question{OrgID: r.OrgID, ID: r.ID, APIKeyID: r.APIKeyID, Whole: r.Whole, Request: request, CreatedAt: fromMicros(r.CreatedAt)}
}

func (r questionRow) answer() route.Answer {
	told, _ := base64.StdEncoding.DecodeString(r.Route)
	out := route.Answer{Router: r.Router, Route: told}
	if r.Refusal != "" {
		refusal := fromJSON[route.Refusal](r.Refusal)
		out.Refusal = &refusal
	}
	return out
}

var _ route.Store = (*Store)(nil)

// InsertQuestion adds a question, or fails with ErrTooMany if route.Waiting others of its organization wait.
// Two that come at once may go one beyond.
func (s *Store) InsertQuestion(ctx context.Context, q route.Question) error {
	return translate(s.db.InOrgTx(ctx, q.OrgID, func(ctx context.Context, tx bun.Tx) error {
		waiting, err := tx.NewSelect().Model((*questionRow)(nil)).
			Where("org_id = ? AND done_at = 0 AND created_at > ?", q.OrgID, micros(s.now().Add(-questionLife))).Count(ctx)
		if err != nil {
			return fmt.Errorf("count questions: %w", err)
		}
		if waiting >= route.Waiting {
			return route.ErrTooMany
		}
		row := questionRow{
			OrgID: q.OrgID, ID: q.ID, APIKeyID: q.APIKeyID, Whole: q.Whole, CreatedAt: micros(q.CreatedAt),
			Request: base64.StdEncoding.EncodeToString(q.Request),
		}
		if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
			return fmt.Errorf("insert question: %w", err)
		}
		return nil
	}))
}

// Answer returns what was answered to a question; false is nothing yet.
func (s *Store) Answer(ctx context.Context, orgID, questionID string) (answer route.Answer, done bool, err error) {
	row := questionRow{OrgID: orgID, ID: questionID}
	err = s.db.InOrgReadTx(ctx, orgID, func(ctx context.Context, tx bun.Tx) error {
		return tx.NewSelect().Model(&row).WherePK().Scan(ctx)
	})
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return route.Answer{}, false, translate(fmt.Errorf("read answer: %w", err))
	}
	return row.answer(), row.DoneAt != 0, nil
}

// DeleteQuestion forgets a question.
func (s *Store) DeleteQuestion(ctx context.Context, orgID, questionID string) error {
	return translate(s.db.InOrgTx(ctx, orgID, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewDelete().Model(&questionRow{OrgID: orgID, ID: questionID}).WherePK().Exec(ctx)
		return err
	}))
}

// SaveAnswer stores the first answer to a question. One to a question that nobody waits for any more, or that
// was never asked, is passed over.
func (s *Store) SaveAnswer(ctx context.Context, orgID, questionID string, a route.Answer) error {
	refusal := ""
	if a.Refusal != nil {
		refusal = toJSON(*a.Refusal)
	}
	return translate(s.db.InOrgTx(ctx, orgID, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewRaw("UPDATE route_question SET done_at = ?, router = ?, route = ?, refusal = ? WHERE org_id = ? AND id = ? AND claimed_at > 0 AND done_at = 0",
			micros(s.now()), a.Router, base64.StdEncoding.EncodeToString(a.Route), refusal, orgID, questionID).Exec(ctx)
		return err
	}))
}

// A question is given to a router again if there is no answer in time, for as long as anybody waits.
const (
	questionPatience = 2 * time.Second
	questionLife     = 10 * time.Second
)

// ClaimQuestions takes up to limit questions that wait for a router. Of several replicas one gets each.
func (s *Store) ClaimQuestions(ctx context.Context, limit int) ([]route.Question, error) {
	now := s.now()
	waiting := func(tx bun.Tx) *bun.SelectQuery {
		return tx.NewSelect().Model((*questionRow)(nil)).
			Where("done_at = 0 AND claimed_at < ? AND created_at > ?", micros(now.Add(-questionPatience)), micros(now.Add(-questionLife)))
	}
	some := false
	err := s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
		some, err = waiting(tx).Exists(ctx)
		return err
	})
	if err != nil || !some {
		return nil, translate(err)
	}
	var claimed []route.Question
	err = s.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		claimed = nil
		var rows []questionRow
		if err := waiting(tx).Model(&rows).Order("claimed_at", "created_at").Limit(int64(limit)).Scan(ctx); err != nil {
			return err
		}
		for _, r := range rows {
			// The condition is checked again: another replica may have committed in between.
			err := affected(tx.NewRaw("UPDATE route_question SET claimed_at = ? WHERE org_id = ? AND id = ? AND claimed_at = ? AND done_at = 0",
				micros(now), r.OrgID, r.ID, r.ClaimedAt).Exec(ctx))
			switch {
			case err == nil:
				claimed = append(claimed, r.domain())
			case !errors.Is(err, sql.ErrNoRows):
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, translate(fmt.Errorf("claim questions: %w", err))
	}
	return claimed, nil
}
