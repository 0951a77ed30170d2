// Package provider lists the providers whose credentials and models can be configured: what a person
// has to know to bring a key of one. How they are called is the router's business, how a credential is
// written package keyform's.
package provider

import (
	"slices"
	"strings"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/keyform"
)

// The errors of this package.
var (
	// ErrUnknown means that there is no such provider.
	ErrUnknown = fault.New(fault.Invalid, "PROVIDER_UNKNOWN", "unknown provider")
	// ErrBaseURL means that a credential of the provider cannot have that address.
	ErrBaseURL = fault.New(fault.Invalid, "BASE_URL_NOT_ALLOWED", "this provider has a fixed address").Hinting("leave base_url empty")
)

// Addresses says which base URLs a credential may have besides none.
type Addresses string

// Which addresses.
const (
	Fixed  Addresses = "fixed"  // the provider's own alone
	Listed Addresses = "listed" // one of Provider.Hosts
	Any    Addresses = "any"    // any that egress allows
)

// Provider is what a person has to know of one. It is also the admin's table: its JSON stands in
// web/src/features/credentials/providers.json.
type Provider struct {
	Slug string `json:"slug"`
	Name string `json:"name"`
	// About says what models it has.
	About string `json:"about"`
	// Form is how a credential is written.
	Form keyform.Kind `json:"form"`
	// Addresses says whether a base URL may be given, Hosts are those that are known by name.
	Addresses Addresses `json:"addresses"`
	Hosts     []Host    `json:"hosts,omitempty"`
	// Example is how its keys begin. Others are not refused: the test tells what a key is.
	Example string `json:"example,omitempty"`
	// KeysURL is where keys are made, and Hint what to look at there.
	KeysURL string `json:"keysUrl"`
	Hint    string `json:"hint,omitempty"`
}

// Host is an address that a provider has.
type Host struct {
	Name string `json:"name"`
	// BaseURL is empty for its usual one.
	BaseURL string `json:"baseUrl"`
}

// Known are all providers, in the order of their slugs.
func Known() []Provider { return slices.Clone(known) }

var known = complete([]Provider{
	{
		Slug: "anthropic", Name: "Anthropic", About: "Claude models", Example: "sk-ant-…",
		KeysURL: "https://console.anthropic.com/settings/keys",
	},
	{
		Slug: "azure", Name: "Azure OpenAI", About: "Your own deployments of GPT, Claude and other models",
		KeysURL: "https://ai.azure.com", Hint: "One line for each deployment: its name, the resource's address and one of its two keys.",
	},
	{
		Slug: "baseten", Name: "Baseten", About: "Open models, and your own deployments", Addresses: Any, Example: "abcd1234.…",
		KeysURL: "https://app.baseten.co/settings/api_keys",
		Hint:    "For a deployment of your own give its address up to /sync/v1 as the base URL.",
	},
	{
		Slug: "bedrock", Name: "AWS Bedrock", About: "Claude, Nova, Llama and others in your AWS account", KeysURL: "https://console.aws.amazon.com/iam",
		Hint: "Access keys of an IAM user that may invoke Bedrock models, or a Bedrock API key.",
	},
	{
		Slug: "deepinfra", Name: "DeepInfra", About: "Open models", KeysURL: "https://deepinfra.com/dash/api_keys",
	},
	{
		Slug: "fal", Name: "Fal.AI", About: "Images, video and audio", Example: "key id:key secret", KeysURL: "https://fal.ai/dashboard/keys",
		Hint: "The key has two parts with a colon between them. Paste both.",
	},
	{
		Slug: "google-ai-studio", Name: "Google AI Studio", About: "Gemini models", Example: "AQ.…", KeysURL: "https://aistudio.google.com/apikey",
		Hint: "Google refuses most of the older keys, which begin with AIza: make a new one.",
	},
	{
		Slug: "groq", Name: "Groq", About: "Open models, fast", Example: "gsk_…", KeysURL: "https://console.groq.com/keys",
	},
	{
		Slug: "mistral", Name: "Mistral", About: "Mistral models", KeysURL: "https://console.mistral.ai/api-keys",
	},
	{
		Slug: "moonshot", Name: "Moonshot AI", About: "Kimi models", Addresses: Listed, Example: "sk-…", KeysURL: "https://platform.kimi.ai",
		Hosts: []Host{{"International (platform.kimi.ai)", ""}, {"China (platform.kimi.com)", "https://api.moonshot.cn/v1"}},
		Hint:  "The two platforms have separate accounts: a key of one is refused by the other.",
	},
	{
		Slug: "openai", Name: "OpenAI", About: "GPT models, and any server that speaks the same API", Addresses: Any, Example: "sk-…",
		Hosts: []Host{
			{"OpenAI", ""},
			{"United States", "https://us.api.openai.com/v1"},
			{"Europe", "https://eu.api.openai.com/v1"},
			{"Emirates", "https://ae.api.openai.com/v1"},
			{"Australia", "https://au.api.openai.com/v1"},
			{"India", "https://in.api.openai.com/v1"},
			{"Japan", "https://jp.api.openai.com/v1"},
		},
		KeysURL: "https://platform.openai.com/api-keys",
	},
	{
		Slug: "perplexity", Name: "Perplexity", About: "Sonar models, which search the web", Example: "pplx-…",
		KeysURL: "https://www.perplexity.ai/account/api/keys",
	},
	{
		Slug: "pollo", Name: "Pollo.AI", About: "Video and images", KeysURL: "https://api.pollo.ai/api-keys",
	},
	{
		Slug: "vertex", Name: "Google Vertex AI", About: "Gemini and Claude in your Google Cloud project",
		KeysURL: "https://console.cloud.google.com/iam-admin/serviceaccounts",
		Hint:    "The JSON file of a service account with the role Vertex AI User.",
	},
	{
		Slug: "xai", Name: "xAI (Grok)", About: "Grok models", Example: "xai-…", KeysURL: "https://console.x.ai",
	},
})

// complete fills in what follows from the slug, or is the same for most.
func complete(list []Provider) []Provider {
	for i := range list {
		list[i].Form = keyform.KindOf(list[i].Slug)
		if list[i].Addresses == "" {
			list[i].Addresses = Fixed
		}
	}
	return list
}

// find returns a provider.
func find(slug string) (Provider, bool) {
	i := slices.IndexFunc(known, func(p Provider) bool { return p.Slug == slug })
	if i < 0 {
		return Provider{}, false
	}
	return known[i], true
}

// Check reports whether slug is a known provider.
func Check(slug string) error {
	if _, ok := find(slug); !ok {
		return ErrUnknown.Saying("unknown provider %q: known are %s", slug, Names())
	}
	return nil
}

// TakesBaseURL reports whether a credential of the provider may have an address of its own.
func TakesBaseURL(slug string) bool {
	p, ok := find(slug)
	return ok && p.Addresses != Fixed
}

// CheckBaseURL reports whether a credential of the provider may have that address, which is in normal
// form. Whether anything may be sent there at all is egress's to say.
func CheckBaseURL(slug, baseURL string) error {
	p, _ := find(slug)
	var named []string
	for _, h := range p.Hosts {
		if h.BaseURL == baseURL {
			return nil
		}
		if h.BaseURL != "" {
			named = append(named, h.BaseURL)
		}
	}
	switch p.Addresses {
	case Any:
		return nil
	case Listed:
		return ErrBaseURL.Saying("provider %s has addresses of its own: leave base_url empty, or give %s", slug, strings.Join(named, " or ")).
			Hinting("choose one of them")
	case Fixed:
	}
	if p.Form != keyform.Key {
		return ErrBaseURL.Saying("provider %s has its addresses in the secret", slug)
	}
	return ErrBaseURL.Saying("provider %s has a fixed address", slug)
}

// Names lists the known providers for people.
func Names() string {
	names := make([]string, len(known))
	for i, p := range known {
		names[i] = p.Slug
	}
	return strings.Join(names, ", ")
}
