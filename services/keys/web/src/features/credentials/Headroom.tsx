import "@/strings/late/credential";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { useInfiniteQuery } from "@connectrpc/connect-query";
import { useTranslation } from "react-i18next";
import {
  type Allowance,
  type Credential,
  CredentialService,
  type Headroom as Left,
} from "@/gen/claviger/keys/v1/credential_pb";
import { type Column, DataTable } from "@/shared/DataTable";
import { formatCount, relativeTime } from "@/shared/format";
import { Panel, Section } from "@/shared/Page";
import { Status } from "@/shared/Status";
import { Loaded, LoadMore } from "@/shared/states";
import { Time } from "@/shared/Time";
import classes from "./Headroom.module.css";

/** Headroom is what is left of the limits that the provider sets, as each router was told. */
export function Headroom({ credential }: { credential: Credential }) {
  const { t } = useTranslation();
  const query = useInfiniteQuery(
    CredentialService.method.listHeadroom,
    { credentialId: credential.id, pageToken: "" },
    {
      pageParamKey: "pageToken",
      getNextPageParam: (page) => page.nextPageToken || undefined,
      refetchInterval: 10_000,
      retry: false,
    },
  );
  const columns: Column<Left>[] = [
    {
      id: "model",
      header: t("credential.headroom.columns.model"),
      main: true,
      cell: (row) => <code>{row.model}</code>,
    },
    {
      id: "requests",
      header: t("credential.headroom.columns.requests"),
      cell: (row) => <Amount of={row.requests} />,
    },
    {
      id: "tokens",
      header: t("credential.headroom.columns.tokens"),
      cell: (row) => <Amount of={row.tokens} />,
    },
    {
      id: "cooling",
      header: t("credential.headroom.columns.cooling"),
      cell: (row) =>
        row.coolingUntil && timestampMs(row.coolingUntil) > Date.now() ? (
          <Status tone="warn">
            {t("credential.headroom.until", { time: clock(timestampMs(row.coolingUntil)) })}
          </Status>
        ) : (
          <span className={classes.quiet}>{t("credential.headroom.notCooling")}</span>
        ),
    },
    { id: "router", header: t("credential.headroom.columns.router"), cell: (row) => row.router, wide: true },
    {
      id: "time",
      header: t("credential.headroom.columns.time"),
      cell: (row) => <Time value={row.time} />,
    },
  ];
  return (
    <Section title={t("credential.headroom.title")} description={t("credential.headroom.description")}>
      <Panel flush>
        <Loaded query={query} errorTitle={t("credential.headroom.failed")} rows={2}>
          {({ pages }) => {
            const rows = pages.flatMap((page) => page.headroom);
            if (rows.length === 0) return <p className={classes.none}>{t("credential.headroom.none")}</p>;
            return (
              <>
                <DataTable
                  caption={t("credential.headroom.title")}
                  columns={columns}
                  rows={rows}
                  rowKey={(row) => `${row.router} ${row.model}`}
                />
                <LoadMore query={query} />
              </>
            );
          }}
        </Loaded>
      </Panel>
    </Section>
  );
}

function Amount({ of }: { of: Allowance | undefined }) {
  const { t } = useTranslation();
  if (!of || (of.limit === 0n && of.remaining === 0n && !of.resetTime)) {
    return <span className={classes.quiet}>{t("credential.headroom.untold")}</span>;
  }
  const share = of.limit > 0n ? Number((of.remaining * 100n) / of.limit) : undefined;
  return (
    <div className={classes.amount}>
      <span className="num">
        {of.limit > 0n
          ? t("credential.headroom.of", {
              remaining: formatCount(of.remaining),
              limit: formatCount(of.limit),
            })
          : formatCount(of.remaining)}
      </span>
      {share !== undefined && (
        <span className={classes.bar} aria-hidden data-low={share < 10 || undefined}>
          <span style={{ width: `${Math.min(100, share)}%` }} />
        </span>
      )}
      {of.resetTime && timestampMs(of.resetTime) > Date.now() && (
        <span className={classes.quiet}>
          {t("credential.headroom.reset", { when: relativeTime(timestampMs(of.resetTime), Date.now()) })}
        </span>
      )}
    </div>
  );
}

function clock(at: number): string {
  return new Intl.DateTimeFormat(undefined, { timeStyle: "medium" }).format(at);
}
