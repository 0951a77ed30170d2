package rpc

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
)

func TestTokenComesBackForItsRequest(t *testing.T) {
	t.Parallel()
	clear := func(r *meteringv1.QueryUsageRequest) { r.PageToken, r.PageSize = "", 0 }
	asked := digest(&meteringv1.QueryUsageRequest{TagKey: "a", PageSize: 5}, clear)
	want := usagePage{Start: 1, End: 2, Bucket: 3, Group: []string{"", "ä\"\\", "x"}}
	text := token(asked, want)
	var got usagePage
	if err := readToken(text, digest(&meteringv1.QueryUsageRequest{TagKey: "a", PageToken: text}, clear), &got); err != nil {
		t.Fatalf("readToken: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("place (-want +got):\n%s", diff)
	}
	if err := readToken(text, digest(&meteringv1.QueryUsageRequest{TagKey: "b"}, clear), &got); err == nil {
		t.Fatal("a token of another request is taken")
	}
	if err := readToken(token(asked, usagePage{Group: []string{"\x00"}}), asked, &got); err == nil {
		t.Fatal("a token with a zero byte is taken")
	}
}

func FuzzReadToken(f *testing.F) {
	asked := digest(&meteringv1.QueryUsageRequest{}, func(*meteringv1.QueryUsageRequest) {})
	f.Add("")
	f.Add(token(asked, usagePage{Group: []string{"a"}}))
	f.Fuzz(func(_ *testing.T, text string) {
		var at usagePage
		_ = readToken(text, asked, &at) // whatever it is, it is an error or a place
	})
}
