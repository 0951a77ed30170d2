package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/jetstream/jetstreamtest"
)

func ensure(t *testing.T, js natsjs.JetStream) {
	t.Helper()
	if err := jetstream.EnsureStream(t.Context(), js, 1); err != nil {
		t.Fatalf("EnsureStream: %v", err)
	}
}

func info(t *testing.T, js natsjs.JetStream) *natsjs.StreamInfo {
	t.Helper()
	stream, err := js.Stream(t.Context(), jetstream.Stream)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo()
}

func TestReplicasThatEnsureTheStreamAtOnceAllSucceed(t *testing.T) {
	t.Parallel()
	server := jetstreamtest.Start(t)
	var g errgroup.Group
	for range 6 {
		_, js := server.Connect()
		g.Go(func() error { return jetstream.EnsureStream(t.Context(), js, 0) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestEnsureStreamCorrectsWhatWouldLoseFramesAndKeepsTheOperatorsLimits(t *testing.T) {
	t.Parallel()
	_, js := jetstreamtest.Start(t).Connect()
	_, err := js.CreateStream(t.Context(), natsjs.StreamConfig{
		Name: jetstream.Stream, Subjects: []string{"usage.v1.1.>"}, Discard: natsjs.DiscardOld,
		MaxAge: time.Hour, MaxBytes: 1 << 30, MaxMsgSize: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	ensure(t, js)
	got, want := info(t, js).Config, jetstream.StreamConfig(1)
	if got.Discard != natsjs.DiscardNew || !got.DenyDelete || !got.DenyPurge || got.MaxAge != want.MaxAge ||
		got.Duplicates != want.Duplicates || len(got.Subjects) != 1 || got.Subjects[0] != jetstream.AllFrames {
		t.Errorf("config = %+v, want it corrected", got)
	}
	if got.MaxBytes != 1<<30 || got.MaxMsgSize != 1<<20 {
		t.Errorf("limits = %d, %d, want the operator's", got.MaxBytes, got.MaxMsgSize)
	}
}

func TestEnsureStreamRefusesAWorkQueue(t *testing.T) {
	t.Parallel()
	_, js := jetstreamtest.Start(t).Connect()
	config := jetstream.StreamConfig(1)
	config.Retention = natsjs.WorkQueuePolicy
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if err := jetstream.EnsureStream(t.Context(), js, 1); !errors.Is(err, jetstream.ErrStream) {
		t.Fatalf("EnsureStream = %v, want ErrStream", err)
	}
}

func TestFullStreamRefusesTheNewAndKeepsTheOld(t *testing.T) {
	t.Parallel()
	_, js := jetstreamtest.Start(t).Connect()
	config := jetstream.StreamConfig(1)
	config.MaxBytes, config.Compression = 64<<10, natsjs.NoCompression
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, 8<<10)
	taken := 0
	var refusal error
	for refusal == nil && taken < 100 {
		id := fmt.Sprintf("r/e/1/%d", taken)
		if _, refusal = js.PublishMsg(t.Context(), jetstream.NewFrame(1, "r", id, payload)); refusal == nil {
			taken++
		}
	}
	if _, ok := errors.AsType[*natsjs.APIError](refusal); !ok {
		t.Fatalf("publish to a full stream = %v, want a refusal by the server", refusal)
	}
	if state := info(t, js).State; state.Msgs != uint64(taken) || state.FirstSeq != 1 {
		t.Fatalf("stream holds %d messages from %d, want all %d from 1", state.Msgs, state.FirstSeq, taken)
	}
}

func TestFrameSentTwiceIsStoredOnce(t *testing.T) {
	t.Parallel()
	_, js := jetstreamtest.Start(t).Connect()
	ensure(t, js)
	for i, wantDuplicate := range []bool{false, true, true} {
		ack, err := js.PublishMsg(t.Context(), jetstream.NewFrame(1, "r", "r/e/1/1-9", []byte("x")))
		if err != nil || ack.Duplicate != wantDuplicate {
			t.Fatalf("publish %d = %+v, %v, want duplicate %v", i, ack, err, wantDuplicate)
		}
	}
	if ack, err := js.PublishMsg(t.Context(), jetstream.NewFrame(1, "r", "r/e/1/1-9/r1", []byte("x"))); err != nil || ack.Duplicate {
		t.Fatalf("publish of a repair = %+v, %v, want it stored", ack, err)
	}
}

func TestFramesCannotBeDeletedOrPurged(t *testing.T) {
	t.Parallel()
	_, js := jetstreamtest.Start(t).Connect()
	ensure(t, js)
	if _, err := js.PublishMsg(t.Context(), jetstream.NewFrame(1, "r", "id", []byte("x"))); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), jetstream.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err == nil {
		t.Error("Purge succeeded")
	}
	if err := stream.DeleteMsg(t.Context(), 1); err == nil {
		t.Error("DeleteMsg succeeded")
	}
	if got := info(t, js).State.Msgs; got != 1 {
		t.Errorf("messages = %d, want 1", got)
	}
}

// TestKilledServerLosesNoAcknowledgedFrame kills the server in the middle of many publishers, sends
// again what was not acknowledged, as a router does, and expects each frame once.
func TestKilledServerLosesNoAcknowledgedFrame(t *testing.T) {
	t.Parallel()
	const publishers, rounds = 8, 3
	server := jetstreamtest.StartProcess(t)
	_, js := server.Connect()
	ensure(t, js)
	var lists [publishers][]string // ids of acknowledged frames
	var unknown [publishers]string // the frame that was in flight
	for round := range rounds {
		var killed atomic.Bool
		var g errgroup.Group
		for p := range publishers {
			g.Go(func() error {
				for n := 0; !killed.Load(); n++ {
					id := fmt.Sprintf("r%d/e/%d/%d", p, round, n)
					if unknown[p] != "" {
						id = unknown[p]
					}
					unknown[p] = id
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					_, err := js.PublishMsg(ctx, jetstream.NewFrame(p, fmt.Sprintf("r%d", p), id, []byte(id)))
					cancel()
					if err == nil {
						lists[p], unknown[p] = append(lists[p], id), ""
					}
				}
				return nil
			})
		}
		waitFor(t, "100 frames in the stream", func() bool { return info(t, js).State.Msgs > uint64(100*(round+1)) })
		server.Kill()
		killed.Store(true)
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		server.Start()
	}
	stored := storedIDs(t, js)
	for p, ids := range lists {
		for _, id := range ids {
			if stored[id] != 1 {
				t.Errorf("acknowledged frame %s is stored %d times, want once", id, stored[id])
			}
		}
		if len(ids) == 0 {
			t.Errorf("publisher %d had nothing acknowledged", p)
		}
	}
}

func storedIDs(t *testing.T, js natsjs.JetStream) map[string]int {
	t.Helper()
	want := info(t, js).State.Msgs
	consumer, err := js.OrderedConsumer(t.Context(), jetstream.Stream, natsjs.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]int{}
	for n := range want {
		msg, err := consumer.Next(natsjs.FetchMaxWait(10 * time.Second))
		if err != nil {
			t.Fatalf("message %d of %d: %v", n, want, err)
		}
		if _, _, err := jetstream.CheckFrame(msg.Subject(), msg.Headers(), msg.Data()); err != nil {
			t.Fatalf("stored frame: %v", err)
		}
		stored[string(msg.Data())]++
	}
	return stored
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) { //nolint:forbidigo // waits for another process
		if time.Now().After(deadline) {
			t.Fatalf("no %s after 30 s", what)
		}
	}
}
