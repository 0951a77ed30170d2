package jetstream_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/claviger/claviger/pkg/jetstream"
)

func TestFrameArrivesAsItWasMade(t *testing.T) {
	t.Parallel()
	for partition := range jetstream.Partitions {
		msg := jetstream.NewFrame(partition, "router-1", "router-1/e/1/1-9", []byte("payload"))
		router, got, err := jetstream.CheckFrame(msg.Subject, msg.Header, msg.Data)
		if err != nil || router != "router-1" || got != partition {
			t.Errorf("CheckFrame(%s) = %q, %d, %v", msg.Subject, router, got, err)
		}
		if id := msg.Header.Get("Nats-Msg-Id"); id != "router-1/e/1/1-9" {
			t.Errorf("message id = %q", id)
		}
	}
}

func TestDamagedFrameIsRefused(t *testing.T) {
	t.Parallel()
	frame := func() *nats.Msg { return jetstream.NewFrame(15, "r", "id", []byte("payload")) }
	for name, c := range map[string]struct {
		damage func(*nats.Msg)
		want   error
	}{
		"flipped bit":         {func(m *nats.Msg) { m.Data[3] ^= 4 }, jetstream.ErrChecksum},
		"cut":                 {func(m *nats.Msg) { m.Data = m.Data[:3] }, jetstream.ErrChecksum},
		"no checksum":         {func(m *nats.Msg) { m.Header.Del(jetstream.CRCHeader) }, jetstream.ErrChecksum},
		"two checksums":       {func(m *nats.Msg) { m.Header.Add(jetstream.CRCHeader, "00000000") }, jetstream.ErrChecksum},
		"short checksum":      {func(m *nats.Msg) { m.Header.Set(jetstream.CRCHeader, "1") }, jetstream.ErrChecksum},
		"too large":           {func(m *nats.Msg) { m.Data = make([]byte, jetstream.MaxFrame+1) }, jetstream.ErrTooLarge},
		"another stream":      {func(m *nats.Msg) { m.Subject = "other.v1.1.r" }, jetstream.ErrSubject},
		"partition too large": {func(m *nats.Msg) { m.Subject = "usage.v1.16.r" }, jetstream.ErrSubject},
		"partition negative":  {func(m *nats.Msg) { m.Subject = "usage.v1.-1.r" }, jetstream.ErrSubject},
		"partition with zero": {func(m *nats.Msg) { m.Subject = "usage.v1.01.r" }, jetstream.ErrSubject},
		"partition with plus": {func(m *nats.Msg) { m.Subject = "usage.v1.+1.r" }, jetstream.ErrSubject},
		"no partition":        {func(m *nats.Msg) { m.Subject = "usage.v1..r" }, jetstream.ErrSubject},
		"no router":           {func(m *nats.Msg) { m.Subject = "usage.v1.1." }, jetstream.ErrSubject},
		"router of two words": {func(m *nats.Msg) { m.Subject = "usage.v1.1.r.s" }, jetstream.ErrSubject},
		"router as wildcard":  {func(m *nats.Msg) { m.Subject = "usage.v1.1.*" }, jetstream.ErrSubject},
		"empty":               {func(m *nats.Msg) { m.Subject = "" }, jetstream.ErrSubject},
	} {
		msg := frame()
		c.damage(msg)
		if _, _, err := jetstream.CheckFrame(msg.Subject, msg.Header, msg.Data); !errors.Is(err, c.want) {
			t.Errorf("CheckFrame(%s) = %v, want %v", name, err, c.want)
		}
	}
}

func FuzzCheckFrame(f *testing.F) {
	f.Add("usage.v1.3.router-1", "e3069283", []byte("123456789"))
	f.Add("usage.v1.15.r", "00000000", []byte{})
	f.Add("usage.v1.016.r", "", []byte("x"))
	f.Add("usage.v1.9999999999999999999.r", "zzzzzzzz", []byte("x"))
	f.Fuzz(func(t *testing.T, subject, crc string, payload []byte) {
		header := nats.Header{jetstream.CRCHeader: {crc}}
		router, partition, err := jetstream.CheckFrame(subject, header, payload)
		if err != nil {
			if router != "" || partition != 0 {
				t.Fatalf("CheckFrame = %q, %d with %v", router, partition, err)
			}
			return
		}
		if !jetstream.ValidRouter(router) || jetstream.Subject(partition, router) != subject {
			t.Fatalf("CheckFrame(%q) = %q, %d, which is another subject", subject, router, partition)
		}
		made := jetstream.NewFrame(partition, router, "id", payload)
		if got := made.Header.Get(jetstream.CRCHeader); got != crc {
			t.Fatalf("CheckFrame took checksum %q of a payload with %q", crc, got)
		}
	})
}

func TestChecksumIsCRC32C(t *testing.T) {
	t.Parallel()
	// The check value of the algorithm, so that a router in another language can be compared.
	if got := jetstream.NewFrame(0, "r", "id", []byte("123456789")).Header.Get(jetstream.CRCHeader); got != "e3069283" {
		t.Fatalf("checksum = %q, want e3069283", got)
	}
}

func TestPartitionOfAnOrganizationNeverChanges(t *testing.T) {
	t.Parallel()
	for org, want := range map[string]int{"": 5, "org_a": 9, "org_01jd0000000000000000000000": 3, "platform": 2} {
		if got := jetstream.Partition(org); got != want {
			t.Errorf("Partition(%q) = %d, want %d: frames in journals would be refused", org, got, want)
		}
	}
	var hits [jetstream.Partitions]int
	for i := range 16_000 {
		hits[jetstream.Partition(fmt.Sprintf("org_%026d", i))]++
	}
	for p, n := range hits {
		if n < 500 || n > 2000 {
			t.Errorf("partition %d has %d of 16000 organizations, want about 1000", p, n)
		}
	}
}

func TestRouterNameIsOneWordOfASubject(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"r": true, "router-1": true, "0": true, strings.Repeat("a", 63): true,
		"": false, "-a": false, "A": false, "a.b": false, "a b": false, "*": false, ">": false, "ä": false, strings.Repeat("a", 64): false,
	} {
		if got := jetstream.ValidRouter(name); got != want {
			t.Errorf("ValidRouter(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestCarrierWritesNamesAsTheSpecificationDoes(t *testing.T) {
	t.Parallel()
	msg := nats.NewMsg("s")
	carrier := jetstream.Carrier(msg.Header)
	carrier.Set("Traceparent", "00-a-b-01")
	if got := msg.Header["traceparent"]; len(got) != 1 || got[0] != "00-a-b-01" {
		t.Fatalf("header = %v, want traceparent in lower case", msg.Header)
	}
	if got := carrier.Get("traceparent"); got != "00-a-b-01" {
		t.Errorf("Get = %q", got)
	}
	if got := carrier.Keys(); len(got) != 1 || got[0] != "traceparent" {
		t.Errorf("Keys = %v", got)
	}
	if got := carrier.Get("tracestate"); got != "" {
		t.Errorf("Get of nothing = %q", got)
	}
}

func BenchmarkCheckFrame(b *testing.B) {
	msg := jetstream.NewFrame(7, "router-1", "id", bytes.Repeat([]byte("x"), 64<<10))
	b.SetBytes(int64(len(msg.Data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := jetstream.CheckFrame(msg.Subject, msg.Header, msg.Data); err != nil {
			b.Fatal(err)
		}
	}
}
