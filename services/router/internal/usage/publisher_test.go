package usage

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/jetstream/jetstreamtest"
	"github.com/claviger/claviger/pkg/telemetry"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
)

// metering is the least that a router needs of it: it reads frames, remembers sequences and answers heads.
type metering struct {
	mu     sync.Mutex
	seen   map[string]int // attempt id → how often
	high   map[laneKey]map[int64]bool
	frames int
	heads  []*eventsv1.SpoolHead
	traces []string // each frame's traceparent
}

func startMetering(t *testing.T, nc *nats.Conn, js natsjs.JetStream, router string) *metering {
	t.Helper()
	m := &metering{seen: map[string]int{}, high: map[laneKey]map[int64]bool{}}
	consumer, err := js.CreateOrUpdateConsumer(t.Context(), jetstream.Stream, natsjs.ConsumerConfig{Durable: "t", AckPolicy: natsjs.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	consuming, err := consumer.Consume(func(msg natsjs.Msg) {
		if _, _, err := jetstream.CheckFrame(msg.Subject(), msg.Headers(), msg.Data()); err != nil {
			t.Errorf("CheckFrame = %v", err)
		}
		var frame eventsv1.UsageFrame
		if err := proto.Unmarshal(msg.Data(), &frame); err != nil {
			t.Error(err)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.frames++
		m.traces = append(m.traces, msg.Headers().Get("traceparent"))
		key := laneKey{frame.GetEpoch(), int(frame.GetPartition())}
		if m.high[key] == nil {
			m.high[key] = map[int64]bool{}
		}
		for _, e := range frame.GetEntries() {
			m.seen[e.GetEvent().GetAttemptId()]++
			m.high[key][e.GetSequence()] = true
		}
		_ = msg.Ack()
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(consuming.Stop)
	sub, err := nc.Subscribe(jetstream.HeadSubject(router), func(msg *nats.Msg) {
		head := &eventsv1.SpoolHead{}
		if err := proto.Unmarshal(msg.Data, head); err != nil {
			t.Error(err)
		}
		m.mu.Lock()
		m.heads = append(m.heads, head)
		feedback := &eventsv1.SpoolFeedback{Router: router}
		for key, seen := range m.high {
			n := int64(0)
			for seen[n+1] {
				n++
			}
			feedback.Applied = append(feedback.Applied, &eventsv1.AppliedRange{Epoch: key.epoch, Partition: int32(key.partition), Contiguous: n})
		}
		m.mu.Unlock()
		raw, err := proto.Marshal(feedback)
		if err != nil {
			t.Error(err)
		}
		_ = nc.Publish(jetstream.AppliedSubject(router), raw)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	return m
}

func (m *metering) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.seen)
}

func (m *metering) headers() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.traces)
}

func startPublisher(t *testing.T, j *Journal, nc *nats.Conn, js natsjs.JetStream) *Publisher {
	t.Helper()
	return startTelling(t, j, nc, js, nil)
}

// startTelling starts a publisher that reports what it does.
func startTelling(t *testing.T, j *Journal, nc *nats.Conn, js natsjs.JetStream, told *telemetry.Telemetry) *Publisher {
	t.Helper()
	p := NewPublisher(j, "router-1", nc, js, slog.New(slog.DiscardHandler), told)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return p
}

func TestEveryResultArrivesAndIsForgottenOnceApplied(t *testing.T) {
	t.Parallel()
	nc, js := jetstreamtest.Start(t).Connect()
	if err := jetstream.EnsureStream(t.Context(), js, 1); err != nil {
		t.Fatal(err)
	}
	j := openJournal(t, t.TempDir(), 1<<30)
	m := startMetering(t, nc, js, "router-1")
	p := startPublisher(t, j, nc, js)
	const n = 3000
	for i := range n {
		if err := j.Done(begin(t, j, event(i)), event(i)); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool { return m.count() == n && p.Drained() })
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.frames > n/10 {
		t.Errorf("%d frames for %d events: frames are not filled", m.frames, n)
	}
	if len(m.heads) == 0 {
		t.Error("no head was sent")
	}
}

func TestAKilledNATSLosesNothing(t *testing.T) {
	t.Parallel()
	server := jetstreamtest.StartProcess(t)
	nc, js := server.Connect()
	if err := jetstream.EnsureStream(t.Context(), js, 1); err != nil {
		t.Fatal(err)
	}
	j := openJournal(t, t.TempDir(), 1<<30)
	p := startPublisher(t, j, nc, js)
	const n = 600
	for i := range n {
		if err := j.Done(begin(t, j, event(i)), event(i)); err != nil {
			t.Fatal(err)
		}
		if i%200 == 100 {
			server.Kill()
			server.Start()
		}
	}
	m := startMetering(t, nc, js, "router-1")
	waitFor(t, func() bool { return m.count() == n && p.Drained() })
}

func TestWhatTheBrokerLostIsSentAgain(t *testing.T) {
	t.Parallel()
	nc, js := jetstreamtest.Start(t).Connect()
	if err := jetstream.EnsureStream(t.Context(), js, 1); err != nil {
		t.Fatal(err)
	}
	j := openJournal(t, t.TempDir(), 1<<30)
	p := startPublisher(t, j, nc, js)
	const n = 50
	for i := range n {
		if err := j.Done(begin(t, j, event(i)), event(i)); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		acked := int64(0)
		for _, l := range p.lanes {
			acked += l.acked
		}
		return acked == n
	})
	// The stream is lost with everything that NATS had acknowledged, as after a disk failure.
	if err := js.DeleteStream(t.Context(), jetstream.Stream); err != nil {
		t.Fatal(err)
	}
	if err := jetstream.EnsureStream(t.Context(), js, 1); err != nil {
		t.Fatal(err)
	}
	m := startMetering(t, nc, js, "router-1")
	p.mu.Lock()
	for _, l := range p.lanes {
		l.moved = time.Now().Add(-repairAfter)
	}
	p.mu.Unlock()
	waitFor(t, func() bool { return m.count() == n && p.Drained() })
}

func TestARestartedRouterSendsWhatIsNotApplied(t *testing.T) {
	t.Parallel()
	nc, js := jetstreamtest.Start(t).Connect()
	if err := jetstream.EnsureStream(t.Context(), js, 1); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	want := 0
	for start := range 3 {
		j := openJournal(t, dir, 1<<30)
		for i := range 20 {
			e := event(start*1000 + i)
			e.AttemptID = fmt.Sprintf("att_%d_%d", start, i)
			ticket := begin(t, j, e)
			want++
			if i%4 != 0 {
				if err := j.Done(ticket, e); err != nil {
					t.Fatal(err)
				}
			}
		}
		j.crash()
	}
	j := openJournal(t, dir, 1<<30)
	m := startMetering(t, nc, js, "router-1")
	p := startPublisher(t, j, nc, js)
	waitFor(t, func() bool { return m.count() == want && p.Drained() })
}
