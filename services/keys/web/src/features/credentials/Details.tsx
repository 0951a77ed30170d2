import "@/strings/late/credentials";
import "@/strings/late/credential";
import "@/strings/late/secret";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { useTranslation } from "react-i18next";
import type { Credential } from "@/gen/claviger/keys/v1/credential_pb";
import { relativeTime } from "@/shared/format";
import type { Named } from "@/shared/Several";
import { Status } from "@/shared/Status";
import { Time } from "@/shared/Time";
import type { useCallers } from "@/shared/useCallers";
import classes from "./Details.module.css";
import { providerOf } from "./providers";
import { reasonParts, stateOf } from "./state";

type Props = { credential: Credential; callers: ReturnType<typeof useCallers> };

/** Details are what may be known of a credential: all but its secrets, which are masked one by one. */
export function Details({ credential, callers }: Props) {
  const { t } = useTranslation();
  const { key, tone } = stateOf(credential.state);
  const { what, next } = reasonParts(credential.stateReason);
  const settings = credential.settings;
  const facts: [string, React.ReactNode][] = [
    [t("secret.details.provider"), providerOf(credential.provider).name],
    [t("secret.details.address"), credential.baseUrl],
    [t("secret.details.region"), settings?.region],
    [t("secret.details.project"), settings?.project],
    [t("secret.details.location"), settings?.location],
    [t("secret.details.account"), settings?.clientEmail],
    [t("secret.details.key"), !settings?.secrets.length && credential.hint && <code>{credential.hint}</code>],
    [
      t("secret.details.state"),
      <>
        <Status tone={tone}>{t(`credentials.states.${key}`)}</Status>
        {what && <span className={classes.reason}>{what}</span>}
        {next && <span className={classes.reason}>{next}</span>}
      </>,
    ],
    [
      t("secret.details.decided"),
      credential.stateTime && (
        <>
          <Time value={credential.stateTime} />
          {credential.nextTestTime && (
            <span className={classes.reason}>
              {t("credential.nextTest", {
                when: relativeTime(timestampMs(credential.nextTestTime), Date.now()),
              })}
            </span>
          )}
        </>
      ),
    ],
    [t("credential.lastUse"), credential.lastUseTime && <Time value={credential.lastUseTime} />],
    [
      t("credentials.columns.priority"),
      <>
        {credential.priority}
        <span className={classes.reason}>{t("credential.weight", { weight: credential.weight || 1 })}</span>
      </>,
    ],
    [t("credential.expires"), credential.expireTime && <Time value={credential.expireTime} />],
    [t("credential.scope.title"), <Scope key="scope" credential={credential} callers={callers} />],
  ];
  return (
    <div className={classes.details}>
      <dl className={classes.facts}>
        {facts.map(
          ([name, value]) =>
            value && (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </div>
            ),
        )}
      </dl>
      {settings && settings.deployments.length > 0 && (
        <section>
          <h3>{t("secret.details.deployments")}</h3>
          <ul className={classes.list}>
            {settings.deployments.map((deployment, i) => (
              <li key={`${deployment.modelSlug} ${deployment.endpointUrl} ${deployment.modelId}`}>
                <b>{deployment.modelSlug}</b> <span>{deployment.modelId}</span>{" "}
                <code>{settings.secrets[i]?.hint}</code>
                <span className={classes.reason}>{deployment.endpointUrl}</span>
              </li>
            ))}
          </ul>
        </section>
      )}
      {settings && settings.deployments.length === 0 && settings.secrets.length > 0 && (
        <section>
          <h3>{t("secret.details.secrets")}</h3>
          <ul className={classes.list}>
            {settings.secrets.map(({ field, hint }) => (
              <li key={field}>
                <code>{field}</code> <code>{hint}</code>
              </li>
            ))}
          </ul>
        </section>
      )}
      <section>
        <h3>{t("secret.details.models")}</h3>
        {credential.models.length === 0 ? (
          <p className={classes.reason}>{t("secret.details.modelsUnknown")}</p>
        ) : (
          <details>
            <summary>{t("secret.details.modelsCount", { count: credential.models.length })}</summary>
            <ul className={classes.models}>
              {credential.models.map((model) => (
                <li key={model}>{model}</li>
              ))}
            </ul>
          </details>
        )}
      </section>
    </div>
  );
}

// What it may be used for, in the names that people know.
function Scope({ credential: { scope }, callers }: Props) {
  const { t } = useTranslation();
  const called = (ids: readonly string[], all: readonly Named[]) =>
    ids.map((id) => all.find((each) => each.id === id)?.name ?? id);
  const keys = called(scope?.apiKeyIds ?? [], callers.apiKeys);
  const groups = called(scope?.groupIds ?? [], callers.groups).map((name) =>
    t("credential.scope.group", { name }),
  );
  const models = scope?.models ?? [];
  if (models.length + keys.length + groups.length === 0) return t("credential.scope.all");
  return (
    <>
      {models.length > 0 && <div>{t("credential.scope.models", { names: models.join(", ") })}</div>}
      {keys.length + groups.length > 0 && (
        <div>{t("credential.scope.callers", { names: [...keys, ...groups].join(", ") })}</div>
      )}
    </>
  );
}
