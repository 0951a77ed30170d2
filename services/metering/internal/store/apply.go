package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/services/metering/internal/spool"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// The tables of sums, and the widths of their buckets in microseconds.
const (
	rollupTable = "usage_rollup"
	dayTable    = "usage_day"
	quarter     = int64(usage.Quarter / time.Microsecond)
	day         = int64(24 * time.Hour / time.Microsecond)
)

// chunk bounds the rows of one statement: its text has all values in it.
const chunk = 500

// eventKey is the key of usage_event.
type eventKey struct {
	orgID     string
	day       int64
	attemptID string
}

func compareKeys(a, b eventKey) int {
	return cmp.Or(cmp.Compare(a.orgID, b.orgID), cmp.Compare(a.day, b.day), cmp.Compare(a.attemptID, b.attemptID))
}

func keyOf(a *usage.Attempt) eventKey {
	n, _ := a.Day() // checked when it was decoded
	return eventKey{orgID: a.OrgID, day: n, attemptID: a.AttemptID}
}

// Apply applies a batch in one transaction. Applying it again, in whole or in part, in any order and
// together with anything else, changes nothing: an attempt that is there already is left alone, unless
// this is a higher revision of it, and then the sums change by the difference.
func (s *Store) Apply(ctx context.Context, b usage.Batch) (usage.Applied, error) {
	var out usage.Applied
	err := s.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		out = usage.Applied{} // the transaction may run again
		if err := s.serialize(ctx, tx); err != nil {
			return err
		}
		if err := s.count(ctx, tx, b, &out); err != nil {
			return err
		}
		if err := keepAside(ctx, tx, b); err != nil {
			return err
		}
		marks, err := advance(ctx, tx, b)
		if err != nil {
			return err
		}
		out.Marks = marks
		return savePosition(ctx, tx, b)
	})
	if err != nil {
		return usage.Applied{}, fmt.Errorf("apply usage: %w", err)
	}
	return out, nil
}

// count inserts what is new and adds it to the sums.
func (s *Store) count(ctx context.Context, tx bun.Tx, b usage.Batch, out *usage.Applied) error {
	attempts := newest(b.Attempts)
	if len(attempts) == 0 {
		return nil
	}
	out.Duplicate = len(b.Attempts) - len(attempts)
	numbers, err := number(ctx, tx, attempts, out)
	if err != nil {
		return err
	}
	if err := saveTags(ctx, tx, attempts); err != nil {
		return err
	}
	fresh, err := s.insertEvents(ctx, tx, attempts, numbers)
	if err != nil {
		return err
	}
	sums := map[usage.Key]usage.Totals{}
	var known []*usage.Attempt
	for _, a := range attempts {
		if !fresh[keyOf(a)] {
			known = append(known, a)
			continue
		}
		key, t := a.Contribution()
		sums[key] = sums[key].Plus(t, 1)
	}
	out.Counted = len(attempts) - len(known)
	revised, err := s.revise(ctx, tx, known, numbers, sums)
	if err != nil {
		return err
	}
	out.Revised = revised
	out.Duplicate += len(known) - revised
	if err := s.addSums(ctx, tx, sums); err != nil {
		return err
	}
	return noteUses(ctx, tx, attempts)
}

// newest keeps the highest revision of each attempt, in the order of the key. That order is the same
// for all, so that transactions cannot wait for each other in a circle.
func newest(in []usage.Attempt) []*usage.Attempt {
	best := make(map[eventKey]*usage.Attempt, len(in))
	for i := range in {
		key := keyOf(&in[i])
		if old, ok := best[key]; !ok || in[i].Revision > old.Revision {
			best[key] = &in[i]
		}
	}
	keys := slices.SortedFunc(maps.Keys(best), compareKeys)
	out := make([]*usage.Attempt, len(keys))
	for i, key := range keys {
		out[i] = best[key]
	}
	return out
}

// saveTags stores the sets of tags that are not stored yet.
func saveTags(ctx context.Context, tx bun.Tx, attempts []*usage.Attempt) error {
	sets := map[[2]string]map[string]string{}
	for _, a := range attempts {
		if len(a.Tags) > 0 {
			sets[[2]string{a.OrgID, usage.TagsetID(a.Tags)}] = a.Tags
		}
	}
	if len(sets) == 0 {
		return nil
	}
	var setRows []*tagsetRow
	var tagRows []*tagRow
	for _, key := range slices.SortedFunc(maps.Keys(sets), func(a, b [2]string) int {
		return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]))
	}) {
		tags := sets[key]
		setRows = append(setRows, &tagsetRow{OrgID: key[0], TagsetID: key[1], Tags: toJSON(tags)})
		for _, name := range slices.Sorted(maps.Keys(tags)) {
			tagRows = append(tagRows, &tagRow{OrgID: key[0], TagKey: name, TagsetID: key[1], TagValue: tags[name]})
		}
	}
	slices.SortFunc(tagRows, func(a, b *tagRow) int {
		return cmp.Or(cmp.Compare(a.OrgID, b.OrgID), cmp.Compare(a.TagKey, b.TagKey), cmp.Compare(a.TagsetID, b.TagsetID))
	})
	if err := insertNew(ctx, tx, setRows); err != nil {
		return fmt.Errorf("insert tag sets: %w", err)
	}
	if err := insertNew(ctx, tx, tagRows); err != nil {
		return fmt.Errorf("insert tags: %w", err)
	}
	return nil
}

// insertNew inserts the rows whose key is not there.
func insertNew[T any](ctx context.Context, tx bun.Tx, rows []T) error {
	for part := range slices.Chunk(rows, chunk) {
		if _, err := tx.NewInsert().Model(&part).On("CONFLICT DO NOTHING").Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// insertEvents inserts the attempts that are not there and returns their keys.
func (s *Store) insertEvents(ctx context.Context, tx bun.Tx, attempts []*usage.Attempt, numbers map[*usage.Attempt]int64) (map[eventKey]bool, error) {
	insert := insertValues
	if s.db.Engine() == sqldb.Postgres {
		insert = insertArrays
	}
	fresh := make(map[eventKey]bool, len(attempts))
	for part := range slices.Chunk(attempts, chunk) {
		rows := make([]*eventRow, len(part))
		for i, a := range part {
			rows[i] = toEventRow(a)
			rows[i].Counted = numbers[a]
		}
		if err := insert(ctx, tx, rows, fresh); err != nil {
			return nil, fmt.Errorf("insert usage events: %w", err)
		}
	}
	return fresh, nil
}

// insertValues inserts the rows that are not there and adds their keys to fresh.
func insertValues(ctx context.Context, tx bun.Tx, rows []*eventRow, fresh map[eventKey]bool) error {
	var inserted []eventRow
	query := tx.NewInsert().Model(&rows)
	if !anyRare(rows) {
		query = query.ExcludeColumn(rareEvents...)
	}
	err := query.
		On("CONFLICT (org_id, day, attempt_id) DO NOTHING").
		Returning("org_id, day, attempt_id").
		Scan(ctx, &inserted)
	if err != nil {
		return err
	}
	for i := range inserted {
		fresh[eventKey{orgID: inserted[i].OrgID, day: inserted[i].Day, attemptID: inserted[i].AttemptID}] = true
	}
	return nil
}

// revise replaces attempts that are there in a lower revision and adds the difference to sums. It
// returns how many.
func (s *Store) revise(ctx context.Context, tx bun.Tx, known []*usage.Attempt, numbers map[*usage.Attempt]int64, sums map[usage.Key]usage.Totals) (int, error) {
	revisions := slices.DeleteFunc(slices.Clone(known), func(a *usage.Attempt) bool { return a.Revision == 0 })
	changed := 0
	for _, a := range revisions { // rare: one by one
		key := keyOf(a)
		old := new(eventRow)
		query := tx.NewSelect().Model(old).
			Where("org_id = ? AND day = ? AND attempt_id = ?", key.orgID, key.day, key.attemptID)
		if s.db.Engine() == sqldb.Postgres {
			query = query.For("UPDATE")
		}
		if err := query.Scan(ctx); err != nil {
			return 0, fmt.Errorf("read the earlier revision: %w", err)
		}
		if old.Revision >= a.Revision {
			continue
		}
		before := old.attempt(nil)
		oldKey, oldTotals := before.Contribution()
		oldKey.TagsetID = old.TagsetID
		newKey, newTotals := a.Contribution()
		sums[oldKey] = sums[oldKey].Plus(oldTotals, -1)
		sums[newKey] = sums[newKey].Plus(newTotals, 1)
		row := toEventRow(a)
		row.Counted = numbers[a]
		if _, err := tx.NewUpdate().Model(row).WherePK().Exec(ctx); err != nil {
			return 0, fmt.Errorf("update usage event: %w", err)
		}
		changed++
	}
	return changed, nil
}

var (
	conflictKey = "CONFLICT (" + strings.Join(keyNames, ", ") + ") DO UPDATE"
	// addToSums are the assignments of an upsert, without and with the rare columns. Those stay NULL
	// where there is nothing to add.
	addToSums = func() map[rare][]string {
		sets := map[rare][]string{}
		for _, c := range sumNames {
			if slices.Contains(rareSums, c) {
				sets[true] = append(sets[true], fmt.Sprintf("%s = CASE WHEN EXCLUDED.%s IS NULL THEN r.%s ELSE COALESCE(r.%s, 0) + EXCLUDED.%s END", c, c, c, c, c))
				continue
			}
			set := fmt.Sprintf("%s = r.%s + EXCLUDED.%s", c, c, c)
			sets[false], sets[true] = append(sets[false], set), append(sets[true], set)
		}
		return sets
	}()
)

// addSums adds to the sums per quarter of an hour and per day.
func (s *Store) addSums(ctx context.Context, tx bun.Tx, sums map[usage.Key]usage.Totals) error {
	days := make(map[usage.Key]usage.Totals, len(sums))
	for key, t := range sums {
		key.Bucket -= key.Bucket % day
		days[key] = days[key].Plus(t, 1)
	}
	upsert := upsertValues
	if s.db.Engine() == sqldb.Postgres {
		upsert = upsertArrays
	}
	for table, sums := range map[string]map[usage.Key]usage.Totals{rollupTable: sums, dayTable: days} {
		keys := slices.SortedFunc(maps.Keys(sums), compareRollupKeys)
		rows := make([]*rollupRow, 0, len(keys))
		for _, key := range keys {
			if t := sums[key]; !t.IsZero() {
				rows = append(rows, toRollupRow(key, t))
			}
		}
		for part := range slices.Chunk(rows, chunk) {
			if err := upsert(ctx, tx, table, part); err != nil {
				return fmt.Errorf("add to %s: %w", table, err)
			}
		}
	}
	return nil
}

// upsertValues adds rows to a table of sums.
func upsertValues(ctx context.Context, tx bun.Tx, table string, rows []*rollupRow) error {
	query := tx.NewInsert().Model(&rows).ModelTableExpr("? AS r", bun.Ident(table)).On(conflictKey)
	r := anyRare(rows)
	if !r {
		query = query.ExcludeColumn(rareSums...)
	}
	for _, set := range addToSums[r] {
		query = query.Set(set)
	}
	_, err := query.Exec(ctx)
	return err
}

func compareRollupKeys(a, b usage.Key) int {
	return cmp.Or(
		cmp.Compare(a.OrgID, b.OrgID), cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.APIKeyID, b.APIKeyID),
		cmp.Compare(a.MemberID, b.MemberID), cmp.Compare(a.CredentialID, b.CredentialID), cmp.Compare(a.Class, b.Class),
		cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Model, b.Model), cmp.Compare(a.PolicyID, b.PolicyID),
		cmp.Compare(a.TagsetID, b.TagsetID),
	)
}

// advance moves the watermarks of the batch's sequences.
func advance(ctx context.Context, tx bun.Tx, b usage.Batch) (map[spool.Key]spool.Mark, error) {
	marks := make(map[spool.Key]spool.Mark, len(b.Sequences))
	if len(b.Sequences) == 0 {
		return marks, nil
	}
	keys := slices.SortedFunc(maps.Keys(b.Sequences), compareSequences)
	for part := range slices.Chunk(keys, chunk) {
		var rows []markRow
		query := tx.NewSelect().Model(&rows)
		for _, key := range part {
			query = query.WhereOr("router = ? AND epoch = ? AND partition_id = ?", key.Router, key.Epoch, key.Partition)
		}
		if err := query.Scan(ctx); err != nil {
			return nil, fmt.Errorf("read watermarks: %w", err)
		}
		for i := range rows {
			mark, err := rows[i].mark()
			if err != nil {
				return nil, err
			}
			marks[rows[i].key()] = mark
		}
		moved := make([]*markRow, len(part))
		for i, key := range part {
			marks[key] = marks[key].Add(b.Sequences[key]...)
			moved[i] = toMarkRow(key, marks[key], micros(b.At))
		}
		_, err := tx.NewInsert().Model(&moved).On("CONFLICT (router, epoch, partition_id) DO UPDATE").
			Set("contiguous = EXCLUDED.contiguous, ranges = EXCLUDED.ranges, updated_at = EXCLUDED.updated_at").Exec(ctx)
		if err != nil {
			return nil, fmt.Errorf("save watermarks: %w", err)
		}
	}
	return marks, nil
}

func compareSequences(a, b spool.Key) int {
	return cmp.Or(cmp.Compare(a.Router, b.Router), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Partition, b.Partition))
}

func savePosition(ctx context.Context, tx bun.Tx, b usage.Batch) error {
	if b.Position == nil {
		return nil
	}
	row := &positionRow{
		Stream: streamName, CreatedAt: micros(b.Position.StreamCreated),
		Sequence: int64(b.Position.Sequence), UpdatedAt: micros(b.At),
	}
	_, err := tx.NewInsert().Model(row).On("CONFLICT (stream) DO UPDATE").
		Set("created_at = EXCLUDED.created_at, sequence = EXCLUDED.sequence, updated_at = EXCLUDED.updated_at").Exec(ctx)
	if err != nil {
		return fmt.Errorf("save stream position: %w", err)
	}
	return nil
}

// keepAside stores what waits and what is quarantined, and removes what no longer waits.
func keepAside(ctx context.Context, tx bun.Tx, b usage.Batch) error {
	for _, k := range b.Judged {
		_, err := tx.NewDelete().Model((*waitingRow)(nil)).
			Where("org_id = ? AND attempt_id = ? AND revision = ?", k.OrgID, k.AttemptID, k.Revision).Exec(ctx)
		if err != nil {
			return fmt.Errorf("remove waiting event: %w", err)
		}
	}
	waiting := make([]*waitingRow, len(b.Waiting))
	for i := range b.Waiting {
		waiting[i] = toWaitingRow(&b.Waiting[i])
	}
	if err := insertNew(ctx, tx, waiting); err != nil {
		return fmt.Errorf("insert waiting events: %w", err)
	}
	for i := range b.Quarantine {
		_, err := tx.NewInsert().Model(toQuarantineRow(&b.Quarantine[i], micros(b.At))).
			On("CONFLICT (id) DO UPDATE").Set("seen = q.seen + 1").Exec(ctx)
		if err != nil {
			return fmt.Errorf("insert into quarantine: %w", err)
		}
	}
	return nil
}

// markRow is a row of spool_mark.
type markRow struct {
	bun.BaseModel `bun:"table:spool_mark"`

	Router      string `bun:"router,pk"`
	Epoch       string `bun:"epoch,pk"`
	PartitionID int    `bun:"partition_id,pk"`
	Contiguous  int64  `bun:"contiguous"`
	Ranges      string `bun:"ranges"`
	UpdatedAt   int64  `bun:"updated_at"`
}

func toMarkRow(key spool.Key, m spool.Mark, at int64) *markRow {
	pairs := make([][2]int64, len(m.Ranges))
	for i, r := range m.Ranges {
		pairs[i] = [2]int64{r.First, r.Last}
	}
	return &markRow{
		Router: key.Router, Epoch: key.Epoch, PartitionID: key.Partition,
		Contiguous: m.Contiguous, Ranges: toJSON(pairs), UpdatedAt: at,
	}
}

func (r *markRow) key() spool.Key {
	return spool.Key{Router: r.Router, Epoch: r.Epoch, Partition: r.PartitionID}
}

func (r *markRow) mark() (spool.Mark, error) {
	m := spool.Mark{Contiguous: r.Contiguous}
	if r.Ranges == "" {
		return m, nil
	}
	var pairs [][2]int64
	if err := json.Unmarshal([]byte(r.Ranges), &pairs); err != nil {
		return m, fmt.Errorf("decode watermark: %w", err)
	}
	for _, p := range pairs {
		m.Ranges = append(m.Ranges, spool.Range{First: p[0], Last: p[1]})
	}
	return m, nil
}

// positionRow is a row of stream_position.
type positionRow struct {
	bun.BaseModel `bun:"table:stream_position"`

	Stream    string `bun:"stream,pk"`
	CreatedAt int64  `bun:"created_at"`
	Sequence  int64  `bun:"sequence"`
	UpdatedAt int64  `bun:"updated_at"`
}

// streamName is the one stream there is.
const streamName = "USAGE"

// waitingRow is a row of usage_waiting.
type waitingRow struct {
	bun.BaseModel `bun:"table:usage_waiting"`

	OrgID       string `bun:"org_id,pk"`
	AttemptID   string `bun:"attempt_id,pk"`
	Revision    int    `bun:"revision,pk"`
	Router      string `bun:"router"`
	Epoch       string `bun:"epoch"`
	PartitionID int    `bun:"partition_id"`
	Sequence    int64  `bun:"sequence"`
	Entry       []byte `bun:"entry"`
	Since       int64  `bun:"since"`
}

func toWaitingRow(w *usage.Waiting) *waitingRow {
	return &waitingRow{
		OrgID: w.OrgID, AttemptID: w.AttemptID, Revision: w.Revision, Router: w.Router, Epoch: w.Epoch,
		PartitionID: w.Partition, Sequence: w.Sequence, Entry: w.Entry, Since: micros(w.Since),
	}
}

// quarantineRow is a row of usage_quarantine.
type quarantineRow struct {
	bun.BaseModel `bun:"table:usage_quarantine,alias:q"`

	ID          string `bun:"id,pk"`
	Reason      string `bun:"reason"`
	Detail      string `bun:"detail"`
	Subject     string `bun:"subject"`
	Payload     []byte `bun:"payload"`
	IsEntry     bool   `bun:"is_entry"`
	OrgID       string `bun:"org_id"`
	AttemptID   string `bun:"attempt_id"`
	Router      string `bun:"router"`
	Epoch       string `bun:"epoch"`
	PartitionID int    `bun:"partition_id"`
	Sequence    int64  `bun:"sequence"`
	ReceivedAt  int64  `bun:"received_at"`
	Seen        int64  `bun:"seen"`
}

func toQuarantineRow(q *usage.Quarantined, at int64) *quarantineRow {
	payload := q.Payload
	if payload == nil {
		payload = []byte{}
	}
	return &quarantineRow{
		ID: q.ID, Reason: string(q.Reason), Detail: q.Detail, Subject: q.Subject, Payload: payload, IsEntry: q.Entry,
		OrgID: q.OrgID, AttemptID: q.AttemptID, Router: q.Router, Epoch: q.Epoch, PartitionID: q.Partition,
		Sequence: q.Sequence, ReceivedAt: at, Seen: 1,
	}
}
