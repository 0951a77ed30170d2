import { Anchor } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import type { Attempt } from "@/gen/claviger/metering/v1/usage_pb";
import { useSession } from "@/session/context";
import { ClassTag } from "@/shared/ClassTag";
import { SumOfCosts } from "@/shared/Cost";
import { type Column, DataTable } from "@/shared/DataTable";
import { formatCount, utcTime } from "@/shared/format";
import { Status } from "@/shared/Status";
import { unitWords } from "@/shared/units";
import { useObjectNames } from "@/shared/useObjectNames";
import { costOf, type Request } from "./merge";
import { durationOf, outcomeOf } from "./outcome";
import classes from "./RequestTable.module.css";
import { isEstimate, unitsOf } from "./tokens";

/** RequestTable has a row for each request; the attempts of one stand together in it. */
export function RequestTable({ requests }: { requests: readonly Request[] }) {
  const { t } = useTranslation();
  const { org } = useSession();
  const { apiKey } = useObjectNames();
  const columns: Column<Request>[] = [
    {
      id: "time",
      header: t("requests.columns.time"),
      main: true,
      cell: (row) => (
        <Anchor
          component={Link}
          to="/o/$org/requests/$requestId"
          params={{ org, requestId: row.id } as never}
          className={classes.time}
          title={utcTime(row.ended)}
          size="sm"
        >
          {clock(row.ended)}
        </Anchor>
      ),
    },
    {
      id: "model",
      header: t("requests.columns.model"),
      full: true,
      cell: (row) => <Models attempts={row.attempts} />,
    },
    {
      id: "outcome",
      header: t("requests.columns.outcome"),
      cell: (row) => <Outcome attempts={row.attempts} />,
    },
    {
      id: "key",
      header: t("requests.columns.key"),
      wide: true,
      cell: (row) => {
        const id = row.attempts.at(-1)?.event?.apiKeyId ?? "";
        return apiKey(id) ?? <code>{id}</code>;
      },
    },
    { id: "tokens", header: t("requests.columns.tokens"), align: "end", cell: (row) => <Tokens of={row} /> },
    {
      id: "duration",
      header: t("requests.columns.duration"),
      align: "end",
      cell: (row) => <Duration attempts={row.attempts} />,
    },
    {
      id: "cost",
      header: t("requests.columns.cost"),
      align: "end",
      cell: (row) => <SumCost attempts={row.attempts} />,
    },
  ];
  return (
    <DataTable
      caption={t("requests.title")}
      columns={columns}
      rows={requests}
      rowKey={(row) => row.id}
      isNew={(row) => row.live}
      compact
    />
  );
}

// What was asked for, if that is another name, and each target that was tried.
function Models({ attempts }: { attempts: Attempt[] }) {
  const { t } = useTranslation();
  const asked = attempts.at(-1)?.event?.requestedModel ?? "";
  return (
    <div className={classes.models}>
      <ol className={classes.targets}>
        {attempts.map(({ event }) => {
          if (!event) return null;
          const { tone } = outcomeOf(event);
          return (
            <li key={event.attemptId} data-tone={tone}>
              {attempts.length > 1 && <span className={classes.number}>{event.attemptNumber}</span>}
              <code>{event.model}</code> <ClassTag of={event.credentialClass} />
            </li>
          );
        })}
      </ol>
      {asked && asked !== attempts.at(-1)?.event?.model && (
        <span className={classes.quiet}>{t("requests.asked", { model: asked })}</span>
      )}
    </div>
  );
}

function Outcome({ attempts }: { attempts: Attempt[] }) {
  const { t } = useTranslation();
  const last = attempts.at(-1)?.event;
  const { key, tone } = outcomeOf(last);
  return (
    <div className={classes.stack}>
      <Status tone={tone}>{t(`requests.outcomes.${key}`)}</Status>
      {last?.errorClass ? (
        <code className={classes.quiet}>{last.errorClass}</code>
      ) : (
        attempts.length > 1 && (
          <span className={classes.quiet}>{t("requests.attempts", { count: attempts.length })}</span>
        )
      )}
    </div>
  );
}

function Tokens({ of: { attempts } }: { of: Request }) {
  const { t } = useTranslation();
  const known = attempts.flatMap(({ event }) => (event?.tokens ? [event.tokens] : []));
  if (known.every(({ inputTotal, outputTotal }) => inputTotal + outputTotal === 0n)) {
    return <Units attempts={attempts} />;
  }
  const input = known.reduce((sum, tokens) => sum + tokens.inputTotal, 0n);
  const output = known.reduce((sum, tokens) => sum + tokens.outputTotal, 0n);
  return (
    <div className={classes.stack}>
      <span className={classes.line}>
        {formatCount(input)} <span className={classes.quiet}>{t("requests.in")}</span> {formatCount(output)}{" "}
        <span className={classes.quiet}>{t("requests.out")}</span>
      </span>
      {attempts.some(isEstimate) && <span className={classes.estimated}>{t("requests.estimated")}</span>}
    </div>
  );
}

// What took no tokens was billed by something else. Only the first unit: the others are on the request's page.
function Units({ attempts }: { attempts: Attempt[] }) {
  const { t } = useTranslation();
  const last = attempts.findLast(({ event }) => event && unitsOf(event).length > 0);
  const [unit] = last?.event ? unitsOf(last.event) : [];
  if (!last || !unit) return <span className={classes.quiet}>–</span>;
  return (
    <div className={classes.stack}>
      <span className={classes.line}>{unitWords(t, unit, last.event?.operation === "videos")}</span>
      {isEstimate(last) && <span className={classes.estimated}>{t("requests.estimated")}</span>}
    </div>
  );
}

function Duration({ attempts }: { attempts: Attempt[] }) {
  const { t } = useTranslation();
  const micros = attempts.reduce((sum, { event }) => sum + (event?.durationMicros ?? 0n), 0n);
  const first = attempts.at(-1)?.event?.firstContentMicros ?? 0n;
  return (
    <span
      className={classes.line}
      title={first > 0n ? t("requests.first", { time: durationOf(first) }) : undefined}
    >
      {durationOf(micros)}
    </span>
  );
}

/** SumCost is what the attempts cost together; with a part unknown it is at least that. */
export function SumCost({ attempts }: { attempts: readonly Attempt[] }) {
  return <SumOfCosts of={costOf(attempts)} />;
}

function clock(at: number): string {
  const today = new Date(at).toDateString() === new Date().toDateString();
  return new Intl.DateTimeFormat(undefined, {
    ...(today ? {} : { month: "short", day: "numeric" }),
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  }).format(at);
}
