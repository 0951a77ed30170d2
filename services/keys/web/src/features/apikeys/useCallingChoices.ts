import "@/strings/late/apikeys";
import { useQuery } from "@connectrpc/connect-query";
import { useTranslation } from "react-i18next";
import { GroupService } from "@/gen/claviger/keys/v1/group_pb";
import { PolicyService } from "@/gen/claviger/keys/v1/policy_pb";

type Choice = { value: string; label: string };

/** useCallingChoices are the policies and groups that an API key can have; drafts serve nobody. */
export function useCallingChoices(current = ""): {
  policies: Choice[];
  groups: Choice[];
  policyName: (id: string) => string | undefined;
} {
  const { t } = useTranslation();
  const page = { pageSize: 500 };
  const policies = useQuery(PolicyService.method.listPolicies, page).data?.policies ?? [];
  const groups = useQuery(GroupService.method.listGroups, page, { retry: false }).data?.groups ?? [];
  return {
    policies: [
      { value: "", label: t("apiKeys.form.noPolicy") },
      ...policies
        .filter(({ id, version }) => version > 0n || id === current)
        .map(({ id, name }) => ({ value: id, label: name })),
    ],
    groups: [
      { value: "", label: t("apiKeys.form.noGroup") },
      ...groups.map(({ id, name }) => ({ value: id, label: name })),
    ],
    policyName: (id) => policies.find((policy) => policy.id === id)?.name,
  };
}
