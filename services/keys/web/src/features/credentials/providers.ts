/** Provider is what a person has to know to bring a key of one. */
export type Provider = {
  slug: string;
  name: string;
  /** Where its keys are made. */
  keysUrl: string;
  /** How its keys begin, as an example; others are not refused. */
  keyExample: string;
  /** Whether it can be called at another address, as a compatible server. */
  baseUrl: boolean;
};

/** providers are those that the router can call, in the order in which they are offered. */
export const providers: readonly Provider[] = [
  {
    slug: "openai",
    name: "OpenAI",
    keysUrl: "https://platform.openai.com/api-keys",
    keyExample: "sk-…",
    baseUrl: true,
  },
  {
    slug: "anthropic",
    name: "Anthropic",
    keysUrl: "https://console.anthropic.com/settings/keys",
    keyExample: "sk-ant-…",
    baseUrl: false,
  },
];

/** providerName says a provider's name; of one that we do not know, its slug. */
export function providerName(slug: string): string {
  return providers.find((provider) => provider.slug === slug)?.name ?? slug;
}
