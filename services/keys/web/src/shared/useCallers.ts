import { useMemo } from "react";
import type { Named } from "./Several";
import { useAllApiKeys, useAllGroups } from "./whole";

/** useCallers reads who may call: API keys in use, and groups of them. */
export function useCallers(): { apiKeys: Named[]; groups: Named[] } {
  const keys = useAllApiKeys().items;
  const groups = useAllGroups().items;
  return useMemo(
    () => ({
      apiKeys: (keys ?? []).filter(({ revokeTime }) => !revokeTime).map(({ id, name }) => ({ id, name })),
      groups: (groups ?? []).map(({ id, name }) => ({ id, name })),
    }),
    [keys, groups],
  );
}
