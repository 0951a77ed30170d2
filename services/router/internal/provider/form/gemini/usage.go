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
// it does not say the prompt's tokens, or holds numbers that cannot be. whole says that it tells the output,
// too: candidates are left out where there are none, and then the total shows it.
func readUsage(v []byte) (u *completion.Usage, whole bool) {
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return nil, false
	}
	var c counts
	var prompt, tools, cached, candidates, thoughts, total int64 = -1, 0, 0, -1, 0, -1
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
		case "totalTokenCount": // what the others tell does not need it
			if n, ok := jsonscan.Int(m.Value); ok && n <= maxTokens {
				total = n
			}
		case "promptTokensDetails", "toolUsePromptTokensDetails":
			c.modalities(m.Value, &t.AudioIn, &t.ImageIn)
		case "candidatesTokensDetails":
			c.modalities(m.Value, &t.AudioOut, &t.ImageOut)
		}
	}
	if c.wrong || prompt < 0 {
		return nil, false
	}
	whole = candidates >= 0
	if !whole {
		candidates = total - prompt - tools - thoughts
		whole = candidates >= 0
		candidates = max(0, candidates)
	}
	t.CacheRead = min(cached, prompt+tools)
	t.InputUncached = prompt + tools - t.CacheRead
	t.InputTotal = prompt + tools
	t.OutputTotal, t.Reasoning = candidates+thoughts, thoughts
	return &completion.Usage{Tokens: t}, whole
}
