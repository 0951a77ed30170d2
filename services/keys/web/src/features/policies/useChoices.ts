import { useMemo } from "react";
import { providerSlugs } from "@/features/credentials/names";
import { useSession } from "@/session/context";
import type { Named } from "@/shared/Several";
import { useCallers } from "@/shared/useCallers";
import { useAllCredentials, useAllPolicies } from "@/shared/whole";
import { useAllPrices } from "@/shared/wholePrices";
import { own } from "./rule";

/** Choices are what there is to choose from while a policy is written. */
export type Choices = {
  /** Models; those that can serve with such keys come first. */
  models: (use: string) => string[];
  /** Other policies, as "policy/<name>". */
  policies: string[];
  credentials: (Named & { provider: string })[];
  /** There are more credentials than these, such as while they are still being read. */
  moreCredentials: boolean;
  apiKeys: Named[];
  groups: Named[];
  /** Whether the organization has a credential of a provider; undefined is not known. */
  hasCredential: (provider: string) => boolean | undefined;
  /** Whether a model has a price; undefined is not known. */
  hasPrice: (model: string) => boolean | undefined;
};

/** useChoices gathers them. What cannot be read can still be written by hand. */
export function useChoices(policyName: string | undefined): Choices {
  const { may } = useSession();
  const { priced, complete } = usePriced();
  const { items: credentials, complete: allCredentials, more } = useAllCredentials(may.seeCredentials);
  const { items: policies } = useAllPolicies();
  const callers = useCallers();

  return useMemo(() => {
    const served = new Set(providerSlugs);
    const brought = credentials && new Set(credentials.map(({ provider }) => provider));
    const names = [...priced].filter((model) => served.has(providerIn(model))).sort();
    const ownFirst = [
      ...names.filter((model) => brought?.has(providerIn(model))),
      ...names.filter((model) => !brought?.has(providerIn(model))),
    ];
    return {
      models: (use) => (use === own ? ownFirst : names),
      policies: (policies ?? [])
        .filter(({ name }) => name !== policyName)
        .map(({ name }) => `policy/${name}`),
      credentials: (credentials ?? []).map(({ id, label, provider }) => ({
        id,
        name: label,
        provider,
      })),
      ...callers,
      moreCredentials: more,
      // Of a list that is still being read, only what is in it is known.
      hasCredential: (provider) =>
        brought?.has(provider) || allCredentials ? brought?.has(provider) : undefined,
      hasPrice: (model) => (complete ? priced.has(model) : undefined),
    };
  }, [priced, complete, credentials, allCredentials, more, policies, callers, policyName]);
}

function usePriced(): { priced: ReadonlySet<string>; complete: boolean } {
  const { items, complete } = useAllPrices();
  const priced = useMemo(() => new Set(items?.map(({ model }) => model)), [items]);
  return { priced, complete };
}

function providerIn(model: string): string {
  return model.split("/", 1)[0] ?? "";
}
