package router

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/compat"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
)

// providerTable renders PROVIDERS.md: what vendors say of themselves, and what their adapters answer.
func providerTable() string {
	var b strings.Builder
	b.WriteString("# Providers\n\nMade from the code by a test of this package: `CLAVIGER_UPDATE_GOLDEN=1 go test -run TheTableOfProviders ./services/router`.\n" +
		"An operation can depend on the model. A dialect passes when bodies and chunks go through as they are; every\n" +
		"other one is converted.\n\n" +
		"| provider | slug | native forms | operations | dialects that pass | credential | key test |\n|---|---|---|---|---|---|---|\n")
	for _, v := range registered() {
		f, adapter := v.facts, v.adapt(&http.Transport{})
		models := f.Examples
		if len(models) == 0 {
			models = []string{"a-model"}
		}
		var operations, dialects []string
		credential := &completion.Credential{Provider: f.Slug}
		for _, op := range []completion.Operation{completion.Chat, completion.Embeddings, completion.Images, completion.CountTokens, completion.Videos} {
			if slices.ContainsFunc(models, func(m string) bool { return adapter.Serves(op, m, credential) == "" }) {
				operations = append(operations, string(op))
			}
		}
		for _, d := range []completion.Dialect{
			completion.OpenAIChat, completion.OpenAIResponses, completion.OpenAIEmbeddings, completion.OpenAIImages,
			completion.OpenAIVideos, completion.AnthropicMessages, completion.AnthropicCount,
		} {
			if slices.ContainsFunc(models, func(m string) bool {
				return adapter.Speaks(d, &completion.Target{Provider: f.Slug, Model: f.Slug + "/" + m, Name: m, Credential: credential})
			}) {
				dialects = append(dialects, "`"+string(d)+"`")
			}
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s | %s | %s |\n", f.Name, f.Slug, strings.Join(f.Forms, ", "),
			strings.Join(operations, ", "), strings.Join(dialects, ", "), f.Credential, f.KeyTest)
	}
	b.WriteString("\n## Edits of chat completions that pass\n\n" +
		"Everywhere: `model` becomes the provider's own name, `claviger` goes, and in a stream `stream_options.include_usage` becomes\n" +
		"true. Every other byte stays, but for what is here. Refused members are dropped if they say nothing (null, false, empty, a\n" +
		"count of one), and refused by name with a 400 else. `testdata/<vendor>/passing.json` of `internal/provider/compat` shows each.\n\n" +
		"OpenAI's own address is not sent `reasoning`, `reasoning_content` and `reasoning_details` of messages, `extra_content` of tool\n" +
		"calls and `cache_control`, which other vendors brought. In messages that pass to Anthropic, blocks of reasoning with a\n" +
		"state of another vendor go; the caller's `anthropic-version` and `anthropic-beta` are sent along.\n\n" +
		"| provider | in the body | in messages | besides |\n|---|---|---|---|\n")
	for _, v := range compat.Vendors() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", v.Facts.Name, edits(v.Chat.Fields), edits(v.Chat.InMessages), strings.Join(besides(&v.Chat), "; "))
	}
	return b.String()
}

// edits tells edits in the order of the members' names, those of one kind together.
func edits(all map[string]chat.Edit) string {
	kinds := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		kinds[all[name].String()] = append(kinds[all[name].String()], "`"+name+"`")
	}
	var out []string
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		out = append(out, kind+": "+strings.Join(kinds[kind], ", "))
	}
	return strings.Join(out, "; ")
}

// besides are the edits that are no members'.
func besides(v *chat.Vendor) (out []string) {
	for _, e := range []struct {
		done bool
		what string
	}{
		{v.Only != nil, "members that the vendor does not know are refused"},
		{v.NoStreamOptions, "`stream_options` goes"},
		{v.Roles != nil, "the role `developer` becomes `" + v.Roles["developer"] + "`"},
		{v.ToolID != nil, "ids of tool calls become ones that the vendor takes"},
		{v.InlineImages, "pictures by address become data"},
		{v.CleanSchemas, "`$schema` of tools goes"},
	} {
		if e.done {
			out = append(out, e.what)
		}
	}
	if v.Of == nil {
		return out
	}
	newest := v.Of("kimi-k3") // the one family that has these
	if newest.FixedSampling {
		out = append(out, "models that fix them: `temperature`, `top_p` and penalties go")
	}
	if newest.NeedsReasoning {
		out = append(out, "tool calls without thinking get a `reasoning_content`")
	}
	return out
}

func TestTheTableOfProvidersIsThatOfTheCode(t *testing.T) {
	t.Parallel()
	const path = "PROVIDERS.md"
	got := providerTable()
	if os.Getenv("CLAVIGER_UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s is not what the code says; CLAVIGER_UPDATE_GOLDEN=1 rewrites it. The code says:\n%s", path, got)
	}
}

func TestProvidersAreListedOnceAndInOrder(t *testing.T) {
	t.Parallel()
	var slugs []string
	for _, v := range registered() {
		if v.facts.Slug == "" || v.facts.Name == "" || v.facts.Credential == "" || v.facts.KeyTest == "" || len(v.facts.Forms) == 0 {
			t.Errorf("%+v does not say everything", v.facts)
		}
		slugs = append(slugs, v.facts.Slug)
	}
	if !slices.IsSorted(slugs) || len(slices.Compact(slices.Clone(slugs))) != len(slugs) {
		t.Errorf("the providers are %v", slugs)
	}
}

// TestEveryProviderHasAFormOfCredential: what routers call is what keys can be brought for.
func TestEveryProviderHasAFormOfCredential(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(keyform.Providers(), slices.Sorted(maps.Keys(providers(&http.Transport{})))); diff != "" {
		t.Errorf("credentials and routers know different providers (-credentials +routers):\n%s", diff)
	}
}
