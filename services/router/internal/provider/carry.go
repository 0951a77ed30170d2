package provider

import (
	"slices"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
)

// Carry refuses, by name, the first thing that a prompt uses and that is not among those that can be
// carried. Who is what the caller knows the vendor as.
func Carry(p *completion.Prompt, who string, carried ...completion.Feature) error {
	if f := Missing(p, carried...); f != "" {
		return Uncarried(who, string(f), "it has no counterpart there")
	}
	return nil
}

// Missing names the first thing that a prompt uses and that is not among those that can be carried; empty if
// all of it can.
func Missing(p *completion.Prompt, carried ...completion.Feature) completion.Feature {
	for _, f := range p.Features() {
		if !slices.Contains(carried, f) {
			return f
		}
	}
	return ""
}

// Sampling are the features that models with fixed sampling leave out.
var Sampling = []completion.Feature{
	completion.FeatureTemperature, completion.FeatureTopP, completion.FeatureTopK, completion.FeatureFrequencyPenalty, completion.FeaturePresencePenalty,
}

// Without are features but for some.
func Without(features, some []completion.Feature) []completion.Feature {
	return slices.DeleteFunc(slices.Clone(features), func(f completion.Feature) bool { return slices.Contains(some, f) })
}

// Uncarried is the error of a part of a prompt that a vendor does not know.
func Uncarried(who, param, why string) *fault.Error {
	return completion.ErrUnsupported.Saying("%s cannot be sent to %s: %s", param, who, why).With("param", param).
		Hinting("leave it out, or choose another model")
}
