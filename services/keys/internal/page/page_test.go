package page_test

import (
	"errors"
	"slices"
	"strconv"
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

func TestPagesOfLargeItemsCoverTheListOnceAndStayBounded(t *testing.T) {
	t.Parallel()
	const kib = 1 << 10
	for name, weights := range map[string][]int{
		"small":         slices.Repeat([]int{kib}, 100),
		"large":         slices.Repeat([]int{500 * kib}, 40),
		"one too large": {kib, 5000 * kib, kib},
		"none":          nil,
		"a chunk":       slices.Repeat([]int{1}, 16),
	} {
		for _, size := range []int32{1, 3, 16, 17, 40, 100, 500} {
			most, fetched := 0, 0
			fetch := func(after string, limit int) (out []int, err error) {
				next := 0
				if after != "" {
					if next, err = strconv.Atoi(after); err != nil {
						return nil, err
					}
				}
				for i := next; i < len(weights) && len(out) < limit; i++ {
					out = append(out, i+1)
				}
				fetched = max(fetched, len(out))
				return out, nil
			}
			var got []int
			token := ""
			for {
				items, next, err := page.OfLarge("numbers", size, token, strconv.Itoa, func(i int) int { return weights[i-1] }, fetch)
				if err != nil {
					t.Fatal(err)
				}
				total := 0
				for _, i := range items {
					total += weights[i-1]
				}
				if len(items) > 0 {
					most = max(most, total-weights[items[len(items)-1]-1])
				}
				if len(items) > int(size) || len(items) == 0 && len(weights) > 0 {
					t.Fatalf("%s: a page of %d has %d items", name, size, len(items))
				}
				got = append(got, items...)
				if token = next; token == "" {
					break
				}
			}
			if len(got) != len(weights) || !slices.IsSorted(got) {
				t.Errorf("%s, %d at once: %v", name, size, got)
			}
			if most >= 2048*kib || fetched > 17 {
				t.Errorf("%s, %d at once: %d bytes before the last item, %d items read at once", name, size, most, fetched)
			}
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
