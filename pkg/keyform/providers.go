package keyform

import (
	"slices"
)

// Addresses says which base URLs a credential may have besides none.
type Addresses string

// Which addresses.
const (
	Fixed  Addresses = "fixed"  // the provider's own alone
	Listed Addresses = "listed" // one of Provider.Hosts
	Any    Addresses = "any"    // any that egress allows
)

// Provider is what a person has to know of a provider to bring a key of it. The table of them is the one
// place where a provider is named: the control plane, the admin and the router go by it.
type Provider struct {
	// Slug is its name everywhere: in models, credentials, usage and prices.
	Slug string `json:"slug"`
	Name string `json:"name"`
	// About says what models it has.
	About string `json:"about"`
	// Form is how a credential is written.
	Form Kind `json:"form"`
	// Addresses says whether a base URL may be given, Hosts are those that are known by name.
	Addresses Addresses `json:"addresses"`
	Hosts     []Host    `json:"hosts,omitempty"`
	// Example is how its keys begin. Others are not refused: the test tells what a key is.
	Example string `json:"example,omitempty"`
	// KeysURL is where keys are made, and Hint what to look at there.
	KeysURL string `json:"keysUrl"`
	Hint    string `json:"hint,omitempty"`
	// Speaks is the address, up to its version, of a vendor that speaks OpenAI's chat completions and lists
	// models as OpenAI does. With it the entry is all that the router has to know: vendors that differ have
	// their differences in the router's own table, and nothing here.
	Speaks string `json:"-"`
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
		Slug: "azure", Name: "Azure OpenAI", About: "Your own deployments of GPT, Claude and other models", Form: AzureList,
		KeysURL: "https://ai.azure.com", Hint: "One line for each deployment: its name, the resource's address and one of its two keys.",
	},
	{
		Slug: "baseten", Name: "Baseten", About: "Open models, and your own deployments", Addresses: Any, Example: "abcd1234.…",
		KeysURL: "https://app.baseten.co/settings/api_keys",
		Hint:    "For a deployment of your own give its address up to /sync/v1 as the base URL.",
	},
	{
		Slug: "bedrock", Name: "AWS Bedrock", About: "Claude, Nova, Llama and others in your AWS account", Form: AWSObject, KeysURL: "https://console.aws.amazon.com/iam",
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
		Slug: "vertex", Name: "Google Vertex AI", About: "Gemini and Claude in your Google Cloud project", Form: GoogleFile,
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
		if list[i].Form == "" {
			list[i].Form = Key
		}
		if list[i].Addresses == "" {
			list[i].Addresses = Fixed
		}
	}
	return list
}
