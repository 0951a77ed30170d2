import "@/strings/late/credentials";
import { useQuery } from "@connectrpc/connect-query";
import { Button } from "@mantine/core";
import { IconArrowRight, IconCheck } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { providerName } from "@/features/credentials/names";
import { reasonParts, stateOf } from "@/features/credentials/state";
import { ApiKeyService } from "@/gen/claviger/keys/v1/api_key_pb";
import { type Credential, CredentialService } from "@/gen/claviger/keys/v1/credential_pb";
import { PolicyService } from "@/gen/claviger/keys/v1/policy_pb";
import { UsageService, type UsageTotals } from "@/gen/claviger/metering/v1/usage_pb";
import { useSession } from "@/session/context";
import { ProblemPanel } from "@/shared/errors/ProblemPanel";
import { compactCount, formatCost, formatCount, formatShare } from "@/shared/format";
import { Page, Panel, Section } from "@/shared/Page";
import { Status } from "@/shared/Status";
import { Loaded } from "@/shared/states";
import classes from "./OverviewPage.module.css";

/** OverviewPage shows what is set up, what is missing, and what needs attention. */
export function OverviewPage() {
  const { t } = useTranslation();
  return (
    <Page title={t("overview.title")}>
      <SetUp />
      <Attention />
      <Today />
    </Page>
  );
}

type Item = {
  id: "credential" | "policy" | "apiKey" | "request";
  to: "/o/$org/bring-a-key" | "/o/$org/policies/new" | "/o/$org/api-keys" | "/o/$org/requests";
  /** Undefined while it is not known. */
  done: boolean | undefined;
  words: string;
  may: boolean;
};

function SetUp() {
  const { t } = useTranslation();
  const { may } = useSession();
  const credentials = useQuery(
    CredentialService.method.listCredentials,
    { pageSize: 100 },
    { enabled: may.seeCredentials },
  );
  const policies = useQuery(PolicyService.method.listPolicies, { pageSize: 100 });
  const keys = useQuery(ApiKeyService.method.listApiKeys, { pageSize: 100 });
  const requests = useQuery(
    UsageService.method.listRequests,
    { pageSize: 1 },
    // The first request appears by itself.
    { refetchInterval: (query) => ((query.state.data?.attempts.length ?? 0) > 0 ? false : 3_000) },
  );
  const liveKeys = keys.data?.apiKeys.filter(({ revokeTime }) => !revokeTime).length ?? 0;

  const items: Item[] = [
    {
      id: "policy",
      to: "/o/$org/policies/new",
      done: policies.data && policies.data.policies.length > 0,
      words: t("overview.setUp.policy.done", { count: policies.data?.policies.length ?? 0 }),
      may: may.managePolicies,
    },
    {
      id: "apiKey",
      to: "/o/$org/api-keys",
      done: keys.data && liveKeys > 0,
      words: t("overview.setUp.apiKey.done", { count: liveKeys }),
      may: may.createApiKeys,
    },
    {
      id: "request",
      to: "/o/$org/requests",
      done: requests.data && requests.data.attempts.length > 0,
      words: t("overview.setUp.request.done"),
      may: true,
    },
  ];
  if (may.seeCredentials) {
    items.unshift({
      id: "credential",
      to: "/o/$org/bring-a-key",
      done: credentials.data && credentials.data.credentials.length > 0,
      words: t("overview.setUp.credential.done", { count: credentials.data?.credentials.length ?? 0 }),
      may: may.manageCredentials,
    });
  }
  const missing = items.filter(({ done }) => done === false);
  const next = missing[0]?.id;
  const done = items.filter((item) => item.done).length;
  return (
    <Section
      title={t("overview.setUp.title")}
      description={
        done === items.length
          ? t("overview.setUp.allDone")
          : t("overview.setUp.progress", { done, all: items.length })
      }
    >
      <ol className={classes.items} data-done={done === items.length || undefined}>
        {items.map((item) => (
          <SetUpItem key={item.id} item={item} next={item.id === next} />
        ))}
      </ol>
    </Section>
  );
}

function SetUpItem({ item, next }: { item: Item; next: boolean }) {
  const { t } = useTranslation();
  const { org } = useSession();
  const { id, to, done, words, may } = item;
  const waits = id === "request" && next;
  return (
    <li className={classes.item} data-done={done || undefined} data-next={next || undefined}>
      <span className={classes.mark} aria-hidden>
        {done && <IconCheck size={14} stroke={2.5} />}
      </span>
      <div className={classes.words}>
        <span className={classes.title}>
          {t(`overview.setUp.${id}.title`)}
          <span className="visually-hidden">
            {done === undefined ? "" : `: ${t(done ? "overview.setUp.done" : "overview.setUp.missing")}`}
          </span>
        </span>
        <span className={classes.quiet}>{done ? words : t(`overview.setUp.${id}.why`)}</span>
        {!done && !may && <span className={classes.quiet}>{t("overview.setUp.others")}</span>}
      </div>
      {waits && (
        <div role="status">
          <Status tone="busy">{t("overview.setUp.request.waiting")}</Status>
        </div>
      )}
      {done === false && may && (
        <Button
          component={Link}
          to={to}
          params={{ org } as never}
          size="xs"
          variant={next && !waits ? "filled" : "default"}
        >
          {t(`overview.setUp.${id}.action`)}
        </Button>
      )}
    </li>
  );
}

function Attention() {
  const { t } = useTranslation();
  const { may, org } = useSession();
  const { data } = useQuery(
    CredentialService.method.listCredentials,
    { pageSize: 100 },
    { enabled: may.seeCredentials },
  );
  const troubled = data?.credentials.filter(needsAttention) ?? [];
  if (troubled.length === 0) return null;
  return (
    <Section
      title={t("overview.attention.title")}
      actions={
        <Button
          component={Link}
          to="/o/$org/credentials"
          params={{ org } as never}
          size="xs"
          variant="default"
        >
          {t("overview.attention.open")}
        </Button>
      }
    >
      <ul className={classes.items}>
        {troubled.map((credential) => (
          <Troubled key={credential.id} credential={credential} />
        ))}
      </ul>
    </Section>
  );
}

function Troubled({ credential }: { credential: Credential }) {
  const { t } = useTranslation();
  const { key, tone } = stateOf(credential.state);
  const { what, next } = reasonParts(credential.stateReason);
  return (
    <li className={classes.trouble}>
      <Status tone={tone}>{t(`credentials.states.${key}`)}</Status>
      <div className={classes.words}>
        <span className={classes.title}>
          {credential.label} <span className={classes.quiet}>{providerName(credential.provider)}</span>
        </span>
        <span className={classes.quiet}>
          {what} {next}
        </span>
      </div>
    </li>
  );
}

function needsAttention({ state }: Credential): boolean {
  const { key, tone } = stateOf(state);
  return tone === "bad" || key === "degraded";
}

function Today() {
  const { t } = useTranslation();
  const { org } = useSession();
  const query = useQuery(UsageService.method.queryUsage, {}, { refetchInterval: 30_000 });
  return (
    <Section
      title={t("overview.today.title")}
      actions={
        <Button
          component={Link}
          to="/o/$org/usage"
          params={{ org } as never}
          size="xs"
          variant="default"
          rightSection={<IconArrowRight size={14} aria-hidden />}
        >
          {t("overview.today.open")}
        </Button>
      }
    >
      {query.error && !query.data ? (
        <ProblemPanel
          title={t("overview.today.failed")}
          error={query.error}
          onRetry={() => void query.refetch()}
          retrying={query.isFetching}
        />
      ) : (
        <Panel flush>
          <Loaded query={query} errorTitle={t("overview.today.failed")} rows={2}>
            {({ total }) => <Figures total={total} />}
          </Loaded>
        </Panel>
      )}
    </Section>
  );
}

function Figures({ total }: { total: UsageTotals | undefined }) {
  const { t } = useTranslation();
  const [requests, attempts, errors] = [total?.requests ?? 0n, total?.attempts ?? 0n, total?.errors ?? 0n];
  const [input, output] = [total?.tokens?.inputTotal ?? 0n, total?.tokens?.outputTotal ?? 0n];
  const unknown = total?.unknownCostAttempts ?? 0n;
  return (
    <dl className={classes.figures}>
      <div>
        <dt>{t("overview.today.requests")}</dt>
        <dd className={classes.figure}>{formatCount(requests)}</dd>
      </div>
      <div>
        <dt>{t("overview.today.errors")}</dt>
        <dd className={classes.figure}>{formatCount(errors)}</dd>
        {attempts > 0n && (
          <dd className={classes.quiet}>
            {t("overview.today.share", { share: formatShare(errors, attempts) })}
          </dd>
        )}
      </div>
      <div>
        <dt>{t("overview.today.tokens")}</dt>
        <dd className={classes.figure} title={formatCount(input + output)}>
          {compactCount(input + output)}
        </dd>
        {input + output > 0n && (
          <dd className={classes.quiet}>
            {t("overview.today.inOut", { input: compactCount(input), output: compactCount(output) })}
          </dd>
        )}
      </div>
      <div>
        <dt>{t("overview.today.cost")}</dt>
        <dd className={classes.figure}>{formatCost(total?.costNanoUsd ?? 0n)}</dd>
        {unknown > 0n && (
          <dd className={classes.quiet}>{t("overview.today.unknownCost", { count: Number(unknown) })}</dd>
        )}
      </div>
    </dl>
  );
}
