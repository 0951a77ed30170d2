package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

const (
	// loadEvery is the time between two requests of callers who lose nothing, and loadStreams how many
	// answers they are being given at any time.
	loadEvery, loadStreams = 10 * time.Millisecond, 50
	// overdue is when a revocation that no router follows is given up: far beyond what is promised.
	overdue = 20 * time.Second
)

// through are the two routers that what is switched off has to reach.
var through = []string{"router", "quiet"}

// revocation is what came of switching one thing off.
type revocation struct {
	// receipt is from the call to its answer.
	receipt time.Duration
	// refused is from the call until every router has refused a request with what was switched off, and
	// whole until its open answers had ended, too, if that was asked for.
	refused, whole time.Duration
	// unconfirmed says that the receipt does not tell of both routers, or of fewer ended answers than ended.
	unconfirmed bool
	// late counts requests that were sent after the receipt, or after the same router had refused one, and
	// were served.
	late int
}

// revoke switches n things off one after the other while both routers serve: API keys most often, and
// credentials and members, every other one with its open answers. What is switched off is itself in use
// on both routers; others use them, too, and must not notice.
func (r *rig) revoke(ctx context.Context, n int, out io.Writer) ([]bound, error) {
	victims, err := r.victims(ctx, n)
	if err != nil {
		return nil, fmt.Errorf("before the revocations: %w", err)
	}
	others, err := r.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	began := time.Now()
	done := make([]revocation, 0, n)
	for _, v := range victims {
		x, err := r.switchOff(ctx, v)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", v.name, err), others.stop())
		}
		done = append(done, x)
	}
	took := time.Since(began)
	if err := others.stop(); err != nil {
		return nil, fmt.Errorf("others than those who were switched off: %w", err)
	}
	return tell(out, done, others, took), nil
}

// tell prints what came of all revocations and returns what is promised of them.
func tell(out io.Writer, done []revocation, others *load, took time.Duration) []bound {
	_, _ = fmt.Fprintf(out, "\n%d revocations in turn, with %.0f requests/s and %d open streams of others on two routers\n%-30s %10s %10s %10s\n",
		len(done), float64(others.served.Load())/took.Seconds(), loadStreams, "", "p50", "p99", "max")
	var bounds []bound
	for _, row := range []struct {
		name string
		of   func(revocation) time.Duration
	}{
		{"receipt", func(x revocation) time.Duration { return x.receipt }},
		{"refused by both", func(x revocation) time.Duration { return x.refused }},
		{"and answers cut", func(x revocation) time.Duration { return x.whole }},
	} {
		times := make([]time.Duration, len(done))
		for i, x := range done {
			times[i] = row.of(x)
		}
		slices.Sort(times)
		p50, p99, most := times[len(times)/2], times[len(times)*99/100], times[len(times)-1]
		_, _ = fmt.Fprintf(out, "%-30s %10v %10v %10v\n", row.name, p50.Round(time.Millisecond), p99.Round(time.Millisecond), most.Round(time.Millisecond))
		if row.name == "refused by both" {
			continue // a part of the next
		}
		bounds = append(bounds,
			bound{name: "revocation, " + row.name + ", p99", value: p99.Seconds(), limit: 2, unit: " s"},
			bound{name: "revocation, " + row.name + ", max", value: most.Seconds(), limit: 5, unit: " s"})
	}
	unconfirmed, late := 0, 0
	for _, x := range done {
		late += x.late
		if x.unconfirmed {
			unconfirmed++
		}
	}
	_, _ = fmt.Fprintf(out, "receipts that not both routers confirmed: %d; requests served too late: %d\n", unconfirmed, late)
	return append(bounds,
		bound{name: "receipts that were not confirmed by all", value: float64(unconfirmed)},
		bound{name: "requests served after their receipt", value: float64(late)})
}

// switchOff puts v to use on both routers, switches it off and looks what becomes of it.
func (r *rig) switchOff(ctx context.Context, v *victim) (revocation, error) {
	ctx, cancel := context.WithTimeout(ctx, overdue)
	defer cancel()
	var using sync.WaitGroup
	defer using.Wait()
	defer cancel() // first: it ends what is still in use
	callers, streams, err := r.use(ctx, v, &using)
	if err != nil {
		return revocation{}, err
	}
	began := time.Now()
	receipt, err := v.off(ctx)
	answered := time.Now()
	if err != nil {
		return revocation{}, fmt.Errorf("switch off: %w", err)
	}
	out := revocation{receipt: answered.Sub(began)}
	routers := int32(len(through))
	out.unconfirmed = receipt.GetConnected() != routers || receipt.GetConfirmed() != routers
	for _, c := range callers {
		c.given <- answered
	}
	for _, c := range callers {
		found := <-c.found
		if found.err != nil {
			return revocation{}, fmt.Errorf("%s: %w", c.router, found.err)
		}
		out.refused = max(out.refused, found.refused.Sub(began))
		out.late += found.late
	}
	out.whole = out.refused
	for _, s := range streams {
		switch end, err := s.end(ctx, v.cut); {
		case err != nil:
			return revocation{}, fmt.Errorf("%s: %w", s.router, err)
		case v.cut:
			out.whole = max(out.whole, end.Sub(began))
		}
	}
	if v.cut && int(receipt.GetStreamsCut()) < len(streams) {
		out.unconfirmed = true
	}
	return out, nil
}
