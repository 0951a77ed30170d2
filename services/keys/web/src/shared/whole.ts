import { useInfiniteQuery } from "@connectrpc/connect-query";
import { useEffect, useMemo } from "react";
import { ApiKeyService } from "@/gen/claviger/keys/v1/api_key_pb";
import { CredentialService } from "@/gen/claviger/keys/v1/credential_pb";
import { GroupService } from "@/gen/claviger/keys/v1/group_pb";
import { PolicyService } from "@/gen/claviger/keys/v1/policy_pb";

// What there is to choose from has to be all there is, and lists come in pages: these read on by themselves,
// page after page, to the end. Pages of objects are 500; policies may come in smaller ones. An organization
// with more than most objects finds the beginning, and is told so.
const most = 20_000;
/** first asks for the first page of a list. */
export const first = { pageSize: 500, pageToken: "" };
/** paged says how to ask for the others. */
export const paged = {
  pageParamKey: "pageToken",
  getNextPageParam: (page: { nextPageToken: string }) => page.nextPageToken || undefined,
  staleTime: 60_000,
} as const;

/** Whole is a list as far as it has been read. */
export type Whole<T> = {
  /** Undefined until its first page is there. */
  items: T[] | undefined;
  /** All of it has been read. */
  complete: boolean;
  /** There is more than has been read. */
  more: boolean;
};

type Pages<Page> = {
  data: { pages: Page[] } | undefined;
  hasNextPage: boolean;
  isFetchingNextPage: boolean;
  isError: boolean;
  fetchNextPage: (options: { cancelRefetch: boolean }) => Promise<unknown>;
};

/**
 * useWhole reads a list to its end. A page that fails stops the reading, and what is there stays: the next look at
 * the list begins anew.
 */
export function useWhole<Page, T>(query: Pages<Page>, of: (page: Page) => T[]): Whole<T> {
  const { data, hasNextPage, isFetchingNextPage, isError, fetchNextPage } = query;
  // biome-ignore lint/correctness/useExhaustiveDependencies: how a page is read never changes
  const items = useMemo(() => data?.pages.flatMap(of), [data]);
  const go = hasNextPage && !isError && !isFetchingNextPage && (items?.length ?? 0) < most;
  // biome-ignore lint/correctness/useExhaustiveDependencies: a page can come before it was drawn that it was asked for
  useEffect(() => {
    if (go) void fetchNextPage({ cancelRefetch: false }); // others may read the same list
  }, [go, data, fetchNextPage]);
  return useMemo(
    () => ({ items, complete: items !== undefined && !hasNextPage, more: hasNextPage }),
    [items, hasNextPage],
  );
}

/** useAllPolicies reads every policy. */
export function useAllPolicies() {
  return useWhole(useInfiniteQuery(PolicyService.method.listPolicies, first, paged), (page) => page.policies);
}

/** useAllApiKeys reads every API key that the role may see. */
export function useAllApiKeys() {
  return useWhole(useInfiniteQuery(ApiKeyService.method.listApiKeys, first, paged), (page) => page.apiKeys);
}

/** useAllGroups reads every group. */
export function useAllGroups(enabled = true) {
  return useWhole(
    useInfiniteQuery(GroupService.method.listGroups, first, { ...paged, retry: false, enabled }),
    (page) => page.groups,
  );
}

/** useAllCredentials reads every credential, if the role may see them. */
export function useAllCredentials(enabled: boolean) {
  return useWhole(
    useInfiniteQuery(CredentialService.method.listCredentials, first, { ...paged, enabled }),
    (page) => page.credentials,
  );
}
