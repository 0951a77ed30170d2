package apikey_test

import (
	"hash/crc32"
	"regexp"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/apikey"
	"github.com/claviger/claviger/pkg/secret"
)

// published is the pattern that secret scanners are given.
var published = regexp.MustCompile(`^clv_live_[0-9A-Za-z]{10}_[0-9A-Za-z]{49}$`)

func TestGeneratedKeysParseAndFitThePublishedPattern(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		key, id := apikey.Generate()
		got, ok := apikey.Parse(key.Reveal())
		if !ok || got != id || !published.MatchString(key.Reveal()) || seen[id] {
			t.Fatalf("Parse(generated) = %q, %v, want %q, true and a fresh id", got, ok, id)
		}
		seen[id] = true
	}
}

func TestOneWrongCharacterIsRefused(t *testing.T) {
	t.Parallel()
	key, _ := apikey.Generate()
	plain := key.Reveal()
	for i := range len(plain) {
		wrong := []byte(plain)
		wrong[i] = map[bool]byte{true: 'b', false: 'a'}[wrong[i] == 'a']
		if id, ok := apikey.Parse(string(wrong)); ok {
			t.Fatalf("Parse with character %d changed = %q, true", i, id)
		}
	}
}

func TestHashDependsOnKeyAndPepper(t *testing.T) {
	t.Parallel()
	a, _ := apikey.Generate()
	p, q := secret.New("pepper-one"), secret.New("pepper-two")
	if len(apikey.Hash(p, a.Reveal())) != 32 || string(apikey.Hash(p, a.Reveal())) == string(apikey.Hash(q, a.Reveal())) {
		t.Fatal("the pepper does not matter")
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	key, _ := apikey.Generate()
	plain := key.Reveal()
	if n := testing.AllocsPerRun(100, func() { apikey.Parse(plain) }); n != 0 {
		t.Fatalf("Parse allocates %v times", n)
	}
}

func FuzzParse(f *testing.F) {
	key, _ := apikey.Generate()
	f.Add(key.Reveal())
	f.Add("clv_live_" + strings.Repeat("_", 60))
	f.Fuzz(func(t *testing.T, s string) {
		if id, ok := apikey.Parse(s); ok && (len(id) != 10 || crc32.ChecksumIEEE([]byte(s)) == 0) {
			t.Fatalf("Parse(%q) = %q", s, id)
		}
	})
}
