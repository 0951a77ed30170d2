package page_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/services/keys/internal/page"
)

func TestPagesCoverTheListOnce(t *testing.T) {
	t.Parallel()
	all := strings.Split("abcdefghij", "")
	fetch := func(after string, limit int) ([]string, error) {
		var out []string
		for _, s := range all {
			if s > after && len(out) < limit {
				out = append(out, s)
			}
		}
		return out, nil
	}
	for size := int32(1); size <= 11; size++ {
		var got []string
		token, pages := "", 0
		for {
			items, next, err := page.Of("letters", size, token, func(s string) string { return s }, fetch)
			if err != nil {
				t.Fatal(err)
			}
			got, pages = append(got, items...), pages+1
			if next == "" {
				break
			}
			token = next
		}
		if diff := cmp.Diff(all, got); diff != "" {
			t.Errorf("size %d (-want +got):\n%s", size, diff)
		}
		if want := (len(all) + int(size) - 1) / int(size); pages != want {
			t.Errorf("size %d: %d pages, want %d", size, pages, want)
		}
	}
}

func TestForeignTokensAreRefused(t *testing.T) {
	t.Parallel()
	for _, token := range []string{
		"x", "!!!", page.Token("members", "mem_1"), page.Token("keys", ""), page.Token("keys", "a\x00b"),
		page.Token("keys", strings.Repeat("a", 129)), page.Token("keys", "\xff"), page.Token("keys", "key_1") + "=",
	} {
		if _, err := page.After("keys", token); !errors.Is(err, page.ErrToken) {
			t.Errorf("After(%q) error = %v, want ErrToken", token, err)
		}
	}
}

func FuzzAfter(f *testing.F) {
	f.Add(page.Token("keys", "key_01jd"))
	f.Add("AAAA")
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		key, err := page.After("keys", token)
		switch {
		case err != nil && !errors.Is(err, page.ErrToken):
			t.Fatalf("After(%q) error = %v, want ErrToken", token, err)
		case err == nil && token != "" && page.Token("keys", key) != token:
			t.Fatalf("After(%q) = %q, whose token is %q: a second form of one token", token, key, page.Token("keys", key))
		}
	})
}
