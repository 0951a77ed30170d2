package chat

import (
	"math"
	"strconv"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// maxTokens bounds a count: what is larger is a mistake and not used.
const maxTokens = 1 << 40

// counted is a usage object while it is read. What was not given is -1.
type counted struct {
	prompt, output, total, hit, cached, apart int64
	details, written, reasoning               int64
	audioIn, imageIn, audioOut, imageOut      int64
	invalid                                   bool
}

func (c *counted) count(v []byte, into *int64) {
	if !jsonscan.Given(v) {
		return
	}
	n, ok := jsonscan.Int(v)
	if !ok || n < 0 || n > maxTokens {
		c.invalid = true
		return
	}
	*into = n
}

func (c *counted) input(v []byte) {
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return
	}
	m := jsonscan.Object(v)
	for m.Next() {
		switch string(m.Name) {
		case "cached_tokens":
			c.count(m.Value, &c.details)
		case "cache_write_tokens":
			c.count(m.Value, &c.written)
		case "audio_tokens":
			c.count(m.Value, &c.audioIn)
		case "image_tokens":
			c.count(m.Value, &c.imageIn)
		}
	}
}

func (c *counted) answer(v []byte) {
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return
	}
	m := jsonscan.Object(v)
	for m.Next() {
		switch string(m.Name) {
		case "reasoning_tokens":
			c.count(m.Value, &c.reasoning)
		case "audio_tokens":
			c.count(m.Value, &c.audioOut)
		case "image_tokens":
			c.count(m.Value, &c.imageOut)
		}
	}
}

// readUsage reads a usage object into u, and reports whether it holds totals that can be.
//
// Cached tokens are a part of the prompt's; some vendors give them beside the details. Reasoning tokens are
// a part of the completion's but where the vendor keeps them apart. The total of both says nothing that they
// do not, and may be wrong.
func (v *Vendor) readUsage(data []byte, u *completion.Usage, cost *int64) bool {
	c := counted{prompt: -1, output: -1, total: -1, apart: -1}
	m := jsonscan.Object(data)
	for m.Next() {
		switch string(m.Name) {
		case "prompt_tokens":
			c.count(m.Value, &c.prompt)
		case "completion_tokens":
			c.count(m.Value, &c.output)
		case "total_tokens":
			if n, ok := jsonscan.Int(m.Value); ok && n >= 0 && n <= maxTokens {
				c.total = n
			}
		case "prompt_cache_hit_tokens":
			c.count(m.Value, &c.hit)
		case "cached_tokens":
			c.count(m.Value, &c.cached)
		case "reasoning_tokens":
			c.count(m.Value, &c.apart)
		case "prompt_tokens_details":
			c.input(m.Value)
		case "completion_tokens_details":
			c.answer(m.Value)
		}
	}
	if c.output < 0 && c.prompt >= 0 && c.total >= c.prompt {
		c.output = c.total - c.prompt
	}
	if c.invalid || m.Err() != nil || c.prompt < 0 || c.output < 0 {
		return false
	}
	*u = completion.Usage{Final: true}
	v.fill(&c, u)
	if v.Cost != nil {
		if nano, ok := v.Cost(data); ok {
			*cost = nano
			u.CostNanoUSD = cost
		}
	}
	return true
}

// fill makes neutral counts of what was read. The totals are what is billed: a part that is told as more than
// its whole is all of it.
func (v *Vendor) fill(c *counted, u *completion.Usage) {
	t := &u.Tokens
	cached := c.details
	if cached == 0 {
		cached = max(c.hit, c.cached)
	}
	reasoning := c.reasoning
	if reasoning == 0 {
		reasoning = max(c.apart, 0)
	}
	if v.CachedApart && cached > c.prompt {
		c.prompt += cached
	}
	t.InputTotal = c.prompt
	t.CacheRead = min(cached, c.prompt)
	t.CacheWrite30m = min(c.written, c.prompt-t.CacheRead)
	t.InputUncached = c.prompt - t.CacheRead - t.CacheWrite30m
	t.Reasoning, t.OutputTotal = reasoning, c.output
	if v.Apart.adds(c, reasoning) {
		t.OutputTotal += reasoning
	}
	t.Reasoning = min(t.Reasoning, t.OutputTotal)
	t.AudioIn, t.ImageIn, t.AudioOut, t.ImageOut = c.audioIn, c.imageIn, c.audioOut, c.imageOut
}

// adds reports whether the reasoning tokens come to the completion's.
func (a Apart) adds(c *counted, reasoning int64) bool {
	switch a {
	case ByTotal:
		return c.total < 0 || c.total != c.prompt+c.output
	case IfMore:
		return reasoning > c.output
	case Always:
		return true
	case Never:
	}
	return false
}

// maxCost bounds what one call can cost: more is a mistake.
const maxCost = 1_000_000

// Dollars is an amount in dollars in billionths of one.
func Dollars(v []byte) (nano int64, ok bool) {
	if jsonscan.KindOf(v) != jsonscan.Number {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil || !(f >= 0 && f <= maxCost) {
		return 0, false
	}
	return int64(math.RoundToEven(f * 1e9)), true
}
