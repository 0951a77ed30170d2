package chat

import (
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// Lacks names what a model cannot be asked for; models with fixed sampling are not told of any.
func (p *Form) Lacks(prompt *completion.Prompt, model string) completion.Feature {
	m := p.vendor.of(model)
	carried := p.vendor.carried(m)
	if m.FixedSampling {
		carried = provider.Without(carried, []completion.Feature{
			completion.FeatureTemperature, completion.FeatureTopP, completion.FeatureFrequencyPenalty, completion.FeaturePresencePenalty,
		})
	}
	return provider.Missing(prompt, carried...)
}
