package bedrock

import (
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// maxTokens bounds a count: what is larger is a mistake and not used.
const maxTokens = 1 << 40

// counted reads a usage object, nil if there is none, or it does not tell both totals, or its numbers cannot
// be. What was read from a cache
// or written to one is not in inputTokens; totalTokens may hold it or not, and is not read. Writes whose
// lifetime is not told last five minutes, the default. What was thought is not told.
func counted(v []byte) *completion.Usage {
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return nil
	}
	var t usage.Tokens
	var write int64
	t.InputUncached, t.OutputTotal = -1, -1
	broken, split := false, false
	number := func(v []byte, into *int64) {
		if !jsonscan.Given(v) {
			return
		}
		n, ok := jsonscan.Int(v)
		broken = broken || !ok || n < 0 || n > maxTokens
		*into = n
	}
	m := jsonscan.Object(v)
	for m.Next() {
		switch string(m.Name) {
		case "inputTokens":
			number(m.Value, &t.InputUncached)
		case "outputTokens":
			number(m.Value, &t.OutputTotal)
		case "cacheReadInputTokens":
			number(m.Value, &t.CacheRead)
		case "cacheWriteInputTokens":
			number(m.Value, &write)
		case "cacheDetails":
			details := jsonscan.Array(m.Value)
			for details.Next() {
				var n int64
				number(jsonscan.Get(details.Value, "inputTokens"), &n)
				split = split || n > 0
				if ttl, _ := jsonscan.Text(jsonscan.Get(details.Value, "ttl")); ttl == "1h" {
					t.CacheWrite1h += n
				} else {
					t.CacheWrite5m += n
				}
			}
		}
	}
	if !split {
		t.CacheWrite5m = write
	}
	if broken || t.InputUncached < 0 || t.OutputTotal < 0 {
		return nil
	}
	t.InputTotal = t.InputUncached + t.CacheRead + t.CacheWrite5m + t.CacheWrite1h
	return &completion.Usage{Tokens: t, Final: true}
}
