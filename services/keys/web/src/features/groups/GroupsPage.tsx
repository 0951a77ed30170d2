import "@/strings/late/groups";
import { useInfiniteQuery } from "@connectrpc/connect-query";
import { ActionIcon, Anchor, Button } from "@mantine/core";
import { IconPencil, IconPlus, IconTrash, IconUsersGroup } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { type Group, GroupService } from "@/gen/claviger/keys/v1/group_pb";
import { useSession } from "@/session/context";
import { type Column, DataTable } from "@/shared/DataTable";
import { Page, Panel } from "@/shared/Page";
import { Empty, Loaded, LoadMore } from "@/shared/states";
import { useObjectNames } from "@/shared/useObjectNames";
import { useAllApiKeys } from "@/shared/whole";
import { DeleteGroup } from "./DeleteGroup";
import { EditGroup } from "./EditGroup";
import classes from "./GroupsPage.module.css";

/** GroupsPage lists the groups of API keys. */
export function GroupsPage() {
  const { t } = useTranslation();
  const { may } = useSession();
  const [creating, setCreating] = useState(false);
  const query = useInfiniteQuery(
    GroupService.method.listGroups,
    { pageToken: "" },
    { pageParamKey: "pageToken", getNextPageParam: (page) => page.nextPageToken || undefined },
  );
  const create = (
    <Button leftSection={<IconPlus size={16} />} onClick={() => setCreating(true)}>
      {t("groups.create")}
    </Button>
  );
  return (
    <Page
      title={t("groups.title")}
      description={
        <>
          {t("groups.description")} {!may.manageGroups && t("groups.readOnly")}
        </>
      }
      actions={may.manageGroups && create}
    >
      <Panel flush>
        <Loaded query={query} errorTitle={t("groups.failed")}>
          {({ pages }) => {
            const groups = pages.flatMap((page) => page.groups);
            if (groups.length === 0) {
              return (
                <Empty
                  icon={IconUsersGroup}
                  title={t("groups.empty.title")}
                  action={may.manageGroups && create}
                >
                  {t(may.manageGroups ? "groups.empty.body" : "groups.empty.bodyOthers")}
                </Empty>
              );
            }
            return (
              <>
                <List groups={groups} />
                <LoadMore query={query} />
              </>
            );
          }}
        </Loaded>
      </Panel>
      {creating && <EditGroup onClose={() => setCreating(false)} />}
    </Page>
  );
}

function List({ groups }: { groups: Group[] }) {
  const { t } = useTranslation();
  const { may, org } = useSession();
  const names = useObjectNames();
  const keysIn = useKeysIn();
  const [editing, setEditing] = useState<Group | null>(null);
  const [removing, setRemoving] = useState<Group | null>(null);
  const columns: Column<Group>[] = [
    {
      id: "name",
      header: t("groups.columns.name"),
      main: true,
      cell: (row) => <span className={classes.name}>{row.name}</span>,
    },
    {
      id: "policy",
      header: t("groups.columns.policy"),
      cell: (row) =>
        row.policyId ? (
          <>
            <Anchor
              component={Link}
              to="/o/$org/policies/$policyId"
              params={{ org, policyId: row.policyId } as never}
              size="sm"
            >
              {names.policy(row.policyId) ?? row.policyId}
            </Anchor>
            {row.enforcePolicy && <div className={classes.quiet}>{t("groups.enforced")}</div>}
          </>
        ) : (
          <span className={classes.quiet}>{t("groups.noPolicy")}</span>
        ),
    },
    {
      id: "models",
      header: t("groups.columns.models"),
      cell: (row) =>
        row.approvedModels.length === 0 ? (
          <span className={classes.quiet}>{t("groups.allModels")}</span>
        ) : row.approvedModels.length <= 3 ? (
          row.approvedModels.map((model) => (
            <code key={model} className={classes.pattern}>
              {model}
            </code>
          ))
        ) : (
          <span title={row.approvedModels.join("\n")}>
            {t("groups.models", { count: row.approvedModels.length })}
          </span>
        ),
    },
    {
      id: "keys",
      header: t("groups.columns.keys"),
      align: "end",
      cell: (row) => keysIn?.(row.id).length ?? "…",
    },
  ];
  if (may.manageGroups) {
    columns.push({
      id: "actions",
      header: t("groups.columns.actions"),
      bare: true,
      align: "end",
      cell: (row) => (
        <div className={classes.actions}>
          <ActionIcon
            variant="subtle"
            color="gray"
            aria-label={t("groups.actions.edit", { name: row.name })}
            onClick={() => setEditing(row)}
          >
            <IconPencil size={16} />
          </ActionIcon>
          <ActionIcon
            variant="subtle"
            color="gray"
            aria-label={t("groups.actions.remove", { name: row.name })}
            onClick={() => setRemoving(row)}
          >
            <IconTrash size={16} />
          </ActionIcon>
        </div>
      ),
    });
  }
  return (
    <>
      <DataTable caption={t("groups.title")} columns={columns} rows={groups} rowKey={(row) => row.id} />
      {editing && <EditGroup group={editing} onClose={() => setEditing(null)} />}
      {removing && (
        <DeleteGroup
          group={removing}
          apiKeys={keysIn?.(removing.id) ?? []}
          onClose={() => setRemoving(null)}
        />
      )}
    </>
  );
}

// The API keys in use that are in a group. Members see their own keys only.
function useKeysIn(): ((id: string) => string[]) | undefined {
  const { items: data } = useAllApiKeys();
  return useMemo(() => {
    if (!data) return undefined;
    const live = data.filter(({ revokeTime }) => !revokeTime);
    return (id) => live.filter(({ groupId }) => groupId === id).map(({ name }) => name);
  }, [data]);
}
