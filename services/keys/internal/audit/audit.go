// Package audit keeps the record of who changed what. Each organization has one chain: every event
// carries the hash of the one before it and the chain's head is kept apart, so that an event that
// was edited, removed or put in between is found. Events are written in the transaction of the
// change they tell of. It does not stop someone who can rewrite the whole chain and its head.
package audit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// Detail holds facts of an event, as JSON. It never holds a secret.
type Detail map[string]any

// Change is the detail of a field that had one value and now has another.
type Change struct {
	From any `json:"from"`
	To   any `json:"to"`
}

// Recorder appends to the chain of the organization at hand. Action is "noun.verb", target an id.
type Recorder interface {
	Record(ctx context.Context, action, target string, detail Detail) error
}

// Event is one link of a chain.
type Event struct {
	OrgID string
	ID    string
	// Sequence counts the events of the organization from 1.
	Sequence int64
	Time     time.Time
	// Actor is the id of the member, or the name of the service.
	Actor     string
	Action    string
	Target    string
	RequestID string
	// Detail is JSON text.
	Detail   string
	PrevHash string
	Hash     string
}

// Sum returns the hash of e, which covers everything else in it.
func Sum(e Event) string {
	h := sha256.New()
	part := func(s string) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	number := func(n int64) { h.Write(binary.BigEndian.AppendUint64(nil, uint64(n))) }
	part("claviger-audit-v1")
	part(e.OrgID)
	part(e.ID)
	number(e.Sequence)
	number(e.Time.UnixMicro())
	for _, s := range []string{e.Actor, e.Action, e.Target, e.RequestID, e.Detail, e.PrevHash} {
		part(s)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Chain reads one organization's chain at one moment.
type Chain interface {
	// AuditHead returns the number and hash of the last event.
	AuditHead(ctx context.Context) (sequence int64, hash string, err error)
	// AuditEvents returns up to limit events after sequence, in order.
	AuditEvents(ctx context.Context, after int64, limit int) ([]Event, error)
}

// ErrBroken means that a chain is not as it was written.
var ErrBroken = errors.New("audit chain broken")

// Verify recomputes the chain and returns the number of events. Its error is ErrBroken, with the
// first place, if something was changed.
func Verify(ctx context.Context, chain Chain) (int64, error) {
	last, head, err := chain.AuditHead(ctx)
	if err != nil {
		return 0, err
	}
	var seen int64
	prev := ""
	for {
		events, err := chain.AuditEvents(ctx, seen, 500)
		if err != nil {
			return 0, err
		}
		if len(events) == 0 {
			break
		}
		for _, e := range events {
			switch {
			case e.Sequence != seen+1:
				return 0, fmt.Errorf("%w: event %d is missing", ErrBroken, seen+1)
			case e.PrevHash != prev:
				return 0, fmt.Errorf("%w: event %d does not follow the one before it", ErrBroken, e.Sequence)
			case e.Hash != Sum(e):
				return 0, fmt.Errorf("%w: event %d was changed", ErrBroken, e.Sequence)
			}
			seen, prev = e.Sequence, e.Hash
		}
	}
	if seen != last || prev != head {
		return 0, fmt.Errorf("%w: %d events are there and the head says %d", ErrBroken, seen, last)
	}
	return seen, nil
}
