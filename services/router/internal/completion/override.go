package completion

import (
	"errors"
	"slices"

	"github.com/claviger/claviger/pkg/fault"
)

// Prompt is the caller's prompt as this attempt sends it: with the overrides in it, and without the encrypted
// reasoning of earlier turns if that is left out. It is decoded anew, or shared with other attempts: nobody
// changes it.
func (c *Call) Prompt() (*Prompt, error) {
	prompt, err := c.Request.Decode()
	if err != nil || c.Request.Asks() != Chat && c.Request.Asks() != CountTokens {
		return prompt, err
	}
	if c.StripState {
		prompt = withoutState(prompt)
	}
	if o := c.Overrides; o != nil && c.Request.Asks() == Chat {
		prompt = o.apply(prompt)
	}
	return prompt, nil
}

// apply returns a prompt with the overrides in it. A bound of the answer only lowers one that is there.
func (o *Overrides) apply(p *Prompt) *Prompt {
	out := *p
	if o.Temperature != nil {
		out.Temperature = o.Temperature
	}
	if o.TopP != nil {
		out.TopP = o.TopP
	}
	if o.MaxOutputTokens != nil && (p.MaxOutputTokens == nil || *p.MaxOutputTokens > *o.MaxOutputTokens) {
		out.MaxOutputTokens = o.MaxOutputTokens
	}
	if o.ReasoningEffort != nil {
		out.ReasoningEffort, out.ReasoningBudget = *o.ReasoningEffort, nil
		out.ShowReasoning = p.ShowReasoning && *o.ReasoningEffort != "none"
	}
	return &out
}

// Names are the features that are overridden, as errors name them. A bound of the answer is known everywhere.
func (o *Overrides) Names() []Feature {
	var out []Feature
	if o == nil {
		return nil
	}
	if o.Temperature != nil {
		out = append(out, FeatureTemperature)
	}
	if o.TopP != nil {
		out = append(out, FeatureTopP)
	}
	if o.ReasoningEffort != nil {
		out = append(out, FeatureReasoningEffort)
	}
	return out
}

// blamed says of what a provider cannot carry that the policy's line asks for it, if it does: the caller cannot
// leave it out.
func (o *Overrides) blamed(err error, t *Target) error {
	f, ok := fault.Of(err)
	if o == nil || !ok || !errors.Is(err, ErrUnsupported) || !slices.Contains(o.Names(), Feature(f.Facts()["param"])) {
		return err
	}
	return f.Saying("policy %q, line %d, overrides what cannot be: %s", t.PolicyName, t.Line+1, f.Message()).
		Hinting("an owner or admin has to take the override out of the line, or choose another model for it").Because(err)
}

// withoutState returns a prompt without states of earlier turns. What could be read of the reasoning stays.
func withoutState(p *Prompt) *Prompt {
	out := *p
	out.Messages = slices.Clone(p.Messages)
	for i := range out.Messages {
		m := &out.Messages[i]
		m.Parts = stateless(m.Parts)
		m.ToolCalls = slices.Clone(m.ToolCalls)
		for j := range m.ToolCalls {
			m.ToolCalls[j].Signature, m.ToolCalls[j].Format = "", ""
		}
	}
	return &out
}

func stateless(parts []Part) []Part {
	if !slices.ContainsFunc(parts, func(p Part) bool { return p.Reasoning != nil }) {
		return parts
	}
	out := make([]Part, 0, len(parts))
	for _, p := range parts {
		if r := p.Reasoning; r != nil {
			if r.Text == "" {
				continue
			}
			p.Reasoning = &Reasoning{Text: r.Text, Summary: r.Summary}
		}
		out = append(out, p)
	}
	return out
}
