import table from "./providers.json";

/** Provider is what a person has to know to bring a key of one. */
export type Provider = {
  slug: string;
  name: string;
  /** What models it has. */
  about: string;
  /** How its credentials are written. */
  form: "api_key" | "azure" | "aws" | "google";
  /** Whether another address than its own may be given: one of hosts, or any. */
  addresses: "fixed" | "listed" | "any";
  /** Addresses that are known by name; an empty one is its usual. */
  hosts?: { name: string; baseUrl: string }[];
  /** How its keys begin, as an example; others are not refused. */
  example?: string;
  /** Where its keys are made, and what to look at there. */
  keysUrl: string;
  hint?: string;
};

// The table is the one that keys has: a test there writes it, and fails when they differ.
const all = table as Provider[];

const first = ["openai", "anthropic"];

/** providers are those that the router can call, in the order in which they are offered. */
export const providers: readonly Provider[] = [
  ...first.flatMap((slug) => all.filter((provider) => provider.slug === slug)),
  ...all.filter(({ slug }) => !first.includes(slug)),
];

/** providerOf finds a provider; one that we do not know has a key and nothing else. */
export function providerOf(slug: string): Provider {
  return (
    all.find((provider) => provider.slug === slug) ?? {
      slug,
      name: slug,
      about: "",
      form: "api_key",
      addresses: "fixed",
      keysUrl: "",
    }
  );
}

/** matching are the providers that a person may mean by what they have typed. */
export function matching(text: string): readonly Provider[] {
  const words = text.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  return providers.filter((provider) => {
    const all = `${provider.name} ${provider.slug} ${provider.about}`.toLocaleLowerCase();
    return words.every((word) => all.includes(word));
  });
}
