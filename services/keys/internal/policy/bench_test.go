package policy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/claviger/claviger/services/keys/internal/policy"
)

// BenchmarkCheck checks the largest rule there can be, with and without a mistake in every line, and compares it
// with another.
func BenchmarkCheck(b *testing.B) {
	large := func(model string) policy.Spec {
		out := policy.Spec{}
		for g := range 16 {
			var targets []policy.Target
			for i := range 32 {
				targets = append(targets, policy.Target{Model: fmt.Sprintf("%s-%d-%d", model, g, i), Use: policy.Own})
			}
			out.Groups = append(out.Groups, of(targets...))
		}
		return out
	}
	s := &policy.Service{Prices: book, Now: time.Now}
	for name, rule := range map[string]policy.Spec{"usual": spec(of(own("openai/gpt-4o", "groq/llama", "policy/cheap")...)), "large": large("openai/gpt-4o")} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Check(b.Context(), acme(), "fast", rule); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("diff", func(b *testing.B) {
		x, y := large("openai/a"), large("openai/b")
		for b.Loop() {
			policy.Diff(x, y, nil)
		}
	})
}
