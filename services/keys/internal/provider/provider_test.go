package provider_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"slices"
	"testing"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/services/keys/internal/provider"
)

var update = flag.Bool("update", false, "rewrite the admin's table")

// TestTheAdminHasThisTable keeps the one copy of the table from drifting.
func TestTheAdminHasThisTable(t *testing.T) {
	t.Parallel()
	const path = "../../web/src/features/credentials/providers.json"
	var want bytes.Buffer
	e := json.NewEncoder(&want)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(provider.Known()); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not the table (%v): run go test ./internal/provider -update", path, err)
	}
}

func TestEveryProviderOfTheFormsIsKnown(t *testing.T) {
	t.Parallel()
	var slugs []string
	for _, p := range provider.Known() {
		slugs = append(slugs, p.Slug)
		if p.Name == "" || p.About == "" || p.KeysURL == "" || p.Form == "" || p.Addresses == "" {
			t.Errorf("%s: something is missing: %+v", p.Slug, p)
		}
		if err := provider.Check(p.Slug); err != nil {
			t.Error(err)
		}
		if p.Form != keyform.Key && p.Addresses != provider.Fixed {
			t.Errorf("%s has addresses in its secret and beside it", p.Slug)
		}
	}
	if !slices.Equal(slugs, keyform.Providers()) {
		t.Errorf("known are %v, with forms %v", slugs, keyform.Providers())
	}
	if err := provider.Check("acme"); !errors.Is(err, provider.ErrUnknown) {
		t.Errorf("Check(acme) = %v", err)
	}
}

func TestBaseURLsAreTakenWhereAProviderHasSeveral(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		slug, url string
		ok        bool
	}{
		{"openai", "https://llm.example/v1", true},
		{"openai", "https://eu.api.openai.com/v1", true},
		{"baseten", "https://model-abc123.api.baseten.co/environments/production/sync/v1", true},
		{"moonshot", "https://api.moonshot.cn/v1", true},
		{"moonshot", "https://llm.example/v1", false},
		{"anthropic", "https://llm.example", false},
		{"azure", "https://acme.openai.azure.com", false},
		{"bedrock", "https://llm.example", false},
	} {
		if err := provider.CheckBaseURL(c.slug, c.url); (err == nil) != c.ok || err != nil && !errors.Is(err, provider.ErrBaseURL) {
			t.Errorf("CheckBaseURL(%s, %s) = %v", c.slug, c.url, err)
		}
	}
}
