import "@/strings/late/credentials";
import "@/strings/late/secret";
import { useInfiniteQuery, useQuery } from "@connectrpc/connect-query";
import { Anchor, Button } from "@mantine/core";
import { IconKey, IconLock, IconPlus } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { lazy, Suspense, useCallback, useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { type Credential, CredentialService, CredentialState } from "@/gen/claviger/keys/v1/credential_pb";
import { Dimension, UsageService } from "@/gen/claviger/metering/v1/usage_pb";
import { useSession } from "@/session/context";
import { type Column, DataTable } from "@/shared/DataTable";
import { Page, Panel } from "@/shared/Page";
import { Status } from "@/shared/Status";
import { Empty, Loaded, LoadMore } from "@/shared/states";
import { Time } from "@/shared/Time";
import { useNames } from "@/shared/useNames";
import { CredentialActions } from "./CredentialActions";
import classes from "./CredentialsPage.module.css";
import type { Dialog } from "./Dialogs";
import { providerName } from "./names";
import { inOrder } from "./order";
import { reasonParts, stateOf } from "./state";

const Dialogs = lazy(() => import("./Dialogs"));

/** CredentialsPage lists the provider keys that the organization brought. */
export function CredentialsPage() {
  const { t } = useTranslation();
  const { may, org } = useSession();
  const query = useInfiniteQuery(
    CredentialService.method.listCredentials,
    { pageToken: "" },
    {
      pageParamKey: "pageToken",
      getNextPageParam: (page) => page.nextPageToken || undefined,
      enabled: may.seeCredentials,
      // States change without us: a test ends, a provider refuses a key.
      refetchInterval: 15_000,
    },
  );
  const bring = (
    <Button
      component={Link}
      to="/o/$org/bring-a-key"
      params={{ org } as never}
      leftSection={<IconPlus size={16} />}
    >
      {t("credentials.bring")}
    </Button>
  );
  return (
    <Page
      title={t("credentials.title")}
      description={
        <>
          {t("credentials.description")}{" "}
          {may.seeCredentials && !may.manageCredentials && t("credentials.ownerOnly")}
        </>
      }
      actions={may.manageCredentials && bring}
    >
      <Panel flush>
        {may.seeCredentials ? (
          <Loaded query={query} errorTitle={t("credentials.failed")}>
            {({ pages }) => {
              const all = pages.flatMap((page) => page.credentials);
              if (all.length === 0) {
                return (
                  <Empty
                    icon={IconKey}
                    title={t("credentials.empty.title")}
                    action={may.manageCredentials && bring}
                  >
                    {t(may.manageCredentials ? "credentials.empty.body" : "credentials.empty.bodyOthers")}
                  </Empty>
                );
              }
              return (
                <>
                  <List credentials={all} complete={!query.hasNextPage} />
                  <LoadMore query={query} />
                </>
              );
            }}
          </Loaded>
        ) : (
          <Empty icon={IconLock} title={t("credentials.hidden.title")}>
            {t("credentials.hidden.body")}
          </Empty>
        )}
      </Panel>
    </Page>
  );
}

function List({ credentials, complete }: { credentials: Credential[]; complete: boolean }) {
  const { t } = useTranslation();
  const { may, org } = useSession();
  const nameOf = useNames();
  const lastUse = useLastUses(credentials);
  const [dialog, setDialog] = useState<Dialog | null>(null);
  const close = useCallback(() => setDialog(null), []);
  const rows = useMemo(() => inOrder(credentials), [credentials]);

  const columns: Column<Credential>[] = [
    {
      id: "label",
      header: t("credentials.columns.label"),
      main: true,
      cell: (row) => (
        <div className={classes.name}>
          <Anchor
            component={Link}
            to="/o/$org/credentials/$credentialId"
            params={{ org, credentialId: row.id } as never}
            size="sm"
            className={classes.label}
          >
            {row.label}
          </Anchor>
          <span className={classes.quiet}>
            {providerName(row.provider)}
            {row.hint && <code> {row.hint}</code>}
            <Places credential={row} />
          </span>
        </div>
      ),
    },
    { id: "state", header: t("credentials.columns.state"), cell: (row) => <StateCell credential={row} /> },
    {
      id: "priority",
      header: t("credentials.columns.priority"),
      align: "end",
      cell: (row) => (
        <span title={t("credentials.priorityHint")}>
          {row.priority}
          {row.weight > 1 && (
            <span className={classes.quiet}> {t("credentials.weight", { weight: row.weight })}</span>
          )}
        </span>
      ),
    },
    {
      id: "lastUsed",
      header: t("credentials.columns.lastUsed"),
      cell: (row) => lastUse(row.id),
    },
    {
      id: "added",
      header: t("credentials.columns.added"),
      cell: (row) => <When time={row.createTime} by={row.createdBy && nameOf(row.createdBy)} />,
      wide: true,
    },
    {
      id: "updated",
      header: t("credentials.columns.updated"),
      cell: (row) =>
        isChanged(row) ? (
          <When time={row.updateTime} by={row.updatedBy && nameOf(row.updatedBy)} />
        ) : (
          <span className={classes.quiet}>{t("credentials.unchanged")}</span>
        ),
    },
  ];
  if (may.manageCredentials) {
    columns.push({
      id: "actions",
      header: t("credentials.columns.actions"),
      bare: true,
      align: "end",
      cell: (row) => (
        <CredentialActions credential={row} neighbours={complete ? rows : []} onDialog={setDialog} />
      ),
    });
  }
  return (
    <>
      <DataTable caption={t("credentials.title")} columns={columns} rows={rows} rowKey={(row) => row.id} />
      <Suspense fallback={null}>
        {dialog && <Dialogs dialog={dialog} onDialog={setDialog} onClose={close} />}
      </Suspense>
    </>
  );
}

// Where the key may be sent, as far as the organization said so.
function Places({ credential: { baseUrl, settings } }: { credential: Credential }) {
  const { t } = useTranslation();
  const { region, project, location, deployments } = settings ?? {};
  const text =
    baseUrl ||
    [region, project, location].filter(Boolean).join(" · ") ||
    (deployments?.length && t("secret.places", { count: deployments.length }));
  return text ? <span className={classes.url}>{text}</span> : null;
}

function StateCell({ credential }: { credential: Credential }) {
  const { t } = useTranslation();
  const { key, tone } = stateOf(credential.state);
  const { what, next } = reasonParts(credential.stateReason);
  return (
    <div className={classes.state}>
      <Status tone={tone}>{t(`credentials.states.${key}`)}</Status>
      {tone !== "good" && what && (
        <div className={classes.reason}>
          <span className={classes.words}>{what}</span> {next}
        </div>
      )}
      {credential.nextTestTime && tone !== "good" && (
        <span className={classes.quiet}>
          {t("credentials.nextTest")} <Time value={credential.nextTestTime} />
        </span>
      )}
      {credential.expireTime && credential.state !== CredentialState.EXPIRED && (
        <span className={classes.quiet}>
          {t("credentials.expires")} <Time value={credential.expireTime} />
        </span>
      )}
      {credential.next && (
        <span className={classes.quiet}>
          {t("credentials.second", { share: credential.next.sharePercent })}
        </span>
      )}
    </div>
  );
}

function When({ time, by }: { time: Credential["createTime"]; by: string }) {
  const { t } = useTranslation();
  return (
    <div className={classes.when}>
      <Time value={time} />
      {by && <span className={classes.quiet}>{t("credentials.by", { who: by })}</span>}
    </div>
  );
}

function isChanged({ createTime, updateTime }: Credential): boolean {
  return updateTime !== undefined && updateTime.seconds - (createTime?.seconds ?? 0n) > 1n;
}

// When metering cannot say, the column says so and the page works.
function useLastUses(credentials: Credential[]): (id: string) => React.ReactNode {
  const { t } = useTranslation();
  const ids = useMemo(() => credentials.map(({ id }) => id).slice(0, 500), [credentials]);
  const query = useQuery(
    UsageService.method.listLastUses,
    { dimension: Dimension.CREDENTIAL, ids },
    { enabled: ids.length > 0, retry: false, refetchInterval: 30_000 },
  );
  return (id) => {
    if (query.error) return <span className={classes.quiet}>{t("credentials.lastUsedAway")}</span>;
    if (!query.data) return <span className={classes.quiet}>…</span>;
    const use = query.data.lastUses.find((last) => last.id === id);
    return use ? <Time value={use.lastTime} /> : <span className={classes.quiet}>{t("common.never")}</span>;
  };
}
