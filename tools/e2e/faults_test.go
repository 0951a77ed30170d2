package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/llmtest"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/tools/e2e/cluster"
)

// load sends streams and plain completions to routers until it is told to stop.
type load struct {
	w      *world
	cancel context.CancelFunc
	group  sync.WaitGroup
	stop   atomic.Bool

	mu     sync.Mutex
	ok     int
	failed map[int][]error // by router
}

func (w *world) startLoad(workersEach int, routers ...int) *load {
	ctx, cancel := context.WithCancel(w.tb.Context())
	l := &load{w: w, cancel: cancel, failed: map[int][]error{}}
	for _, router := range routers {
		for worker := range workersEach {
			l.group.Go(func() {
				for n := 0; !l.stop.Load(); n++ {
					c := call{stream: (worker+n)%3 != 0, script: "script:tokens=40,delay=3ms", prompt: fmt.Sprintf("worker %d call %d", worker, n)}
					_, err := w.complete(ctx, router, c)
					l.mu.Lock()
					if err != nil {
						l.failed[router] = append(l.failed[router], err)
					} else {
						l.ok++
					}
					l.mu.Unlock()
					if err != nil { // a router that is down refuses at once
						<-time.After(20 * time.Millisecond)
					}
				}
			})
		}
	}
	return l
}

// end stops the load once what is open has ended.
func (l *load) end() (ok int, failed map[int][]error) {
	l.stop.Store(true)
	l.group.Wait()
	l.cancel()
	return l.ok, l.failed
}

// checkUsage compares the usage events with what the provider says that it was asked and answered.
// estimatesAtMost is how many attempts may have been cut by a fault.
func (w *world) checkUsage(estimatesAtMost int) {
	w.tb.Helper()
	attempts, totals := w.attempts("acme", w.owner)
	ledger := map[string]llmtest.Entry{}
	for _, e := range w.Provider.Ledger() {
		ledger[e.ClientRequestID] = e
	}
	// I1: what the provider was asked is in the accounts, and nothing else is, but for attempts whose
	// router died without being able to tell whether they had left.
	for id, e := range ledger {
		if attempts[id] == nil {
			w.tb.Errorf("I1: attempt %s reached the provider (%d tokens written) and is in no usage event", id, e.Written)
		}
	}
	estimates, sum := 0, &eventsv1.TokenCounts{}
	for id, a := range attempts {
		event := a.GetEvent()
		entry, sent := ledger[id]
		tokens := event.GetTokens()
		sum.InputTotal += tokens.GetInputTotal()
		sum.OutputTotal += tokens.GetOutputTotal()
		if !sent && event.GetOutcome() != eventsv1.Outcome_OUTCOME_ROUTER_CRASH && event.GetOutcome() != eventsv1.Outcome_OUTCOME_NOT_SENT {
			w.tb.Errorf("I1: attempt %s (%v) is in the accounts and never reached the provider", id, event.GetOutcome())
		}
		// I2: the provider's numbers where it gave them, and near it where it could not.
		switch event.GetUsageSource() {
		case eventsv1.UsageSource_USAGE_SOURCE_PROVIDER_FINAL:
			if entry.Declared == nil || tokens.GetInputTotal() != int64(entry.Declared.Input) || tokens.GetOutputTotal() != int64(entry.Declared.Output) {
				w.tb.Errorf("I2: attempt %s has %v, the provider declared %+v", id, tokens, entry.Declared)
			}
		case eventsv1.UsageSource_USAGE_SOURCE_ESTIMATED, eventsv1.UsageSource_USAGE_SOURCE_PROVIDER_PARTIAL:
			estimates++
			// A checkpoint is at most 64 tokens or one second behind; these streams send 300 tokens a second.
			if out := tokens.GetOutputTotal(); out > int64(entry.Written)+1 || out < int64(entry.Written)-400 {
				w.tb.Errorf("I2: attempt %s is estimated at %d tokens, the provider wrote %d", id, out, entry.Written)
			}
		case eventsv1.UsageSource_USAGE_SOURCE_UNSPECIFIED:
			w.tb.Errorf("I2: attempt %s does not say where its numbers come from", id)
		case eventsv1.UsageSource_USAGE_SOURCE_NONE:
		}
	}
	if estimates > estimatesAtMost {
		w.tb.Errorf("I2: %d estimates, want at most %d", estimates, estimatesAtMost)
	}
	// I3: the sums are those of the events, each counted once.
	w.checkSums(attempts, totals, sum)
	w.tb.Logf("%d attempts, %d of them estimated, %d in the provider's ledger", len(attempts), estimates, len(ledger))
}

func (w *world) checkSums(attempts map[string]*meteringv1.Attempt, totals *meteringv1.UsageTotals, sum *eventsv1.TokenCounts) {
	w.tb.Helper()
	var cost, requests int64
	for _, a := range attempts {
		cost += a.GetCostNanoUsd()
		if a.GetEvent().GetAttemptNumber() == 1 {
			requests++
		}
	}
	if totals.GetAttempts() != int64(len(attempts)) || totals.GetRequests() != requests || totals.GetCostNanoUsd() != cost ||
		totals.GetTokens().GetInputTotal() != sum.GetInputTotal() || totals.GetTokens().GetOutputTotal() != sum.GetOutputTotal() {
		w.tb.Errorf("I3: totals say %d attempts, %d requests, %d nano-USD, %d + %d tokens; the events say %d, %d, %d, %d + %d",
			totals.GetAttempts(), totals.GetRequests(), totals.GetCostNanoUsd(), totals.GetTokens().GetInputTotal(), totals.GetTokens().GetOutputTotal(),
			len(attempts), requests, cost, sum.GetInputTotal(), sum.GetOutputTotal())
	}
}

// TestKillsLoseNoUsageAndCountNoneTwice kills router, metering and NATS at random moments under a
// load of streams, and compares the accounts with the provider's own ledger.
func TestKillsLoseNoUsageAndCountNoneTwice(t *testing.T) {
	w := newWorld(t, cluster.Options{Routers: 2})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	const workers = 6
	l := w.startLoad(workers, 0, 1)
	kills := map[string]int{}
	for range 15 {
		<-time.After(time.Duration(300+random.IntN(900)) * time.Millisecond) // the moment is the test's subject
		switch victim := random.IntN(3); victim {
		case 0:
			kills["router"]++
			w.Routers[0].Kill()
			w.Routers[0].Start()
		case 1:
			kills["metering"]++
			w.Metering.Kill()
			w.Metering.Start()
		case 2:
			kills["nats"]++
			w.NATS.Kill()
			w.NATS.Start()
		}
	}
	<-time.After(500 * time.Millisecond)
	ok, failed := l.end()
	t.Logf("killed %v; %d requests answered, %d broken by kills of their router", kills, ok, len(failed[0]))
	if len(failed[1]) > 0 {
		t.Errorf("the router that was not killed failed %d requests: %v", len(failed[1]), failed[1][0])
	}
	if ok < 100 {
		t.Errorf("only %d requests were answered: that is no load", ok)
	}
	w.checkUsage((kills["router"] + 1) * workers)
}

// TestServesWhileEverythingBehindItIsDown stops NATS, keys, Vault, metering and both databases while
// streams run and new requests come.
func TestServesWhileEverythingBehindItIsDown(t *testing.T) {
	w := newWorld(t, cluster.Options{})
	l := w.startLoad(6, 0)
	down := []struct {
		name     string
		off, on  func()
		together bool
	}{
		{name: "NATS", off: w.NATS.Stop, on: w.NATS.Start},
		{name: "Vault", off: func() { w.Vault.Seal(t) }, on: func() { w.Vault.Unseal(t) }},
		{name: "keys", off: w.Keys.Stop, on: w.Keys.Start},
		{name: "the databases", off: func() { w.KeysDB.Stop(); w.MeteringDB.Stop() }, on: func() { w.KeysDB.Start(); w.MeteringDB.Start() }},
	}
	for _, d := range down { // one after the other
		d.off()
		<-time.After(700 * time.Millisecond)
		if d.name == "the databases" || d.name == "Vault" {
			d.on()
			continue
		}
		d.on()
		<-time.After(200 * time.Millisecond)
	}
	w.NATS.Stop() // and all at once
	w.Vault.Seal(t)
	w.Keys.Stop()
	w.KeysDB.Stop()
	w.MeteringDB.Stop()
	<-time.After(3 * time.Second)
	before := w.Provider.Ledger()
	if _, err := w.complete(t.Context(), 0, call{stream: true}); err != nil {
		t.Errorf("a stream with everything down: %v", err)
	}
	if _, err := w.complete(t.Context(), 0, call{model: "policy/main"}); err != nil {
		t.Errorf("a policy with everything down: %v", err)
	}
	if after := w.Provider.Ledger(); len(after) < len(before)+2 {
		t.Error("the calls did not reach the provider")
	}
	w.MeteringDB.Start()
	w.KeysDB.Start()
	w.Vault.Unseal(t)
	w.Keys.Start()
	w.NATS.Start()
	ok, failed := l.end()
	t.Logf("%d requests answered", ok)
	if len(failed[0]) > 0 {
		t.Errorf("%d requests failed, the first: %v", len(failed[0]), failed[0][0])
	}
	if ok < 50 {
		t.Errorf("only %d requests were answered: that is no load", ok)
	}
	w.checkUsage(0)
}

// open counts the calls that the scripted provider is answering.
func (w *world) open() (n int) {
	for _, e := range w.Provider.Ledger() {
		if !e.Done {
			n++
		}
	}
	return n
}

// TestRoutersThatStopInOrderFailNothingThatEndsInTime sends SIGTERM to one router after the other, with 200 open
// streams over both.
func TestRoutersThatStopInOrderFailNothingThatEndsInTime(t *testing.T) {
	w := newWorld(t, cluster.Options{Routers: 2})
	const each = 100
	results := make(chan error, 2*each)
	for router, tokens := range []int{120, 320} { // 12 s, and 32 s: some of them are open when the second one stops
		for range each {
			go func() {
				_, err := w.complete(t.Context(), router, call{stream: true, script: fmt.Sprintf("script:tokens=%d,delay=100ms", tokens)})
				results <- err
			}()
		}
	}
	cluster.Eventually(t, 30*time.Second, "200 open streams", func() error {
		if n := w.open(); n < 2*each {
			return fmt.Errorf("%d open", n)
		}
		return nil
	})
	for i, router := range w.Routers {
		if n := w.open(); n < each {
			t.Errorf("%d streams are open when %s stops: that shows nothing", n, router.Name)
		}
		router.Stop()
		var refused *httpError
		if _, err := w.complete(t.Context(), i, call{}); err == nil || errors.As(err, &refused) {
			t.Errorf("a request after the stop = %v, want no listener", err)
		}
		if _, err := w.complete(t.Context(), 1-i, call{}); err != nil {
			t.Errorf("a request to the other router: %v", err)
		}
		router.Start()
	}
	for range 2 * each {
		if err := <-results; err != nil {
			t.Errorf("a stream that was open at a stop: %v", err)
		}
	}
	w.checkUsage(0)
}
