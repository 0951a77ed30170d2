package compat_test

import (
	"slices"
	"testing"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/compat"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
)

// TestAnotherVendorIsOneEntryAndOneFolder: what stands here is all that a further vendor takes, with its
// folder of exchanges below testdata.
func TestAnotherVendorIsOneEntryAndOneFolder(t *testing.T) {
	t.Parallel()
	acme := compat.Vendor{
		Facts: provider.Facts{
			Slug: "acme", Name: "Acme", BaseURL: "https://api.acme.example/v1", Forms: []string{"chat completions"},
			Credential: "API key", KeyTest: "lists the models",
		},
		Chat: chat.Vendor{
			MaxTokens: "max_tokens",
			Lacks:     []completion.Feature{completion.FeatureTopK, completion.FeatureAudio, completion.FeatureDocuments},
			Fields:    map[string]chat.Edit{"max_completion_tokens": chat.RenamedTo("max_tokens")},
			Errors:    []chat.Rule{{Status: 418, Words: []string{"empty_pot"}, Class: completion.QuotaExhausted}},
		},
	}
	t.Run("recorded", func(t *testing.T) { t.Parallel(); recorded(t, acme, "testdata/acme") })
	t.Run("conformance", func(t *testing.T) {
		t.Parallel()
		providertest.Run(t, adapter(acme, scripted{model: "acme-1", base: "/acme/v1", writes: true, classes: map[llmtest.Failure]completion.Class{
			llmtest.ErrSpendLimit: completion.QuotaExhausted,
		}}))
	})
}

// TestAVendorThatSpeaksAsOpenAIDoesIsOneLineOfTheTable: the table of providers, which the control plane and
// the admin go by too, holds all that the router has to know of it.
func TestAVendorThatSpeaksAsOpenAIDoesIsOneLineOfTheTable(t *testing.T) {
	t.Parallel()
	line := keyform.Provider{Slug: "acme", Name: "Acme", About: "Models", KeysURL: "https://acme.example/keys", Speaks: "https://api.acme.example/v1"}
	acme := compat.Plain(line)
	if acme.Facts.Slug != line.Slug || acme.Facts.BaseURL != line.Speaks {
		t.Errorf("facts %+v", acme.Facts)
	}
	providertest.Run(t, adapter(acme, scripted{model: "acme-1", base: "/acme/v1", writes: true}))
	for _, v := range compat.Vendors() {
		if !slices.Contains(keyform.Providers(), v.Facts.Slug) {
			t.Errorf("%s is not in the table of providers", v.Facts.Slug)
		}
	}
}
