package chat

import (
	"slices"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// mayOverride refuses, by name, what a policy's line overrides and the model does not take.
func (v *Vendor) mayOverride(o *completion.Overrides, m Model) error {
	carried := v.carried(m)
	for _, name := range o.Names() {
		switch {
		case !slices.Contains(carried, name):
			return v.unsupported(string(name), "it has no counterpart there")
		case m.FixedSampling && name != completion.FeatureReasoningEffort:
			return v.unsupported(string(name), "this model's is fixed")
		case m.NoEffort && name == completion.FeatureReasoningEffort:
			return v.unsupported(string(name), "this model is not told how much to reason")
		}
	}
	return nil
}

// overridden is a caller's body with what the policy's line puts in place of the caller's. These are all edits:
// temperature, top_p and reasoning_effort (or reasoning.effort, if the body has that) are replaced, or added;
// max_tokens and max_completion_tokens are lowered, or the vendor's name for them is added. Every other byte
// stays.
func (p *Form) overridden(raw []byte, call completion.Call) []byte {
	o, v := call.Overrides, &p.vendor
	var changes []provider.Change
	if o.Temperature != nil {
		changes = append(changes, provider.To("temperature", provider.Number(*o.Temperature)))
	}
	if o.TopP != nil {
		changes = append(changes, provider.To("top_p", provider.Number(*o.TopP)))
	}
	if o.MaxOutputTokens != nil {
		names := []string{"max_tokens", "max_completion_tokens"}
		names = slices.DeleteFunc(names, func(name string) bool { return !given(raw, name) })
		if len(names) == 0 {
			names = append(names, v.maxTokens(call.BaseURL))
		}
		for _, name := range names {
			changes = append(changes, provider.AtMost(name, *o.MaxOutputTokens))
		}
	}
	if o.ReasoningEffort != nil {
		word := quote(v.effortFor(call.Model, *o.ReasoningEffort))
		reasoning := jsonscan.KindOf(jsonscan.Get(raw, "reasoning")) == jsonscan.ObjectKind
		if reasoning {
			changes = append(changes, provider.Within("reasoning", provider.To("effort", word), provider.To("max_tokens", ""), provider.To("enabled", "")))
		}
		if !reasoning || jsonscan.Get(raw, "reasoning_effort") != nil {
			changes = append(changes, provider.To("reasoning_effort", word))
		}
	}
	return provider.Changed(raw, changes...)
}

// given reports whether a body has a member that is not null, be it the second one of its name.
func given(raw []byte, name string) bool {
	m := jsonscan.Object(raw)
	for m.Next() {
		if string(m.Name) == name && jsonscan.Given(m.Value) {
			return true
		}
	}
	return false
}

// effortFor is the word nearest to an effort that a model knows.
func (v *Vendor) effortFor(model, asked string) string {
	return effort(&completion.Prompt{ReasoningEffort: asked}, v.efforts(v.of(model)))
}

// efforts are the words that a model knows; none is all.
func (v *Vendor) efforts(m Model) []string {
	if m.Efforts != nil {
		return m.Efforts
	}
	return v.Efforts
}

// maxTokens is what the bound of the answer is called. OpenAI's newer models refuse the old name; compatible
// servers know it for certain.
func (v *Vendor) maxTokens(baseURL string) string {
	if v.MaxTokens == "max_completion_tokens" || v.MaxTokens == "" && ownModels(baseURL) {
		return "max_completion_tokens"
	}
	return "max_tokens"
}

// stateless is a caller's body without the state of earlier reasoning: "reasoning_details" and, in tool calls,
// "extra_content" are taken out of messages. Reasoning that can be read elsewhere stays, and every other byte.
func stateless(raw []byte) []byte {
	var edits []jsonscan.Edit
	m := jsonscan.Object(raw)
	for m.Next() {
		if string(m.Name) != "messages" || jsonscan.KindOf(m.Value) != jsonscan.ArrayKind {
			continue
		}
		list := jsonscan.Array(m.Value)
		for list.Next() {
			if jsonscan.KindOf(list.Value) == jsonscan.ObjectKind {
				edits = append(edits, withoutState(list.Value, m.ValueAt+list.At())...)
			}
		}
	}
	return jsonscan.Apply(raw, edits)
}

// withoutState are the edits of a message that begins at an offset.
func withoutState(message []byte, at int) []jsonscan.Edit {
	var cut jsonscan.Cutter
	m := jsonscan.Object(message)
	for m.Next() {
		switch string(m.Name) {
		case "reasoning_details":
			cut.Remove(message, at, &m)
		case "tool_calls":
			cut.Keep(callsWithoutState(m.Value, at+m.ValueAt)...)
		default:
			cut.Keep()
		}
	}
	cut.Close()
	return cut.Edits
}

func callsWithoutState(v []byte, at int) (edits []jsonscan.Edit) {
	if jsonscan.KindOf(v) != jsonscan.ArrayKind {
		return nil
	}
	calls := jsonscan.Array(v)
	for calls.Next() {
		if jsonscan.KindOf(calls.Value) != jsonscan.ObjectKind {
			continue
		}
		var cut jsonscan.Cutter
		m := jsonscan.Object(calls.Value)
		for m.Next() {
			if string(m.Name) == "extra_content" {
				cut.Remove(calls.Value, at+calls.At(), &m)
			} else {
				cut.Keep()
			}
		}
		cut.Close()
		edits = append(edits, cut.Edits...)
	}
	return edits
}
