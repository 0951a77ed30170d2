// Package pricing turns counts of tokens and of other units, and a price, into nano-USD.
//
// It is pure: integers in, integers out, one rounding per attempt. What is not known stays unknown
// and is never taken for zero: a rate that is absent makes the cost of its token class unknown, and
// with it the cost of the attempt. The package does not decide which price holds for whom: a Table
// looks up a model's price at a moment, and Book is the one that ships with the product.
package pricing

import (
	"fmt"
	"math"
	"math/bits"
	"time"
)

// MaxCount bounds each token count: no provider bills 2^40 tokens in one call, and below it no sum of
// products can leave 128 bits.
const MaxCount = 1 << 40

// perMillion is the number of tokens that a rate is for.
const perMillion = 1_000_000

// Counts are the token classes of one attempt, as in the usage event. The subsets (reasoning, audio,
// image) are part of the totals.
type Counts struct {
	InputTotal    int64
	InputUncached int64
	CacheRead     int64
	CacheWrite5m  int64
	CacheWrite30m int64
	CacheWrite1h  int64
	CacheWrite12h int64
	OutputTotal   int64
	Reasoning     int64
	AudioIn       int64
	AudioOut      int64
	ImageIn       int64
	ImageOut      int64
}

// Price is what a model costs from a moment on: an immutable version of the price book.
type Price struct {
	// ID names the version, "price_…".
	ID string
	// Model is the model's slug, "provider/name".
	Model string
	// ValidFrom is the first moment that it holds for.
	ValidFrom time.Time
	// Tiers are the rates by size of the prompt, by MinInput upwards. None says that tokens are not billed.
	Tiers []Tier
	// Units are the rates of what is billed besides tokens, or instead of them.
	Units []UnitRate
	// Reported says that the provider's own statement of the cost holds where it makes one: it knows of
	// fees and discounts that no rate tells. The rates hold where it says nothing.
	Reported bool
	// Source says where the rates come from.
	Source string
}

// Tier are the rates of prompts from a size on, in nano-USD per million tokens. They hold for the
// whole request, output included. A nil rate is unknown.
type Tier struct {
	// MinInput is the smallest InputTotal that the tier holds for.
	MinInput      int64
	Input         *int64
	Output        *int64
	CacheRead     *int64
	CacheWrite5m  *int64
	CacheWrite30m *int64
	CacheWrite1h  *int64
	CacheWrite12h *int64
	// The rates of audio and pictures; nil is the plain rate of input or output.
	AudioIn  *int64
	AudioOut *int64
	ImageIn  *int64
	ImageOut *int64
}

// tier returns the rates for a prompt of the given size.
func (p Price) tier(inputTotal int64) (*Tier, bool) {
	for i := len(p.Tiers) - 1; i >= 0; i-- {
		if p.Tiers[i].MinInput <= inputTotal {
			return &p.Tiers[i], true
		}
	}
	return nil, false
}

// Validate says what is out of bounds: a count below zero or above MaxCount. Nothing that fails here
// may be summed. It does not compare the counts with each other; Cost does.
func Validate(c Counts) error {
	for _, f := range [...]struct {
		name  string
		count int64
	}{
		{"input_total", c.InputTotal},
		{"input_uncached", c.InputUncached},
		{"cache_read", c.CacheRead},
		{"cache_write_5m", c.CacheWrite5m},
		{"cache_write_30m", c.CacheWrite30m},
		{"cache_write_1h", c.CacheWrite1h},
		{"cache_write_12h", c.CacheWrite12h},
		{"output_total", c.OutputTotal},
		{"reasoning", c.Reasoning},
		{"audio_in", c.AudioIn},
		{"audio_out", c.AudioOut},
		{"image_in", c.ImageIn},
		{"image_out", c.ImageOut},
	} {
		if f.count < 0 || f.count > MaxCount {
			return fmt.Errorf("%s is %d, not within 0 and 2^40", f.name, f.count)
		}
	}
	return nil
}

// Consistent reports whether the counts do not contradict each other. They are within bounds.
func (c Counts) Consistent() bool { return c.contradiction() == "" }

// contradiction says how the counts contradict each other, or nothing.
func (c Counts) contradiction() string {
	parts := c.InputUncached + c.CacheRead + c.CacheWrite5m + c.CacheWrite30m + c.CacheWrite1h + c.CacheWrite12h
	switch {
	case parts != c.InputTotal:
		return fmt.Sprintf("the parts of input_total sum to %d, not %d", parts, c.InputTotal)
	case c.Reasoning > c.OutputTotal:
		return "reasoning is more than output_total"
	case c.AudioIn+c.ImageIn > c.InputTotal:
		return "audio_in and image_in are more than input_total"
	case c.AudioOut+c.ImageOut > c.OutputTotal:
		return "audio_out and image_out are more than output_total"
	}
	return ""
}

// line is a count and the rate it is billed at.
type line struct {
	class string
	count int64
	rate  *int64
}

// Used is what an attempt took.
type Used struct {
	// Tokens is nil where the counts are not known.
	Tokens *Counts
	// Units are the counts that are known, each name once.
	Units []Unit
}

// Cost returns what tokens cost at the given rates, in nano-USD; see CostOf.
func Cost(rates Price, tokens Counts) (nano int64, ok bool, why string) {
	return CostOf(rates, Used{Tokens: &tokens})
}

// CostOf returns what an attempt costs at the given rates, in nano-USD, rounded once, half to even. It is
// not ok, and why says so in words, when the cost cannot be known: a class that was used has no rate, a
// unit or the tokens that are billed were not counted, the counts are out of bounds or contradict each
// other, or the result does not fit.
//
// Audio and pictures with a rate of their own are taken out of uncached input and out of output.
// Providers do not say how much of them was cached, so when they are more than the uncached input,
// their cost is unknown.
func CostOf(rates Price, used Used) (nano int64, ok bool, why string) {
	var sum uint128
	if len(rates.Tiers) > 0 || len(rates.Units) == 0 {
		if used.Tokens == nil {
			return 0, false, "no counts of tokens"
		}
		if why := rates.addTokens(&sum, *used.Tokens); why != "" {
			return 0, false, why
		}
	}
	if why := rates.addUnits(&sum, used.Units); why != "" {
		return 0, false, why
	}
	nano, ok = sum.dividedHalfEven(perMillion)
	if !ok {
		return 0, false, "the cost does not fit into 64 bits"
	}
	return nano, true, ""
}

// addTokens adds what tokens cost to sum. why says what is not known.
func (p Price) addTokens(sum *uint128, tokens Counts) (why string) {
	if err := Validate(tokens); err != nil {
		return err.Error()
	}
	if why := tokens.contradiction(); why != "" {
		return why
	}
	t, ok := p.tier(tokens.InputTotal)
	if !ok {
		return fmt.Sprintf("no rates for a prompt of %d tokens", tokens.InputTotal)
	}
	textIn, textOut := tokens.InputUncached, tokens.OutputTotal
	if t.AudioIn != nil {
		textIn -= tokens.AudioIn
	}
	if t.ImageIn != nil {
		textIn -= tokens.ImageIn
	}
	if textIn < 0 {
		return "no rate for cached audio_in or image_in"
	}
	if t.AudioOut != nil {
		textOut -= tokens.AudioOut
	}
	if t.ImageOut != nil {
		textOut -= tokens.ImageOut
	}
	for _, l := range [...]line{
		{"input", textIn, t.Input},
		{"cache_read", tokens.CacheRead, t.CacheRead},
		{"cache_write_5m", tokens.CacheWrite5m, t.CacheWrite5m},
		{"cache_write_30m", tokens.CacheWrite30m, t.CacheWrite30m},
		{"cache_write_1h", tokens.CacheWrite1h, t.CacheWrite1h},
		{"cache_write_12h", tokens.CacheWrite12h, t.CacheWrite12h},
		{"output", textOut, t.Output},
		{"audio_in", tokens.AudioIn, orPlain(t.AudioIn)},
		{"audio_out", tokens.AudioOut, orPlain(t.AudioOut)},
		{"image_in", tokens.ImageIn, orPlain(t.ImageIn)},
		{"image_out", tokens.ImageOut, orPlain(t.ImageOut)},
	} {
		switch {
		case l.count == 0:
		case l.rate == nil:
			return "no rate for " + l.class
		case *l.rate < 0:
			return "the rate for " + l.class + " is below zero"
		default:
			sum.addProduct(uint64(l.count), uint64(*l.rate))
		}
	}
	return ""
}

var nothing int64

// orPlain is the extra line of a subset: nothing when it has no rate of its own, because its tokens
// were then left in the plain line.
func orPlain(rate *int64) *int64 {
	if rate == nil {
		return &nothing
	}
	return rate
}

// uint128 sums products. Eleven products of a count up to 2^40 and a rate below 2^63, and six of a count up
// to 2^50 and such a rate, stay below 2^116.
type uint128 struct{ hi, lo uint64 }

func (u *uint128) addProduct(a, b uint64) {
	hi, lo := bits.Mul64(a, b)
	var carry uint64
	u.lo, carry = bits.Add64(u.lo, lo, 0)
	u.hi, _ = bits.Add64(u.hi, hi, carry)
}

// dividedHalfEven is false when the quotient is more than an int64.
func (u uint128) dividedHalfEven(by uint64) (int64, bool) {
	if u.hi >= by {
		return 0, false
	}
	quotient, rest := bits.Div64(u.hi, u.lo, by)
	if twice := 2 * rest; twice > by || twice == by && quotient&1 == 1 {
		quotient++ // no overflow that matters: the check below is on the result
		if quotient == 0 {
			return 0, false
		}
	}
	if quotient > math.MaxInt64 {
		return 0, false
	}
	return int64(quotient), true
}
