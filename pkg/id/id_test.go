package id

import (
	"slices"
	"testing"
	"time"
)

func TestIDsIncreaseEvenWhenTheClockGoesBack(t *testing.T) {
	t.Parallel()
	g := generator{used: 1024}
	now := uint64(1_790_000_000_000)
	var got []string
	for i := range 20_000 {
		switch {
		case i == 5_000:
			now -= 3_600_000
		case i%100 == 0:
			now++
		}
		got = append(got, g.next("att", now))
	}
	if !slices.IsSorted(got) {
		t.Fatal("ids are not in order")
	}
	if n := len(slices.Compact(slices.Clone(got))); n != len(got) {
		t.Fatalf("%d distinct ids of %d", n, len(got))
	}
}

func TestIDCarriesItsTime(t *testing.T) {
	t.Parallel()
	g := generator{used: 1024}
	want := time.Date(2026, 11, 22, 3, 4, 5, 678_000_000, time.UTC)
	s := g.next("req", uint64(want.UnixMilli()))
	if got, ok := Time(s); !ok || !got.Equal(want) {
		t.Fatalf("Time(%q) = %v, %v, want %v", s, got, ok, want)
	}
}

func TestValidRefusesWhatIsNoID(t *testing.T) {
	t.Parallel()
	good := New("cred")
	if !Valid("cred", good) {
		t.Fatalf("Valid(%q) = false", good)
	}
	for _, bad := range []string{"", "cred", "cred_", "key_" + good[5:], good + "0", good[:len(good)-1], "cred_8" + good[6:], "cred_" + "U" + good[6:], "cred_'; drop table --00000000"} {
		if Valid("cred", bad) {
			t.Errorf("Valid(%q) = true", bad)
		}
	}
	if _, ok := Time("nonsense"); ok {
		t.Error("Time(nonsense) is ok")
	}
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = New("att")
	}
}
