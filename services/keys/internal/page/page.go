// Package page makes and reads the tokens of lists. A token says after which key the next page
// begins; it is opaque to clients, belongs to one list and grants nothing.
package page

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"github.com/claviger/claviger/pkg/fault"
)

// ErrToken means that a token was not made by this list.
var ErrToken = fault.New(fault.Invalid, "PAGE_TOKEN_INVALID", "the page token is not one of this list").
	Hinting("pass next_page_token of the page before, or nothing for the first page")

const (
	defaultSize = 50
	maxSize     = 500
	maxKey      = 128
	version     = "1"

	// maxBytes is what a page of large items holds, besides its last item; chunk is how many are read at once.
	maxBytes = 2 << 20
	chunk    = 16
)

// Size returns how many items a page has when a client asks for n.
func Size(n int32) int {
	if n <= 0 {
		return defaultSize
	}
	return min(int(n), maxSize)
}

// Token returns the token for the page of list that begins after key.
func Token(list, key string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(version + "\x00" + list + "\x00" + key))
}

// After returns the key after which the page begins, "" for the first page.
func After(list, token string) (string, error) {
	if token == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil {
		return "", ErrToken
	}
	key, ok := strings.CutPrefix(string(raw), version+"\x00"+list+"\x00")
	// The decoder passes over line breaks, hence the comparison.
	if !ok || key == "" || len(key) > maxKey || !utf8.ValidString(key) || strings.ContainsRune(key, 0) || Token(list, key) != token {
		return "", ErrToken
	}
	return key, nil
}

// Of reads one page: fetch returns up to limit items after a key in the order of key. The token is
// empty on the last page.
func Of[T any](list string, size int32, token string, key func(T) string, fetch func(after string, limit int) ([]T, error)) ([]T, string, error) {
	after, err := After(list, token)
	if err != nil {
		return nil, "", err
	}
	limit := Size(size)
	items, err := fetch(after, limit+1) // one more, to know whether there is a next page
	if err != nil || len(items) <= limit {
		return items, "", err
	}
	items = items[:limit]
	return items, Token(list, key(items[limit-1])), nil
}

// OfLarge is Of for items that may be so large that a whole page of them is too much for an answer, and for the
// memory of this service: a page ends early where its items weigh more than 2 MiB.
func OfLarge[T any](list string, size int32, token string, key func(T) string, weigh func(T) int, fetch func(after string, limit int) ([]T, error)) ([]T, string, error) {
	after, err := After(list, token)
	if err != nil {
		return nil, "", err
	}
	var items []T
	for bytes, limit := 0, Size(size); ; {
		n := min(chunk, limit-len(items))
		part, err := fetch(after, n+1)
		if err != nil {
			return nil, "", err
		}
		for i, item := range part[:min(n, len(part))] {
			items, after = append(items, item), key(item)
			bytes += weigh(item)
			if i+1 < len(part) && (bytes >= maxBytes || len(items) == limit) {
				return items, Token(list, after), nil
			}
		}
		if len(part) <= n {
			return items, "", nil
		}
	}
}
