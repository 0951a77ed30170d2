package report

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/fault"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/router/internal/uses"
)

const (
	// interval is the time between two reports if nothing happens.
	interval = 5 * time.Second
	// gap is the time between two reports whatever happens: a router that applies ten changes a second tells
	// of the newest five times.
	gap = 200 * time.Millisecond
	// While keys does not answer it is tried again soon, then as often as ever.
	firstRetry  = 500 * time.Millisecond
	callTimeout = 10 * time.Second
	// goodbye is how long a router that goes away waits for keys to take its last report.
	goodbye = 2 * time.Second
	// maxVerdicts bounds the bytes of the verdicts in a report.
	maxVerdicts = 1 << 20
	// cutsKept is how long answers that were cut are told of: a receipt waits for seconds.
	cutsKept = time.Minute
)

// Cut counts the answers that were ended because a credential or an API key was switched off.
type Cut struct {
	ID      string
	Streams int

	at time.Time
}

// Applied says that a version of the configuration is served, and what was cut under it. Keys is told at
// once: somebody may wait for it.
func (r *Reporter) Applied(version int64, cuts ...Cut) {
	now := r.o.Now()
	r.mu.Lock()
	r.applied = version
	for _, c := range cuts {
		c.at = now
		r.cuts = append(r.cuts, c)
	}
	r.cuts = r.cuts[max(0, len(r.cuts)-maxKept):]
	r.mu.Unlock()
	r.wakeUp()
}

// Run works until ctx ends; then it says goodbye.
func (r *Reporter) Run(ctx context.Context) error {
	for range testsAtOnce {
		r.tests.Go(func() { r.work(ctx) })
	}
	defer r.tests.Wait()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	retry, whole := firstRetry, true
	for ctx.Err() == nil {
		if err := r.send(ctx, whole, false); err != nil {
			if ctx.Err() == nil {
				r.o.Log.DebugContext(ctx, "report to keys not sent", "error", err)
			}
			pause(ctx, retry)
			retry, whole = min(2*retry, interval), true
			continue
		}
		retry, whole = firstRetry, false
		r.mu.Lock()
		if len(r.results) > 0 || len(r.answers) > 0 {
			r.wakeUp()
		}
		r.mu.Unlock()
		pause(ctx, gap)
		select {
		case <-ctx.Done():
		case <-tick.C:
			whole = true
		case <-r.wake:
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	if err := r.send(last, true, true); err != nil {
		r.o.Log.DebugContext(ctx, "goodbye to keys not sent", "error", err)
	}
	return nil
}

// send makes one report. A whole one has what can wait, too.
func (r *Reporter) send(ctx context.Context, whole, closing bool) error {
	p := r.pack(whole, closing)
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := r.o.Client.ReportRouterState(ctx, p.req)
	switch {
	case err == nil:
		return nil
	case connect.CodeOf(err) == connect.CodeInvalidArgument || fault.KindOf(err) == fault.Invalid:
		// It would be refused again and again, and what comes after it would wait for ever.
		r.o.Log.ErrorContext(ctx, "keys refused a report, which is dropped", "error", err)
	default:
		r.unpack(p)
	}
	return fmt.Errorf("report state: %w", err)
}

// parcel is a report, with what of it has to be kept if it is not sent.
type parcel struct {
	req      *keysv1.ReportRouterStateRequest
	evidence map[evidenceKey]*keysv1.CredentialEvidence
	used     []uses.Use
}

func (r *Reporter) pack(whole, closing bool) parcel {
	now := r.o.Now()
	var used []uses.Use
	switch {
	case r.o.Uses == nil:
	case closing: // there is no next minute
		used = r.o.Uses.Rest(now, maxKept)
	default:
		used = r.o.Uses.Take(now, maxKept)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := parcel{
		req:      &keysv1.ReportRouterStateRequest{Router: r.o.Router, Epoch: r.epoch, AppliedVersion: r.applied, Cuts: r.recentCuts(now), Closing: closing},
		evidence: r.evidence, used: used,
	}
	p.req.ProbeResults, r.results = fitting(r.results)
	p.req.RouteAnswers, r.answers = fittingAnswers(r.answers)
	r.evidence = map[evidenceKey]*keysv1.CredentialEvidence{}
	for _, e := range p.evidence {
		p.req.Evidence = append(p.req.Evidence, e)
	}
	for _, u := range used {
		p.req.Uses = append(p.req.Uses, &keysv1.SecretUse{OrgId: u.OrgID, CredentialId: u.CredentialID, Revision: int32(u.Revision), Time: timestamppb.New(u.Time)})
	}
	if whole {
		if r.o.Learned != nil {
			r.left.learn(r.o.Learned)
		}
		p.req.Headroom = r.left.take(now)
		p.req.Drills = r.drills.take()
	}
	return p
}

// fitting splits off the verdicts that fit into one report: each may list a thousand models.
func fitting(results []*keysv1.ProbeResult) (first, rest []*keysv1.ProbeResult) {
	size := 0
	for i, result := range results {
		if size += proto.Size(result); i > 0 && size > maxVerdicts || i == maxKept {
			return results[:i:i], results[i:]
		}
	}
	return results, nil
}

// fittingAnswers splits off the answers that fit into one report.
func fittingAnswers(answers []*keysv1.RouteAnswer) (first, rest []*keysv1.RouteAnswer) {
	size := 0
	for i, a := range answers {
		if size += proto.Size(a); i > 0 && size > maxVerdicts {
			return answers[:i:i], answers[i:]
		}
	}
	return answers, nil
}

// unpack keeps what could not be sent, unless there is newer.
func (r *Reporter) unpack(p parcel) {
	r.mu.Lock()
	r.results = append(p.req.GetProbeResults(), r.results...)
	r.results = r.results[:min(len(r.results), maxKept)]
	for key, e := range p.evidence {
		if r.evidence[key] == nil {
			r.evidence[key] = e
		}
	}
	r.left.untold(p.req.GetHeadroom())
	r.mu.Unlock()
	r.drills.untold(p.req.GetDrills())
	if r.o.Uses != nil {
		r.o.Uses.Return(p.used)
	}
}

// recentCuts adds up what was cut within the last minute, and forgets what was before. The lock is held.
func (r *Reporter) recentCuts(now time.Time) (out []*keysv1.StreamsCut) {
	for len(r.cuts) > 0 && now.Sub(r.cuts[0].at) > cutsKept {
		r.cuts = r.cuts[1:]
	}
	byID := map[string]*keysv1.StreamsCut{}
	for _, c := range r.cuts {
		if byID[c.ID] == nil {
			byID[c.ID] = &keysv1.StreamsCut{Id: c.ID}
			out = append(out, byID[c.ID])
		}
		byID[c.ID].Streams += int32(c.Streams)
	}
	return out
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
