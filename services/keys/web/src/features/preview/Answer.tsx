import "@/strings/late/preview";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { providerName } from "@/features/credentials/names";
import { durationOf } from "@/features/requests/outcome";
import { CredentialClass } from "@/gen/claviger/events/v1/usage_event_pb";
import type { PreviewRouteResponse } from "@/gen/claviger/keys/v1/route_pb";
import type { RouteCandidate, RouteExclusion } from "@/gen/claviger/router/v1/route_pb";
import { useSession } from "@/session/context";
import { ClassTag } from "@/shared/ClassTag";
import { Cost } from "@/shared/Cost";
import { type Column, DataTable } from "@/shared/DataTable";
import { formatCount } from "@/shared/format";
import { Panel, Section } from "@/shared/Page";
import { Status } from "@/shared/Status";
import classes from "./PreviewPage.module.css";

type Props = {
  answer: PreviewRouteResponse;
  /** Sizes were given, so that an absent cost is an unknown one. */
  sized: boolean;
};

/** Answer says what would be tried, in order, and what would not, and why. */
export function Answer({ answer, sized }: Props) {
  const { t } = useTranslation();
  const { route, router, moreCandidates, moreExclusions } = answer;
  const candidates = route?.candidates ?? [];
  const exclusions = route?.exclusions ?? [];
  const first = candidates[0];
  return (
    <div className={classes.answer}>
      <Section title={t("preview.answer.title")}>
        <Panel>
          <p className={classes.headline}>
            <Status tone={first ? "good" : "bad"}>
              {first ? t("preview.answer.serves", { model: first.model }) : t("preview.answer.nobody")}
            </Status>{" "}
            <span className={classes.quiet}>{t("preview.answer.silent")}</span>
          </p>
          {!first && <p className={classes.hint}>{t("preview.answer.nobodyHint")}</p>}
          <dl className={classes.facts}>
            <div>
              <dt>{t("preview.answer.policy")}</dt>
              <dd>
                {route?.policy
                  ? t("preview.answer.version", { name: route.policy, version: String(route.policyVersion) })
                  : t("preview.answer.noPolicy")}
              </dd>
            </div>
            {first && (
              <div>
                <dt>{t("preview.answer.attempts")}</dt>
                <dd>{t("preview.answer.calls", { count: route?.maxAttempts ?? 0 })}</dd>
              </div>
            )}
            <div>
              <dt>{t("preview.answer.configuration")}</dt>
              <dd className="num">{formatCount(route?.configVersion ?? 0n)}</dd>
            </div>
            <div>
              <dt>{t("preview.answer.router")}</dt>
              <dd>{router}</dd>
            </div>
          </dl>
          <p className={classes.hint}>{t("preview.answer.oneRouter")}</p>
        </Panel>
      </Section>
      {first && (
        <Section
          title={t("preview.answer.candidates")}
          description={candidates.length > 1 ? t("preview.answer.candidatesHint") : undefined}
        >
          <Panel flush>
            <Candidates rows={candidates} sized={sized} />
            <More
              text={t("preview.answer.moreCandidates", { count: moreCandidates })}
              count={moreCandidates}
            />
          </Panel>
        </Section>
      )}
      <Section title={t("preview.answer.exclusions")}>
        {exclusions.length === 0 ? (
          <p className={classes.hint}>{t("preview.answer.exclusionsNone")}</p>
        ) : (
          <Panel flush>
            <Exclusions rows={exclusions} />
            <More
              text={t("preview.answer.moreExclusions", { count: moreExclusions })}
              count={moreExclusions}
            />
          </Panel>
        )}
      </Section>
    </div>
  );
}

type Numbered<T> = { row: T; place: number };

function numbered<T>(rows: T[]): Numbered<T>[] {
  return rows.map((row, index) => ({ row, place: index + 1 }));
}

function Candidates({ rows, sized }: { rows: RouteCandidate[]; sized: boolean }) {
  const { t } = useTranslation();
  const columns: Column<Numbered<RouteCandidate>>[] = [
    {
      id: "model",
      header: t("preview.answer.columns.model"),
      main: true,
      cell: ({ row, place }) => (
        <div className={classes.model}>
          <span className={classes.place} title={t("preview.answer.columns.place")}>
            {place}
          </span>
          <Model provider={row.provider} model={row.model} />
        </div>
      ),
    },
    {
      id: "key",
      header: t("preview.answer.columns.key"),
      cell: ({ row }) => <Key of={row} revision={row.revision} />,
    },
    {
      id: "line",
      header: t("preview.answer.columns.line"),
      align: "end",
      cell: ({ row }) => <Line number={row.line} />,
    },
    {
      id: "cost",
      header: t("preview.answer.columns.cost"),
      align: "end",
      cell: ({ row }) =>
        row.estimatedCostNanoUsd === undefined && !sized ? (
          <span className={classes.quiet} title={t("preview.answer.noSizesHint")}>
            {t("preview.answer.noSizes")}
          </span>
        ) : (
          <Cost nano={row.estimatedCostNanoUsd} />
        ),
    },
    {
      id: "latency",
      header: t("preview.answer.columns.latency"),
      align: "end",
      cell: ({ row }) =>
        row.latencyMicros > 0n ? (
          <span className="num">{durationOf(row.latencyMicros)}</span>
        ) : (
          <span className={classes.quiet} title={t("preview.answer.unmeasuredHint")}>
            {t("preview.answer.unmeasured")}
          </span>
        ),
    },
    {
      id: "why",
      header: t("preview.answer.columns.why"),
      cell: ({ row }) => <span className={classes.why}>{sentence(row.reason)}</span>,
    },
  ];
  return (
    <DataTable
      caption={t("preview.answer.candidates")}
      columns={columns}
      rows={numbered(rows)}
      rowKey={({ place }) => String(place)}
    />
  );
}

function Exclusions({ rows }: { rows: RouteExclusion[] }) {
  const { t } = useTranslation();
  const columns: Column<Numbered<RouteExclusion>>[] = [
    {
      id: "model",
      header: t("preview.answer.columns.model"),
      main: true,
      cell: ({ row }) => <Model provider={row.provider} model={row.model} />,
    },
    { id: "key", header: t("preview.answer.columns.key"), cell: ({ row }) => <Key of={row} /> },
    {
      id: "line",
      header: t("preview.answer.columns.line"),
      align: "end",
      cell: ({ row }) => <Line number={row.line} />,
    },
    {
      id: "because",
      header: t("preview.answer.columns.because"),
      cell: ({ row }) => (
        <div className={classes.why}>
          {sentence(row.description)} <code className={classes.reason}>{row.reason}</code>
        </div>
      ),
    },
  ];
  return (
    <DataTable
      caption={t("preview.answer.exclusions")}
      columns={columns}
      rows={numbered(rows)}
      rowKey={({ place }) => String(place)}
    />
  );
}

function Model({ provider, model }: { provider: string; model: string }) {
  return (
    <div className={classes.names}>
      <span className="mono">{model}</span>
      {provider && <span className={classes.quiet}>{providerName(provider)}</span>}
    </div>
  );
}

type KeyProps = {
  of: { credentialClass: CredentialClass; credentialId: string; credential: string };
  revision?: number;
};

// Which credential, as far as it is told: never one of the operator's.
function Key({ of, revision }: KeyProps) {
  const { t } = useTranslation();
  const { org } = useSession();
  return (
    <div className={classes.key}>
      {of.credentialId && (
        <Link to="/o/$org/credentials/$credentialId" params={{ org, credentialId: of.credentialId }}>
          {of.credential}
        </Link>
      )}
      {of.credentialClass !== CredentialClass.UNSPECIFIED && <ClassTag of={of.credentialClass} />}
      {revision !== undefined && revision > 0 && (
        <span className={classes.quiet}>{t("preview.answer.revision", { revision })}</span>
      )}
    </div>
  );
}

function Line({ number }: { number: number }) {
  const { t } = useTranslation();
  return number > 0 ? (
    <span className="num">{number}</span>
  ) : (
    <span className={classes.quiet}>{t("preview.answer.noLine")}</span>
  );
}

function More({ text, count }: { text: string; count: number }) {
  return count > 0 ? <p className={classes.more}>{text}</p> : null;
}

// Routers tell parts of sentences.
function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
