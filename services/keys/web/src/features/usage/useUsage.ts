import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { useInfiniteQuery, useQuery } from "@connectrpc/connect-query";
import { keepPreviousData } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { Dimension, UsageService } from "@/gen/claviger/metering/v1/usage_pb";
import { conditions, filtersOf } from "@/shared/filters";
import { quarter, type Range, rangeOf } from "./range";
import type { Grouping, UsageSearch } from "./search";
import { groupsOf, splitOf } from "./sums";

/** dimensionOf is a grouping as the server calls it. */
export const dimensionOf: Record<Grouping, Dimension> = {
  model: Dimension.MODEL,
  provider: Dimension.PROVIDER,
  class: Dimension.CLASS,
  key: Dimension.API_KEY,
  credential: Dimension.CREDENTIAL,
  member: Dimension.MEMBER,
  policy: Dimension.POLICY,
  tag: Dimension.TAG,
};

const every = 10_000;

/** usePeriod is the range that the address means, moving with the clock in quarters of an hour. */
export function usePeriod(search: UsageSearch): Range {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => {
      // Only a new quarter is a new question; within one the same is asked again.
      setNow((before) => {
        const later = Date.now();
        return Math.ceil(later / quarter) === Math.ceil(before / quarter) ? before : later;
      });
    }, 5_000);
    return () => clearInterval(timer);
  }, []);
  return useMemo(() => rangeOf(search, now), [search, now]);
}

function reading(range: Range) {
  return {
    placeholderData: keepPreviousData,
    refetchInterval: range.live ? every : (false as const),
  };
}

/** useTotals reads the sums over the range by class and bucket: totals and chart are the same numbers. */
export function useTotals(search: UsageSearch, range: Range) {
  const query = useQuery(
    UsageService.method.queryUsage,
    {
      startTime: timestampFromMs(range.start),
      endTime: timestampFromMs(range.end),
      filters: conditions(filtersOf(search)),
      groupBy: [Dimension.CLASS],
      bucket: range.bucket,
      pageSize: 10_000, // three classes by 400 days at most
    },
    reading(range),
  );
  const { data } = query;
  return { query, split: useMemo(() => data && splitOf(data.rows), [data]) };
}

/** useGroups reads the table, page by page. */
export function useGroups(search: UsageSearch, range: Range) {
  const by = search.by ?? "model";
  const query = useInfiniteQuery(
    UsageService.method.queryUsage,
    {
      startTime: timestampFromMs(range.start),
      endTime: timestampFromMs(range.end),
      filters: conditions(filtersOf(search)),
      groupBy: by === "class" ? [Dimension.CLASS] : [dimensionOf[by], Dimension.CLASS],
      tagKey: by === "tag" ? (search.tag ?? "") : "",
      pageSize: 200,
      pageToken: "",
    },
    {
      ...reading(range),
      pageParamKey: "pageToken",
      getNextPageParam: (page) => page.nextPageToken || undefined,
    },
  );
  const { data } = query;
  return { query, groups: useMemo(() => data && groupsOf(data.pages.flatMap((page) => page.rows)), [data]) };
}

/** useSeries reads the chart's bars for some groups; none asks nothing. */
export function useSeries(search: UsageSearch, range: Range, groups: readonly string[]) {
  const by = search.by ?? "model";
  const values = groups.slice(0, 100);
  const own = conditions(filtersOf(search));
  const dimension = dimensionOf[by];
  const tagKey = by === "tag" ? (search.tag ?? "") : "";
  return useQuery(
    UsageService.method.queryUsage,
    {
      startTime: timestampFromMs(range.start),
      endTime: timestampFromMs(range.end),
      filters: [...own, { dimension, tagKey, values }],
      groupBy: [dimension],
      tagKey,
      bucket: range.bucket,
      pageSize: 10_000,
    },
    { ...reading(range), enabled: groups.length > 0 },
  );
}

/** useUnpriced names the models whose cost is not known in part. */
export function useUnpriced(search: UsageSearch, range: Range, wanted: boolean): string[] {
  const { data } = useQuery(
    UsageService.method.queryUsage,
    {
      startTime: timestampFromMs(range.start),
      endTime: timestampFromMs(range.end),
      filters: conditions(filtersOf(search)),
      groupBy: [Dimension.MODEL],
      pageSize: 1000,
    },
    { enabled: wanted, placeholderData: keepPreviousData, staleTime: 30_000 },
  );
  return useMemo(
    () =>
      wanted && data
        ? data.rows
            .filter((row) => (row.totals?.unknownCostAttempts ?? 0n) > 0n)
            .map((row) => row.group[0] ?? "")
        : [],
    [wanted, data],
  );
}
