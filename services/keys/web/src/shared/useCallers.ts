import { useQuery } from "@connectrpc/connect-query";
import { useMemo } from "react";
import { ApiKeyService } from "@/gen/claviger/keys/v1/api_key_pb";
import { GroupService } from "@/gen/claviger/keys/v1/group_pb";
import type { Named } from "./Several";

const page = { pageSize: 500 };
const rarely = { staleTime: 60_000 };

/** useCallers reads who may call: API keys in use, and groups of them. */
export function useCallers(): { apiKeys: Named[]; groups: Named[] } {
  const keys = useQuery(ApiKeyService.method.listApiKeys, page, rarely).data;
  const groups = useQuery(GroupService.method.listGroups, page, { ...rarely, retry: false }).data;
  return useMemo(
    () => ({
      apiKeys: (keys?.apiKeys ?? [])
        .filter(({ revokeTime }) => !revokeTime)
        .map(({ id, name }) => ({ id, name })),
      groups: (groups?.groups ?? []).map(({ id, name }) => ({ id, name })),
    }),
    [keys, groups],
  );
}
