import "@/strings/late/credential";
import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { useInfiniteQuery, useQuery } from "@connectrpc/connect-query";
import { Button, NativeSelect, Radio, Stack } from "@mantine/core";
import { useEffect, useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Credential } from "@/gen/claviger/keys/v1/credential_pb";
import {
  type Drill,
  DrillFault,
  type DrillReport,
  type DrillServed,
  DrillService,
} from "@/gen/claviger/keys/v1/drill_pb";
import { useClient, useSession } from "@/session/context";
import { Chooser } from "@/shared/Chooser";
import { type Column, DataTable } from "@/shared/DataTable";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import { done, failed } from "@/shared/errors/toast";
import { formatCount } from "@/shared/format";
import { Panel, Section } from "@/shared/Page";
import { Status } from "@/shared/Status";
import { Loaded, LoadMore } from "@/shared/states";
import { Time } from "@/shared/Time";
import { useAction, useIdempotencyKey } from "@/shared/useAction";
import { useObjectNames } from "@/shared/useObjectNames";
import { useRefresh } from "@/shared/useRefresh";
import classes from "./Drills.module.css";

const faults = [
  { value: DrillFault.RATE_LIMITED, key: "rateLimited" },
  { value: DrillFault.UNAUTHORIZED, key: "unauthorized" },
  { value: DrillFault.SLOW, key: "slow" },
] as const;

function faultKey(fault: DrillFault): (typeof faults)[number]["key"] | "unknown" {
  return faults.find(({ value }) => value === fault)?.key ?? "unknown";
}

/** Drills rehearse that a credential fails for one API key, and tell who served instead. */
export function Drills({ credential }: { credential: Credential }) {
  const { t } = useTranslation();
  const { may } = useSession();
  const now = useClock();
  const query = useInfiniteQuery(
    DrillService.method.listDrills,
    { pageSize: 100, pageToken: "" },
    {
      pageParamKey: "pageToken",
      getNextPageParam: (page) => page.nextPageToken || undefined,
      retry: false,
    },
  );
  const drills = useMemo(
    () =>
      query.data?.pages
        .flatMap((page) => page.drills)
        .filter(({ credentialId }) => credentialId === credential.id),
    [query.data, credential.id],
  );
  const running = drills?.filter((drill) => isRunning(drill, now)) ?? [];
  const over = drills?.filter((drill) => !isRunning(drill, now)) ?? [];
  return (
    <Section title={t("credential.drill.title")} description={t("credential.drill.description")}>
      {running.map((drill) => (
        <Panel key={drill.id}>
          <Running drill={drill} now={now} />
        </Panel>
      ))}
      {may.manageCredentials && running.length === 0 && (
        <Panel>
          <Start credential={credential} />
        </Panel>
      )}
      <Loaded query={query} errorTitle={t("credential.drill.listFailed")} rows={1}>
        {() =>
          over.length > 0 && (
            <Panel flush>
              <Earlier drills={over} />
              <LoadMore query={query} />
            </Panel>
          )
        }
      </Loaded>
    </Section>
  );
}

function isRunning(drill: Drill, now: number): boolean {
  return drill.endTime !== undefined && timestampMs(drill.endTime) > now;
}

// Seconds are told while a drill runs.
function useClock(): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

function Start({ credential }: { credential: Credential }) {
  const { t } = useTranslation();
  const client = useClient(DrillService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const { apiKeys, moreApiKeys } = useObjectNames();
  const [apiKeyId, setApiKeyId] = useState("");
  const [missing, setMissing] = useState(false);
  const [fault, setFault] = useState<DrillFault>(DrillFault.RATE_LIMITED);
  const [minutes, setMinutes] = useState(1);
  const action = useAction(async () => {
    await once((idempotencyKey) =>
      client.startDrill({
        credentialId: credential.id,
        apiKeyId,
        fault,
        duration: durationFromMs(minutes * 60_000),
        idempotencyKey,
      }),
    );
    done(t("credential.drill.started"));
    await refresh(DrillService);
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        setMissing(!apiKeyId);
        if (apiKeyId) void action.run();
      }}
    >
      <Stack gap="md">
        <div className={classes.choices}>
          <Chooser
            label={t("credential.drill.apiKey")}
            description={t("credential.drill.apiKeyHint")}
            value={apiKeyId}
            error={missing && t("credential.drill.apiKeyMissing")}
            onChange={(next) => {
              setMissing(false);
              setApiKeyId(next);
            }}
            more={moreApiKeys}
            options={[
              { value: "", label: t("credential.drill.choose") },
              ...apiKeys.map(({ id, name }) => ({ value: id, label: name })),
            ]}
          />
          <Radio.Group
            label={t("credential.drill.fault")}
            value={String(fault)}
            onChange={(value) => setFault(Number(value))}
          >
            <Stack gap={6} mt={6}>
              {faults.map(({ value, key }) => (
                <Radio
                  key={key}
                  size="xs"
                  value={String(value)}
                  label={t(`credential.drill.faults.${key}.name`)}
                  description={t(`credential.drill.faults.${key}.hint`)}
                />
              ))}
            </Stack>
          </Radio.Group>
          <NativeSelect
            label={t("credential.drill.duration")}
            value={String(minutes)}
            onChange={(event) => setMinutes(Number(event.currentTarget.value))}
            data={[1, 2, 3, 4, 5].map((count) => ({
              value: String(count),
              label: t("credential.drill.minutes", { count }),
            }))}
          />
        </div>
        {action.error !== null && <ProblemPanel title={t("credential.drill.failed")} error={action.error} />}
        <div>
          <Button type="submit" loading={action.busy}>
            {t("credential.drill.start")}
          </Button>
        </div>
      </Stack>
    </form>
  );
}

// Reads what routers tell every second, for as long as it runs.
function Running({ drill, now }: { drill: Drill; now: number }) {
  const { t } = useTranslation();
  const { may } = useSession();
  const client = useClient(DrillService);
  const refresh = useRefresh();
  const once = useIdempotencyKey();
  const names = useObjectNames();
  const { id } = drill;
  const live = useQuery(DrillService.method.getDrill, { id }, { refetchInterval: 1000, retry: false });
  const stop = useAction(async () => {
    try {
      await once((idempotencyKey) => client.stopDrill({ id, idempotencyKey }));
      done(t("credential.drill.stopped"));
    } catch (error) {
      failed(t("credential.drill.stopFailed"), error);
    }
    await refresh(DrillService);
  });
  const name = names.apiKey(drill.apiKeyId) ?? drill.apiKeyId;
  const left = drill.endTime ? Math.max(0, Math.ceil((timestampMs(drill.endTime) - now) / 1000)) : 0;
  return (
    <Stack gap="sm">
      <div className={classes.running}>
        <Status tone="busy">
          {t("credential.drill.running", {
            fault: t(`credential.drill.faults.${faultKey(drill.fault)}.name`),
            name,
            left,
          })}
        </Status>
        {may.manageCredentials && (
          <Button size="xs" variant="default" loading={stop.busy} onClick={() => void stop.run()}>
            {t("credential.drill.stop")}
          </Button>
        )}
      </div>
      <p className={classes.quiet}>{t("credential.drill.runningHint", { name })}</p>
      <Report report={live.data?.drill?.report ?? drill.report} />
    </Stack>
  );
}

/** Report says what came of a drill. */
function Report({ report }: { report: DrillReport | undefined }) {
  const { t } = useTranslation();
  const names = useObjectNames();
  if (!report || report.requests === 0n) {
    return (
      <p className={classes.quiet} role="status">
        {t("credential.drill.noRequests")}
      </p>
    );
  }
  const columns: Column<DrillServed>[] = [
    {
      id: "model",
      header: t("credential.drill.columns.model"),
      main: true,
      cell: (row) => <code>{row.model}</code>,
    },
    {
      id: "credential",
      header: t("credential.drill.columns.credential"),
      cell: (row) =>
        row.credentialId
          ? (names.credential(row.credentialId) ?? <code>{row.credentialId}</code>)
          : t("credential.drill.operators"),
    },
    {
      id: "policy",
      header: t("credential.drill.columns.policy"),
      cell: (row) =>
        row.policyId
          ? t("credential.drill.line", { policy: names.policy(row.policyId) ?? row.policyId, line: row.line })
          : t("credential.drill.noPolicy"),
    },
    {
      id: "requests",
      header: t("credential.drill.columns.requests"),
      align: "end",
      cell: (row) => formatCount(row.requests),
    },
  ];
  return (
    <div className={classes.report}>
      <p role="status">
        {t("credential.drill.requests", { count: Number(report.requests) })}.{" "}
        {t("credential.drill.failedCalls", { count: Number(report.failedCalls) })}.{" "}
        <Status tone={report.unserved > 0n ? "bad" : "good"}>
          {report.unserved > 0n
            ? t("credential.drill.unserved", { count: Number(report.unserved) })
            : t("credential.drill.allServed")}
        </Status>
      </p>
      {report.served.length > 0 && (
        <DataTable
          caption={t("credential.drill.served")}
          columns={columns}
          rows={report.served}
          rowKey={(row) => `${row.model} ${row.credentialId} ${row.policyId} ${row.line}`}
        />
      )}
    </div>
  );
}

function Earlier({ drills }: { drills: Drill[] }) {
  const { t } = useTranslation();
  const names = useObjectNames();
  const columns: Column<Drill>[] = [
    {
      id: "when",
      header: t("credential.drill.when"),
      main: true,
      cell: (row) => <Time value={row.startTime} />,
    },
    {
      id: "what",
      header: t("credential.drill.what"),
      cell: (row) => (
        <>
          {t(`credential.drill.faults.${faultKey(row.fault)}.name`)}
          <div className={classes.quiet}>{names.apiKey(row.apiKeyId) ?? row.apiKeyId}</div>
        </>
      ),
    },
    { id: "came", header: t("credential.drill.came"), cell: (row) => <Report report={row.report} /> },
  ];
  return (
    <DataTable
      caption={t("credential.drill.earlier")}
      columns={columns}
      rows={drills}
      rowKey={(row) => row.id}
    />
  );
}
