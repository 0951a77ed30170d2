import type { DescService } from "@bufbuild/protobuf";
import { createConnectQueryKey } from "@connectrpc/connect-query";
import { useQueryClient } from "@tanstack/react-query";
import { useCallback } from "react";

/** useRefresh returns how to read again what a service told, after something was changed there. */
export function useRefresh(): (service: DescService) => Promise<void> {
  const queries = useQueryClient();
  return useCallback(
    (service) =>
      queries.invalidateQueries({
        queryKey: createConnectQueryKey({ schema: service, cardinality: undefined }),
      }),
    [queries],
  );
}
