import { useQuery } from "@connectrpc/connect-query";
import { useMemo } from "react";
import { PriceService } from "@/gen/claviger/metering/v1/price_pb";

/** useModelNames are models to choose from: those with a price. Any other can be written by hand. */
export function useModelNames(): string[] {
  const { data } = useQuery(
    PriceService.method.listPrices,
    { pageSize: 500 },
    { staleTime: 10 * 60_000, retry: false },
  );
  return useMemo(() => [...new Set(data?.prices.map(({ model }) => model))].sort(), [data]);
}
