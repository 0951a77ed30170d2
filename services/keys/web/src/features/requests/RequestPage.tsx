import "@/strings/late/request";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { useQuery } from "@connectrpc/connect-query";
import { Anchor, Button } from "@mantine/core";
import { IconExternalLink, IconZoomQuestion } from "@tabler/icons-react";
import { getRouteApi, Link } from "@tanstack/react-router";
import type { TFunction } from "i18next";
import { useTranslation } from "react-i18next";
import { Outcome } from "@/gen/claviger/events/v1/usage_event_pb";
import { TraceService } from "@/gen/claviger/metering/v1/trace_pb";
import { type GetRequestResponse, UsageService } from "@/gen/claviger/metering/v1/usage_pb";
import { useSession } from "@/session/context";
import { ClassTag } from "@/shared/ClassTag";
import { CopyText } from "@/shared/CopyText";
import { Cost } from "@/shared/Cost";
import { isCode } from "@/shared/errors/problem";
import { absoluteTime, utcTime } from "@/shared/format";
import { exactCost } from "@/shared/money";
import { Page, Panel, Section } from "@/shared/Page";
import { Status } from "@/shared/Status";
import { Empty, Loaded } from "@/shared/states";
import { useCallers } from "@/shared/useCallers";
import { useNames } from "@/shared/useNames";
import { useObjectNames } from "@/shared/useObjectNames";
import { AttemptCard } from "./AttemptCard";
import { durationOf, isPending, outcomeOf } from "./outcome";
import classes from "./RequestPage.module.css";
import { Fact, Used } from "./Used";
import { Waterfall } from "./Waterfall";

const route = getRouteApi("/o/$org/requests/$requestId");

// How often a job is looked at that is still under way.
const pollEvery = 5_000;

/** RequestPage shows one request with its attempts. */
export function RequestPage() {
  const { requestId } = route.useParams();
  return <RequestView id={requestId} />;
}

/** RequestView is the page of the request with an id. */
export function RequestView({ id }: { id: string }) {
  const { t } = useTranslation();
  const query = useQuery(
    UsageService.method.getRequest,
    { requestId: id },
    {
      refetchInterval: ({ state }) =>
        state.data?.attempts.some(({ event }) => isPending(event)) ? pollEvery : false,
    },
  );
  const missing = isCode(query.error, Code.NotFound, Code.InvalidArgument) && query.data === undefined;
  return (
    <Page title={t("requests.one.title")} description={<CopyText value={id} label={t("requests.one.id")} />}>
      {missing ? (
        <Panel flush>
          <Empty
            icon={IconZoomQuestion}
            title={t("requests.one.missing.title")}
            action={
              <Button variant="default" onClick={() => void query.refetch()} loading={query.isFetching}>
                {t("requests.one.missing.again")}
              </Button>
            }
          >
            {t("requests.one.missing.body")}
          </Empty>
        </Panel>
      ) : (
        <Loaded query={query} errorTitle={t("requests.one.failed")} rows={8}>
          {(answer) => (
            <>
              <Summary answer={answer} />
              <Section title={t("requests.attempt.title")}>
                <ol className={classes.attempts}>
                  {answer.attempts.map((attempt) => (
                    <AttemptCard key={attempt.event?.attemptId} attempt={attempt} />
                  ))}
                </ol>
              </Section>
              <Trace id={id} />
            </>
          )}
        </Loaded>
      )}
    </Page>
  );
}

function Summary({ answer }: { answer: GetRequestResponse }) {
  const { t } = useTranslation();
  const { org } = useSession();
  const names = useObjectNames();
  const memberOf = useNames();
  const { groups } = useCallers();
  const groupName = (id: string) => groups.find((group) => group.id === id)?.name ?? id;
  const last = answer.attempts.at(-1);
  const event = last?.event;
  if (!event) return null;
  const { key, tone } = outcomeOf(event);
  const served = event.outcome === Outcome.OK || event.firstContentMicros > 0n;
  const ended = event.endedTime ? timestampMs(event.endedTime) : 0;
  const duration = answer.attempts.reduce((sum, attempt) => sum + (attempt.event?.durationMicros ?? 0n), 0n);
  const prices = [...new Set(answer.attempts.map(({ priceId }) => priceId).filter(Boolean))];
  const tags = Object.entries(event.tags).sort(([a], [b]) => a.localeCompare(b));
  return (
    <Panel flush>
      <dl className={classes.summary}>
        <Fact name={t("requests.one.outcome")}>
          <Status tone={tone}>{t(`requests.outcomes.${key}`)}</Status>
          <div className={classes.quiet}>{t(`requests.outcomeWords.${key}`)}</div>
        </Fact>
        <Fact name={t("requests.one.cost")}>
          <span className={classes.big}>
            {answer.costKnown ? (
              exactCost(answer.costNanoUsd)
            ) : answer.costNanoUsd > 0n ? (
              `≥ ${exactCost(answer.costNanoUsd)}`
            ) : (
              <Cost nano={undefined} />
            )}
          </span>
          {!answer.costKnown && answer.costNanoUsd > 0n && (
            <div className={classes.quiet}>{t("requests.one.costPart")}</div>
          )}
          {prices.map((price) => (
            <div key={price} className={classes.quiet}>
              <CopyText value={price} label={t("requests.one.price")} prefix={t("requests.one.price")} />
            </div>
          ))}
        </Fact>
        <Fact name={t("requests.one.duration")}>
          <span className={classes.big}>{durationOf(duration)}</span>
          <div className={classes.quiet}>
            {event.firstContentMicros > 0n
              ? t("requests.first", { time: durationOf(event.firstContentMicros) })
              : t("requests.one.noContent")}
          </div>
        </Fact>
        <Used attempt={last} />
        <Fact name={t("requests.one.asked")}>
          {event.requestedModel ? <code>{event.requestedModel}</code> : t("requests.one.noModel")}
        </Fact>
        <Fact name={t("requests.one.servedBy")}>
          {served ? (
            <>
              <code>{event.model}</code> <ClassTag of={event.credentialClass} />
            </>
          ) : (
            t("requests.one.nobody")
          )}
          {names.credential(event.credentialId) && (
            <div className={classes.quiet}>{names.credential(event.credentialId)}</div>
          )}
        </Fact>
        <Fact name={t("requests.one.policy")}>
          {event.policyId ? (
            <>
              <Anchor
                component={Link}
                to="/o/$org/policies/$policyId"
                params={{ org, policyId: event.policyId } as never}
                size="sm"
              >
                {names.policy(event.policyId) ?? event.policyId}
              </Anchor>
              <div className={classes.quiet}>
                {t("requests.one.policyVersion", {
                  version: String(event.policyVersion),
                  line: event.targetIndex + 1,
                })}
              </div>
            </>
          ) : (
            t("requests.one.noPolicy")
          )}
        </Fact>
        <Fact name={t("requests.one.key")}>
          {names.apiKey(event.apiKeyId) ?? <code>{event.apiKeyId}</code>}
          {event.memberId && (
            <div className={classes.quiet}>{t("requests.one.owner", { who: memberOf(event.memberId) })}</div>
          )}
          {event.groupId && (
            <div className={classes.quiet}>
              {t("requests.one.group")}: {groupName(event.groupId)}
            </div>
          )}
        </Fact>
        <Fact name={t("requests.one.time")}>
          {absoluteTime(ended)}
          <div className={classes.quiet}>{utcTime(ended)}</div>
        </Fact>
        <Fact name={t("requests.one.operation")}>
          {operationWords(t, event.operation)}
          <div className={classes.quiet}>
            {event.streamed ? t("requests.one.streamed", { dialect: event.dialect }) : event.dialect}
          </div>
        </Fact>
        {event.session && <Fact name={t("requests.one.session")}>{event.session}</Fact>}
        {event.user && <Fact name={t("requests.one.user")}>{event.user}</Fact>}
        {tags.length > 0 && (
          <Fact name={t("requests.one.tags")}>
            {tags.map(([tag, value]) => (
              <code key={tag} className={classes.tag}>
                {tag}={value}
              </code>
            ))}
          </Fact>
        )}
        <Fact name={t("requests.one.trace")}>
          {event.traceId ? (
            <CopyText value={event.traceId} label={t("requests.one.trace")} />
          ) : (
            t("requests.one.noTrace")
          )}
        </Fact>
      </dl>
    </Panel>
  );
}

const operations = ["chat", "embeddings", "images", "count_tokens", "videos"] as const;

// Before there were others, none was named.
function operationWords(t: TFunction, operation: string): string {
  const known = operations.find((each) => each === (operation || "chat"));
  return known ? t(`requests.one.operations.${known}`) : operation;
}

function Trace({ id }: { id: string }) {
  const { t } = useTranslation();
  // The last steps of a trace are recorded after the request is counted.
  const query = useQuery(TraceService.method.getTrace, { requestId: id }, { retry: false, staleTime: 2_000 });
  if (isCode(query.error, Code.Unimplemented)) {
    return (
      <Section title={t("requests.trace.title")}>
        <Panel>
          <p className={classes.none}>{t("requests.trace.unimplemented")}</p>
        </Panel>
      </Section>
    );
  }
  const link = safeLink(query.data?.link);
  return (
    <Section
      title={t("requests.trace.title")}
      description={query.data && query.data.spans.length > 0 ? t("requests.trace.hint") : undefined}
      actions={
        link && (
          <Button
            component="a"
            href={link}
            target="_blank"
            rel="noopener noreferrer"
            size="xs"
            variant="default"
            rightSection={<IconExternalLink size={14} aria-hidden />}
          >
            {t("requests.one.traceLink")}
          </Button>
        )
      }
    >
      <Panel flush>
        <Loaded query={query} errorTitle={t("requests.trace.failed")}>
          {(trace) =>
            trace.spans.length > 0 ? (
              <Waterfall spans={trace.spans} />
            ) : (
              <p className={classes.none} data-inset>
                {t(
                  !trace.traceId
                    ? "requests.trace.none.noId"
                    : link
                      ? "requests.trace.none.elsewhere"
                      : "requests.trace.none.dev",
                )}
              </p>
            )
          }
        </Loaded>
      </Panel>
    </Section>
  );
}

// The operator's setting; still, only a web address becomes a link.
function safeLink(link: string | undefined): string | undefined {
  if (!link || !URL.canParse(link)) return undefined;
  return /^https?:$/.test(new URL(link).protocol) ? link : undefined;
}
