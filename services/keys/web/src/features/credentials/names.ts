// Apart from the table of providers, since many pages show a name and few need the rest.
const names: Record<string, string> = {
  anthropic: "Anthropic",
  azure: "Azure OpenAI",
  baseten: "Baseten",
  bedrock: "AWS Bedrock",
  deepinfra: "DeepInfra",
  fal: "Fal.AI",
  "google-ai-studio": "Google AI Studio",
  groq: "Groq",
  mistral: "Mistral",
  moonshot: "Moonshot AI",
  openai: "OpenAI",
  perplexity: "Perplexity",
  pollo: "Pollo.AI",
  vertex: "Google Vertex AI",
  xai: "xAI (Grok)",
};

/** providerSlugs are those that the router can call. */
export const providerSlugs: readonly string[] = Object.keys(names);

/** providerName says a provider's name; of one that we do not know, its slug. */
export function providerName(slug: string): string {
  return names[slug] ?? slug;
}
