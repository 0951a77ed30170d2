import { useInfiniteQuery, useQuery } from "@connectrpc/connect-query";
import { useEffect, useMemo } from "react";
import { providerSlugs } from "@/features/credentials/names";
import { CredentialService } from "@/gen/claviger/keys/v1/credential_pb";
import { PolicyService } from "@/gen/claviger/keys/v1/policy_pb";
import { PriceService } from "@/gen/claviger/metering/v1/price_pb";
import { useSession } from "@/session/context";
import type { Named } from "@/shared/Several";
import { useCallers } from "@/shared/useCallers";
import { own } from "./rule";

/** Choices are what there is to choose from while a policy is written. */
export type Choices = {
  /** Models; those that can serve with such keys come first. */
  models: (use: string) => string[];
  /** Other policies, as "policy/<name>". */
  policies: string[];
  credentials: (Named & { provider: string })[];
  apiKeys: Named[];
  groups: Named[];
  /** Whether the organization has a credential of a provider; undefined is not known. */
  hasCredential: (provider: string) => boolean | undefined;
  /** Whether a model has a price; undefined is not known. */
  hasPrice: (model: string) => boolean | undefined;
};

const page = { pageSize: 500 };
const rarely = { staleTime: 60_000 };

/** useChoices gathers them. What cannot be read can still be written by hand. */
export function useChoices(policyName: string | undefined): Choices {
  const { may } = useSession();
  const { priced, complete } = usePriced();
  const credentials = useQuery(CredentialService.method.listCredentials, page, {
    ...rarely,
    enabled: may.seeCredentials,
  }).data;
  const policies = useQuery(PolicyService.method.listPolicies, page, rarely).data;
  const callers = useCallers();

  return useMemo(() => {
    const served = new Set(providerSlugs);
    const brought = credentials && new Set(credentials.credentials.map(({ provider }) => provider));
    const names = [...priced].filter((model) => served.has(providerIn(model))).sort();
    const ownFirst = [
      ...names.filter((model) => brought?.has(providerIn(model))),
      ...names.filter((model) => !brought?.has(providerIn(model))),
    ];
    return {
      models: (use) => (use === own ? ownFirst : names),
      policies: (policies?.policies ?? [])
        .filter(({ name }) => name !== policyName)
        .map(({ name }) => `policy/${name}`),
      credentials: (credentials?.credentials ?? []).map(({ id, label, provider }) => ({
        id,
        name: label,
        provider,
      })),
      ...callers,
      hasCredential: (provider) => brought?.has(provider),
      hasPrice: (model) => (complete ? priced.has(model) : undefined),
    };
  }, [priced, complete, credentials, policies, callers, policyName]);
}

// The price book is a few pages at most, and a suggestion is wanted of all of it.
function usePriced(): { priced: ReadonlySet<string>; complete: boolean } {
  const prices = useInfiniteQuery(
    PriceService.method.listPrices,
    { pageSize: 500, pageToken: "" },
    {
      pageParamKey: "pageToken",
      getNextPageParam: (next) => next.nextPageToken || undefined,
      staleTime: 10 * 60_000,
      retry: false,
    },
  );
  const { hasNextPage, isFetchingNextPage, isError, fetchNextPage, data } = prices;
  const pages = data?.pages.length ?? 0;
  useEffect(() => {
    if (hasNextPage && !isFetchingNextPage && !isError && pages < 10) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, isError, pages, fetchNextPage]);
  const priced = useMemo(
    () => new Set(data?.pages.flatMap((each) => each.prices.map(({ model }) => model))),
    [data],
  );
  return { priced, complete: data !== undefined && !hasNextPage };
}

function providerIn(model: string): string {
  return model.split("/", 1)[0] ?? "";
}
