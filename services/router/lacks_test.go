package router

import (
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// features are prompts that use one thing each.
var features = map[completion.Feature]func(*completion.Prompt){
	completion.FeatureTemperature:       func(p *completion.Prompt) { p.Temperature = new(0.5) },
	completion.FeatureTopP:              func(p *completion.Prompt) { p.TopP = new(0.5) },
	completion.FeatureTopK:              func(p *completion.Prompt) { p.TopK = new(int64(5)) },
	completion.FeatureFrequencyPenalty:  func(p *completion.Prompt) { p.FrequencyPenalty = new(0.5) },
	completion.FeaturePresencePenalty:   func(p *completion.Prompt) { p.PresencePenalty = new(0.5) },
	completion.FeatureStop:              func(p *completion.Prompt) { p.Stop = []string{"END"} },
	completion.FeatureSeed:              func(p *completion.Prompt) { p.Seed = new(int64(5)) },
	completion.FeatureLogprobs:          func(p *completion.Prompt) { p.Logprobs = true },
	completion.FeatureVerbosity:         func(p *completion.Prompt) { p.Verbosity = "low" },
	completion.FeatureServiceTier:       func(p *completion.Prompt) { p.ServiceTier = "auto" },
	completion.FeatureReasoningEffort:   func(p *completion.Prompt) { p.ReasoningEffort = "low" },
	completion.FeatureReasoningBudget:   func(p *completion.Prompt) { p.ReasoningBudget = new(int64(2000)) },
	completion.FeatureTools:             func(p *completion.Prompt) { p.Tools = lookTool },
	completion.FeatureToolChoice:        func(p *completion.Prompt) { p.Tools, p.ToolChoice.Mode = lookTool, "auto" },
	completion.FeatureParallelToolCalls: func(p *completion.Prompt) { p.Tools, p.ParallelToolCalls = lookTool, new(false) },
	completion.FeatureJSONObject:        func(p *completion.Prompt) { p.ResponseFormat.Kind = "json_object" },
	completion.FeatureJSONSchema: func(p *completion.Prompt) {
		p.ResponseFormat = completion.ResponseFormat{Kind: "json_schema", Name: "r", Schema: `{"type":"object"}`}
	},
	completion.FeatureImages: func(p *completion.Prompt) {
		show(p, completion.Part{ImageData: []byte("\x89PNG"), MediaType: "image/png"})
	},
	completion.FeatureDocuments: func(p *completion.Prompt) {
		show(p, completion.Part{Document: &completion.Document{Name: "a.pdf", Data: []byte("%PDF"), MediaType: "application/pdf"}})
	},
	completion.FeatureAudio: func(p *completion.Prompt) {
		show(p, completion.Part{Audio: &completion.Audio{Data: []byte("RIFF"), Format: "wav"}})
	},
	completion.FeatureName: func(p *completion.Prompt) { p.Messages[0].Name = "ann" },
}

var lookTool = []completion.Tool{{Name: "look", Parameters: lookSchema}}

func show(p *completion.Prompt, part completion.Part) {
	p.Messages[0].Parts = append(p.Messages[0].Parts, part)
}

// TestWhatAProviderLacksIsWhatItRefuses: what is said before a call is what the conversion does, for every
// provider of conversations and everything that a prompt can use. What is left out in silence is said too, and is
// sampling alone.
func TestWhatAProviderLacksIsWhatItRefuses(t *testing.T) {
	t.Parallel()
	for slug, v := range vendors() {
		t.Run(slug, func(t *testing.T) {
			t.Parallel()
			upstream := llmtest.New(t)
			adapter := providers(located{http.DefaultTransport, upstream.URL})[slug]
			carrier, ok := adapter.(completion.Carrier)
			credential := &completion.Credential{ID: "cred_1", Provider: slug, Revision: 1, Settings: v.settings}
			if can := adapter.Serves(completion.Chat, v.model, credential) == ""; can != ok {
				t.Fatalf("it has conversations: %v, it says what it lacks: %v", can, ok)
			}
			if !ok {
				return
			}
			refusals := 0
			for feature, use := range features {
				prompt := &completion.Prompt{Messages: []completion.Message{{Role: completion.User, Parts: []completion.Part{{Text: "script:tokens=1 hi"}}}}}
				use(prompt)
				said := carrier.Lacks(prompt, &completion.Target{Provider: slug, Model: slug + "/" + v.model, Name: v.model, Credential: credential})
				answer, err := adapter.Start(t.Context(), completion.Call{
					AttemptID: "att_1", Model: v.model, BaseURL: v.base(upstream), Credential: credential, Secret: secret.New(v.secret),
					Request: &completion.Request{Dialect: completion.Typed, Decode: func() (*completion.Prompt, error) { return prompt, nil }},
				})
				if err == nil {
					_ = answer.Close()
				}
				refused := errors.Is(err, completion.ErrUnsupported)
				if refused {
					refusals++
				}
				if f, is := fault.Of(err); is && refused && f.Facts()["param"] != string(said) {
					t.Errorf("%s is refused with %v, and what was said to lack is %q", feature, err, said)
				}
				if said != "" && !refused && !slices.Contains(provider.Sampling, feature) {
					t.Errorf("%s is said to lack, and goes out (%v)", feature, err)
				}
			}
			if refusals == 0 {
				t.Error("nothing is refused: no provider carries everything")
			}
		})
	}
}
