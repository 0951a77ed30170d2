import { timestampMs } from "@bufbuild/protobuf/wkt";
import { useQuery } from "@connectrpc/connect-query";
import { useMemo } from "react";
import { type ApiKey, ApiKeyService } from "@/gen/claviger/keys/v1/api_key_pb";

/** DefaultOf returns the API keys in use that have a policy as their default. */
export type DefaultOf = (policyId: string) => ApiKey[];

/** useDefaultOf reads them; undefined while that is not known. Members see their own keys only. */
export function useDefaultOf(): DefaultOf | undefined {
  const { data } = useQuery(ApiKeyService.method.listApiKeys, { pageSize: 500 }, { staleTime: 30_000 });
  return useMemo(() => {
    if (!data) return undefined;
    const now = Date.now();
    const live = data.apiKeys.filter(
      ({ revokeTime, expireTime }) => !revokeTime && (!expireTime || timestampMs(expireTime) > now),
    );
    return (id) => live.filter(({ policyId }) => policyId === id);
  }, [data]);
}
