package bedrock

import (
	"io"
	"time"
)

// At fixes the clock.
func (p *Provider) At(now time.Time) *Provider {
	p.now = func() time.Time { return now }
	return p
}

// Frames reads an event stream to its end.
func Frames(from io.Reader) (kinds []string, payloads [][]byte, err error) {
	f := newFrames(from)
	for {
		got, err := f.next()
		if err != nil {
			return kinds, payloads, err
		}
		kinds = append(kinds, got.Message+" "+got.Name)
		payloads = append(payloads, append([]byte(nil), got.Payload...))
	}
}

// ErrFrame is the error of damaged bytes.
var ErrFrame = errFrame

// Call is a model's name in a call's address.
func Call(name, region string, listed []string) string { return modelOf(name, region, listed).id }

// ClaudeName is a Claude's name as Anthropic writes it.
func ClaudeName(name string) string { return modelOf(name, "us-east-1", nil).claudeName() }
