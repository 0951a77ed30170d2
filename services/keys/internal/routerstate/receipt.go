package routerstate

import (
	"context"
	"slices"
	"time"
)

const (
	// patience is how long a receipt waits for routers.
	patience = 5 * time.Second
	// What another replica hears is looked for soon at first, then more rarely.
	firstLook, rarestLook = 50 * time.Millisecond, 500 * time.Millisecond
)

// Receipt says how far a change has gone.
type Receipt struct {
	// Version is a configuration that holds the change.
	Version int64
	// Connected routers are those whose lease runs; Confirmed is how many of them serve Version.
	Connected, Confirmed int
	// Missing are the names of the others.
	Missing []string
	// Unreachable fell silent within the last hour.
	Unreachable int
	// StreamsCut is how many answers the confirming routers ended because of what was switched off.
	StreamsCut int
	Elapsed    time.Duration
}

// Await waits until every connected router serves what has been committed before the call, at most five
// seconds, and says how far that went. SwitchedOff are the ids of the objects whose cut answers count.
//
// The version that it waits for is the newest there is when it begins. So it can be called for a change
// of long ago, as for the retry of a call. An error means that the database does not answer, or that
// ctx ended; the change holds all the same.
func (g *Registry) Await(ctx context.Context, switchedOff ...string) (Receipt, error) {
	began := time.Now()
	over := time.NewTimer(patience)
	defer over.Stop()
	var receipt Receipt
	known, last := false, false
	for look := firstLook; ; look = min(look*3/2, rarestLook) {
		heard := g.heard()
		now := g.now()
		version, routers, err := g.store.Routers(ctx, now.Add(-memory))
		if err == nil {
			if !known {
				receipt.Version, known = version, true
			}
			receipt.judge(routers, now, switchedOff)
		}
		receipt.Elapsed = time.Since(began)
		switch {
		case err != nil && (last || ctx.Err() != nil):
			return receipt, err
		case known && (last || len(receipt.Missing) == 0):
			return receipt, nil
		}
		again := time.NewTimer(look)
		select {
		case <-heard:
		case <-again.C:
		case <-over.C:
			last = true
		case <-ctx.Done():
			again.Stop()
			return receipt, ctx.Err()
		}
		again.Stop()
	}
}

// judge counts routers as they are now.
func (r *Receipt) judge(routers []Router, now time.Time, switchedOff []string) {
	r.Connected, r.Confirmed, r.Unreachable, r.StreamsCut, r.Missing = 0, 0, 0, 0, nil
	for _, router := range routers {
		switch {
		case router.Closed:
		case !router.LeaseUntil.After(now):
			r.Unreachable++
		case router.Applied < r.Version:
			r.Connected++
			r.Missing = append(r.Missing, router.Name)
		default:
			r.Connected++
			r.Confirmed++
			r.StreamsCut += router.cut(switchedOff)
		}
	}
}

// cut counts the answers that were ended because of objects.
func (r Router) cut(ids []string) (streams int) {
	for _, c := range r.Cuts {
		if slices.Contains(ids, c.ID) {
			streams += c.Streams
		}
	}
	return streams
}
