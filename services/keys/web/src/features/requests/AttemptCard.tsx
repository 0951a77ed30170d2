import "@/strings/late/request";
import type { TFunction } from "i18next";
import { useTranslation } from "react-i18next";
import type { UsageEvent } from "@/gen/claviger/events/v1/usage_event_pb";
import { CredentialClass } from "@/gen/claviger/events/v1/usage_event_pb";
import { type Attempt, CostSource } from "@/gen/claviger/metering/v1/usage_pb";
import { ClassTag } from "@/shared/ClassTag";
import { CopyText } from "@/shared/CopyText";
import { Cost } from "@/shared/Cost";
import { exactCost } from "@/shared/money";
import { Status } from "@/shared/Status";
import { useObjectNames } from "@/shared/useObjectNames";
import { durationOf, errorClassOf, isPending, outcomeOf } from "./outcome";
import classes from "./RequestPage.module.css";
import { isEstimate } from "./tokens";
import { Fact, Used } from "./Used";

/** AttemptCard tells of one call to a provider: what was tried, how it ended, and what that means. */
export function AttemptCard({ attempt }: { attempt: Attempt }) {
  const { t } = useTranslation();
  const { credential, policy } = useObjectNames();
  const event = attempt.event;
  if (!event) return null;
  const { key, tone } = outcomeOf(event);
  return (
    <li className={classes.attempt}>
      <div className={classes.attemptHead}>
        <span className={classes.number}>{event.attemptNumber}</span>
        <code className={classes.model}>{event.model}</code>
        <ClassTag of={event.credentialClass} />
        <Status tone={tone}>{t(`requests.outcomes.${key}`)}</Status>
        {isEstimate(attempt) && <span className={classes.estimated}>{t("requests.estimated")}</span>}
      </div>
      {event.errorClass && <ErrorWords event={event} />}
      <dl className={classes.attemptFacts}>
        <Fact name={t("requests.one.duration")}>
          {durationOf(event.durationMicros)}
          {event.firstContentMicros > 0n && (
            <div className={classes.quiet}>
              {t("requests.first", { time: durationOf(event.firstContentMicros) })}
            </div>
          )}
        </Fact>
        <Fact name={t("requests.one.cost")}>
          {attempt.costNanoUsd === undefined ? (
            <Cost nano={undefined} />
          ) : (
            <span className="num">{exactCost(attempt.costNanoUsd)}</span>
          )}
          <CostWords attempt={attempt} />
        </Fact>
        <Used attempt={attempt} withSource />
        <Fact name={t("requests.one.credential")}>
          <CredentialName event={event} name={credential(event.credentialId)} />
          {event.credentialRevision > 0 && (
            <div className={classes.quiet}>
              {t("requests.attempt.secret", { revision: event.credentialRevision })}
            </div>
          )}
        </Fact>
        {event.policyId && (
          <Fact name={t("requests.one.policy")}>
            {policy(event.policyId) ?? event.policyId}
            <div className={classes.quiet}>
              {t("requests.one.policyVersion", {
                version: String(event.policyVersion),
                line: event.targetIndex + 1,
              })}
            </div>
          </Fact>
        )}
        {(attempt.priceId || event.priceVersion) && (
          <Fact name={t("requests.one.price")}>
            <CopyText value={attempt.priceId || event.priceVersion} label={t("requests.one.price")} />
          </Fact>
        )}
        {event.finishReason && (
          <Fact name={t("requests.attempt.finish")}>{finishWords(t, event.finishReason)}</Fact>
        )}
        {event.responseModel && `${event.provider}/${event.responseModel}` !== event.model && (
          <Fact name={t("requests.attempt.responseModel")}>
            <code>{event.responseModel}</code>
          </Fact>
        )}
        {event.providerRequestId && (
          <Fact name={t("requests.attempt.providerId")}>
            <CopyText value={event.providerRequestId} label={t("requests.attempt.providerId")} />
          </Fact>
        )}
        <Fact name={t("requests.attempt.id")}>
          <CopyText value={event.attemptId} label={t("requests.attempt.id")} />
        </Fact>
        {event.revision > 0 && (
          <Fact name={t("requests.attempt.revision")}>
            {event.revision}
            <div className={classes.quiet}>{t("requests.attempt.later")}</div>
          </Fact>
        )}
      </dl>
      {attempt.flags.includes("clock_skew") && (
        <p className={classes.skew}>{t("requests.attempt.clockSkew")}</p>
      )}
    </li>
  );
}

const costSources = {
  [CostSource.UNSPECIFIED]: undefined,
  [CostSource.PRICE]: "price",
  [CostSource.PROVIDER]: "provider",
  [CostSource.NONE]: "none",
} as const;

// Where the cost comes from, and what the provider says where another one holds.
function CostWords({ attempt: { event, costSource } }: { attempt: Attempt }) {
  const { t } = useTranslation();
  const source = costSources[costSource];
  const says = costSource === CostSource.PROVIDER ? undefined : event?.reportedCostNanoUsd;
  return (
    <>
      {source && <div className={classes.quiet}>{t(`requests.attempt.costSources.${source}`)}</div>}
      {isPending(event) && <div className={classes.quiet}>{t("requests.one.tokensPending")}</div>}
      {says !== undefined && (
        <div className={classes.quiet}>{t("requests.attempt.providerSays", { cost: exactCost(says) })}</div>
      )}
    </>
  );
}

function ErrorWords({ event }: { event: UsageEvent }) {
  const { t } = useTranslation();
  const name = errorClassOf(event.errorClass);
  return (
    <div className={classes.error}>
      <p>
        {t(`requests.errorClasses.${name}.what`)}{" "}
        <code>
          {event.errorClass}
          {event.httpStatus > 0 && `, ${t("requests.attempt.status", { status: event.httpStatus })}`}
        </code>
      </p>
      <p className={classes.quiet}>{t(`requests.errorClasses.${name}.next`, { name: event.errorClass })}</p>
    </div>
  );
}

// What the operator calls its credentials is not for its customers.
function CredentialName({ event, name }: { event: UsageEvent; name: string | undefined }) {
  const { t } = useTranslation();
  if (name) return name;
  if (event.credentialClass === CredentialClass.PLATFORM) return t("requests.attempt.operators");
  if (!event.credentialId) return "–";
  return <CopyText value={event.credentialId} label={t("requests.one.credential")} />;
}

const reasons = ["stop", "length", "tool_calls", "content_filter"] as const;

function finishWords(t: TFunction, reason: string): string {
  const known = reasons.find((each) => each === reason);
  return known ? t(`requests.attempt.finishReasons.${known}`) : reason;
}
