import { useInfiniteQuery } from "@connectrpc/connect-query";
import { PriceService } from "@/gen/claviger/metering/v1/price_pb";
import { first, paged, useWhole } from "./whole";

/** useAllPrices reads the whole price book. */
export function useAllPrices() {
  return useWhole(
    useInfiniteQuery(PriceService.method.listPrices, first, {
      ...paged,
      staleTime: 10 * 60_000,
      retry: false,
    }),
    (page) => page.prices,
  );
}
