package responses

import (
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// maxTokens bounds a count: what is larger is a mistake and not used.
const maxTokens = 1 << 40

// counts reads the numbers of a usage object.
type counts struct{ broken bool }

// read reads those members of an object that are asked for; others, and what is null, it passes over.
func (c *counts) read(v []byte, fields func(name string) *int64) {
	m := jsonscan.Object(v)
	for m.Next() {
		into := fields(string(m.Name))
		if into == nil || !jsonscan.Given(m.Value) {
			continue
		}
		n, ok := jsonscan.Int(m.Value)
		c.broken = c.broken || !ok || n < 0 || n > maxTokens
		*into = n
	}
}

// usage reads a usage object. Cached, written and reasoning tokens are parts of the totals in it, and all of
// them if they are told as more. It is nil if the object does not hold the totals, or holds numbers that
// cannot be.
func (f *format) usage(data []byte) *completion.Usage {
	if jsonscan.KindOf(data) != jsonscan.ObjectKind {
		return nil
	}
	var input, output, cached, written, half, twelve int64 = -1, -1, 0, 0, 0, 0
	var t usage.Tokens
	var c counts
	c.read(data, func(name string) *int64 {
		switch name {
		case "input_tokens":
			return &input
		case "output_tokens":
			return &output
		}
		return nil
	})
	details := jsonscan.Get(data, "input_tokens_details")
	c.read(details, func(name string) *int64 {
		switch name {
		case "cached_tokens":
			return &cached
		case "cache_write_tokens":
			return &written
		case "audio_tokens":
			return &t.AudioIn
		case "image_tokens":
			return &t.ImageIn
		}
		return nil
	})
	c.read(jsonscan.Get(details, "cache_write_tokens_details"), func(name string) *int64 {
		switch name {
		case "ttl_30m_tokens":
			return &half
		case "ttl_12h_tokens":
			return &twelve
		}
		return nil
	})
	c.read(jsonscan.Get(data, "output_tokens_details"), func(name string) *int64 {
		switch name {
		case "reasoning_tokens":
			return &t.Reasoning
		case "audio_tokens":
			return &t.AudioOut
		case "image_tokens":
			return &t.ImageOut
		}
		return nil
	})
	if c.broken || input < 0 || output < 0 {
		return nil
	}
	t.InputTotal, t.OutputTotal = input, output
	t.CacheRead = min(cached, input)
	written = min(max(written, half+twelve), input-t.CacheRead)
	t.CacheWrite12h = min(twelve, written)
	t.CacheWrite30m = written - t.CacheWrite12h
	t.InputUncached = input - t.CacheRead - written
	t.Reasoning = min(t.Reasoning, output)
	out := &completion.Usage{Tokens: t, Final: true}
	if f.vendor.Cost != nil {
		if nano, ok := f.vendor.Cost(data); ok {
			out.CostNanoUSD = &nano
		}
	}
	return out
}
