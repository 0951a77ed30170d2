import { useInfiniteQuery, useQuery } from "@connectrpc/connect-query";
import { useEffect, useMemo } from "react";
import { providerSlugs } from "@/features/credentials/names";
import { CredentialClass } from "@/gen/claviger/events/v1/usage_event_pb";
import { CredentialService } from "@/gen/claviger/keys/v1/credential_pb";
import { PriceService } from "@/gen/claviger/metering/v1/price_pb";
import { useSession } from "@/session/context";

/** Models is what is known about models while a policy is written. */
export type Models = {
  /** Models to choose from; those that can serve under the class come first. */
  suggestions: (use: CredentialClass) => string[];
  /** Whether the organization has a credential of a provider; undefined is not known. */
  hasCredential: (provider: string) => boolean | undefined;
  /** Whether a model has a price; undefined is not known. */
  hasPrice: (model: string) => boolean | undefined;
};

/** useModels gathers models from the price book. Without it, any model can still be written by hand. */
export function useModels(): Models {
  const { may } = useSession();
  const prices = useInfiniteQuery(
    PriceService.method.listPrices,
    { pageSize: 500, pageToken: "" },
    {
      pageParamKey: "pageToken",
      getNextPageParam: (page) => page.nextPageToken || undefined,
      staleTime: 10 * 60_000,
      retry: false,
    },
  );
  // The price book is a few pages at most, and a suggestion is wanted of all of it.
  const { hasNextPage, isFetchingNextPage, isError, fetchNextPage } = prices;
  const pages = prices.data?.pages.length ?? 0;
  useEffect(() => {
    if (hasNextPage && !isFetchingNextPage && !isError && pages < 10) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, isError, pages, fetchNextPage]);
  const credentials = useQuery(
    CredentialService.method.listCredentials,
    { pageSize: 500 },
    { enabled: may.seeCredentials, staleTime: 60_000 },
  );

  return useMemo(() => {
    const priced = new Set(prices.data?.pages.flatMap((page) => page.prices.map(({ model }) => model)));
    const served = new Set(providerSlugs);
    const own = credentials.data && new Set(credentials.data.credentials.map(({ provider }) => provider));
    const names = [...priced].filter((model) => served.has(model.split("/", 1)[0] ?? "")).sort();
    const ownFirst = [
      ...names.filter((model) => own?.has(model.split("/", 1)[0] ?? "")),
      ...names.filter((model) => !own?.has(model.split("/", 1)[0] ?? "")),
    ];
    const known = prices.data !== undefined && !hasNextPage;
    return {
      suggestions: (use) => (use === CredentialClass.OWN ? ownFirst : names),
      hasCredential: (provider) => own?.has(provider),
      hasPrice: (model) => (known ? priced.has(model) : undefined),
    };
  }, [prices.data, hasNextPage, credentials.data]);
}
