package messages

import (
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// claudeOf is a Claude's own name in a vendor's name of it; empty is no Claude.
func claudeOf(name string) string {
	if i := strings.Index(name, "claude-"); i >= 0 {
		return name[i:]
	}
	return ""
}

// heeded refuses, by name, what a policy's line overrides and a converted prompt does not take along.
func (e *encoder) heeded(o *completion.Overrides) error {
	switch {
	case o == nil:
	case o.Temperature != nil && e.w.Temperature == nil:
		return unsupported(string(completion.FeatureTemperature), "this model does not take it, or not while it thinks")
	case o.TopP != nil && e.w.TopP == nil:
		return unsupported(string(completion.FeatureTopP), "this model does not take it, or not together with temperature or while it thinks")
	}
	return nil
}

// overridden is a caller's body with what the policy's line puts in place of the caller's. These are all edits:
//
//   - temperature and top_p are replaced, or added; the other one of the two, which may not stand beside it, is
//     taken out;
//   - max_tokens is lowered, and a budget for thinking that would not fit into it any more, too;
//   - reasoning_effort becomes thinking and output_config.effort, as this model is told how much to think.
//     Sampling that is refused while it thinks is taken out.
//
// Every other byte stays. What the model does not take is refused by name.
func overridden(raw []byte, call completion.Call) ([]byte, error) {
	o := call.Overrides
	name := claudeOf(call.Model)
	m := model{maxOutput: unknown.maxOutput, thinking: never, sampling: true} // another maker's
	if name != "" {
		m = modelOf(name)
	}
	var changes []provider.Change
	if o.MaxOutputTokens != nil {
		raw = provider.Changed(raw, provider.AtMost("max_tokens", *o.MaxOutputTokens))
		raw = withinBound(raw)
	}
	if o.ReasoningEffort != nil {
		told, err := thinkingChanges(raw, m, *o.ReasoningEffort)
		if err != nil {
			return nil, err
		}
		raw = provider.Changed(raw, told...)
	}
	if o.Temperature == nil && o.TopP == nil {
		return raw, nil
	}
	first := completion.FeatureTemperature
	if o.Temperature == nil {
		first = completion.FeatureTopP
	}
	switch {
	case !m.sampling:
		return nil, unsupported(string(first), "this model does not take it")
	case name != "" && thinks(raw):
		return nil, unsupported(string(first), "this model does not take it while it thinks")
	case name != "" && o.Temperature != nil && o.TopP != nil:
		return nil, unsupported(string(completion.FeatureTopP), "this model does not take it together with temperature")
	}
	leftOut := func(feature completion.Feature) {
		if name != "" {
			changes = append(changes, provider.To(string(feature), ""))
		}
	}
	if o.Temperature != nil {
		t := *o.Temperature
		if name != "" {
			t = min(t, 1)
		}
		changes = append(changes, provider.To("temperature", provider.Number(t)))
	} else {
		leftOut(completion.FeatureTemperature)
	}
	if o.TopP != nil {
		changes = append(changes, provider.To("top_p", provider.Number(*o.TopP)))
	} else {
		leftOut(completion.FeatureTopP)
	}
	return provider.Changed(raw, changes...), nil
}

// thinks reports whether a body asks for thinking, beside which sampling is refused.
func thinks(raw []byte) bool {
	kind, _ := jsonscan.Text(jsonscan.Get(raw, "thinking", "type"))
	return kind == "enabled" || kind == "adaptive"
}

// withinBound lowers a budget for thinking below the bound of the answer. Where too little is left, the model
// does not think.
func withinBound(raw []byte) []byte {
	most, ok1 := jsonscan.Int(jsonscan.Get(raw, "max_tokens"))
	budget, ok2 := jsonscan.Int(jsonscan.Get(raw, "thinking", "budget_tokens"))
	switch {
	case !ok1 || !ok2 || budget < most:
		return raw
	case most-1 < minBudget:
		return provider.Changed(raw, provider.To("thinking", `{"type":"disabled"}`))
	}
	return provider.Changed(raw, provider.Within("thinking", provider.AtMost("budget_tokens", most-1)))
}

// thinkingChanges are the changes by which a body says how much to think, by the rules for prompts that are
// converted.
func thinkingChanges(raw []byte, m model, effort string) ([]provider.Change, error) {
	e := &encoder{prompt: &completion.Prompt{ReasoningEffort: effort}, model: m}
	e.w.MaxTokens, _ = jsonscan.Int(jsonscan.Get(raw, "max_tokens"))
	e.w.Messages = []wireMessage{{Content: []wireBlock{{}}}}
	if inOpenToolLoop(raw) {
		e.w.Messages = []wireMessage{{Content: []wireBlock{{}}}, {Content: []wireBlock{{Type: "tool_result"}}}}
	}
	kind, _ := jsonscan.Text(jsonscan.Get(raw, "tool_choice", "type"))
	e.w.ToolChoice = &wireChoice{Type: kind}
	if m.sampling {
		e.w.Temperature = new(float64) // whether it may stay shows with it
	}
	if err := e.think(); err != nil {
		return nil, err
	}
	changes := []provider.Change{thinkingChange(e.w.Thinking)}
	if e.w.OutputConfig != nil && e.w.OutputConfig.Effort != "" {
		changes = append(changes, provider.Within("output_config", provider.To("effort", `"`+e.w.OutputConfig.Effort+`"`)))
	} else {
		changes = append(changes, provider.Within("output_config", provider.To("effort", "")))
	}
	if m.sampling && e.w.Temperature == nil {
		changes = append(changes, provider.To("temperature", ""), provider.To("top_p", ""), provider.To("top_k", ""))
	}
	return changes, nil
}

// thinkingChange puts thinking in place of the caller's, but for how it is shown.
func thinkingChange(w *wireThinking) provider.Change {
	return provider.Change{Name: "thinking", With: func(v []byte) string {
		display := jsonscan.Get(v, "display")
		told := wireThinking{}
		switch {
		case w != nil:
			told = *w
		case display != nil:
			told.Type = "adaptive"
		default:
			return ""
		}
		if told.Type == "enabled" || told.Type == "adaptive" {
			told.Display, _ = jsonscan.Text(display)
		}
		out, err := encodeJSON(told)
		if err != nil {
			return "" // an object of texts and a number is always one
		}
		return string(out)
	}}
}

// inOpenToolLoop reports whether a conversation waits for an answer to results of tools, and the thinking that
// led to their calls is not in it.
func inOpenToolLoop(raw []byte) bool {
	var before, last []byte
	list := jsonscan.Array(jsonscan.Get(raw, "messages"))
	for list.Next() {
		before, last = last, list.Value
	}
	first := firstKind(before)
	return firstKind(last) == "tool_result" && first != "thinking" && first != "redacted_thinking"
}

// firstKind is the type of a message's first block.
func firstKind(message []byte) string {
	content := jsonscan.Get(message, "content")
	if jsonscan.KindOf(content) != jsonscan.ArrayKind {
		return ""
	}
	if blocks := jsonscan.Array(content); blocks.Next() {
		kind, _ := jsonscan.Text(jsonscan.Get(blocks.Value, "type"))
		return kind
	}
	return ""
}

// stateless is a caller's body without the thinking of earlier turns, which another credential signed: its
// blocks are taken out, and messages of which nothing is left. Where a budget for thinking is given and the
// conversation waits for an answer to results of tools, thinking is switched off: with it, the thinking before
// their calls would be asked for. Every other byte stays.
func stateless(raw []byte) []byte {
	out := provider.Changed(raw, provider.Change{Name: "messages", With: func(v []byte) string {
		if jsonscan.KindOf(v) != jsonscan.ArrayKind {
			return string(v)
		}
		kept := []byte{'['}
		list := jsonscan.Array(v)
		for list.Next() {
			message := withoutThinking(list.Value)
			if message == nil {
				continue
			}
			if len(kept) > 1 {
				kept = append(kept, ',')
			}
			kept = append(kept, message...)
		}
		return string(append(kept, ']'))
	}})
	if kind, _ := jsonscan.Text(jsonscan.Get(out, "thinking", "type")); kind == "enabled" && inOpenToolLoop(out) {
		out = provider.Changed(out, provider.To("thinking", `{"type":"disabled"}`))
	}
	return out
}

// withoutThinking is a message without its thinking, or nil if nothing is left.
func withoutThinking(message []byte) []byte {
	empty := false
	out := provider.Changed(message, provider.Change{Name: "content", With: func(v []byte) string {
		if jsonscan.KindOf(v) != jsonscan.ArrayKind {
			return string(v)
		}
		kept, some := without(v, func(thinks, _ bool) bool { return thinks })
		if !some {
			return string(v)
		}
		empty = empty || kept == "[]"
		return kept
	}})
	if empty {
		return nil
	}
	return out
}
