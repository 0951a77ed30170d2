import "@/strings/late/apikeys";
import { useInfiniteQuery, useQuery } from "@connectrpc/connect-query";
import { Anchor, Button, Switch } from "@mantine/core";
import { IconKey, IconPlus } from "@tabler/icons-react";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { type ApiKey, ApiKeyService } from "@/gen/claviger/keys/v1/api_key_pb";
import { Dimension, UsageService } from "@/gen/claviger/metering/v1/usage_pb";
import { useSession } from "@/session/context";
import { type Column, DataTable } from "@/shared/DataTable";
import { Page, Panel } from "@/shared/Page";
import { Status } from "@/shared/Status";
import { Empty, Loaded, LoadMore } from "@/shared/states";
import { Time } from "@/shared/Time";
import { useNames } from "@/shared/useNames";
import { useAllGroups, useAllPolicies } from "@/shared/whole";
import { ApiKeyActions } from "./ApiKeyActions";
import classes from "./ApiKeysPage.module.css";
import { CreateApiKey } from "./CreateApiKey";
import type { ApiKeysSearch } from "./search";
import { provenanceKey, stateOf } from "./state";

const route = getRouteApi("/o/$org/api-keys");
const tones = {
  active: "good",
  soon: "warn",
  suspended: "warn",
  expired: "quiet",
  revoked: "quiet",
} as const;

/** ApiKeysPage lists the API keys. */
export function ApiKeysPage() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  return (
    <ApiKeysView
      search={search}
      onSearch={(part) =>
        void navigate({ search: (before) => ({ ...before, ...part }), replace: true, resetScroll: false })
      }
    />
  );
}

type Props = { search: ApiKeysSearch; onSearch: (part: Partial<ApiKeysSearch>) => void };

/** ApiKeysView is the page, with what its address says. */
export function ApiKeysView({ search, onSearch }: Props) {
  const { t } = useTranslation();
  const { may } = useSession();
  const query = useInfiniteQuery(
    ApiKeyService.method.listApiKeys,
    { pageToken: "" },
    { pageParamKey: "pageToken", getNextPageParam: (page) => page.nextPageToken || undefined },
  );
  const create = (
    <Button leftSection={<IconPlus size={16} />} onClick={() => onSearch({ create: true })}>
      {t("apiKeys.create")}
    </Button>
  );
  return (
    <Page
      title={t("apiKeys.title")}
      description={
        <>
          {t("apiKeys.description")} {!may.manageApiKeys && may.createApiKeys && t("apiKeys.own")}
        </>
      }
      actions={may.createApiKeys && create}
    >
      <Panel flush>
        <Loaded query={query} errorTitle={t("apiKeys.failed")}>
          {({ pages }) => {
            const keys = pages.flatMap((page) => page.apiKeys);
            if (keys.length === 0) {
              return (
                <Empty icon={IconKey} title={t("apiKeys.empty.title")} action={may.createApiKeys && create}>
                  {t(may.createApiKeys ? "apiKeys.empty.body" : "apiKeys.empty.bodyViewer")}
                </Empty>
              );
            }
            return (
              <>
                <List keys={keys} search={search} onSearch={onSearch} />
                <LoadMore query={query} />
              </>
            );
          }}
        </Loaded>
      </Panel>
      {search.create && may.createApiKeys && <CreateApiKey onClose={() => onSearch({ create: undefined })} />}
    </Page>
  );
}

function List({ keys, search, onSearch }: Props & { keys: ApiKey[] }) {
  const { t } = useTranslation();
  const { may, member, org } = useSession();
  const nameOf = useNames();
  const policyOf = usePolicyNames();
  const groupOf = useGroupNames(keys.some(({ groupId }) => groupId));
  const lastUse = useLastUses(keys);
  const [now] = useState(Date.now);
  const ended = keys.filter((key) => ["expired", "revoked"].includes(stateOf(key, now)));
  const rows = search.ended ? keys : keys.filter((key) => !ended.includes(key));
  const others = may.manageApiKeys || may.seeMembers;

  const columns: Column<ApiKey>[] = [
    {
      id: "name",
      header: t("apiKeys.columns.name"),
      main: true,
      cell: (row) => (
        <div className={classes.stack}>
          <span className={classes.name}>{row.name}</span>
          <code className={classes.quiet}>{row.display}…</code>
        </div>
      ),
    },
    {
      id: "state",
      header: t("apiKeys.columns.state"),
      cell: (row) => {
        const state = stateOf(row, now);
        return (
          <div className={classes.state}>
            <Status tone={tones[state]}>{t(`apiKeys.states.${state}`)}</Status>
            {state === "suspended" && <div className={classes.quiet}>{t("apiKeys.suspendedWhy")}</div>}
          </div>
        );
      },
    },
    {
      id: "policy",
      header: t("apiKeys.columns.policy"),
      cell: (row) => {
        if (!row.policyId) return <span className={classes.quiet}>{t("apiKeys.noPolicy")}</span>;
        const name = policyOf(row.policyId);
        if (name === undefined) return <span className={classes.quiet}>…</span>;
        if (name === "") return <span className={classes.quiet}>{t("apiKeys.policyGone")}</span>;
        return (
          <>
            <Anchor
              component={Link}
              to="/o/$org/policies/$policyId"
              params={{ org, policyId: row.policyId } as never}
              size="sm"
            >
              {name}
            </Anchor>
            {row.enforcePolicy && <div className={classes.quiet}>{t("apiKeys.enforced")}</div>}
          </>
        );
      },
    },
    ...(keys.some(({ groupId }) => groupId)
      ? [
          {
            id: "group",
            header: t("apiKeys.columns.group"),
            cell: (row: ApiKey) =>
              row.groupId ? (
                <div className={classes.group}>{groupOf(row.groupId)}</div>
              ) : (
                <span className={classes.quiet}>{t("apiKeys.noGroup")}</span>
              ),
          },
        ]
      : []),
    {
      id: "provenance",
      header: t("apiKeys.columns.provenance"),
      wide: true,
      cell: (row) => {
        const level = provenanceKey(row.provenance);
        return (
          <span title={t(`apiKeys.provenance.${level}.hint`)}>{t(`apiKeys.provenance.${level}.name`)}</span>
        );
      },
    },
    ...(others
      ? [
          {
            id: "owner",
            header: t("apiKeys.columns.owner"),
            cell: (row: ApiKey) => nameOf(row.memberId),
          },
        ]
      : []),
    {
      id: "created",
      header: t("apiKeys.columns.created"),
      wide: true,
      cell: (row) => <Time value={row.createTime} />,
    },
    {
      id: "expires",
      header: t("apiKeys.columns.expires"),
      cell: (row) =>
        row.expireTime ? (
          <Time value={row.expireTime} />
        ) : (
          <span className={classes.quiet}>{t("common.never")}</span>
        ),
    },
    { id: "lastUsed", header: t("apiKeys.columns.lastUsed"), cell: (row) => lastUse.cell(row.id) },
    {
      id: "actions",
      header: t("apiKeys.columns.actions"),
      bare: true,
      align: "end",
      cell: (row) => (
        <ApiKeyActions
          apiKey={row}
          policy={row.policyId ? policyOf(row.policyId) : undefined}
          lastTime={lastUse.of(row.id)}
          mayChange={
            !row.revokeTime && (may.manageApiKeys || (may.createApiKeys && row.memberId === member.id))
          }
        />
      ),
    },
  ];
  return (
    <>
      {ended.length > 0 && (
        <div className={classes.bar}>
          <Switch
            size="xs"
            label={t("apiKeys.ended")}
            checked={search.ended ?? false}
            onChange={(event) => onSearch({ ended: event.currentTarget.checked || undefined })}
          />
        </div>
      )}
      {rows.length === 0 ? (
        <p className={classes.none}>{t("apiKeys.allEnded")}</p>
      ) : (
        <DataTable caption={t("apiKeys.title")} columns={columns} rows={rows} rowKey={(row) => row.id} />
      )}
    </>
  );
}

// The empty name is a policy that is gone.
function usePolicyNames(): (id: string) => string | undefined {
  const { items, complete } = useAllPolicies();
  const names = useMemo(() => new Map(items?.map(({ id, name }) => [id, name])), [items]);
  return (id) => names.get(id) ?? (complete ? "" : undefined);
}

function useGroupNames(enabled: boolean): (id: string) => string {
  const { items } = useAllGroups(enabled);
  const names = useMemo(() => new Map(items?.map(({ id, name }) => [id, name])), [items]);
  return (id) => names.get(id) ?? id;
}

// When metering cannot say, the column says so and the page works.
function useLastUses(keys: ApiKey[]) {
  const { t } = useTranslation();
  const ids = useMemo(() => keys.map(({ id }) => id).slice(0, 500), [keys]);
  const query = useQuery(
    UsageService.method.listLastUses,
    { dimension: Dimension.API_KEY, ids },
    { enabled: ids.length > 0, retry: false, refetchInterval: 30_000 },
  );
  const of = (id: string) => query.data?.lastUses.find((use) => use.id === id)?.lastTime;
  return {
    of,
    cell: (id: string): React.ReactNode => {
      if (query.error) return <span className={classes.quiet}>{t("apiKeys.lastUsedAway")}</span>;
      if (!query.data) return <span className={classes.quiet}>…</span>;
      const last = of(id);
      return last ? <Time value={last} /> : <span className={classes.quiet}>{t("common.never")}</span>;
    },
  };
}
