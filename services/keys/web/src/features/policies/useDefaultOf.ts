import "@/strings/late/policies";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { useQuery } from "@connectrpc/connect-query";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { RoutingService } from "@/gen/claviger/keys/v1/routing_pb";
import { useAllApiKeys, useAllGroups } from "@/shared/whole";

/** DefaultOf names who has a policy as their default: the organization, groups, API keys in use. */
export type DefaultOf = (policyId: string) => string[];

const rarely = { staleTime: 30_000 };

/** useDefaultOf reads them; undefined while that is not known. Members see their own keys only. */
export function useDefaultOf(): DefaultOf | undefined {
  const { t } = useTranslation();
  const keys = useAllApiKeys().items;
  const groups = useAllGroups().items;
  const routing = useQuery(RoutingService.method.getRoutingPreferences, {}, { ...rarely, retry: false }).data;
  return useMemo(() => {
    if (!keys) return undefined;
    const now = Date.now();
    const live = keys.filter(
      ({ revokeTime, expireTime }) => !revokeTime && (!expireTime || timestampMs(expireTime) > now),
    );
    const words = (name: string, enforced: boolean) =>
      enforced ? t("policies.defaultOf.enforced", { name }) : name;
    return (id) => [
      ...(routing?.preferences?.policyId === id
        ? [words(t("policies.defaultOf.organization"), routing.preferences.enforcePolicy)]
        : []),
      ...(groups ?? [])
        .filter(({ policyId }) => policyId === id)
        .map(({ name, enforcePolicy }) => words(t("policies.defaultOf.group", { name }), enforcePolicy)),
      ...live
        .filter(({ policyId }) => policyId === id)
        .map(({ name, enforcePolicy }) => words(name, enforcePolicy)),
    ];
  }, [keys, groups, routing, t]);
}
