package gemini

import (
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// maxTokens bounds a count: what is larger is a mistake and not used.
const maxTokens = 1 << 40

// counts reads numbers that may be left out where they are 0.
type counts struct{ wrong bool }

func (c *counts) read(v []byte, into *int64) {
	if !jsonscan.Given(v) {
		return
	}
	n, ok := jsonscan.Int(v)
	c.wrong = c.wrong || !ok || n < 0 || n > maxTokens
	*into = n
}

// modalities adds up how many tokens are sound and pictures.
func (c *counts) modalities(v []byte, audio, image *int64) {
	if jsonscan.KindOf(v) != jsonscan.ArrayKind {
		return
	}
	list := jsonscan.Array(v)
	for list.Next() {
		var modality []byte
		var n int64
		m := jsonscan.Object(list.Value)
		for m.Next() {
			switch string(m.Name) {
			case "modality":
				modality = m.Value
			case "tokenCount":
				c.read(m.Value, &n)
			}
		}
		switch string(modality) {
		case `"AUDIO"`:
			*audio += n
		case `"IMAGE"`:
			*image += n
		}
	}
}

// readUsage reads a usageMetadata, which is a running total. What is cached is a part of the prompt;
// thoughts are no part of the candidates; what tools brought in comes on top of the prompt. It is nil if
// it does not say the prompt's tokens, or holds numbers that cannot be.
func readUsage(v []byte) *completion.Usage {
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return nil
	}
	var c counts
	var prompt, tools, cached, candidates, thoughts, total int64 = -1, 0, 0, -1, 0, 0
	var t usage.Tokens
	m := jsonscan.Object(v)
	for m.Next() {
		switch string(m.Name) {
		case "promptTokenCount":
			c.read(m.Value, &prompt)
		case "toolUsePromptTokenCount":
			c.read(m.Value, &tools)
		case "cachedContentTokenCount":
			c.read(m.Value, &cached)
		case "candidatesTokenCount", "responseTokenCount":
			c.read(m.Value, &candidates)
		case "thoughtsTokenCount":
			c.read(m.Value, &thoughts)
		case "totalTokenCount":
			c.read(m.Value, &total)
		case "promptTokensDetails", "toolUsePromptTokensDetails":
			c.modalities(m.Value, &t.AudioIn, &t.ImageIn)
		case "candidatesTokensDetails":
			c.modalities(m.Value, &t.AudioOut, &t.ImageOut)
		}
	}
	if candidates < 0 { // left out, or 0: then the total says it
		candidates = max(0, total-max(prompt, 0)-tools-thoughts)
	}
	if c.wrong || prompt < 0 {
		return nil
	}
	t.CacheRead = min(cached, prompt+tools)
	t.InputUncached = prompt + tools - t.CacheRead
	t.InputTotal = prompt + tools
	t.OutputTotal, t.Reasoning = candidates+thoughts, thoughts
	return &completion.Usage{Tokens: t}
}
