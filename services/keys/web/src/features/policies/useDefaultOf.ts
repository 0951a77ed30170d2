import "@/strings/late/policies";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { useQuery } from "@connectrpc/connect-query";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { ApiKeyService } from "@/gen/claviger/keys/v1/api_key_pb";
import { GroupService } from "@/gen/claviger/keys/v1/group_pb";
import { RoutingService } from "@/gen/claviger/keys/v1/routing_pb";

/** DefaultOf names who has a policy as their default: the organization, groups, API keys in use. */
export type DefaultOf = (policyId: string) => string[];

const rarely = { staleTime: 30_000 };

/** useDefaultOf reads them; undefined while that is not known. Members see their own keys only. */
export function useDefaultOf(): DefaultOf | undefined {
  const { t } = useTranslation();
  const keys = useQuery(ApiKeyService.method.listApiKeys, { pageSize: 500 }, rarely).data;
  const groups = useQuery(
    GroupService.method.listGroups,
    { pageSize: 500 },
    { ...rarely, retry: false },
  ).data;
  const routing = useQuery(RoutingService.method.getRoutingPreferences, {}, { ...rarely, retry: false }).data;
  return useMemo(() => {
    if (!keys) return undefined;
    const now = Date.now();
    const live = keys.apiKeys.filter(
      ({ revokeTime, expireTime }) => !revokeTime && (!expireTime || timestampMs(expireTime) > now),
    );
    const words = (name: string, enforced: boolean) =>
      enforced ? t("policies.defaultOf.enforced", { name }) : name;
    return (id) => [
      ...(routing?.preferences?.policyId === id
        ? [words(t("policies.defaultOf.organization"), routing.preferences.enforcePolicy)]
        : []),
      ...(groups?.groups ?? [])
        .filter(({ policyId }) => policyId === id)
        .map(({ name, enforcePolicy }) => words(t("policies.defaultOf.group", { name }), enforcePolicy)),
      ...live
        .filter(({ policyId }) => policyId === id)
        .map(({ name, enforcePolicy }) => words(name, enforcePolicy)),
    ];
  }, [keys, groups, routing, t]);
}
