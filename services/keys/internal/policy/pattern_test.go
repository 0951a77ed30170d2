package policy_test

import (
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/claviger/claviger/services/keys/internal/policy"
)

func TestAStarStandsForAnyText(t *testing.T) {
	t.Parallel()
	for pattern, c := range map[string]struct{ yes, no []string }{
		"openai/gpt-4o": {[]string{"openai/gpt-4o"}, []string{"openai/gpt-4o-mini", "xopenai/gpt-4o", ""}},
		"openai/*":      {[]string{"openai/", "openai/a/b"}, []string{"openai", "azure/openai/a"}},
		"*":             {[]string{"", "a", "a/b"}, nil},
		"*/gpt-*o":      {[]string{"openai/gpt-4o", "azure/x/gpt-o"}, []string{"openai/gpt-4o-mini", "gpt-4o"}},
		"a*a":           {[]string{"aa", "aba"}, []string{"a"}},
		"a**b":          {[]string{"ab", "axb"}, []string{"a", "b"}},
		"*ab*ab":        {[]string{"abab", "abxabab"}, []string{"ab", "aab"}},
	} {
		for _, text := range c.yes {
			if !policy.Match(pattern, text) {
				t.Errorf("%q does not match %q", pattern, text)
			}
		}
		for _, text := range c.no {
			if policy.Match(pattern, text) {
				t.Errorf("%q matches %q", pattern, text)
			}
		}
	}
	if !policy.Fits(nil, "a") || policy.Fits([]string{"b", "c"}, "a") || !policy.Fits([]string{"b", "a"}, "a") {
		t.Error("no pattern is any text, and several are one of them")
	}
}

func TestMatchingAgreesWithTheStandardLibrary(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		pattern := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "*"}), 0, 8).Draw(rt, "pattern"), "")
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b"}), 0, 8).Draw(rt, "text"), "")
		want, err := path.Match(pattern, text)
		if got := policy.Match(pattern, text); err != nil || got != want {
			rt.Fatalf("Match(%q, %q) = %v, want %v (%v)", pattern, text, got, want, err)
		}
	})
}
