package jetstream_test

import (
	"testing"

	"github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/jetstream/jetstreamtest"
)

func TestKilledServerKeepsAcknowledgedFrames(t *testing.T) {
	t.Parallel()
	p := jetstreamtest.StartProcess(t)
	_, js := p.Connect()
	if err := jetstream.EnsureStream(t.Context(), js, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := js.PublishMsg(t.Context(), jetstream.NewFrame(3, "r1", "r1/a/3/1-1", []byte("x"))); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	p.Start()
	s, err := js.Stream(t.Context(), jetstream.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().State.Msgs; n != 1 {
		t.Fatal(n)
	}
}

func TestEmbedded(t *testing.T) {
	s := jetstreamtest.Start(t)
	_, js := s.Connect()
	for range 2 {
		if err := jetstream.EnsureStream(t.Context(), js, 1); err != nil {
			t.Fatal(err)
		}
	}
}
