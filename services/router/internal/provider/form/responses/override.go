package responses

import (
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// overridden is a caller's body with what the policy's line puts in place of the caller's. These are all edits:
// temperature, top_p and reasoning.effort are replaced, or added; max_output_tokens is lowered, or added. Every
// other byte stays.
func overridden(raw []byte, o *completion.Overrides) []byte {
	var changes []provider.Change
	if o.Temperature != nil {
		changes = append(changes, provider.To("temperature", provider.Number(*o.Temperature)))
	}
	if o.TopP != nil {
		changes = append(changes, provider.To("top_p", provider.Number(*o.TopP)))
	}
	if o.MaxOutputTokens != nil {
		changes = append(changes, provider.AtMost("max_output_tokens", *o.MaxOutputTokens))
	}
	if o.ReasoningEffort != nil {
		word := string(jsonscan.AppendText(nil, *o.ReasoningEffort))
		changes = append(changes, provider.Within("reasoning", provider.To("effort", word)))
	}
	return provider.Changed(raw, changes...)
}

// stateless is a caller's body without the state of earlier reasoning: items of reasoning are taken out of
// "input", and the names that the provider gave to messages and calls that stood beside them, since it asks for
// the reasoning that belongs to a name which it knows. Every other byte stays.
func stateless(raw []byte) []byte {
	return provider.Changed(raw, provider.Change{Name: "input", With: func(v []byte) string {
		if jsonscan.KindOf(v) != jsonscan.ArrayKind {
			return string(v)
		}
		out := []byte{'['}
		items := jsonscan.Array(v)
		for items.Next() {
			of, _ := jsonscan.Text(jsonscan.Get(items.Value, "type"))
			if of == "reasoning" {
				continue
			}
			if len(out) > 1 {
				out = append(out, ',')
			}
			out = append(out, unnamed(items.Value)...)
		}
		return string(append(out, ']'))
	}})
}

// unnamed is an item without the name that a provider gave it.
func unnamed(item []byte) []byte {
	if jsonscan.KindOf(item) != jsonscan.ObjectKind {
		return item
	}
	return provider.Changed(item, provider.Change{Name: "id", With: func(v []byte) string {
		if id, _ := jsonscan.Text(v); strings.HasPrefix(id, "msg_") || strings.HasPrefix(id, "fc_") {
			return ""
		}
		return string(v)
	}})
}
