import "@/strings/late/groups";
import { useQuery } from "@connectrpc/connect-query";
import { useTranslation } from "react-i18next";
import { type Group, GroupService } from "@/gen/claviger/keys/v1/group_pb";
import { RoutingService } from "@/gen/claviger/keys/v1/routing_pb";
import { useClient, useSession } from "@/session/context";
import { ConfirmDialog } from "@/shared/ConfirmDialog";
import { done } from "@/shared/errors/toast";
import { useIdempotencyKey } from "@/shared/useAction";
import { useRefresh } from "@/shared/useRefresh";
import { useAllCredentials, useAllPolicies } from "@/shared/whole";
import classes from "./GroupsPage.module.css";

type Props = { group: Group; apiKeys: string[]; onClose: () => void };

/** DeleteGroup asks before a group is deleted, and says what still uses it. */
export function DeleteGroup({ group, apiKeys, onClose }: Props) {
  const { t } = useTranslation();
  const { may } = useSession();
  const client = useClient(GroupService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const { id, name } = group;
  const policies = useAllPolicies().items ?? [];
  const credentials = useAllCredentials(may.seeCredentials).items ?? [];
  const preferences = useQuery(RoutingService.method.getRoutingPreferences, {}).data?.preferences;
  const uses = [
    ["keys", apiKeys],
    [
      "policies",
      policies
        .filter(({ spec }) => spec?.groups.some(({ when }) => when?.groupIds.includes(id)))
        .map((policy) => policy.name),
    ],
    [
      "credentials",
      credentials.filter(({ scope }) => scope?.groupIds.includes(id)).map(({ label }) => label),
    ],
    ["preferences", preferences?.memberGroupId === id ? [name] : []],
  ] as const;
  const used = uses.filter(([, names]) => names.length > 0);
  return (
    <ConfirmDialog
      opened
      onClose={onClose}
      title={t("groups.remove.title", { name })}
      confirm={t("groups.remove.confirm")}
      onConfirm={async () => {
        await once((idempotencyKey) => client.deleteGroup({ id, idempotencyKey }));
        done(t("groups.remove.done", { name }));
        await refresh(GroupService);
      }}
    >
      {t("groups.remove.body")} {used.length > 0 && t("groups.remove.stands")}
      {used.length > 0 && (
        <ul className={classes.uses}>
          {used.map(([what, names]) => (
            <li key={what}>{t(`groups.remove.${what}`, { names: names.join(", ") })}</li>
          ))}
        </ul>
      )}
    </ConfirmDialog>
  );
}
